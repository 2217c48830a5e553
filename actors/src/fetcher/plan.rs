// Upstream: actor, bars, factors, parts
// Downstream: many
// Role: Determines the days that a task requests and the stored keys that its rows may replace.

use std::sync::Arc;

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime};

use crate::domain::expected_rows::last_closed_day;
use crate::domain::tick_backfill::FIRST_DAYS;
use crate::domain::{Code, DateRange, FetchedBar, Field, Frequency, OpenRange, SyncMode, shanghai_clock};
use crate::fetcher::{FetchBars, FetchFactors};
use crate::market_cache::latest_times::{LatestBars, LatestTimes};
use crate::pipeline::TaskGuard;
use crate::ports::{BarRequest, KeySpan, StoreSet, Swappable};
use crate::settings::{ActorSettings, ms};
use crate::store_retry::{StoreOperation, StoreOutage, StoreTries, Unread, read_until_answered};

/// The end of a day's last bar.
const LAST_MINUTE: NaiveTime = match NaiveTime::from_hms_opt(15, 0, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};

/// The last time of stored rows that a replacement may remove. It removes what the answer lacks. But another worker may
/// have fetched a newer day since the request: what is later than both the answer and the rows that were known before
/// it stays.
pub(crate) fn removable_until(known_until: NaiveDateTime, newest_fetched: Option<NaiveDateTime>) -> NaiveDateTime {
    newest_fetched.map_or(known_until, |newest| newest.max(known_until))
}

/// The timestamp of a fetched row, if it is readable.
pub(crate) fn readable(timestamp: &Field<NaiveDateTime>) -> Option<NaiveDateTime> {
    match timestamp {
        Field::Value(time) => Some(*time),
        Field::Missing | Field::Unreadable(_) => None,
    }
}

/// The days that a task requests, and the stored keys that it may change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BarPlan {
    pub(crate) range: DateRange,
    pub(crate) span: KeySpan,
    /// Of a replacement that reaches the present: the newest stored time before the request.
    pub(crate) known_until: Option<NaiveDateTime>,
}

impl BarPlan {
    /// The stored keys that the answer may change.
    pub(crate) fn span_of(self, newest_fetched: Option<NaiveDateTime>) -> KeySpan {
        let to = match self.known_until {
            None => self.span.to,
            Some(known) => {
                let end = removable_until(known, newest_fetched);
                Some(self.span.to.map_or(end, |to| to.min(end)))
            }
        };
        KeySpan { to, ..self.span }
    }
}

/// Plans requests from the stored rows.
pub(crate) struct FetchPlanner {
    /// The newest stored bar of every code.
    pub(crate) bars: Arc<LatestBars>,
    /// The newest stored factor of every code.
    pub(crate) factors: Arc<LatestTimes>,
    /// The stores.
    pub(crate) stores: Arc<Swappable<StoreSet>>,
    /// The outage state of these stores.
    pub(crate) outage: Arc<StoreOutage>,
}

impl FetchPlanner {
    /// The day of the newest stored bar, if it is before the first fetched one. The answer is cached, so it may lag
    /// behind the store; without an answer it is unknown.
    pub(crate) async fn newest_day_before(
        &self,
        request: &BarRequest,
        rows: &[FetchedBar],
        settings: &ActorSettings,
    ) -> Option<NaiveDate> {
        let first = rows.iter().filter_map(|row| readable(&row.timestamp)).min()?;
        let latest = self.bars.of(request.frequency);
        let newest = latest.newest(request.code, ms(settings.fetch.latest_refresh_ms)).await.ok().flatten()?;
        Some(newest.date()).filter(|day| *day < first.date())
    }

    /// The days of bars to request. `None` if no bar can be missing, or the task is lost.
    pub(crate) async fn bars(&self, message: &FetchBars, settings: &ActorSettings) -> Option<BarPlan> {
        let FetchBars { code, frequency, mode, range: OpenRange { start, end }, .. } = *message;
        let first = match (start, mode) {
            (Some(start), _) => start,
            (None, SyncMode::Replace) => frequency.first_day(),
            (None, SyncMode::Incremental) => self.first_missing(message, settings).await?,
        };
        let newest = match frequency {
            Frequency::Day => last_closed_day(shanghai_clock::now()),
            _ => shanghai_clock::today(),
        };
        let last = end.map_or(newest, |end| end.min(newest));
        if first > last {
            return None;
        }
        let range = DateRange { start: first, end: last };
        let (from, to) = range.timestamps();
        // Without a date in the command, that end of the span stays open: `full` without dates may replace all stored
        // rows of the code.
        let span = KeySpan { code, from: start.map(|_| from), to: end.map(|_| to) };
        let known_until = match mode {
            SyncMode::Replace if last == newest => Some(self.newest_bar(message, settings).await?),
            SyncMode::Replace | SyncMode::Incremental => None,
        };
        Some(BarPlan { range, span, known_until })
    }

