// Upstream: client
// Downstream: actors, connection, request
// Role: A few connections to the first TDX server that answers; fails over to the next server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actors::ports::SourceErrorKind;

use super::connection::Connection;
use super::request::Request;

/// A server that does not connect and answer the greeting within this time counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Servers close idle connections. The public clients send something every 10 seconds.
const MAX_IDLE: Duration = Duration::from_secs(10);

/// The servers in their order, and the idle connections to one of them. The rate limiter bounds the number of
/// concurrent requests; each uses its own connection.
pub struct Pool {
    hosts: Vec<String>,
    /// The server of the next connection: a counter whose remainder is the position in `hosts`.
    preferred: AtomicUsize,
    idle: Mutex<Vec<Connection>>,
    timeout: Duration,
}

impl Pool {
    /// Creates the pool without connecting. One request takes at most `timeout`, including connecting.
    pub fn new(hosts: Vec<String>, timeout: Duration) -> Self {
        Self { hosts, preferred: AtomicUsize::new(0), idle: Mutex::default(), timeout }
    }

    /// The server of the next request.
    pub fn address(&self) -> &str {
        self.host(self.preferred.load(Ordering::Relaxed))
    }

    /// Sends a request. A server that fails becomes the last one to be tried again.
    pub async fn ask<R: Request>(&self, request: &R) -> Result<R::Answer, SourceErrorKind> {
        let late = || SourceErrorKind::Timeout(self.timeout);
        let place = self.preferred.load(Ordering::Relaxed);
        let outcome = tokio::time::timeout(self.timeout, async {
            let mut connection = match self.idle_connection() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let answer = connection.ask(request).await?;
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(answer)
        });
        let outcome = outcome.await.unwrap_or_else(|_elapsed| Err(late()));
        if outcome.is_err() {
            self.switch_server(place);
        }
        outcome
    }

    fn host(&self, place: usize) -> &str {
        self.hosts.get(place.checked_rem(self.hosts.len()).unwrap_or(0)).map_or("(no host)", String::as_str)
    }

    /// Makes the next server the preferred one, unless another request has already done so.
    fn switch_server(&self, place: usize) {
        let next = place.wrapping_add(1);
        if self.preferred.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    fn idle_connection(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| connection.used_at().elapsed() < MAX_IDLE && connection.is_quiet());
        idle.pop()
    }

    /// Tries every server once. Each has its share of the timeout, so that time remains for the last one.
    async fn connect(&self) -> Result<Connection, SourceErrorKind> {
        let share = self.timeout / u32::try_from(self.hosts.len().max(1)).unwrap_or(u32::MAX);
        let share = share.min(CONNECT_TIMEOUT);
        let mut failures = Vec::new();
        for _ in &self.hosts {
            let place = self.preferred.load(Ordering::Relaxed);
            let host = self.host(place);
            match tokio::time::timeout(share, Connection::open(host)).await {
                Ok(Ok(connection)) => return Ok(connection),
                // A server that answers but does not speak the protocol counts as unreachable.
                Ok(Err(SourceErrorKind::Unreachable(text) | SourceErrorKind::BadAnswer(text))) => failures.push(text),
                Ok(Err(other)) => failures.push(format!("{host}: {other}")),
                Err(_elapsed) => failures.push(format!("{host}: no greeting within {share:?}")),
            }
            self.switch_server(place);
        }
        Err(SourceErrorKind::Unreachable(failures.join("; ")))
    }
}
