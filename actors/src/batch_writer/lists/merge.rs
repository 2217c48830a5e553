// Upstream: batch_writer, supervisor
// Downstream: domain, pipeline, ports, settings, store_retry, supervision
// Role: Merges a list into the reference store, with retries until it succeeds.

use std::sync::Arc;

use crate::domain::TaskReport;
use crate::domain::reference_list::ValidList;
use crate::pipeline::TaskGuard;
use crate::ports::{MergeCounts, ReferenceStore, Swappable};
use crate::settings::ActorSettings;
use crate::store_retry::{StoreOperation, StoreOutage, StoreTries};
use crate::supervision::StatusBoard;

/// The services that merges share.
pub struct MergeContext {
    /// The store of the lists.
    pub store: Arc<Swappable<dyn ReferenceStore>>,
    /// Reports outages of this store. Bars are still written during such an outage.
    pub outage: StoreOutage,
    /// The worker's status and counters.
    pub board: Arc<StatusBoard>,
}

impl MergeContext {
    /// Retries the merge until it succeeds, or the partition of the command is assigned to another worker. Where the
    /// table cannot hold the list, the task fails.
    pub async fn run(&self, list: &ValidList, guard: TaskGuard, mut report: TaskReport, settings: &ActorSettings) {
        let mut tries = StoreTries::new(&self.outage, StoreOperation::writing("lists").giving_up(), settings);
        while !guard.is_lost() {
            let merged = match list {
                ValidList::Stocks(stocks) => self.store.pin().merge_stocks(stocks).await,
                ValidList::TradeDays(days) => self.store.pin().merge_trade_days(days).await,
            };
            match merged {
                Ok(counts) => {
                    tries.succeeded();
                    self.board.progress.progressed();
                    let MergeCounts { added, updated, unchanged } = counts;
                    tracing::info!(added, updated, unchanged, "list merged");
                    report.counts.written += added + updated;
                    report.counts.replaced += updated;
                    report.counts.unchanged += unchanged;
                    return guard.done(report);
                }
                Err(error) if tries.gives_up_after(&error).await => return guard.failed(error, 1),
                Err(_) => {}
            }
        }
    }
}
