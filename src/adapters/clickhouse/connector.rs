// Upstream: sources::databases, table
// Downstream: adapters::tls, config
// Role: Connects to ClickHouse's HTTP interface: with TLS if wanted, and to the next host if one does not answer.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ::clickhouse::Client;
use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::adapters::tls::files::TlsFiles;
use crate::config::{ClickHouseSection, ClickHouseSourceSection, split_address};

/// Timeout of a connection attempt to one host, including TLS.
const CONNECT: Duration = Duration::from_secs(5);

/// The same if further hosts can be tried.
const CONNECT_TO_ONE_OF: Duration = Duration::from_secs(2);

/// How long connections are kept for the next statement. ClickHouse closes them after 3 s by default.
const POOL_IDLE: Duration = Duration::from_secs(2);

/// Interval of TCP's own check of a silent connection.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A client of the worker's own store.
pub fn client(section: &ClickHouseSection) -> Client {
    let mut hosts: Vec<(String, u16)> = section
        .hosts
        .iter()
        .filter_map(|host| split_address(host))
        .map(|(host, port)| (host.to_owned(), port))
        .collect();
    if hosts.is_empty() {
        hosts.push((section.host.clone(), section.port));
    }
    let ClickHouseSection { ca_file, certificate_file, key_file, .. } = section;
    build(hosts, section.tls.then(|| TlsFiles::new("clickhouse", ca_file, certificate_file, key_file)))
}

/// A client of a source.
pub fn source_client(section: &ClickHouseSourceSection) -> Client {
    let ClickHouseSourceSection { ca_file, certificate_file, key_file, .. } = section;
    let files = || TlsFiles::new("sources.clickhouse", ca_file, certificate_file, key_file);
    build(vec![(section.host.clone(), section.port)], section.tls.then(files))
}

fn build(hosts: Vec<(String, u16)>, tls: Option<TlsFiles>) -> Client {
    let url = hosts.first().map(|(host, port)| address(host, *port)).unwrap_or_default();
    let mut tcp = HttpConnector::new();
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_nodelay(tls.is_some());
    let servers = Arc::new(Servers { hosts, current: AtomicUsize::new(0), tls });
    let http = HttpClient::builder(TokioExecutor::new()).pool_idle_timeout(POOL_IDLE).build(Connector { tcp, servers });
    // The connector adds TLS itself.
    Client::with_http_client(http).with_url(url)
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("http://[{host}]:{port}") } else { format!("http://{host}:{port}") }
}

/// The servers of a client.
struct Servers {
    hosts: Vec<(String, u16)>,
    /// The host to which connections are opened, until it does not answer.
    current: AtomicUsize,
    tls: Option<TlsFiles>,
}

/// Opens connections for the HTTP client.
#[derive(Clone)]
struct Connector {
    tcp: HttpConnector,
    servers: Arc<Servers>,
}

type BoxError = Box<dyn StdError + Send + Sync>;

impl Connector {
    async fn connect(self) -> Result<Stream, BoxError> {
        let Servers { hosts, current, .. } = &*self.servers;
        let (count, first) = (hosts.len(), current.load(Ordering::Relaxed));
        let timeout = if count > 1 { CONNECT_TO_ONE_OF } else { CONNECT };
        let mut last: Option<BoxError> = None;
        for at in (0..count).map(|n| (first + n) % count) {
            let Some((host, port)) = hosts.get(at) else { continue };
            match tokio::time::timeout(timeout, self.open(host, *port)).await {
                Ok(Ok(stream)) => {
                    if at != first {
                        tracing::info!(host, port, "ClickHouse: connected to the next of clickhouse.hosts");
                        current.store(at, Ordering::Relaxed);
                    }
                    return Ok(stream);
                }
                Ok(Err(error)) => last = Some(error),
                Err(_) => {
                    let text = format!("{host}:{port} does not answer within {timeout:?}");
                    last = Some(io::Error::new(io::ErrorKind::TimedOut, text).into());
                }
            }
            if count > 1 {
                let reason = last.as_ref().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(host, port, reason, "ClickHouse: one of clickhouse.hosts does not answer");
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("no host").into()))
    }

    async fn open(&self, host: &str, port: u16) -> Result<Stream, BoxError> {
        let uri: Uri = address(host, port).parse()?;
        let tcp = self.tcp.clone().call(uri).await?;
        let Some(files) = &self.servers.tls else { return Ok(Stream::Plain(tcp)) };
        let connector = TlsConnector::from(files.client_config().await?);
        let name = ServerName::try_from(host.to_owned())?;
        let tls = connector.connect(name, tcp.into_inner()).await?;
        Ok(Stream::Tls(Box::new(TokioIo::new(tls))))
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

type Tcp = TokioIo<tokio::net::TcpStream>;

/// A connection with or without TLS.
enum Stream {
    Plain(Tcp),
    Tls(Box<TokioIo<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain(stream) => stream.connected(),
            Self::Tls(stream) => stream.inner().get_ref().0.connected(),
        }
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    // Without these two the HTTP client would copy each INSERT into one buffer.
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(context, buffers),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}
