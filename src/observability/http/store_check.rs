// Upstream: answers, app, http
// Downstream: none
// Role: Checks whether ClickHouse answers, and caches the result for some seconds.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

/// Validity of a cached answer.
const FRESH: Duration = Duration::from_secs(5);

/// Timeout of the check; the timeout of a health check is only slightly longer.
const DEADLINE: Duration = Duration::from_secs(2);

/// Checks the store in force. The error is the reason why it is unusable.
pub type StoreQuestion = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// A cached check of the store.
pub struct StoreCheck {
    question: StoreQuestion,
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl fmt::Debug for StoreCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreCheck").finish_non_exhaustive()
    }
}

impl StoreCheck {
    /// Creates the check; the first call of `answer` runs it.
    pub fn new(question: StoreQuestion) -> Self {
        Self { question, last: Mutex::new(None) }
    }

    /// Whether the store answers; at most some seconds old.
    pub async fn answer(&self) -> Result<(), String> {
        // Concurrent callers wait for the same answer.
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = tokio::time::timeout(DEADLINE, (self.question)()).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {DEADLINE:?}")));
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

    #[tokio::test]
    async fn an_answer_counts_for_a_while() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let check = StoreCheck::new(Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            async { Err("away".to_owned()) }.boxed()
        }));
        assert_eq!(check.answer().await, Err("away".to_owned()));
        assert_eq!(check.answer().await, Err("away".to_owned()));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_store_that_says_nothing_is_not_waited_for() {
        let check = StoreCheck::new(Arc::new(|| std::future::pending().boxed()));
        assert!(check.answer().await.unwrap_err().starts_with("no answer within"));
    }
}
