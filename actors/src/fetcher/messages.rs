// Upstream: many
// Downstream: domain, pipeline
// Role: Messages to the Fetcher.

use actix::prelude::*;

use crate::domain::reference_list::ListKind;
use crate::domain::tick_backfill::BackfillDays;
use crate::domain::{Code, Frequency, OpenRange, SyncMode};
use crate::pipeline::TaskGuard;

/// Fetch one code's bars. The CommandRouter bounds how many are under way.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FetchBars {
    /// The task's pass.
    pub guard: TaskGuard,
    /// The security.
    pub code: Code,
    /// How long a bar lasts.
    pub frequency: Frequency,
    /// Insert what is missing, or replace.
    pub mode: SyncMode,
    /// The days asked for.
    pub range: OpenRange,
}

/// Fetch one code's adjustment factors.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FetchFactors {
    /// The task's pass.
    pub guard: TaskGuard,
    /// The security.
    pub code: Code,
    /// From the newest stored day on, or all and in place of what is stored.
    pub mode: SyncMode,
}

/// Fetch one code's ticks.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FetchTicks {
    /// The task's pass.
    pub guard: TaskGuard,
    /// The security.
    pub code: Code,
    /// The days asked for; without a first one, on from the newest stored day.
    pub range: OpenRange,
    /// Whether days that are stored are fetched and replaced.
    pub overwrite: bool,
    /// How the backfill went so far, if the task is a part of one.
    pub backfill: Option<BackfillDays>,
}

/// Fetch a whole list.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FetchList {
    /// The task's pass.
    pub guard: TaskGuard,
    /// Which list.
    pub kind: ListKind,
}

/// Read securities and calendar anew.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct RefreshFacts;
