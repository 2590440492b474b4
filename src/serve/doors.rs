//! What is behind each listener: the routes, and TLS on addresses.

use std::sync::Arc;

use axum::{Extension, Router};
use tokio_rustls::TlsAcceptor;

use crate::config::{Listen, Server};
use crate::http::{Door, Gate, only_over_tls};
use crate::tls::RunningTls;

use super::ServeError;
use super::connection::{Behind, Handshakes};
use super::listener::Listener;

/// What is listened on.
pub(super) struct Bound {
    pub(super) listener: Listener,
    pub(super) listen: Listen,
    pub(super) admin: Option<(Listener, Listen)>,
}

impl Bound {
    /// Listens on what is configured.
    pub(super) async fn bind(server: &Server) -> Result<Self, ServeError> {
        let (listener, listen) = bind(&server.listen, server).await?;
        let admin = match &server.admin_listen {
            None => None,
            Some(listen) => Some(bind(listen, server).await?),
        };
        Ok(Self { listener, listen, admin })
    }

    /// Each listener with who is let in there.
    pub(super) fn doors(self) -> Vec<(Listener, Door)> {
        match self.admin {
            None => vec![(self.listener, Door::Everybody)],
            Some((admin, _)) => vec![(self.listener, Door::Apps), (admin, Door::Admins)],
        }
    }
}

async fn bind(listen: &Listen, server: &Server) -> Result<(Listener, Listen), ServeError> {
    let listener = Listener::bind(listen, server.socket_mode).await?;
    // It is known what was asked for; what came of port 0 is asked of the system.
    let place = listener.place().unwrap_or_else(|_| listen.clone());
    Ok((listener, place))
}
/// On a Unix socket plain HTTP is spoken, on an address TLS if there is a certificate.
pub(super) fn behind(
    listener: &Listener,
    door: Door,
    app: Router,
    tls: Option<&RunningTls>,
    limits: &Server,
    gate: &Gate,
) -> Behind {
    let (limits, gate) = (Arc::new(limits.clone()), gate.clone());
    let Some(tls) = tls else {
        return Behind { app, tls: None, limits, gate };
    };
    // Wherever health and metrics are asked for, they tell of the certificate.
    let app = app.layer(Extension(tls.clone()));
    match listener {
        Listener::Socket(..) => Behind { app, tls: None, limits, gate },
        Listener::Address(_) => {
            let tls = Some(handshakes(tls.clone(), door));
            Behind { app: only_over_tls(app), tls, limits, gate }
        }
    }
}
fn handshakes(tls: RunningTls, door: Door) -> Handshakes {
    Box::new(move || {
        TlsAcceptor::from(match door {
            Door::Apps | Door::Everybody => tls.for_apps(),
            Door::Admins => tls.for_admins(),
        })
    })
}
