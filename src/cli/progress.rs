//! What people see who wait for the journal to be read: a bar on a terminal, lines in a log.

use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Waits shorter than this are not worth a word.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a log is told.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// The wait for the journal.
#[derive(Debug)]
pub(super) struct Reading {
    is_terminal: bool,
    patience: Duration,
    begun: Instant,
    shown: Mutex<Option<Shown>>,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Line(Instant),
}

impl Reading {
    pub(super) fn new() -> Self {
        Self::with(io::stderr().is_terminal(), PATIENCE)
    }

    fn with(is_terminal: bool, patience: Duration) -> Self {
        Self { is_terminal, patience, begun: Instant::now(), shown: Mutex::new(None) }
    }

    /// So many bytes of so many are read.
    pub(super) fn told(&self, done: u64, total: u64) {
        if self.begun.elapsed() < self.patience {
            return;
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *shown {
            Some(Shown::Bar(bar)) => bar.set_position(done.max(bar.position())),
            Some(Shown::Line(last)) if last.elapsed() < BETWEEN_LINES => return,
            Some(Shown::Line(last)) => {
                *last = Instant::now();
                log(done, total);
            }
            None if self.is_terminal => *shown = Some(Shown::Bar(bar(done, total))),
            None => {
                *shown = Some(Shown::Line(Instant::now()));
                log(done, total);
            }
        }
        if let (Some(Shown::Bar(bar)), true) = (&*shown, done >= total) {
            bar.finish_and_clear();
        }
    }
}

fn log(done: u64, total: u64) {
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
    tracing::info!(percent, total = %HumanBytes(total), "reading the journal");
}

fn bar(done: u64, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let template = "reading the journal [{bar:40}] {bytes}/{total_bytes}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_position(done);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(reading: &Reading) -> Option<(u64, u64, bool)> {
        match &*reading.shown.lock().unwrap() {
            Some(Shown::Bar(bar)) => Some((bar.position(), bar.length()?, bar.is_finished())),
            Some(Shown::Line(_)) => Some((0, 0, false)),
            None => None,
        }
    }

    #[test]
    fn a_short_wait_shows_nothing() {
        let reading = Reading::with(true, Duration::from_secs(3600));
        reading.told(100, 100);
        assert_eq!(shown(&reading), None);
    }

    #[test]
    fn a_long_wait_shows_a_bar_that_goes_on_and_away() {
        let reading = Reading::with(true, Duration::ZERO);
        reading.told(20, 100);
        assert_eq!(shown(&reading), Some((20, 100, false)));
        // Threads may tell out of order.
        for (done, position) in [(60, 60), (40, 60)] {
            reading.told(done, 100);
            assert_eq!(shown(&reading), Some((position, 100, false)));
        }
        reading.told(100, 100);
        assert_eq!(shown(&reading), Some((100, 100, true)));
    }

    #[test]
    fn where_nobody_watches_the_log_has_lines() {
        let reading = Reading::with(false, Duration::ZERO);
        reading.told(20, 100);
        assert_eq!(shown(&reading), Some((0, 0, false)));
    }
}
