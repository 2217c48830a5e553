// Upstream: actor
// Downstream: many
// Role: Fetches the bars of one task and passes them to the Validator.

use std::sync::Arc;

use crate::domain::tick_backfill::trading_days;
use crate::domain::{FetchedBar, Field, Frequency, Stage, SyncMode, TaskReport, shanghai_clock};
use crate::fetcher::FetchBars;
use crate::fetcher::parts::FetchParts;
use crate::fetcher::plan::readable;
use crate::fetcher::refusals::or_by_code;
use crate::fetcher::stored_before::{note_of_bars, stored_bars};
use crate::ports::{BarRequest, DataKind, MarketSource, NotedBars};
use crate::settings::ActorSettings;
use crate::validator::ValidateBars;

/// Plans, fetches, compares, and passes the rows to the Validator. Returns early if the partition of the command is
/// assigned to another worker.
pub(crate) async fn fetch_bars(parts: &FetchParts, mut message: FetchBars, settings: &ActorSettings) {
    let code = message.code;
    message.guard.trace.store_generation = parts.stores.generation();
    let plan = parts.planner.bars(&message, settings).await;
    if message.guard.is_lost() {
        return;
    }
    let begins_at_stored = message.mode == SyncMode::Incremental && message.range.start.is_none();
    let plan = match plan {
        Some(plan) if !begins_at_stored || parts.expects_rows_in(plan.range, settings).await => plan,
        _ => {
            tracing::debug!(%code, "up to date, nothing to fetch");
            return message.guard.done(TaskReport::default());
        }
    };
    let range = plan.range;
    if let Some(note) = note_of_bars(&message, range) {
        if let Some(report) = stored_bars(parts, &message, range, &note).await {
            return message.guard.done(report);
        }
        message.guard.trace.noted_as = Some(note);
    }
    tracing::debug!(%code, frequency = ?message.frequency, %range, "bars requested");
    let kind = DataKind::of(message.frequency);
    let request = BarRequest { code, frequency: message.frequency, range };
    // An answer with minute bars is large, so its rows are reserved before the request.
    let reserved = match message.frequency.minutes() {
        Some(_) => {
            let days = trading_days(range, &parts.row_context.facts(settings).await.calendar);
            parts.row_budget.reserve(kind, message.frequency.most_bars(days.len())).await
        }
        None => None,
    };
    let is_increment = message.frequency == Frequency::Day && message.mode == SyncMode::Incremental;
    let days = if is_increment { parts.whole_days(range, settings).await } else { None };
    let by_day = message.by_day && days.is_some();
    let (sections, several) = (&parts.cross_sections, &parts.several_codes);
    let (sharing, of_code) = (parts.sharing(&settings.fetch, by_day), parts.request_of(code, range, settings).await);
    let call = async |source: Arc<dyn MarketSource>| match &days {
        Some(days)
            if source.covers_in_whole_days(code) && sections.offers_bars(source.as_ref(), days, &sharing).await =>
        {
            or_by_code(sections.bars(&source, code, days).await, async || source.noted_bars(&request).await).await
        }
        _ if kind == DataKind::Bars && several.offers(source.as_ref(), kind, of_code) && sharing.has_others() => {
            match or_by_code(several.bars(&source, of_code).await, async || Ok(None)).await? {
                Some(noted) => Ok(noted),
                None => source.noted_bars(&request).await,
            }
        }
        _ => source.noted_bars(&request).await,
    };
    let fetched = parts.caller.fetch(kind, call, &mut message.guard).await;
    let (NotedBars { bars: mut rows, notes, not_offered }, source) = match fetched {
        Ok(answer) => answer,
        Err(failed) => return parts.fail(message.guard, failed),
    };
    message.guard.trace.sources.rows_came(rows.len());
    rows.retain(|row| is_over(row, message.frequency));
    parts.board.counters.rows_fetched.add(rows.len() as u64);
    let mut known = parts.row_context.known_days(&request, &rows, notes, sharing.suspensions(range), settings).await;
    known.not_offered = not_offered;
    known.newest_before = match known.close_before {
        None => parts.planner.newest_day_before(&request, &rows, settings).await,
        Some((day, _)) => Some(day),
    };
    known.prices = parts.stores.pin().bars.price_format();
    let permit = match reserved {
        Some(permit) => Some(permit),
        None => parts.row_budget.reserve(kind, rows.len()).await,
    };
    let Some(permit) = permit else { return };
    let FetchBars { mut guard, frequency, mode, .. } = message;
    if let Some(differences) = parts.cross_check.report(&request, source, &rows, call, &settings.quality).await {
        guard.note(differences);
    }
    guard.enter(Stage::Checking);
    let span = plan.span_of(rows.iter().filter_map(|row| readable(&row.timestamp)).max());
    parts.validator.do_send(ValidateBars { guard, code, frequency, mode, range, span, source, rows, known, permit });
}

/// Whether a bar has ended. The timestamp of a minute bar is its end; a bar that has not ended is incomplete and must
/// not be stored.
fn is_over(bar: &FetchedBar, frequency: Frequency) -> bool {
    match bar.timestamp {
        Field::Value(end) if frequency.minutes().is_some() => end <= shanghai_clock::now(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Duration as Span, NaiveDateTime};

    #[test]
    fn a_minute_bar_that_has_not_ended_is_none_yet() {
        let bar = |timestamp| FetchedBar {
            timestamp,
            open: Field::Missing,
            high: Field::Missing,
            low: Field::Missing,
            close: Field::Missing,
            volume: Field::Missing,
            amount: Field::Missing,
        };
        let at = |time: NaiveDateTime| bar(Field::Value(time));
        let (past, future) = (shanghai_clock::now() - Span::minutes(1), shanghai_clock::now() + Span::minutes(1));
        assert!(is_over(&at(past), Frequency::Minute5));
        assert!(!is_over(&at(future), Frequency::Minute5));
        assert!(is_over(&at(future), Frequency::Day), "the timestamp of a daily bar is midnight");
        assert!(is_over(&bar(Field::Missing), Frequency::Minute5), "the Validator reports unreadable timestamps");
    }
}
