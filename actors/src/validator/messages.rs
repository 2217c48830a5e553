// Upstream: actor, fetcher, validator
// Downstream: domain, pipeline, ports
// Role: Messages to the Validator.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::prelude::*;
use chrono::{NaiveDate, NaiveDateTime};
use tokio::sync::OwnedSemaphorePermit;

use crate::domain::expected_rows::ExpectedRows;
use crate::domain::reference_list::FetchedList;
use crate::domain::tick_backfill::BackfillDays;
use crate::domain::{
    Code, DateRange, FetchedBar, FetchedFactor, FetchedTick, Frequency, KnownDays, MarketFacts, PriceFormat, SourceId,
    SyncMode,
};
use crate::pipeline::TaskGuard;
use crate::ports::KeySpan;

/// Validates the bars of one answer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ValidateBars {
    /// Reports the end of the task.
    pub guard: TaskGuard,
    /// The security.
    pub code: Code,
    /// The length of a bar.
    pub frequency: Frequency,
    /// Whether only missing rows are inserted, or stored rows are replaced.
    pub mode: SyncMode,
    /// The requested days.
    pub range: DateRange,
    /// The key range in the store that the task covers.
    pub span: KeySpan,
    /// The source of the rows.
    pub source: SourceId,
    /// The fetched rows.
    pub rows: Vec<FetchedBar>,
    /// The context for validating the rows.
    pub known: KnownDays,
    /// The rows' share of the row budget; released when the rows are stored.
    pub permit: OwnedSemaphorePermit,
}

/// Validates the adjustment factors of one answer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ValidateFactors {
    /// Reports the end of the task.
    pub guard: TaskGuard,
    /// The security.
    pub code: Code,
    /// Whether rows are added to the stored ones or replace them.
    pub mode: SyncMode,
    /// The requested days.
    pub range: DateRange,
    /// The last time of stored rows that a replacement may remove.
    pub removable_until: NaiveDateTime,
    /// The source of the rows.
    pub source: SourceId,
    /// The fetched rows.
    pub rows: Vec<FetchedFactor>,
    /// Listings and the trading calendar.
    pub facts: Arc<MarketFacts>,
    /// The rows' share of the row budget; released when the rows are stored.
    pub permit: OwnedSemaphorePermit,
}

/// Validates the ticks of one or more days.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ValidateTicks {
    /// Reports the end of the task.
    pub guard: TaskGuard,
    /// The security.
    pub code: Code,
    /// Whether stored days are always replaced.
    pub overwrite: bool,
    /// The days with their fetched ticks.
    pub days: Vec<(NaiveDate, Vec<FetchedTick>)>,
    /// The source of the ticks.
    pub source: SourceId,
    /// Listings and the trading calendar.
    pub facts: Arc<MarketFacts>,
    /// Days without price limits, as far as the stored daily bars tell.
    pub unlimited: BTreeSet<NaiveDate>,
    /// What the column of the store holds of a price.
    pub prices: PriceFormat,
    /// The number of expected and of missing days.
    pub expected: ExpectedRows,
    /// The progress of the backfill so far; `None` if the task is not part of a backfill.
    pub backfill: Option<BackfillDays>,
    /// The rows' share of the row budget; released when the rows are stored.
    pub permit: OwnedSemaphorePermit,
}

/// Validates the rows of a list.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ValidateList {
    /// Reports the end of the task.
    pub guard: TaskGuard,
    /// The fetched list.
    pub list: FetchedList,
    /// The source of the list.
    pub source: SourceId,
    /// The rows' share of the row budget; released when the rows are stored.
    pub permit: OwnedSemaphorePermit,
}
