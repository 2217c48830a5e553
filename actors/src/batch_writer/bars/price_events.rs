// Upstream: supervisor, write
// Downstream: domain, market_cache, ports, supervision
// Role: Tells those who follow prices of the newest stored bars.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDateTime;

use crate::domain::{Bar, Code, Frequency, PriceUpdate};
use crate::market_cache::latest_times::LatestTimes;
use crate::ports::{IdentifiedBar, Outbox};
use crate::supervision::StatusBoard;

/// Tries of one batch of events. Those who follow prices have no use for old ones, and the rows are stored anyway.
const TRIES: u32 = 3;

/// Publishes price updates.
pub struct PriceEvents {
    outbox: Arc<dyn Outbox>,
    board: Arc<StatusBoard>,
}

impl PriceEvents {
    /// Events that go out through `outbox`.
    pub fn new(outbox: Arc<dyn Outbox>, board: Arc<StatusBoard>) -> Self {
        Self { outbox, board }
    }

    /// Tells of inserted rows: of each code the newest one, where nothing newer is stored. A store that does
    /// not say what is newest makes nothing news. A crash between storing and telling leaves a bar untold: it is stored then and not new any more.
    pub async fn tell(&self, inserted: &[IdentifiedBar], latest: &LatestTimes, max_age: Duration) {
        let mut updates = Vec::new();
        for bar in newest_daily(inserted) {
            // Whether what is known is older or younger than these rows makes no difference.
            let newest = latest.newest(bar.code, max_age).await.unwrap_or(Some(NaiveDateTime::MAX));
            let is_newest = newest.is_none_or(|newest| bar.timestamp >= newest);
            updates.extend(is_newest.then(|| PriceUpdate::of(bar)));
        }
        if updates.is_empty() {
            return;
        }
        for attempt in 1..=TRIES {
            match self.outbox.price_updates(&updates).await {
                Ok(()) => {
                    self.board.counters.price_updates.add(updates.len() as u64);
                    return;
                }
                Err(error) => {
                    tracing::warn!(attempt, updates = updates.len(), %error, "price updates are not published")
                }
            }
        }
        self.board.record_error("price updates given up");
        tracing::error!(updates = updates.len(), "price updates given up; the bars are stored");
    }
}

/// The newest inserted daily bar of each code. Readers make a day's bar of an update, so minute bars are not told.
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
