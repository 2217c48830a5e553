// Upstream: sources::tushare
// Downstream: actors::ports
// Role: Keeps all calls of this worker back after the vendor asked one of them to slow down.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actors::ports::SourceErrorKind;
use tokio::time::Instant;

/// Closed after a rate-limited answer, so that the fetches under way do not each run into the limit.
#[derive(Debug, Default)]
pub struct RateGate {
    closed: Mutex<Option<Closure>>,
}

#[derive(Debug, Clone)]
struct Closure {
    opens: Instant,
    window_ends: Instant,
    message: String,
}

impl RateGate {
    /// The longest closure. A vendor's hour or day is probed every minute: its limit may have been raised meanwhile.
    const LONGEST_CLOSURE: Duration = Duration::from_secs(60);

    /// Nothing is sent for `retry_after`, at most a minute. Never opens earlier than it would have.
    pub fn close(&self, message: &str, retry_after: Duration) {
        let now = Instant::now();
        let opens = now + retry_after.min(Self::LONGEST_CLOSURE);
        let window_ends = now.checked_add(retry_after).unwrap_or(opens);
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.as_ref().is_none_or(|closure| closure.opens < opens) {
            *closed = Some(Closure { opens, window_ends, message: message.to_owned() });
        }
    }

    /// Returns when calls may be sent. Where that would take longer than `patience` the call fails at once with the
    /// vendor's own text: its caller decides whether to come back.
    pub async fn pass(&self, patience: Duration) -> Result<(), SourceErrorKind> {
        let deadline = Instant::now() + patience;
        // Another answer may close the gate again while this call waits.
        while let Some(closure) = self.closure() {
            if closure.opens > deadline {
                let retry_after = closure.window_ends.saturating_duration_since(Instant::now());
                return Err(SourceErrorKind::RateLimited {
                    message: format!("not sent, an earlier call was refused: {}", closure.message),
                    retry_after,
                });
            }
            tokio::time::sleep_until(closure.opens).await;
        }
        Ok(())
    }

    fn closure(&self) -> Option<Closure> {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.as_ref().is_some_and(|closure| closure.opens <= Instant::now()) {
            *closed = None;
        }
        closed.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn an_open_gate_lets_through() {
        assert_eq!(RateGate::default().pass(Duration::ZERO).await, Ok(()));
    }

    #[tokio::test]
    async fn a_closed_gate_is_waited_for_when_patience_allows() {
        let gate = RateGate::default();
        gate.close("slow down", Duration::from_millis(40));
        let before = Instant::now();
        assert_eq!(gate.pass(MINUTE).await, Ok(()));
        assert!(before.elapsed() >= Duration::from_millis(30));
    }

    #[tokio::test]
    async fn beyond_patience_the_call_fails_with_the_vendors_text_and_window() {
        let gate = RateGate::default();
        gate.close("every hour 20 calls", Duration::from_secs(3_600));
        gate.close("a shorter word does not open it earlier", Duration::from_secs(1));
        let Err(SourceErrorKind::RateLimited { message, retry_after }) = gate.pass(Duration::from_secs(1)).await else {
            panic!("the gate must be closed");
        };
        assert!(message.contains("every hour 20 calls"), "{message}");
        assert!(retry_after > Duration::from_secs(3_500), "{retry_after:?}");
        // The closure itself lasts a minute only.
        assert!(gate.closure().unwrap().opens <= Instant::now() + MINUTE);
    }
}
