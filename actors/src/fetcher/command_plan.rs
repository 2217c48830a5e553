// Upstream: actor
// Downstream: domain, messages, parts, ports, request_plan, settings
// Role: Plans a command for many securities: into ranges of days for all of them, where that takes fewer calls.

use chrono::NaiveDate;

use crate::domain::expected_rows::last_closed_day;
use crate::domain::{BarSync, DateRange, Frequency, SyncMode, shanghai_clock};
use crate::fetcher::PlanCommand;
use crate::fetcher::parts::FetchParts;
use crate::fetcher::request_plan::{Demand, Way};
use crate::ports::DataKind;
use crate::settings::ActorSettings;

/// The days of a command that may be fetched for all its securities together: those of daily bars that are inserted
/// where they are missing. A replacement also removes rows that the answer lacks, and a day of all securities may have
/// been cut off. A command for adjusted prices also fetches the factors of each security, once and not for each part.
fn days_for_all(bars: &BarSync, newest: NaiveDate) -> Option<DateRange> {
    match bars {
        BarSync { mode: SyncMode::Incremental, frequency: Frequency::Day, adjusted: false, range, .. } => {
            Some(DateRange { start: range.start?, end: range.end.map_or(newest, |end| end.min(newest)) })
        }
        _ => None,
    }
}

/// The ranges of days into which the command is split. `None` if it is split by code.
pub(crate) async fn plan_command(
    parts: &FetchParts,
    PlanCommand { codes, bars }: PlanCommand,
    settings: &ActorSettings,
) -> Option<Vec<DateRange>> {
    let range = days_for_all(&bars, last_closed_day(shanghai_clock::now()))?;
    let calendar = &parts.row_context.facts(settings).await.calendar;
    let days = calendar.expected_days(range);
    let source = parts.row_context.sources.pin().of(DataKind::Bars).into_iter().next()?;
    if !parts.cross_sections.offers(source.as_ref(), DataKind::Bars) {
        return None;
    }
    let demand = Demand { num_codes: codes.len(), num_days: days.len(), rows_per_day: 1 };
    let abilities = source.abilities(DataKind::Bars).of_tasks(settings.fetch.shares_calls());
    let plan = demand.cheapest(&abilities);
    if plan.way == Way::ByCode {
        return None;
    }
    // The first day shows whether the account may ask for whole days. Its answer is kept for the task that needs it.
    let _answer = parts.cross_sections.bars(&source, *codes.first()?, &[*days.first()?]).await;
    parts.cross_sections.offers(source.as_ref(), DataKind::Bars).then(|| calendar.cut(range, plan.days_per_task))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::OpenRange;

    #[test]
    fn only_missing_daily_bars_of_named_days_go_by_day() {
        let day = |text: &str| -> NaiveDate { text.parse().unwrap() };
        let range = OpenRange { start: Some(day("2024-01-02")), end: None };
        let (mode, frequency) = (SyncMode::Incremental, Frequency::Day);
        let bars = BarSync { mode, frequency, range, adjusted: false, by_day: false };
        let days = |bars: BarSync| days_for_all(&bars, day("2024-03-29"));
        assert_eq!(days(bars), Some(DateRange { start: day("2024-01-02"), end: day("2024-03-29") }));
        assert_eq!(days(BarSync { adjusted: true, ..bars }), None, "factors would be fetched for each part");
        assert_eq!(days(BarSync { mode: SyncMode::Replace, ..bars }), None);
        assert_eq!(days(BarSync { frequency: Frequency::Minute5, ..bars }), None);
        assert_eq!(days(BarSync { range: OpenRange::default(), ..bars }), None, "an increment of each security");
    }
}
