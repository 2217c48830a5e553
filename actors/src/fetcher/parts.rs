// Upstream: many
// Downstream: many
// Role: The parts that all fetches share; they outlive a restart of the actor.

use std::sync::Arc;

use actix::prelude::*;

use crate::fetcher::cross_check::CrossCheck;
use crate::fetcher::cross_section::CrossSections;
use crate::fetcher::plan::FetchPlanner;
use crate::fetcher::row_context::RowContextReader;
use crate::fetcher::source_caller::{FetchFailed, SourceCaller};
use crate::market_cache::facts::FactCache;
use crate::market_cache::last_closes::LastCloses;
use crate::market_cache::latest_times::{LatestBars, LatestTimes};
use crate::pipeline::{RowBudget, TaskGuard};
use crate::ports::{StoreSet, Swappable};
use crate::store_retry::StoreOutage;
use crate::supervision::StatusBoard;
use crate::validator::Validator;

/// What the Fetcher reads of stored data.
pub struct StoredData {
    /// The newest bar of every code.
    pub latest_bars: Arc<LatestBars>,
    /// The newest factor of every code.
    pub latest_factors: Arc<LatestTimes>,
    /// Bars, factors and ticks, read by code.
    pub stores: Arc<Swappable<StoreSet>>,
    /// Securities and trading calendar.
    pub facts: FactCache,
    /// The last daily close of every code.
    pub last_closes: LastCloses,
    /// Outages of these stores.
    pub outage: Arc<StoreOutage>,
}

/// One part for each question of a fetch: which days, from whom, against what, compared with whom.
pub(crate) struct FetchParts {
    /// What is stored.
    pub(crate) stores: Arc<Swappable<StoreSet>>,
    /// Which days are requested.
    pub(crate) planner: FetchPlanner,
    /// Who answers.
    pub(crate) caller: SourceCaller,
    /// Whole days that several tasks share.
    pub(crate) cross_sections: CrossSections,
    /// What rows are validated against.
    pub(crate) row_context: RowContextReader,
    /// The comparison with a second source.
    pub(crate) cross_check: CrossCheck,
    /// The rows that may be in memory.
    pub(crate) row_budget: RowBudget,
    /// Takes the rows.
    pub(crate) validator: Addr<Validator>,
    /// Counts.
    pub(crate) board: Arc<StatusBoard>,
}

impl FetchParts {
    /// Ends a task whose rows no source gave.
    pub(crate) fn fail(&self, guard: TaskGuard, failed: FetchFailed) {
        let FetchFailed { error, attempts } = failed;
        self.board.record_error(&error.to_string());
        tracing::error!(subject = %guard.subject(), attempts, %error, "fetch failed permanently");
        guard.failed(error, attempts);
    }
}
