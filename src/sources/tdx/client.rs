// Upstream: paginate, source
// Downstream: actors, pool, request, sources::shared
// Role: Sends requests to the TDX servers within the limits of the source.

use std::time::Duration;

use actors::ports::SourceErrorKind;

use super::pool::Pool;
use super::request::Request;
use crate::sources::shared::budget::Budget;
use crate::sources::shared::rate_limiter::RateLimiter;

/// A pool of connections behind a rate limiter.
pub struct TdxClient {
    pool: Pool,
    timeout: Duration,
    pub(super) limiter: RateLimiter,
}

impl TdxClient {
    /// Creates the client without connecting. One request takes at most `timeout`.
    pub fn new(hosts: Vec<String>, timeout: Duration, budget: impl Into<Budget>) -> Self {
        Self { pool: Pool::new(hosts, timeout), timeout, limiter: RateLimiter::new(budget) }
    }

    /// Sends one request. It waits for a block of the rate limiter for at most `timeout`, then for its answer.
    pub async fn ask<R: Request>(&self, request: &R) -> Result<R::Answer, SourceErrorKind> {
        self.limiter.pass(self.timeout, async || self.pool.ask(request).await).await
    }

    /// The server of the next request.
    pub fn address(&self) -> &str {
        self.pool.address()
    }
}
