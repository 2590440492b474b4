//! A service on a real socket that answers as it is told, and remembers how it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use resetd::domain::directory::WebAccess;
use resetd::domain::secret::Secret;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Ends with the test.
pub(crate) struct Web {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    serving: JoinHandle<()>,
}

impl Web {
    /// Answers each path and query so.
    pub(crate) async fn start(
        answer: impl Fn(&str) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let remembered = Arc::clone(&asked);
        let app = Router::new().fallback(move |request: Request| {
            let target = request.uri().to_string();
            remembered.lock().unwrap().push((target.clone(), request.headers().clone()));
            let answer = answer.clone();
            async move { answer(&target) }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(app.clone());
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, asked, serving }
    }

    pub(crate) fn url(&self, rest: &str) -> String {
        format!("http://{}{rest}", self.address)
    }

    /// Paths and queries, as they came.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(target, _)| target.clone()).collect()
    }

    /// A header of the last request.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let asked = self.asked.lock().unwrap();
        let (_, headers) = asked.last().unwrap();
        headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) fn json(body: impl Into<String>) -> Response {
    (StatusCode::OK, [("content-type", "application/json")], body.into()).into_response()
}

/// That there is no such user, as a problem (RFC 9457).
pub(crate) fn nobody() -> Response {
    let kind = [("content-type", "application/problem+json")];
    (StatusCode::NOT_FOUND, kind, "{\"title\":\"no such user\"}").into_response()
}

pub(crate) fn status(code: u16) -> Response {
    StatusCode::from_u16(code).unwrap().into_response()
}

pub(crate) fn anybody() -> WebAccess {
    WebAccess { token: None, ca_file: None }
}

pub(crate) fn with_token(token: &str) -> WebAccess {
    WebAccess { token: Some(Secret::new(token)), ca_file: None }
}

/// A service that is listened on and never answers. It ends with what is returned.
pub(crate) fn silent() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}
