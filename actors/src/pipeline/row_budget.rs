// Upstream: fetcher, pipeline
// Downstream: none
// Role: Limits the number of rows in memory between source and store.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget of rows in memory between source and store. A fetch with rows waits here until the budget covers them.
pub struct RowBudget {
    semaphore: Arc<Semaphore>,
    size: Mutex<usize>,
}

impl RowBudget {
    /// Creates a budget of `size` rows.
    pub fn new(size: usize) -> Self {
        Self { semaphore: Arc::new(Semaphore::new(size)), size: Mutex::new(size) }
    }

    /// Waits until `rows` rows are available. A task with more rows than the whole budget takes the whole budget.
    pub async fn reserve(&self, rows: usize) -> Option<OwnedSemaphorePermit> {
        let whole = *self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let permits = u32::try_from(rows.clamp(1, whole.max(1))).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.semaphore.clone().acquire_many_owned(permits).await.ok()
    }

    /// Changes the size of the budget. A smaller size takes effect as rows are released.
    pub fn resize(&self, new_size: usize) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if new_size > *size {
            self.semaphore.add_permits(new_size - *size);
        } else if new_size < *size {
            let excess = u32::try_from(*size - new_size).unwrap_or(u32::MAX);
            let semaphore = self.semaphore.clone();
            actix_rt::spawn(async move {
                if let Ok(permits) = semaphore.acquire_many_owned(excess).await {
                    permits.forget();
                }
            });
        }
        *size = new_size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether rows can be reserved without waiting.
    async fn fits(budget: &RowBudget, rows: usize) -> Option<OwnedSemaphorePermit> {
        let now = std::time::Duration::ZERO;
        actix_rt::time::timeout(now, budget.reserve(rows)).await.ok().flatten()
    }

    #[actix_rt::test]
    async fn waits_until_rows_leave() {
        let budget = RowBudget::new(10);
        let first = fits(&budget, 8).await.unwrap();
        assert!(fits(&budget, 3).await.is_none());
        let _second = fits(&budget, 2).await.unwrap();
        drop(first);
        assert!(fits(&budget, 8).await.is_some());
    }

    #[actix_rt::test]
    async fn a_task_above_the_budget_takes_all_of_it() {
        let budget = RowBudget::new(10);
        let whole = fits(&budget, 1_000).await.unwrap();
        assert!(fits(&budget, 1).await.is_none());
        drop(whole);
        assert!(fits(&budget, 10).await.is_some());
    }

    #[actix_rt::test]
    async fn grows_at_once_and_shrinks_as_rows_leave() {
        let budget = RowBudget::new(4);
        let all = fits(&budget, 4).await.unwrap();
        budget.resize(6);
        let more = fits(&budget, 2).await.unwrap();
        budget.resize(3);
        drop(all);
        drop(more);
        tokio::task::yield_now().await;
        assert!(fits(&budget, 3).await.is_some());
        let _held = fits(&budget, 3).await.unwrap();
        assert!(fits(&budget, 1).await.is_none(), "three of the six permits are gone");
    }
}
