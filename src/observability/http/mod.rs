// Upstream: app
// Downstream: answers, config, store_check
// Role: The HTTP server of a worker: on a thread of its own, so that no actor that hangs can keep it from saying so.

//! `/healthz`, `/readyz`, `/metrics` and `/status`, for machines and operators. Plain hyper: four answers to GET need no
//! framework, and hyper alone lets the head of a request be bounded in time.

/// What is answered.
mod answers;
/// Whether ClickHouse answers.
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

/// Connections at once; further ones are closed. Whoever asks are a scraper, a health check and an operator.
const MAX_CONNECTIONS: usize = 32;

/// Longest wait for the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// Longest life of a connection, which carries one request.
const DEADLINE: Duration = Duration::from_secs(10);

/// Largest head of a request in bytes (the least that hyper allows); a body is not read at all.
const MAX_HEAD: usize = 8 * 1024;

/// The server cannot be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "http: {host}:{port} cannot be listened on: {reason}; choose another http.port (0 takes a free one), or set \
     http.enabled: false"
)]
pub struct HttpError {
    host: String,
    port: u16,
    reason: String,
}

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: String,
}

/// A server that answers, until it is dropped.
#[derive(Debug)]
pub struct Serving {
    _stop: oneshot::Sender<()>,
}

impl HttpServer {
    /// Listens, if it is wanted. `host_name` is this machine's name for others.
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
            // Whoever reads the heartbeat elsewhere cannot ask there; the host's name is the best that is known.
            _ if bound.ip().is_unspecified() => format!("http://{host_name}:{}", bound.port()),
            SocketAddr::V4(_) | SocketAddr::V6(_) => format!("http://{bound}"),
        };
        Ok(Some(Self { listener, address }))
    }

    /// Where it can be asked: `http://host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Begins to answer.
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
        tracing::info!(address = self.address, "healthz, readyz, metrics and status can be asked");
        Ok(Serving { _stop: stop })
    }
}

async fn accept(listener: TcpListener, answers: Arc<Answers>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "nobody can ask this worker over HTTP"),
    };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, say: it passes, but not at once.
                tracing::warn!(%error, "a connection is not accepted");
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
            // A request that is broken off, too long or too slow is the asker's affair.
            if let Ok(Err(error)) = tokio::time::timeout(DEADLINE, connection).await {
                tracing::debug!(%error, "a request ended early");
            }
        });
    }
}

async fn respond<B>(answers: &Answers, request: &Request<B>) -> Response<Full<Bytes>> {
    let answer = match *request.method() {
        Method::GET | Method::HEAD => answers.to(request.uri().path()).await,
        _ => Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n"),
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
