//! `GET /metrics`, as `OpenMetrics` text. Everything is read from the service when it is asked for, so
//! nothing can be counted wrongly. Labels come from the configuration and the key folders, never from
//! a request.

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use resetd_verify::Timestamp;

use super::problem::{Problem, ProblemKind};
use crate::audit::Audit;
use crate::domain::keyring::KeyState;
use crate::domain::order::Lane;
use crate::journal::Health;
use crate::key_admin::{KeyHealth, RunningKeys};
use crate::service::{Remembered, ResetService};
use crate::tls::{RunningTls, TlsHealth};

/// The most faulty files that are named; the rest is counted.
const MAX_NAMED_FAULTS: usize = 16;

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge>;

/// `GET /metrics`
pub(super) async fn metrics(
    State(keys): State<RunningKeys>,
    tls: Option<Extension<RunningTls>>,
) -> Result<Response, Problem> {
    let mut registry = Registry::with_prefix("resetd");
    register(&mut registry, &keys.health());
    register_tokens(&mut registry, keys.service());
    register_outbox(&mut registry, keys.service());
    register_audit(&mut registry, keys.audit());
    if let Some(Extension(tls)) = tls {
        register_tls(&mut registry, tls.health());
    }
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| Problem::new(ProblemKind::Internal))?;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}

fn register(registry: &mut Registry, health: &[KeyHealth]) {
    let per_tenant = |value: fn(&KeyHealth) -> Option<u64>| {
        let with_value = health.iter().filter_map(|it| Some((vec![tenant(it)], value(it)?)));
        gauges(with_value.collect())
    };
    registry.register("keys", "Keys in each state", gauges(by_state(health)));
    let help = "How long the active key has been signing";
    let age = per_tenant(|it| it.active_for);
    registry.register_with_unit("active_key_age", help, Unit::Seconds, age);
    let help = "When the next key takes over; a time that has passed is a rotation that was missed";
    let next = per_tenant(|it| it.next_rotation.map(Timestamp::seconds));
    registry.register_with_unit("key_rotation_next_timestamp", help, Unit::Seconds, next);
    let failures = per_tenant(|it| Some(it.failures));
    registry.register("key_rotation_failures", "Rotations that failed since the start", failures);
    let failing = per_tenant(|it| Some(it.is_failing.into()));
    registry.register("key_rotation_failing", "1 if the last try to rotate failed", failing);
    let help = "When a rotation last failed";
    let last = per_tenant(|it| it.last_failure.map(Timestamp::seconds));
    registry.register_with_unit("key_rotation_failure_timestamp", help, Unit::Seconds, last);
    let help = "Files that keep changed keys from being taken up";
    registry.register("key_folder_faults", help, per_tenant(|it| Some(it.faults.len() as u64)));
    registry.register("key_file_faulty", "1 for each such file, by name", gauges(by_file(health)));
}

fn register_tokens(registry: &mut Registry, service: &ResetService) {
    let reuses = Family::<Labels, Counter>::default();
    for tenant in service.tenants() {
        for (reuse, count) in tenant.reuses() {
            let labels = vec![
                ("tenant", tenant.policy().tenant.to_string()),
                ("reason", reuse.reason().into()),
                ("operation", reuse.presented().to_string()),
            ];
            reuses.get_or_create(&labels).inc_by(count);
        }
    }
    let help = "Tokens presented that were spent, or are held for another caller";
    registry.register("token_reuses", help, reuses);
    let help = "When a key of a caller was last used; 0 if it was not since the start";
    let used = gauges(last_uses(service));
    registry.register_with_unit("api_key_last_used_timestamp", help, Unit::Seconds, used);
    let Remembered { count, capacity, journal } = service.remembered();
    let help = "Spent, revoked and replaced tokens that are remembered";
    registry.register("remembered", help, alone(count));
    let help = "How many may be remembered before no more tokens are issued";
    registry.register("remembered_limit", help, alone(capacity));
    let failing = alone(u64::from(journal != Health::Well));
    registry.register("journal_failing", "1 if the journal is full or failed", failing);
}

