// Upstream: supervisor, write
// Downstream: domain, market_cache, pipeline, ports
// Role: Publishes price updates for the newest stored daily bars.

use std::collections::HashMap;
use std::time::Duration;

use chrono::NaiveDateTime;

use crate::domain::{Bar, Code, Frequency, PriceUpdate, TraceIds};
use crate::market_cache::latest_times::LatestTimes;
use crate::pipeline::BackgroundWriter;
use crate::ports::IdentifiedBar;

/// Publishes price updates, each at most once and without delaying the writes.
pub struct PriceEvents {
    updates: BackgroundWriter<PriceUpdate>,
}

impl PriceEvents {
    /// Creates a publisher that sends through `updates`.
    pub fn new(updates: BackgroundWriter<PriceUpdate>) -> Self {
        Self { updates }
    }

    /// Publishes the newest inserted row of each code, unless a newer row is stored. Without the newest stored
    /// timestamp (the store does not answer), nothing is published. After a crash between insertion and publication,
    /// the update is missing: the row is stored, so the next run does not insert it again. `ids` are the trace ids of
    /// the command for each code.
    pub async fn publish(
        &self,
        inserted: &[IdentifiedBar],
        ids: &HashMap<Code, TraceIds>,
        latest: &LatestTimes,
        max_age: Duration,
    ) {
        for bar in newest_daily(inserted) {
            // The result is the same whether the cache was read before or after the insertion of these rows.
            let newest = latest.newest(bar.code, max_age).await.unwrap_or(Some(NaiveDateTime::MAX));
            if newest.is_none_or(|newest| bar.timestamp >= newest) {
                self.updates.note(PriceUpdate::of(bar, ids.get(&bar.code).unwrap_or(&TraceIds::default())));
            }
        }
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
