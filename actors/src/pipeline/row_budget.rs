// Upstream: fetcher, pipeline
// Downstream: ports
// Role: Limits the number of rows in memory between source and store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ports::DataKind;

/// The part of the budget that belongs to each kind of data alone: a twentieth, or 5,000 of 100,000 rows. That is an
/// evening's daily bars of the market, or a month of one-minute bars of one security.
const OWN_PART: usize = 20;

/// The budget of rows in memory between source and store. A fetch with rows waits here until the budget covers them.
/// Kinds share most of it. A small part belongs to each kind alone, so that kinds whose source or store does not answer
/// hold up no other.
pub struct RowBudget {
    shared: Pool,
    own: BTreeMap<DataKind, Pool>,
}

impl RowBudget {
    /// Creates a budget of `size` rows.
    pub fn new(size: usize) -> Self {
        let (shared, own) = parts(size);
        Self { shared: Pool::new(shared), own: DataKind::ALL.map(|kind| (kind, Pool::new(own))).into() }
    }

    /// Waits until `rows` rows are available for this kind. A task with more rows than a part of the budget takes the
    /// whole part.
    pub async fn reserve(&self, kind: DataKind, rows: usize) -> Option<OwnedSemaphorePermit> {
        let Some(own) = self.own.get(&kind) else { return self.shared.reserve(rows).await };
        // In this order: the shared part stays free for the kinds that have used theirs.
        tokio::select! {
            biased;
            permit = own.reserve(rows) => permit,
            permit = self.shared.reserve(rows) => permit,
        }
    }

    /// Changes the size of the budget. A smaller size takes effect as rows are released.
    pub fn resize(&self, size: usize) {
        let (shared, own) = parts(size);
        self.shared.resize(shared);
        self.own.values().for_each(|pool| pool.resize(own));
    }
}

/// The shared part of a budget, and the part of each kind.
fn parts(size: usize) -> (usize, usize) {
    let own = (size / OWN_PART).max(1);
    (size.saturating_sub(own * DataKind::ALL.len()).max(1), own)
}

/// A number of rows, of which tasks take some.
struct Pool {
    semaphore: Arc<Semaphore>,
    size: Mutex<usize>,
}

impl Pool {
    fn new(size: usize) -> Self {
        Self { semaphore: Arc::new(Semaphore::new(size)), size: Mutex::new(size) }
    }

    async fn reserve(&self, rows: usize) -> Option<OwnedSemaphorePermit> {
        let whole = *self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let permits = u32::try_from(rows.clamp(1, whole.max(1))).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.semaphore.clone().acquire_many_owned(permits).await.ok()
    }

    fn resize(&self, new_size: usize) {
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

    /// Reserves rows that must be available without waiting.
    async fn fits<F: Future<Output = Option<OwnedSemaphorePermit>>>(reserving: F) -> Option<OwnedSemaphorePermit> {
        actix_rt::time::timeout(std::time::Duration::ZERO, reserving).await.ok().flatten()
    }

    #[actix_rt::test]
    async fn waits_until_rows_leave() {
        let pool = Pool::new(10);
        let first = fits(pool.reserve(8)).await.unwrap();
        assert!(fits(pool.reserve(3)).await.is_none());
        let _second = fits(pool.reserve(2)).await.unwrap();
        drop(first);
        assert!(fits(pool.reserve(8)).await.is_some());
    }

    #[actix_rt::test]
    async fn a_task_above_the_budget_takes_all_of_it() {
        let pool = Pool::new(10);
        let whole = fits(pool.reserve(1_000)).await.unwrap();
        assert!(fits(pool.reserve(1)).await.is_none());
        drop(whole);
        assert!(fits(pool.reserve(10)).await.is_some());
    }

    #[actix_rt::test]
    async fn grows_at_once_and_shrinks_as_rows_leave() {
        let pool = Pool::new(4);
        let all = fits(pool.reserve(4)).await.unwrap();
        pool.resize(6);
        let more = fits(pool.reserve(2)).await.unwrap();
        pool.resize(3);
        drop(all);
        drop(more);
        tokio::task::yield_now().await;
        assert!(fits(pool.reserve(3)).await.is_some());
        let _held = fits(pool.reserve(3)).await.unwrap();
        assert!(fits(pool.reserve(1)).await.is_none(), "three of the six permits are gone");
    }

    #[actix_rt::test]
    async fn kinds_that_hold_all_they_can_leave_a_part_to_others() {
        let budget = RowBudget::new(100);
        let mut held = Vec::new();
        for kind in [DataKind::MinuteBars, DataKind::Ticks] {
            while let Some(permit) = fits(budget.reserve(kind, 5)).await {
                held.push(permit);
            }
        }
        assert_eq!(held.len(), 16, "70 shared rows, and 5 of each of the two kinds");
        assert!(fits(budget.reserve(DataKind::Bars, 5)).await.is_some());
        let _bars = fits(budget.reserve(DataKind::Bars, 5)).await.unwrap();
        assert!(fits(budget.reserve(DataKind::Bars, 1)).await.is_none());
        drop(held.remove(8));
        assert!(fits(budget.reserve(DataKind::Bars, 1)).await.is_some(), "room that is free again serves any kind");
    }

    #[actix_rt::test]
    async fn the_smallest_budget_serves_every_kind() {
        let budget = RowBudget::new(1);
        for kind in DataKind::ALL {
            assert!(fits(budget.reserve(kind, 1_000)).await.is_some());
        }
    }
}
