// Upstream: bars, factors
// Downstream: domain, messages, parts, ports
// Role: What an earlier delivery of a command stored, so that a task of it is not fetched again.

use std::sync::Arc;

use crate::domain::{DateRange, SyncMode, TaskCounts, TaskReport};
use crate::fetcher::parts::FetchParts;
use crate::fetcher::{FetchBars, FetchFactors};
use crate::ports::KeySpan;

/// The name under which the stored bars of a task are noted. `None` where the newest stored row says what to fetch, and
/// for days that many tasks share: a note for each of them would cost more than the call.
pub(crate) fn note_of_bars(message: &FetchBars, range: DateRange) -> Option<Arc<str>> {
    let FetchBars { guard, code, frequency, mode, range: named, by_day } = message;
    let is_noted = (*mode == SyncMode::Replace || named.start.is_some()) && !by_day;
    let record = guard.trace.record.as_ref().filter(|_| is_noted)?;
    Some(format!("{record}:{code}:{}:{range}", frequency.as_ginkgo()).into())
}

/// The name under which the stored factors of a task are noted. `None` where the newest stored row says what to fetch.
pub(crate) fn note_of_factors(message: &FetchFactors, range: DateRange) -> Option<Arc<str>> {
    let FetchFactors { guard, code, mode } = message;
    let record = guard.trace.record.as_ref().filter(|_| *mode == SyncMode::Replace)?;
    Some(format!("{record}:{code}:factors:{range}").into())
}

/// The report of a task whose bars an earlier delivery stored, if the store still has as many. An operator may have
/// deleted some, or the store may be another one.
pub(crate) async fn stored_bars(
    parts: &FetchParts,
    message: &FetchBars,
    range: DateRange,
    note: &str,
) -> Option<TaskReport> {
    let num_noted = parts.notes.rows_of(note).await?;
    let (from, to) = range.timestamps();
    let span = KeySpan { code: message.code, from: Some(from), to: Some(to) };
    let keys = parts.stores.pin().bars.keys(message.frequency, &[span]).await.ok()?;
    report(message.code.as_str(), num_noted, keys.num_keys)
}

/// As [`stored_bars`], of the factors of a series.
pub(crate) async fn stored_factors(parts: &FetchParts, message: &FetchFactors, note: &str) -> Option<TaskReport> {
    let num_noted = parts.notes.rows_of(note).await?;
    let sizes = parts.stores.pin().factors.sizes(&[message.code], None).await.ok()?;
    report(message.code.as_str(), num_noted, sizes.get(&message.code).map_or(0, |size| size.num_days))
}

fn report(code: &str, num_noted: u64, num_stored: u64) -> Option<TaskReport> {
    (num_stored >= num_noted).then(|| {
        tracing::debug!(code, rows = num_noted, "an earlier delivery of the command stored these rows");
        TaskReport { counts: TaskCounts { unchanged: num_noted, ..TaskCounts::default() }, ..TaskReport::default() }
    })
}
