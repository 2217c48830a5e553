// Upstream: client
// Downstream: actors, connection, request
// Role: A few connections to the first TDX server that answers; the next server takes over when one fails.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actors::ports::SourceErrorKind;

use super::connection::Connection;
use super::request::Request;

/// A server that does not take a connection and greet by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Servers close connections that are silent for long; the public clients say something every 10 seconds.
const MAX_IDLE: Duration = Duration::from_secs(10);

/// Servers in their order, and connections to one of them that nobody uses just now. As many requests as the gate before
/// it lets through are under way at once, each on a connection of its own.
pub struct Pool {
    hosts: Vec<String>,
    /// Where the next connection goes first, counted up; the place among the hosts is the remainder.
    preferred: AtomicUsize,
    idle: Mutex<Vec<Connection>>,
    timeout: Duration,
}

impl Pool {
    /// A pool that has not connected yet. One request takes `timeout` at most, connecting included.
    pub fn new(hosts: Vec<String>, timeout: Duration) -> Self {
        Self { hosts, preferred: AtomicUsize::new(0), idle: Mutex::default(), timeout }
    }

    /// The server that is asked next.
    pub fn address(&self) -> &str {
        self.host(self.preferred.load(Ordering::Relaxed))
    }

    /// Sends a request. A server that fails is the last one to be asked again.
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
            self.leave(place);
        }
        outcome
    }

    fn host(&self, place: usize) -> &str {
        self.hosts.get(place.checked_rem(self.hosts.len()).unwrap_or(0)).map_or("(no host)", String::as_str)
    }

    /// The next connection goes to the next server, unless another request has seen to that already.
    fn leave(&self, place: usize) {
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

    /// Tries every server once. Each has its share of the time, so that the last one has some, too.
    async fn connect(&self) -> Result<Connection, SourceErrorKind> {
        let share = self.timeout / u32::try_from(self.hosts.len().max(1)).unwrap_or(u32::MAX);
        let share = share.min(CONNECT_TIMEOUT);
        let mut failures = Vec::new();
        for _ in &self.hosts {
            let place = self.preferred.load(Ordering::Relaxed);
            let host = self.host(place);
            match tokio::time::timeout(share, Connection::open(host)).await {
                Ok(Ok(connection)) => return Ok(connection),
                // What answers, but does not speak the protocol, is as little a server as what does not answer.
                Ok(Err(SourceErrorKind::Unreachable(text) | SourceErrorKind::BadAnswer(text))) => failures.push(text),
                Ok(Err(other)) => failures.push(format!("{host}: {other}")),
                Err(_elapsed) => failures.push(format!("{host}: no greeting within {share:?}")),
            }
            self.leave(place);
        }
        Err(SourceErrorKind::Unreachable(failures.join("; ")))
    }
}
