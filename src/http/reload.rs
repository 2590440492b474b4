//! `POST /admin/config/reload`: the configuration is read again, and what can change while requests are
//! served is taken up.

use std::fmt;
use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::problem::{Problem, ProblemKind};

/// What a changed configuration came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// Settings that changed and are in force now.
    pub applied: Vec<String>,
    /// Settings that changed and are in force after a restart.
    pub needs_restart: Vec<String>,
}

/// Reads the configuration again. It tells why it was refused; the old one stays in force then.
#[derive(Clone)]
pub struct ReloadConfig(Arc<dyn Fn() -> Result<Reloaded, String> + Send + Sync>);

impl ReloadConfig {
    /// A way to reload.
    pub fn new(reload: impl Fn() -> Result<Reloaded, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(reload))
    }

    /// Reads files, so it may wait for the disk.
    ///
    /// # Errors
    /// Why the configuration was refused.
    pub fn run(&self) -> Result<Reloaded, String> {
        (self.0)()
    }
}

impl fmt::Debug for ReloadConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReloadConfig(…)")
    }
}

/// `POST /admin/config/reload`
pub(super) async fn reload(config: Option<Extension<ReloadConfig>>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Answer {
        status: &'static str,
        #[serde(flatten)]
        reloaded: Reloaded,
    }
    // A router alone has no configuration.
    let Some(Extension(config)) = config else {
        return Err(Problem::new(ProblemKind::NotFound));
    };
    let reloaded = tokio::task::spawn_blocking(move || config.run()).await;
    match reloaded.map_err(|_| Problem::new(ProblemKind::Internal))? {
        Ok(reloaded) => Ok(Json(Answer { status: "reloaded", reloaded }).into_response()),
        Err(reason) => Err(Problem::new(ProblemKind::ConfigInvalid).because(reason)),
    }
}
