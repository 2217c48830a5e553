// Upstream: app, observability::http, observability::metrics
// Downstream: actors
// Role: A running worker as it is looked at from outside: who it is, its board, its feed.

use actors::ports::Swappable;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actors::domain::{Identity, Lifecycle};
use actors::ports::{CommandFeed, DataKind, MarketSources, PartitionState};
use actors::supervision::StatusBoard;

/// Looks only; every look is cheap.
#[derive(Clone)]
pub struct WorkerView {
    /// Who it is.
    pub identity: Identity,
    /// What is known of it.
    pub board: Arc<StatusBoard>,
    /// Where its commands come from.
    pub feed: Arc<dyn CommandFeed>,
    /// Where its data comes from.
    pub sources: Arc<Swappable<dyn MarketSources>>,
}

impl fmt::Debug for WorkerView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerView").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Partitions told of at most, so that no answer is of any length.
const MAX_PARTITIONS: usize = 500;

impl WorkerView {
    /// Where it is in its life; `Error` also when work waits and nothing moves, as its heartbeat has it.
    pub fn lifecycle(&self) -> Lifecycle {
        match self.board.lifecycle() {
            Lifecycle::Running if self.board.unhealthy_reason().is_some() => Lifecycle::Error,
            lifecycle => lifecycle,
        }
    }

    /// The configuration in force: 1 at the start, one more with each change.
    pub fn config_generation(&self) -> u64 {
        1 + self.board.counters.reloads_applied.get()
    }

    /// For how long requests to each source in force have waited for limits, all added up.
    pub fn throttled(&self) -> BTreeMap<&'static str, Duration> {
        let sources = DataKind::ALL.into_iter().flat_map(|kind| self.sources.pin().of(kind));
        sources.map(|source| (source.name(), source.throttled())).collect()
    }

    /// The assigned partitions, by topic and number.
    pub fn partitions(&self) -> Vec<PartitionState> {
        let mut partitions = self.feed.partitions();
        partitions.truncate(MAX_PARTITIONS);
        partitions
    }
}
