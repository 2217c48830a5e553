// Upstream: app, standalone
// Downstream: answers, config, store_check
// Role: The HTTP server of a worker, on a separate thread, so that it still answers if an actor hangs.

//! `/healthz`, `/readyz`, `/metrics` and `/status`, for monitoring and operators. Built on hyper alone: four GET
//! endpoints need no framework, and hyper supports a timeout for the request head.

/// The answers.
mod answers;
/// The check of ClickHouse.
mod store_check;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

pub use answers::{Answer, Answers};
pub use store_check::{StoreCheck, StoreQuestion};

use crate::config::HttpSection;

/// Maximum number of concurrent connections; further ones are closed. The clients are a scraper, a health check and an
/// operator.
const MAX_CONNECTIONS: usize = 32;

/// Timeout for the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// Timeout of a connection, which carries one request.
const DEADLINE: Duration = Duration::from_secs(10);

/// Maximum size of a request head in bytes, hyper's minimum. Request bodies are not read.
const MAX_HEAD: usize = 8 * 1024;

/// The server cannot be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "http: cannot listen on {host}:{port}: {reason}; choose another http.port (0 selects a free port), or set \
     http.enabled: false"
)]
pub struct HttpError {
    host: String,
    port: u16,
    reason: String,
}

/// A server that listens but does not answer yet.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: String,
}

/// A running server; it stops on drop.
#[derive(Debug)]
pub struct Serving {
    _stop: oneshot::Sender<()>,
}

impl HttpServer {
    /// Binds the port; `None` if HTTP is disabled. `host_name` is the name of this machine for other machines.
    pub fn bind(section: &HttpSection, host_name: &str) -> Result<Option<Self>, HttpError> {
        if !section.enabled {
            return Ok(None);
        }
        let HttpSection { host, port, .. } = section;
        let failed = |error: std::io::Error| HttpError { host: host.clone(), port: *port, reason: error.to_string() };
        let listener = TcpListener::bind((host.as_str(), *port)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let address = match bound {
            // Readers on other machines cannot use an unspecified address, so the heartbeat contains the host name.
            _ if bound.ip().is_unspecified() => format!("http://{host_name}:{}", bound.port()),
            SocketAddr::V4(_) | SocketAddr::V6(_) => format!("http://{bound}"),
        };
        Ok(Some(Self { listener, address }))
    }

    /// The base URL: `http://host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts answering requests.
    pub fn start(self, answers: Answers) -> std::io::Result<Serving> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(self.listener, Arc::new(answers)) => {}
                }
            });
        })?;
        tracing::info!(address = self.address, "serving /healthz, /readyz, /metrics and /status");
        Ok(Serving { _stop: stop })
    }
}

async fn accept(listener: TcpListener, answers: Arc<Answers>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the HTTP server cannot start"),
    };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // For example no free file descriptors: a transient error, retried after a short delay.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let answers = answers.clone();
        let service = service_fn(move |request| {
            let answers = answers.clone();
            async move { Ok::<_, Infallible>(respond(&answers, &request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(MAX_HEAD)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let _slot = slot;
            // The client is responsible for a request that is aborted, too large or too slow.
            if let Ok(Err(error)) = tokio::time::timeout(DEADLINE, connection).await {
                tracing::debug!(%error, "a request failed");
            }
        });
    }
}

async fn respond<B>(answers: &Answers, request: &Request<B>) -> Response<Full<Bytes>> {
    let answer = match *request.method() {
        Method::GET | Method::HEAD => answers.to(request.uri().path()).await,
        _ => Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are supported\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(port: u16) -> HttpSection {
        HttpSection { enabled: true, host: "127.0.0.1".to_owned(), port }
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_what_to_do() {
        let first = HttpServer::bind(&section(0), "h1").unwrap().unwrap();
        let (_, port) = first.address().rsplit_once(':').unwrap();
        assert_eq!(first.address(), format!("http://127.0.0.1:{port}"));
        let taken = HttpServer::bind(&section(port.parse().unwrap()), "h1").unwrap_err().to_string();
        assert!(taken.contains(&format!("127.0.0.1:{port}")) && taken.contains("http.enabled: false"), "{taken}");
        let off = HttpSection { enabled: false, ..section(0) };
        assert!(HttpServer::bind(&off, "h1").unwrap().is_none());
    }

    #[test]
    fn who_listens_everywhere_is_known_by_the_hosts_name() {
        let everywhere = HttpSection { host: "0.0.0.0".to_owned(), ..section(0) };
        let server = HttpServer::bind(&everywhere, "h1").unwrap().unwrap();
        assert!(server.address().starts_with("http://h1:"), "{}", server.address());
    }
}
