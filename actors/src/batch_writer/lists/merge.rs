// Upstream: batch_writer, supervisor
// Downstream: domain, pipeline, ports, settings, store_retry, supervision
// Role: Merges one list into the reference store, until it is done.

use std::sync::Arc;

use crate::domain::TaskReport;
use crate::domain::reference_list::ValidList;
use crate::pipeline::TaskGuard;
use crate::ports::{ReferenceStore, Swappable};
use crate::settings::ActorSettings;
use crate::store_retry::{StoreOutage, StoreTries};
use crate::supervision::StatusBoard;

/// What every merge needs.
pub struct MergeContext {
    /// Where the lists are kept.
    pub store: Arc<Swappable<dyn ReferenceStore>>,
    /// Tells of outages; bars go on being written meanwhile.
    pub outage: StoreOutage,
    /// The worker's figures.
    pub board: Arc<StatusBoard>,
}

impl MergeContext {
    /// Merges until it is done, or the command is another worker's.
    pub async fn run(&self, list: &ValidList, guard: TaskGuard, mut report: TaskReport, settings: &ActorSettings) {
        let mut tries = StoreTries::new(&self.outage, settings);
        while !guard.is_lost() {
            let merged = match list {
                ValidList::Stocks(stocks) => self.store.pin().merge_stocks(stocks).await,
                ValidList::TradeDays(days) => self.store.pin().merge_trade_days(days).await,
            };
            match merged {
                Ok(counts) => {
                    tries.succeeded();
                    self.board.progress.progressed();
                    tracing::info!(?counts, "a list is merged");
                    report.counts.written += counts.added + counts.updated;
                    report.counts.replaced += counts.updated;
                    report.counts.unchanged += counts.unchanged;
                    return guard.done(report);
                }
                Err(error) => tries.wait_after(&error).await,
            }
        }
    }
}