    /// The newest stored bar, or the begin of time; `None` if the task is lost.
    async fn newest_bar(&self, message: &FetchBars, settings: &ActorSettings) -> Option<NaiveDateTime> {
        let known = self.bars.of(message.frequency);
        let reads = StoreOperation::reading("bars");
        let newest = self.newest(&known, reads, message.code, &message.guard, settings).await?;
        Some(newest.unwrap_or(NaiveDateTime::MIN))
    }

    /// The first day whose bars may be missing; `None` if the task is lost.
    async fn first_missing(&self, message: &FetchBars, settings: &ActorSettings) -> Option<NaiveDate> {
        let FetchBars { guard, code, frequency, .. } = message;
        let known = self.bars.of(*frequency);
        match (self.newest(&known, StoreOperation::reading("bars"), *code, guard, settings).await?, frequency.minutes())
        {
            // A day with missing minute bars is requested again; the BatchWriter drops the stored bars.
            (Some(newest), Some(_)) if newest.time() < LAST_MINUTE => Some(newest.date()),
            (Some(newest), _) => newest.date().checked_add_days(Days::new(1)),
            (None, Some(_)) => {
                shanghai_clock::today().checked_sub_days(Days::new(settings.fetch.first_minute_days.into()))
            }
            (None, None) => Some(frequency.first_day()),
        }
    }

    /// The days of factors to request, and the newest stored time before the request (the begin of time if there is
    /// none). `None` if no factor can be missing, or the task is lost.
    pub(crate) async fn factors(
        &self,
        message: &FetchFactors,
        settings: &ActorSettings,
    ) -> Option<(DateRange, NaiveDateTime)> {
        let FetchFactors { guard, code, mode } = message;
        let newest = self.newest(&self.factors, StoreOperation::reading("factors"), *code, guard, settings).await?;
        let start = match mode {
            SyncMode::Replace => None,
            SyncMode::Incremental => newest.and_then(|newest| newest.date().checked_add_days(Days::new(1))),
        };
        let range = DateRange { start: start.unwrap_or(DateRange::FIRST_TRADING_DAY), end: shanghai_clock::today() };
        (range.start <= range.end).then_some((range, newest.unwrap_or(NaiveDateTime::MIN)))
    }

    /// The days of ticks that the command names; without a first day, the days from the newest stored one on.
    pub(crate) async fn ticks(
        &self,
        code: Code,
        range: OpenRange,
        guard: &TaskGuard,
        settings: &ActorSettings,
    ) -> Result<DateRange, Unread> {
        let end = range.end.unwrap_or_else(shanghai_clock::today);
        if let Some(start) = range.start {
            return Ok(DateRange { start, end });
        }
        // The newest stored day may have been fetched before its end, so it is requested again.
        let newest_day = async || self.stores.pin().ticks.newest_day(code).await;
        let newest = read_until_answered(self.reads_ticks(code, settings), || guard.is_lost(), newest_day).await?;
        Ok(DateRange { start: newest.unwrap_or(shanghai_clock::today() - Days::new(FIRST_DAYS)), end })
    }

    /// The attempts to read the table of ticks of a security.
    pub(crate) fn reads_ticks(&self, code: Code, settings: &ActorSettings) -> StoreTries<'_> {
        StoreTries::new(&self.outage, StoreOperation::reading("ticks").of(code), settings)
    }

    /// The newest stored timestamp. The outer `None` means that the task is lost.
    async fn newest(
        &self,
        latest: &LatestTimes,
        operation: StoreOperation,
        code: Code,
        guard: &TaskGuard,
        settings: &ActorSettings,
    ) -> Option<Option<NaiveDateTime>> {
        let read =
            async || latest.newest_since(code, ms(settings.fetch.latest_refresh_ms), Some(guard.assigned_at())).await;
        read_until_answered(StoreTries::new(&self.outage, operation, settings), || guard.is_lost(), read).await.ok()
    }
}
