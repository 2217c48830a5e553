// Upstream: many
// Downstream: domain, pipeline
// Role: Messages to the Fetcher.

use std::sync::Arc;

use actix::prelude::*;

use crate::domain::reference_list::ListKind;
use crate::domain::tick_backfill::BackfillDays;
use crate::domain::{BarSync, Code, DateRange, Frequency, OpenRange, SyncMode};
use crate::pipeline::TaskGuard;

/// Fetches the bars of one code. The CommandRouter limits the number of concurrent fetches.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FetchBars {
    /// The guard of the task.
    pub guard: TaskGuard,
    /// The security.
    pub code: Code,
    /// The duration of a bar.
    pub frequency: Frequency,
    /// Whether to insert only missing rows or to replace stored rows.
    pub mode: SyncMode,
    /// The requested days.
    pub range: OpenRange,
    /// Whether the days are fetched for all securities together, because the command names so many of them.
    pub by_day: bool,
}

/// Fetches the adjustment factors of one code.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FetchFactors {
    /// The guard of the task.
    pub guard: TaskGuard,
    /// The security.
    pub code: Code,
    /// Whether to fetch the days after the newest stored one, or to fetch and replace the whole series.
    pub mode: SyncMode,
}

/// Fetches the ticks of one code.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FetchTicks {
    /// The guard of the task.
    pub guard: TaskGuard,
    /// The security.
    pub code: Code,
    /// The requested days. Without a first day, the fetch starts at the newest stored day.
    pub range: OpenRange,
    /// Whether to fetch and replace stored days.
    pub overwrite: bool,
    /// The progress of the backfill, if the task is a part of one.
    pub backfill: Option<BackfillDays>,
}

/// Fetches a whole list.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FetchList {
    /// The guard of the task.
    pub guard: TaskGuard,
    /// The list to fetch.
    pub kind: ListKind,
}

/// Asks whether a command for many securities is requested by day. The answer is the ranges of days of its parts, or
/// `None` if it is split by code.
#[derive(Debug, Message)]
#[rtype(result = "Option<Vec<DateRange>>")]
pub struct PlanCommand {
    /// The securities.
    pub codes: Arc<[Code]>,
    /// The requested bars.
    pub bars: BarSync,
}

/// Reads listings and trading calendar again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct RefreshFacts;
