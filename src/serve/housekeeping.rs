//! What changes without a request: the folders of keys, the schedule of their rotation, the certificate,
//! marks that have expired, the machine's clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::key_admin::RunningKeys;
use crate::service::Remembered;
use crate::tls::RunningTls;

/// How often everything is looked at. It bounds how late a change is seen where the file system does
/// not tell of it, as on network mounts.
const PERIOD: Duration = Duration::from_millis(500);
/// How long after word of a change its folder is read, so that a file copied there is whole by then.
const SETTLE: Duration = Duration::from_millis(50);

/// How often the journal learns that time went on when nothing else happens.
const TICK: Duration = Duration::from_secs(60);

/// Looks after all of it for as long as the server runs.
pub(super) async fn keep_house(keys: RunningKeys, tls: Option<RunningTls>, clock: Arc<dyn Clock>) {
    let wake = Arc::new(Notify::new());
    let _watcher = watch(&keys, &wake);
    let (mut lagging, mut filling) = (false, false);
    let mut ticked = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = wake.notified() => tokio::time::sleep(SETTLE).await,
        }
        let service = keys.service();
        lagging = report_lag(service.clock_lag(), lagging);
        filling = report_filling(service.remembered(), filling);
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            service.tick();
        }
        let (keys, tls, now) = (keys.clone(), tls.clone(), clock.now());
        let work = move || {
            if let Some(tls) = tls {
                tls.look(now);
            }
            keys.service().tidy();
            keys.reload();
            keys.rotate_due();
        };
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::error!(%error, "looking after keys and certificate failed; it is tried again");
        }
    }
}

/// Has the system tell of changes. That is only faster: what is there is found out by looking.
fn watch(keys: &RunningKeys, wake: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let waker = Arc::clone(wake);
    let on_event = move |event: notify::Result<Event>| {
        // To look at the folder is an event as well, and must not lead to another look.
        if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
            waker.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        for folder in keys.folders() {
            watcher.watch(folder.keystore().directory(), RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    });
    watcher.inspect_err(|error| tracing::info!(%error, "the keys are watched by looking")).ok()
}

/// Well before nothing more is issued.
fn report_filling(remembered: Remembered, filling: bool) -> bool {
    let Remembered { count, capacity, .. } = remembered;
    let is_filling = count >= capacity / 5 * 4;
    if is_filling && !filling {
        tracing::warn!(
            count,
            capacity,
            "nearly as much is remembered as state.capacity allows; at that no more tokens are issued"
        );
    }
    is_filling
}

fn report_lag(lag: u64, lagging: bool) -> bool {
    match (lagging, lag > 1) {
        (false, true) => tracing::warn!(
            lag_seconds = lag,
            "the machine's clock was set back; time goes on from where it was, so new tokens look \
             too new elsewhere; set it right, or wait until it has caught up"
        ),
        (true, false) => tracing::info!("the machine's clock has caught up"),
        (false, false) | (true, true) => {}
    }
    lag > 1
}
