// Upstream: actors::batch_writer, actors::children
// Downstream: actors::ports, actors::reference_list, actors::settings, actors::store_outage, actors::store_tries, actors::supervision::board, actors::ticket
// Role: Merges one list into the reference store, until it is done.

use std::sync::Arc;

use crate::ports::ReferenceStore;
use crate::reference_list::SoundList;
use crate::settings::ActorSettings;
use crate::store_outage::StoreOutage;
use crate::store_tries::StoreTries;
use crate::supervision::Board;
use crate::ticket::{TaskReport, Ticket};

/// What every merge needs.
pub struct MergeContext {
    /// Where the lists are kept.
    pub store: Arc<dyn ReferenceStore>,
    /// Tells of outages; bars go on being written meanwhile.
    pub outage: StoreOutage,
    /// The worker's figures.
    pub board: Arc<Board>,
}

impl MergeContext {
    /// Merges until it is done, or the command is another worker's.
    pub async fn run(&self, list: &SoundList, ticket: Ticket, mut report: TaskReport, settings: &ActorSettings) {
        let mut tries = StoreTries::new(&self.outage, settings);
        while !ticket.is_lost() {
            let merged = match list {
                SoundList::Stocks(stocks) => self.store.merge_stocks(stocks).await,
                SoundList::TradeDays(days) => self.store.merge_trade_days(days).await,
            };
            match merged {
                Ok(counts) => {
                    tries.succeeded();
                    self.board.progressed();
                    tracing::info!(?counts, "a list is merged");
                    report.counts.written += counts.added + counts.updated;
                    report.counts.replaced += counts.updated;
                    report.counts.unchanged += counts.unchanged;
                    return ticket.done(report);
                }
                Err(error) => tries.wait_after(&error).await,
            }
        }
    }
}
