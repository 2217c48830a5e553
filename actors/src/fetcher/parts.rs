// Upstream: many
// Downstream: many
// Role: The services that all fetches share; they outlive a restart of the actor.

use std::sync::Arc;

use actix::prelude::*;
use chrono::NaiveDate;

use crate::domain::{Code, DateRange, TaskCounts, TaskReport};
use crate::fetcher::cross_check::CrossCheck;
use crate::fetcher::cross_section::{CrossSections, Sharing, whole_days};
use crate::fetcher::former_stocks::FormerStocksRequest;
use crate::fetcher::joint_call::CodeRequest;
use crate::fetcher::plan::FetchPlanner;
use crate::fetcher::row_context::RowContextReader;
use crate::fetcher::several_codes::SeveralCodes;
use crate::fetcher::source_caller::{FetchFailed, NotFetched, SourceCaller};
use crate::market_cache::facts::FactCache;
use crate::market_cache::last_closes::LastCloses;
use crate::market_cache::latest_times::{LatestBars, LatestTimes};
use crate::pipeline::{RowBudget, StoredNotes, TaskGuard};
use crate::ports::{SourceErrorKind, StoreSet, Swappable};
use crate::settings::{ActorSettings, FetchSettings};
use crate::store_retry::StoreOutage;
use crate::supervision::StatusBoard;
use crate::validator::Validator;

/// The stored data that the Fetcher reads.
pub struct StoredData {
    /// The newest bar of every code.
    pub latest_bars: Arc<LatestBars>,
    /// The newest factor of every code.
    pub latest_factors: Arc<LatestTimes>,
    /// Bars, factors and ticks, read by code.
    pub stores: Arc<Swappable<StoreSet>>,
    /// Listings and trading calendar.
    pub facts: FactCache,
    /// The last daily close of every code.
    pub last_closes: LastCloses,
    /// The outage state of these stores.
    pub outage: Arc<StoreOutage>,
    /// Notes about stored tasks.
    pub notes: Arc<StoredNotes>,
}

/// The services that all fetches share.
pub(crate) struct FetchParts {
    /// The stores.
    pub(crate) stores: Arc<Swappable<StoreSet>>,
    /// Determines the days to request.
    pub(crate) planner: FetchPlanner,
    /// Calls the sources.
    pub(crate) caller: SourceCaller,
    /// Fetches whole days for several tasks.
    pub(crate) cross_sections: CrossSections,
    /// Fetches several securities together.
    pub(crate) several_codes: SeveralCodes,
    /// Reads the data that rows are validated against.
    pub(crate) row_context: RowContextReader,
    /// Compares bars with a second source.
    pub(crate) cross_check: CrossCheck,
    /// Asks for securities that are not traded any more.
    pub(crate) former_stocks: FormerStocksRequest,
    /// Notes about stored tasks.
    pub(crate) notes: Arc<StoredNotes>,
    /// Limits the rows in memory.
    pub(crate) row_budget: RowBudget,
    /// Receives the fetched rows.
    pub(crate) validator: Addr<Validator>,
    /// The worker's status and counters.
    pub(crate) board: Arc<StatusBoard>,
}

impl FetchParts {
    /// The trading days of a range, if they are few enough to be fetched as whole days.
    pub(crate) async fn whole_days(&self, range: DateRange, settings: &ActorSettings) -> Option<Vec<NaiveDate>> {
        whole_days(range, &self.row_context.facts(settings).await.calendar)
    }

    /// Whether an increment from the newest stored row on has a day to request. Days on which the exchanges are closed
    /// have no rows.
    pub(crate) async fn expects_rows_in(&self, range: DateRange, settings: &ActorSettings) -> bool {
        self.row_context.facts(settings).await.calendar.expects_rows_in(range)
    }

    /// What a task requests of a security in a range of days.
    pub(crate) async fn request_of(&self, code: Code, range: DateRange, settings: &ActorSettings) -> CodeRequest {
        let facts = self.row_context.facts(settings).await;
        let listed = facts.listing(code).map_or(Some(range), |listing| listing.within(range));
        let num_rows = listed.map_or(0, |listed| facts.calendar.expected_days(listed).len());
        CodeRequest { code, range, num_rows }
    }

    /// Decides for a task whether it shares whole days with others.
    pub(crate) fn sharing<'a>(&'a self, settings: &'a FetchSettings, is_planned: bool) -> Sharing<'a> {
        Sharing { board: &self.board, settings, is_planned }
    }

    /// Ends a task that no source answered. What no configured source offers for this kind of security is no failure.
    pub(crate) fn fail(&self, guard: TaskGuard, failed: NotFetched) {
        let FetchFailed { error, attempts } = match failed {
            NotFetched::Failed(failed) => failed,
            // The guard reports the run as lost, and the command returns to the feed.
            NotFetched::Withdrawn => return drop(guard),
        };
        if matches!(error.kind, SourceErrorKind::NotCovered(_)) {
            let counts = TaskCounts { not_offered: 1, ..TaskCounts::default() };
            return guard.done(TaskReport { counts, ..TaskReport::default() });
        }
        self.board.record_error(&error.to_string());
        tracing::error!(subject = %guard.subject(), attempts, %error, "fetch failed permanently");
        guard.failed(error, attempts);
    }
}
