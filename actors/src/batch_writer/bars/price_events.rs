// Upstream: supervisor, write
// Downstream: domain, market_cache, ports, supervision
// Role: Publishes price updates for the newest stored daily bars.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDateTime;

use crate::domain::{Bar, Code, Frequency, PriceUpdate};
use crate::market_cache::latest_times::LatestTimes;
use crate::ports::{IdentifiedBar, Outbox};
use crate::supervision::StatusBoard;

/// Number of attempts to publish a batch of updates. Consumers do not need old prices, and the rows are stored anyway.
const MAX_ATTEMPTS: u32 = 3;

/// Publishes price updates.
pub struct PriceEvents {
    outbox: Arc<dyn Outbox>,
    board: Arc<StatusBoard>,
}

impl PriceEvents {
    /// Creates a publisher that sends through `outbox`.
    pub fn new(outbox: Arc<dyn Outbox>, board: Arc<StatusBoard>) -> Self {
        Self { outbox, board }
    }

    /// Publishes the newest inserted row of each code, unless a newer row is stored. Without the newest stored
    /// timestamp (the store does not answer), nothing is published. After a crash between insertion and publication,
    /// the update is missing: the row is stored, so the next run does not insert it again.
    pub async fn publish(&self, inserted: &[IdentifiedBar], latest: &LatestTimes, max_age: Duration) {
        let mut updates = Vec::new();
        for bar in newest_daily(inserted) {
            // The result is the same whether the cache was read before or after the insertion of these rows.
            let newest = latest.newest(bar.code, max_age).await.unwrap_or(Some(NaiveDateTime::MAX));
            let is_newest = newest.is_none_or(|newest| bar.timestamp >= newest);
            updates.extend(is_newest.then(|| PriceUpdate::of(bar)));
        }
        if updates.is_empty() {
            return;
        }
        for attempt in 1..=MAX_ATTEMPTS {
            match self.outbox.price_updates(&updates).await {
                Ok(()) => {
                    self.board.counters.price_updates.add(updates.len() as u64);
                    return;
                }
                Err(error) => {
                    tracing::warn!(attempt, updates = updates.len(), %error, "price updates not published")
                }
            }
        }
        self.board.record_error("price updates not published after all attempts");
        tracing::error!(updates = updates.len(), "price updates not published after all attempts; the bars are stored");
    }
}

/// The newest inserted daily bar of each code. Consumers treat an update as a daily bar, so minute bars are left out.
fn newest_daily(inserted: &[IdentifiedBar]) -> Vec<&Bar> {
    let mut newest: HashMap<Code, &Bar> = HashMap::new();
    for IdentifiedBar { bar, .. } in inserted.iter().filter(|row| row.bar.frequency == Frequency::Day) {
        let known = newest.entry(bar.code).or_insert(bar);
        if known.timestamp < bar.timestamp {
            *known = bar;
        }
    }
    let mut bars: Vec<&Bar> = newest.into_values().collect();
    bars.sort_unstable_by_key(|bar| bar.code);
    bars
}
