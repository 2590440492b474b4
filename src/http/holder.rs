//! The one thing that anybody may do who holds a token: say that they did not ask for it.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{FromRequest as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::api;
use super::body::JsonBody;
use super::caller::has_credential;
use super::problem::{Problem, ProblemKind};
use crate::service::ResetService;

/// The address that a request came from; travels in its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Source(pub IpAddr);

/// The most addresses that are remembered at once.
const MAX_SOURCES: usize = 10_000;

/// Lets each address do something so often.
#[derive(Debug)]
struct PerSource(DefaultKeyedRateLimiter<IpAddr>);

impl PerSource {
    fn new(per_minute: NonZeroU32) -> Self {
        Self(RateLimiter::dashmap(Quota::per_minute(per_minute)))
    }

    /// Seconds to wait, if it was too often.
    fn check(&self, source: IpAddr) -> Result<(), u64> {
        if self.0.len() >= MAX_SOURCES {
            self.0.retain_recent();
        }
        // More than can be remembered come at once: that is no time to let everybody through.
        if self.0.len() >= MAX_SOURCES {
            return Err(60);
        }
        self.0.check_key(&one_household(source)).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            wait.as_secs() + 1
        })
    }
}

/// Whoever has one address of an IPv6 network has 2^64 of them.
fn one_household(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

/// What it takes to hear those who have no key.
#[derive(Clone, Debug)]
pub(super) struct Holders {
    service: ResetService,
    limit: Arc<PerSource>,
}

impl Holders {
    pub(super) fn new(service: &ResetService, per_minute: NonZeroU32) -> Self {
        Self { service: service.clone(), limit: Arc::new(PerSource::new(per_minute)) }
    }
}

/// `POST /revocations` without a credential; a request with one goes on to its caller's.
pub(super) async fn disown(
    State(holders): State<Holders>,
    request: Request,
    next: Next,
) -> Response {
    if has_credential(&request) {
        return next.run(request).await;
    }
    // A router without a listener has no addresses; all are one then.
    let source = request.extensions().get::<Source>().copied();
    let Source(source) = source.unwrap_or(Source(Ipv6Addr::UNSPECIFIED.into()));
    let body = JsonBody::from_request(request, &()).await;
    let disowned = async {
        let token = api::disowned_token(body)?;
        let wait = |seconds| Problem::new(ProblemKind::RateLimited).retry_after(seconds);
        holders.limit.check(source).map_err(wait)?;
        api::disown(&holders.service, &token).await
    };
    disowned.await.unwrap_or_else(Problem::into_response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_household_has_its_own_limit() {
        let limit = PerSource::new(NonZeroU32::new(2).unwrap());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for household in [
            ["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"],
            ["192.0.2.2", "192.0.2.2", "192.0.2.2"],
            ["2001:db8::1", "2001:db8::2", "2001:db8::ffff"],
            ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1::3"],
        ] {
            let [first, second, third] = household.map(|text| limit.check(address(text)));
            assert_eq!((first, second), (Ok(()), Ok(())), "{household:?}");
            let wait = third.unwrap_err();
            assert!((1..=31).contains(&wait), "{household:?}: {wait}");
        }
    }

    #[test]
    fn a_flood_of_addresses_fills_no_memory() {
        let limit = PerSource::new(NonZeroU32::new(1).unwrap());
        for address in 0..2 * u32::try_from(MAX_SOURCES).unwrap() {
            let _ = limit.check(IpAddr::V4(address.into()));
        }
        assert!(limit.0.len() <= MAX_SOURCES);
        assert!(limit.check(IpAddr::V4(u32::MAX.into())).is_err());
    }
}
