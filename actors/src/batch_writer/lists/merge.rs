// Upstream: batch_writer, supervisor
// Downstream: many
// Role: The merge of one list into the reference store.

use std::sync::Arc;

use crate::batch_writer::looks::Verdict;
use crate::batch_writer::write_path::{WriteJob, WritePath, Written};
use crate::domain::departures::Departures;
use crate::domain::reference_list::ValidList;
use crate::domain::{Rule, TaskReport};
use crate::pipeline::TaskGuard;
use crate::ports::{MergeCounts, ReferenceStore, StoreError, Swappable};
use crate::settings::ActorSettings;
use crate::store_retry::{StoreOperation, StoreOutage};
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
        let (counts, departures) = (MergeCounts::default(), Departures::default());
        let mut job = ListMerge { list, guard: &guard, counts, departures };
        let path = WritePath { stores: self.store.as_ref(), outage: &self.outage, settings };
        let written = path.write(&mut job).await;
        let (MergeCounts { added, updated, unchanged }, departures) = (job.counts, job.departures);
        match written {
            Written::Stored { .. } => {
                self.board.progress.progressed();
                tracing::info!(added, updated, unchanged, "list merged");
                report.counts.written += added + updated;
                report.counts.replaced += updated;
                report.counts.unchanged += unchanged;
                report_departures(&departures, &mut report, settings.quality.max_examples);
                guard.done(report);
            }
            // A single task has no limit of rows, so it is never too large.
            Written::Lost | Written::TooLarge => {}
            Written::Unusable(error) => guard.failed(error, 1),
        }
    }
}

/// Adds what the list no longer names to the report and to the log.
fn report_departures(departures: &Departures, report: &mut TaskReport, max_examples: usize) {
    let anomalies = departures.anomalies();
    for anomaly in &anomalies {
        *report.counts.warned.entry(anomaly.rule).or_default() += 1;
    }
    for rule in [Rule::Unlisted, Rule::Renumbered, Rule::IncompleteList] {
        let of_rule: Vec<String> = anomalies
            .iter()
            .filter(|anomaly| anomaly.rule == rule)
            .map(|anomaly| format!("{} {}", anomaly.code, anomaly.value))
            .collect();
        if !of_rule.is_empty() {
            let examples = of_rule.iter().take(MAX_LOGGED).map(String::as_str).collect::<Vec<_>>().join(", ");
            tracing::warn!(rule = rule.as_str(), number = of_rule.len(), examples, "the stock list has changed");
        }
    }
    let room = max_examples.saturating_sub(report.anomalies.len());
    report.anomalies.extend(anomalies.into_iter().take(room));
}

/// Maximum number of securities named in one line of the log.
const MAX_LOGGED: usize = 20;

/// The write of one list. Its store plans and merges in transactions, and one worker merges at a time, so nothing is
/// left to confirm.
struct ListMerge<'a> {
    list: &'a ValidList,
    guard: &'a TaskGuard,
    counts: MergeCounts,
    departures: Departures,
}

impl WriteJob for ListMerge<'_> {
    type Stores = dyn ReferenceStore;
    type Plan = ();
    type Change = ();

    fn operation(&self) -> StoreOperation {
        StoreOperation::writing("lists").giving_up()
    }

    fn retain(&mut self, _: u64) -> bool {
        !self.is_lost()
    }

    fn is_lost(&self) -> bool {
        self.guard.is_lost()
    }

    async fn plan(&mut self, _: &Self::Stores) -> Result<(), StoreError> {
        Ok(())
    }

    fn changes(&self, (): &()) -> Vec<()> {
        vec![()]
    }

    async fn apply(&mut self, (): &(), store: &Self::Stores) -> Result<(), StoreError> {
        self.counts = match self.list {
            ValidList::Stocks(list) => {
                let counts = store.merge_stocks(&list.stocks).await?;
                self.departures = store.retire_stocks(list).await?;
                counts
            }
            ValidList::TradeDays(days) => store.merge_trade_days(days).await?,
        };
        Ok(())
    }

    async fn may_repeat(&self, (): &(), _: &Self::Stores) -> bool {
        !self.is_lost()
    }

    async fn look(&mut self, _: &Self::Stores, _: bool) -> Result<Verdict<()>, StoreError> {
        Ok(Verdict::Settled)
    }
}
