// Upstream: actor
// Downstream: many
// Role: Fetches the adjustment factors of one task and passes them to the Validator.

use std::sync::Arc;

use crate::domain::{Stage, SyncMode, TaskReport};
use crate::fetcher::FetchFactors;
use crate::fetcher::parts::FetchParts;
use crate::fetcher::plan::{readable, removable_until};
use crate::fetcher::refusals::or_by_code;
use crate::fetcher::stored_before::{note_of_factors, stored_factors};
use crate::ports::{DataKind, MarketSource};
use crate::settings::ActorSettings;
use crate::validator::ValidateFactors;

/// Plans, fetches, and passes the rows to the Validator. Returns early if the partition of the command is assigned to
/// another worker.
pub(crate) async fn fetch_factors(parts: &FetchParts, mut message: FetchFactors, settings: &ActorSettings) {
    message.guard.trace.store_generation = parts.stores.generation();
    let plan = parts.planner.factors(&message, settings).await;
    if message.guard.is_lost() {
        return;
    }
    let code = message.code;
    let is_increment = message.mode == SyncMode::Incremental;
    let (range, known_until) = match plan {
        Some(plan) if !is_increment || parts.expects_rows_in(plan.0, settings).await => plan,
        _ => return message.guard.done(TaskReport::default()),
    };
    if let Some(note) = note_of_factors(&message, range) {
        if let Some(report) = stored_factors(parts, &message, &note).await {
            return message.guard.done(report);
        }
        message.guard.trace.noted_as = Some(note);
    }
    let days = if is_increment { parts.whole_days(range, settings).await } else { None };
    let (sections, several) = (&parts.cross_sections, &parts.several_codes);
    let (sharing, request) = (parts.sharing(&settings.fetch, false), parts.request_of(code, range, settings).await);
    let call = async |source: Arc<dyn MarketSource>| match &days {
        Some(days)
            if source.covers_in_whole_days(code) && sections.offers_factors(source.as_ref(), days, &sharing).await =>
        {
            or_by_code(sections.factors(&source, code, days).await, async || source.factors(code, range).await).await
        }
        _ if several.offers(source.as_ref(), DataKind::Factors, request) && sharing.has_others() => {
            match or_by_code(several.factors(&source, request).await, async || Ok(None)).await? {
                Some(rows) => Ok(rows),
                None => source.factors(code, range).await,
            }
        }
        _ => source.factors(code, range).await,
    };
    let (rows, source) = match parts.caller.fetch(DataKind::Factors, call, &mut message.guard).await {
        Ok(answer) => answer,
        Err(failed) => return parts.fail(message.guard, failed),
    };
    let FetchFactors { mut guard, mode, .. } = message;
    guard.trace.sources.rows_came(rows.len());
    parts.board.counters.rows_fetched.add(rows.len() as u64);
    let Some(permit) = parts.row_budget.reserve(DataKind::Factors, rows.len()).await else { return };
    let facts = parts.row_context.facts(settings).await;
    guard.enter(Stage::Checking);
    let removable_until = removable_until(known_until, rows.iter().filter_map(|row| readable(&row.timestamp)).max());
    let message = ValidateFactors { guard, code, mode, range, removable_until, source, rows, facts, permit };
    parts.validator.do_send(message);
}
