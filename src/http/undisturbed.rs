//! Work that goes on when its client goes away: what it wrote must be told of, and its answer kept.

use std::future::Future;
use std::panic::resume_unwind;

use super::problem::{Problem, ProblemKind};

/// Does the work to its end, whoever waits for it.
pub(super) async fn undisturbed<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work).await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        // Cut off at the end of the server.
        Err(_) => Problem::new(ProblemKind::Internal),
    })
}
