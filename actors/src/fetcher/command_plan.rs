// Upstream: actor
// Downstream: domain, messages, parts, ports, request_plan, settings
// Role: Plans a command for many securities: into ranges of days for all of them, where that takes fewer calls.

use crate::domain::expected_rows::last_closed_day;
use crate::domain::{BarSync, DateRange, Frequency, SyncMode, shanghai_clock};
use crate::fetcher::PlanCommand;
use crate::fetcher::parts::FetchParts;
use crate::fetcher::request_plan::{Demand, Way};
use crate::ports::DataKind;
use crate::settings::ActorSettings;

/// The ranges of days into which the command is split. `None` if it is split by code.
///
/// Only bars that are inserted where they are missing are planned by day. A replacement also removes rows that the
/// answer lacks, and a day of all securities may have been cut off.
pub(crate) async fn plan_command(
    parts: &FetchParts,
    PlanCommand { codes, bars }: PlanCommand,
    settings: &ActorSettings,
) -> Option<Vec<DateRange>> {
    let BarSync { mode: SyncMode::Incremental, frequency: Frequency::Day, range, .. } = bars else { return None };
    let newest = last_closed_day(shanghai_clock::now());
    let range = DateRange { start: range.start?, end: range.end.map_or(newest, |end| end.min(newest)) };
    let calendar = &parts.row_context.facts(settings).await.calendar;
    let days = calendar.expected_days(range);
    let source = parts.row_context.sources.pin().of(DataKind::Bars).into_iter().next()?;
    if !parts.cross_sections.offers(source.as_ref(), DataKind::Bars) {
        return None;
    }
    let demand = Demand { num_codes: codes.len(), num_days: days.len(), rows_per_day: 1 };
    let plan = demand.cheapest(&source.abilities(DataKind::Bars));
    if plan.way == Way::ByCode {
        return None;
    }
    // The first day shows whether the account may ask for whole days. Its answer is kept for the task that needs it.
    let _answer = parts.cross_sections.bars(&source, *codes.first()?, &[*days.first()?]).await;
    parts.cross_sections.offers(source.as_ref(), DataKind::Bars).then(|| calendar.cut(range, plan.days_per_task))
}