fn register_outbox(registry: &mut Registry, service: &ResetService) {
    let labels = |lane: &Lane| {
        let tenant = lane.tenant().to_string();
        let mut labels = vec![("tenant", tenant), ("lane", lane.kind().into())];
        labels.extend(lane.endpoint().map(|endpoint| ("webhook", endpoint.to_owned())));
        labels
    };
    let outbox = service.outbox();
    let waiting = outbox.waiting();
    // What is empty is told as well: a value that goes away when all is well is hard to watch.
    let empty = service.tenants().map(|it| (labels(&Lane::Mail(it.policy().tenant.clone())), 0));
    let counts = waiting.iter().map(|waiting| (labels(&waiting.lane), waiting.count));
    let help = "Mails, links and events that wait to be sent";
    registry.register("outbox_waiting", help, gauges(empty.chain(counts).collect()));
    let oldest = waiting.iter().filter_map(|waiting| {
        waiting.oldest.map(|oldest| (labels(&waiting.lane), oldest.seconds()))
    });
    let help = "When the oldest of them was promised";
    let oldest = gauges(oldest.collect());
    registry.register_with_unit("outbox_oldest_timestamp", help, Unit::Seconds, oldest);
    let outcomes = Family::<Labels, Counter>::default();
    for (outcome, count) in outbox.outcomes() {
        let mut labels = labels(&outcome.lane);
        labels.push(("outcome", outcome.what.into()));
        outcomes.get_or_create(&labels).inc_by(count);
    }
    let help = "What became of them since the start: sent, retried, or why they were given up";
    registry.register("outbox_outcomes", help, outcomes);
    let lost = Counter::<u64>::default();
    lost.inc_by(outbox.lost());
    registry.register("outbox_lost", "Events that found no room, since the start", lost);
    let failing = alone(outbox.is_failing().into());
    registry.register("outbox_failing", "1 if what is promised cannot be written down", failing);
}

fn register_audit(registry: &mut Registry, audit: &Audit) {
    let lost = Counter::<u64>::default();
    lost.inc_by(audit.lost());
    let help = "Events that the audit trail does not have, since the start";
    registry.register("audit_lost", help, lost);
    let failing = alone(audit.is_failing().into());
    registry.register("audit_failing", "1 if the audit trail loses events", failing);
}

fn register_tls(registry: &mut Registry, health: TlsHealth) {
    if let Some(expires) = health.expires {
        let help = "When the certificate in use expires";
        let expires = alone(expires.seconds());
        registry.register_with_unit(
            "tls_certificate_expiry_timestamp",
            help,
            Unit::Seconds,
            expires,
        );
    }
    let help = "1 if a changed certificate cannot be used";
    registry.register("tls_reload_failing", help, alone(health.is_failing.into()));
}

/// A key is told by the beginning of its hash, as it stands in the configuration.
fn last_uses(service: &ResetService) -> Vec<(Labels, u64)> {
    const SHOWN: usize = 8;
    let callers = service.callers();
    let used = callers.iter().flat_map(|caller| {
        caller.keys.iter().map(move |key| {
            let hash = key.hash().to_string();
            let labels = vec![
                ("tenant", caller.tenant.to_string()),
                ("caller", caller.name.clone()),
                ("key", hash[..SHOWN].to_owned()),
            ];
            (labels, key.last_used().map_or(0, Timestamp::seconds))
        })
    });
    used.collect()
}

fn tenant(health: &KeyHealth) -> (&'static str, String) {
    ("tenant", health.tenant.to_string())
}

fn by_state(health: &[KeyHealth]) -> Vec<(Labels, u64)> {
    let of_tenant = |it: &KeyHealth| {
        let labels = |state: &KeyState| vec![tenant(it), ("state", state.to_string())];
        it.states.iter().map(|(state, count)| (labels(state), *count)).collect::<Vec<_>>()
    };
    health.iter().flat_map(of_tenant).collect()
}

fn by_file(health: &[KeyHealth]) -> Vec<(Labels, u64)> {
    let of_tenant = |it: &KeyHealth| {
        let named = it.faults.iter().take(MAX_NAMED_FAULTS);
        named.map(|fault| (vec![tenant(it), ("file", fault.file.clone())], 1)).collect::<Vec<_>>()
    };
    health.iter().flat_map(of_tenant).collect()
}

fn alone(value: u64) -> Gauges {
    gauges(vec![(Vec::new(), value)])
}

fn gauges(rows: Vec<(Labels, u64)>) -> Gauges {
    let family = Gauges::default();
    for (labels, value) in rows {
        family.get_or_create(&labels).set(whole(value));
    }
    family
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
