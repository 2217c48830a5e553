// Upstream: rate_limiter, tests::it
// Downstream: actors, budget
// Role: The limits of one interface of a vendor: the requests that are allowed, and the vendor's last refusal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::ports::{InterfaceFigures, SourceErrorKind};
use tokio::time::Instant;

use crate::sources::shared::budget::{Allowance, Budget};

/// The shortest block after a refusal with a longer window. The window may have begun long ago.
const MIN_BLOCK: Duration = Duration::from_secs(60);
/// The longest block. After it, one request tests whether the limit of a day was raised.
const MAX_BLOCK: Duration = Duration::from_secs(1_800);

/// Interval of the registration with the group. What the group leaves to a worker while the common counts are lost comes
/// from the last answer, so that must be young, also in a worker that sends nothing.
const REGISTRATION: Duration = Duration::from_secs(1);

/// The limits of one interface. A vendor that counts its interfaces separately refuses each with its own words.
#[derive(Debug)]
pub struct InterfaceLimit {
    name: &'static str,
    budget: Budget,
    /// Held by the request that is sent next, so that requests are sent in the order of their arrival.
    turn: tokio::sync::Mutex<()>,
    refused: Mutex<Option<Block>>,
    throttled_ms: AtomicU64,
}

/// A period in which nothing is sent.
#[derive(Debug, Clone)]
pub struct Block {
    /// When the next request may be sent.
    pub ends_at: Instant,
    /// The error of a request that does not wait.
    reason: Reason,
}

#[derive(Debug, Clone)]
enum Reason {
    /// The vendor refused a request. Its window may end later than the block.
    Limit { text: String, window_ends: Instant },
    /// Requests failed.
    Failures { text: String },
}

impl InterfaceLimit {
    /// The whole source as one interface: the vendor counts all requests together.
    pub const ALL: &str = "all";

    /// An interface with this budget and no block.
    pub fn new(name: &'static str, budget: Budget) -> Self {
        let (turn, refused, throttled_ms) = (tokio::sync::Mutex::default(), Mutex::default(), AtomicU64::default());
        Self { name, budget, turn, refused, throttled_ms }
    }

    /// Waits until all earlier requests to this interface are sent.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Takes a request from the budget. Otherwise the time to wait for, or an error if the day's requests are used up.
    pub async fn take(&self) -> Result<Option<Instant>, SourceErrorKind> {
        match self.budget.take(self.name).await {
            Allowance::Sent => Ok(None),
            Allowance::NotBefore(time) => Ok(Some(time)),
            Allowance::DayIsFull(retry_after) => {
                let (per_day, target) = (self.budget.limits.per_day, self.target());
                let message = format!("not sent: the daily limit of {per_day} requests{target} is used up");
                Err(SourceErrorKind::RateLimited { message, retry_after })
            }
        }
    }

    /// Registers this worker with its group every second, also while it sends nothing: each must know how many use the
    /// interface, and what is left of it, when their common counts are lost. Ends with the interface.
    pub fn keep_registered(self: &Arc<Self>) {
        if !self.budget.is_shared() {
            return;
        }
        let interface = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(interface) = interface.upgrade() {
                interface.budget.register(interface.name).await;
                drop(interface);
                tokio::time::sleep(REGISTRATION).await;
            }
        });
    }

    /// The block after the vendor's refusal, if it has not ended.
    pub fn block(&self) -> Option<Block> {
        let mut refused = self.refused();
        refused.take_if(|block| block.ends_at <= Instant::now());
        refused.clone()
    }

    /// The vendor refused a request for this period. Never shortens the current block.
    pub fn refuse(&self, text: &str, retry_after: Duration) {
        let now = Instant::now();
        let ends_at = now + block_of(retry_after);
        let window_ends = now.checked_add(retry_after).unwrap_or(ends_at);
        let text = format!("not sent: the vendor rate-limited an earlier request{}: {text}", self.target());
        let mut refused = self.refused();
        if refused.as_ref().is_none_or(|block| block.ends_at < ends_at) {
            *refused = Some(Block { ends_at, reason: Reason::Limit { text, window_ends } });
        }
    }

    /// Adds a wait to the total.
    pub fn waited(&self, duration: Duration) {
        self.throttled_ms.fetch_add(duration.as_millis() as u64, Ordering::Relaxed);
    }

    /// The requests and waits here.
    pub fn figures(&self) -> InterfaceFigures {
        let (sent_in_minute, sent_today) = self.budget.sent(self.name);
        InterfaceFigures {
            name: self.name,
            throttled: Duration::from_millis(self.throttled_ms.load(Ordering::Relaxed)),
            sent_in_minute,
            limit_of_minute: self.budget.limits.per_minute,
            sent_today,
            limit_of_day: self.budget.limits.per_day,
        }
    }

    /// For a message: which interface it is about.
    fn target(&self) -> String {
        if self.name == Self::ALL { String::new() } else { format!(" to `{}`", self.name) }
    }

    fn refused(&self) -> MutexGuard<'_, Option<Block>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Block {
    /// A pause after failures.
    pub fn after_failures(text: &str, pause: Duration) -> Self {
        let text = format!("not sent: the source is paused after repeated failures: {text}");
        Self { ends_at: Instant::now() + pause, reason: Reason::Failures { text } }
    }

    /// The error of a request that does not wait for the end.
    pub fn error(self) -> SourceErrorKind {
        match self.reason {
            Reason::Limit { text: message, window_ends } => {
                let retry_after = window_ends.saturating_duration_since(Instant::now());
                SourceErrorKind::RateLimited { message, retry_after }
            }
            Reason::Failures { text } => SourceErrorKind::Unreachable(text),
        }
    }
}

/// How long nothing is sent after a refusal with this window: a minute wholly. A longer window is tried 12 times,
/// because the vendor does not say when it began.
fn block_of(window: Duration) -> Duration {
    (window / 12).clamp(MIN_BLOCK, MAX_BLOCK).min(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_window_is_tried_less_often() {
        let seconds = |window| block_of(Duration::from_secs(window)).as_secs();
        assert_eq!([1, 60, 300, 3_600, 86_400].map(seconds), [1, 60, 60, 300, 1_800]);
    }
}
