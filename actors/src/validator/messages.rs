// Upstream: actor, fetcher, validator
// Downstream: domain, pipeline, ports
// Role: Messages to the Validator.

use std::sync::Arc;

use actix::prelude::*;
use chrono::NaiveDate;
use tokio::sync::OwnedSemaphorePermit;

use crate::domain::expected_rows::ExpectedRows;
use crate::domain::reference_list::FetchedList;
use crate::domain::tick_backfill::BackfillDays;
use crate::domain::{
    Code, DateRange, FetchedBar, FetchedFactor, FetchedTick, Frequency, KnownDays, MarketFacts, SourceId, SyncMode,
};
use crate::pipeline::TaskGuard;
use crate::ports::KeySpan;

/// Check the rows of one answer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ValidateBars {
    /// The task's pass.
    pub guard: TaskGuard,
    /// The security.
    pub code: Code,
    /// How long a bar lasts.
    pub frequency: Frequency,
    /// Insert what is missing, or replace.
    pub mode: SyncMode,
    /// The days that were asked for.
    pub range: DateRange,
    /// The part of the store the task is about.
    pub span: KeySpan,
    /// Who gave the rows.
    pub source: SourceId,
    /// The rows as they came.
    pub rows: Vec<FetchedBar>,
    /// What is known of their days.
    pub known: KnownDays,
    /// The rows' room in memory; freed when they are stored.
    pub permit: OwnedSemaphorePermit,
}

/// Check the factors of one answer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ValidateFactors {
    /// The task's pass.
    pub guard: TaskGuard,
    /// The security.
    pub code: Code,
    /// Add to what is stored, or replace it.
    pub mode: SyncMode,
    /// The days that were asked for.
    pub range: DateRange,
    /// Who gave the rows.
    pub source: SourceId,
    /// The rows as they came.
    pub rows: Vec<FetchedFactor>,
    /// Listings and calendar.
    pub facts: Arc<MarketFacts>,
    /// The rows' room in memory; freed when they are stored.
    pub permit: OwnedSemaphorePermit,
}

/// Check the ticks of some days.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ValidateTicks {
    /// The task's pass.
    pub guard: TaskGuard,
    /// The security.
    pub code: Code,
    /// Whether stored days are replaced in any case.
    pub overwrite: bool,
    /// Days with their ticks as they came.
    pub days: Vec<(NaiveDate, Vec<FetchedTick>)>,
    /// Who gave them.
    pub source: SourceId,
    /// Listings and calendar.
    pub facts: Arc<MarketFacts>,
    /// Days that should have come and that did not.
    pub expected: ExpectedRows,
    /// How the backfill went so far, if it is one.
    pub backfill: Option<BackfillDays>,
    /// The rows' room in memory; freed when they are stored.
    pub permit: OwnedSemaphorePermit,
}

/// Check the rows of a list.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ValidateList {
    /// The task's pass.
    pub guard: TaskGuard,
    /// The list as it came.
    pub list: FetchedList,
    /// Who gave it.
    pub source: SourceId,
    /// The rows' room in memory; freed when they are stored.
    pub permit: OwnedSemaphorePermit,
}
