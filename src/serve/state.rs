//! What a process knows from before it started: what was spent, what is still to be sent, and the audit trail.

use std::sync::Arc;

use crate::audit::{Audit, AuditError, Rotation, Sink, Trail};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, AuditSink, Config, Durability};
use crate::journal::{Cut, Recovered, StateFolder};
use crate::outbox::{Outbox, OutboxError};
use crate::random::Random;
use crate::revocation::{Forgotten, Revocations};
use crate::service::Error;

use super::ServeError;

/// Opened before anything is changed: a trail that cannot be kept is no reason to make a key.
pub(super) fn audit_sink(audit: &config::Audit) -> Result<Sink, AuditError> {
    let rotation = Rotation { bytes: audit.rotate_bytes, keep: audit.keep_files };
    Ok(match audit.sink {
        AuditSink::Off => Sink::Off,
        AuditSink::Stdout => Sink::Stdout,
        AuditSink::File => Sink::File(Trail::open(&audit.directory, rotation)?),
    })
}
/// Writes the first line of this process.
pub(super) fn start_audit(sink: Sink, clock: &Arc<dyn Clock>) -> Audit {
    let cut = if let Sink::File(trail) = &sink { trail.cut().cloned() } else { None };
    if let Some(cut) = &cut {
        tracing::warn!(
            file = %cut.path.display(), bytes = cut.bytes,
            "the last line of the audit trail was torn and is cut off"
        );
    }
    let audit = Audit::start(sink, Arc::clone(clock));
    audit.started(cut.as_ref());
    audit
}
/// What was spent and revoked, and a clock that is not behind it.
pub(super) async fn revocations(
    config: &Config,
    reading: &(dyn Fn(u64, u64) + Sync),
) -> Result<(Revocations, Arc<dyn Clock>), ServeError> {
    let (state, clock) = (&config.state, SystemClock::new());
    if state.durability == Durability::Guard {
        let salt = Random::new().bytes()?;
        return Ok((Revocations::guarding(clock.now(), state.capacity, salt), Arc::new(clock)));
    }
    let folder = StateFolder::open(&state.directory, Random::new().bytes()?)?;
    let recovered = folder.recover(clock.now(), reading)?;
    report(&recovered);
    let clock = SystemClock::not_before(recovered.high_water);
    let forgotten = match (recovered.is_blank, state.after_restore) {
        (_, true) => Some(Forgotten::AfterRestore),
        (true, false) => Some(Forgotten::NewState),
        (false, false) => None,
    };
    let (now, acceptance) = (clock.now(), longest_acceptance(config));
    let mut revocations = Revocations::journalled(folder, &recovered, now, state.capacity);
    if let Some(why) = forgotten {
        revocations.forget_before(now, acceptance, why).wait().await.map_err(Error::from)?;
        tracing::info!("what was spent before is not known: older tokens are refused");
    }
    // What was read back is not the last batch from here on, so damage to it is told from a torn end. Not
    // sooner: a journal in which anything stands is not new.
    revocations.tick(now);
    Ok((revocations, Arc::new(clock)))
}
fn report(recovered: &Recovered) {
    for Cut { path, at, bytes } in &recovered.cuts {
        tracing::warn!(
            file = %path.display(), at, bytes,
            "the end of the journal was torn and is cut off; nobody was told of what stood there"
        );
    }
    if !recovered.events.is_empty() {
        tracing::info!(events = recovered.events.len(), "the journal is read");
    }
}
fn longest_acceptance(config: &Config) -> u64 {
    let acceptances = config.tenants.iter().map(|tenant| tenant.policy.longest_acceptance());
    acceptances.max().unwrap_or_default()
}
/// What is to be sent. The folder is locked by now, so no other process has it.
pub(super) fn outbox(config: &Config) -> Result<Outbox, OutboxError> {
    let (state, capacity) = (&config.state, config.outbox.capacity);
    match state.durability {
        Durability::Journal => Outbox::open(&state.directory, capacity),
        Durability::Guard => Ok(Outbox::in_memory(capacity)),
    }
}
/// It waits for the disk.
pub(super) async fn close_outbox(outbox: Outbox) {
    let is_durable = outbox.is_durable();
    let left = tokio::task::spawn_blocking(move || outbox.close()).await.unwrap_or_default();
    match (left, is_durable) {
        (0, _) => {}
        (left, true) => tracing::info!(left, "what was not sent yet is sent after the next start"),
        (left, false) => tracing::warn!(left, "what was not sent yet is lost: there is no journal"),
    }
}
