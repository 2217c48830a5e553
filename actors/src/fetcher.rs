// Upstream: actors::children, actors::command_router, actors::cross_check, actors::day_knowledge, actors::source_calls, actors::supervisor, actors::tick_fetch
// Downstream: actors::cross_check, actors::cross_section, actors::domain::bar, actors::domain::code, actors::domain::frequency, actors::domain::task, actors::expectation, actors::fact_cache, actors::last_closes, actors::latest_times, actors::ports, actors::ports::market_source, actors::ports::tick_store, actors::reference_list, actors::row_room, actors::settings, actors::shanghai, actors::store_outage, actors::store_tries, actors::supervision::board, actors::supervision::vitals, actors::suspensions, actors::tick_days, actors::ticket, actors::validator
// Role: The actor that fetches a task's rows from the source, at most three times, and hands them to the Validator.

use std::sync::Arc;

use actix::prelude::*;
use chrono::{Days, NaiveDate, NaiveTime};
use tokio::sync::watch;
use tracing::Instrument;

use crate::cross_check::CrossCheck;
use crate::cross_section::{self, CrossSections};
use crate::domain::{Code, DateRange, FetchedBar, Field, Frequency, OpenRange, Stage, SyncMode};
use crate::expectation::last_closed_day;
use crate::fact_cache::FactCache;
use crate::last_closes::LastCloses;
use crate::latest_times::{LatestBars, LatestTimes};
use crate::ports::{
    BarRequest, BarStore, DataKind, FactorStore, KeySpan, MarketSource, MarketSources, NotedBars, SourceError,
    SourceErrorKind, StoreError, TickStore,
};
use crate::reference_list::{FetchedList, ListKind};
use crate::row_room::RowRoom;
use crate::settings::{ActorSettings, ApplySettings, ms};
use crate::shanghai;
use crate::store_outage::StoreOutage;
use crate::store_tries::store_delays;
use crate::supervision::{Board, Vitals};
use crate::suspensions::Suspensions;
use crate::tick_days::{BackfillDays, trading_days};
use crate::ticket::{TaskReport, Ticket};
use crate::validator::{ValidateBars, ValidateFactors, ValidateList, Validator};

/// The end of a day's last bar.
const LAST_MINUTE: NaiveTime = match NaiveTime::from_hms_opt(15, 0, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};

/// Fetch one code's bars. The CommandRouter bounds how many are under way.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FetchBars {
    /// The task's pass.
    pub ticket: Ticket,
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
    pub ticket: Ticket,
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
    pub ticket: Ticket,
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
    pub ticket: Ticket,
    /// Which list.
    pub kind: ListKind,
}

/// Fetches; each fetch is a task of its own, so that one that panics takes no other with it.
pub struct Fetcher {
    vitals: Vitals,
    shared: Arc<FetchContext>,
}

/// Read securities and calendar anew.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct RefreshFacts;

/// What is known of the past: what is stored, and what rows are judged by.
pub struct KnownPast {
    /// The newest bar of every code.
    pub bars: Arc<LatestBars>,
    /// The newest factor of every code.
    pub factors: Arc<LatestTimes>,
    /// Ticks, asked for by code.
    pub ticks: Arc<dyn TickStore>,
    /// Changes of factors, asked for by code.
    pub factor_store: Arc<dyn FactorStore>,
    /// Daily bars, asked for by code.
    pub bar_store: Arc<dyn BarStore>,
    /// Listings and calendar.
    pub facts: FactCache,
    /// The last daily close of every code.
    pub last_closes: LastCloses,
}

/// What a fetch needs; outlives a restart of the actor.
pub(crate) struct FetchContext {
    /// Those in force, and word of new ones.
    pub(crate) settings: watch::Sender<Arc<ActorSettings>>,
    pub(crate) sources: Arc<dyn MarketSources>,
    bars: Arc<LatestBars>,
    factors: Arc<LatestTimes>,
    sections: CrossSections,
    pub(crate) suspensions: Suspensions,
    pub(crate) comparisons: CrossCheck,
    pub(crate) validator: Addr<Validator>,
    pub(crate) outage: Arc<StoreOutage>,
    pub(crate) board: Arc<Board>,
    pub(crate) row_room: RowRoom,
    pub(crate) ticks: Arc<dyn TickStore>,
    pub(crate) factor_store: Arc<dyn FactorStore>,
    pub(crate) bar_store: Arc<dyn BarStore>,
    pub(crate) facts: FactCache,
    pub(crate) last_closes: LastCloses,
}

impl Fetcher {
    /// A fetcher of one source.
    pub fn new(
        vitals: Vitals,
        settings: Arc<ActorSettings>,
        sources: Arc<dyn MarketSources>,
        known: KnownPast,
        outage: Arc<StoreOutage>,
        validator: Addr<Validator>,
    ) -> Self {
        let shared = FetchContext {
            sources,
            bars: known.bars,
            factors: known.factors,
            ticks: known.ticks,
            factor_store: known.factor_store,
            bar_store: known.bar_store,
            facts: known.facts,
            last_closes: known.last_closes,
            sections: CrossSections::default(),
            suspensions: Suspensions::default(),
            comparisons: CrossCheck::default(),
            outage,
            validator,
            board: vitals.board().clone(),
            row_room: RowRoom::new(settings.batch.max_buffered_rows),
            settings: watch::Sender::new(settings),
        };
        Self { vitals, shared: Arc::new(shared) }
    }
}

impl Actor for Fetcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.vitals.begin(ctx);
    }
}

/// No state to reset: what is under way lives in tasks of its own.
impl Supervised for Fetcher {}

impl Handler<FetchBars> for Fetcher {
    type Result = ();

    fn handle(&mut self, message: FetchBars, _ctx: &mut Self::Context) {
        self.vitals.fault_point("handler");
        let (shared, settings, vitals) = (self.shared.clone(), self.shared.settings(), self.vitals.clone());
        let span = message.ticket.span().clone();
        let fetching = async move {
            vitals.fault_point("task");
            shared.run(message, &settings).await;
        };
        actix_rt::spawn(fetching.instrument(span));
    }
}

impl Handler<FetchFactors> for Fetcher {
    type Result = ();

    fn handle(&mut self, message: FetchFactors, _ctx: &mut Self::Context) {
        let (shared, settings) = (self.shared.clone(), self.shared.settings());
        let span = message.ticket.span().clone();
        actix_rt::spawn(async move { shared.run_factors(message, &settings).await }.instrument(span));
    }
}

impl Handler<FetchTicks> for Fetcher {
    type Result = ();

    fn handle(&mut self, message: FetchTicks, _ctx: &mut Self::Context) {
        let (shared, settings) = (self.shared.clone(), self.shared.settings());
        let span = message.ticket.span().clone();
        actix_rt::spawn(async move { shared.run_ticks(message, &settings).await }.instrument(span));
    }
}

impl Handler<FetchList> for Fetcher {
    type Result = ();

    fn handle(&mut self, message: FetchList, _ctx: &mut Self::Context) {
        let shared = self.shared.clone();
        let span = message.ticket.span().clone();
        actix_rt::spawn(async move { shared.run_list(message).await }.instrument(span));
    }
}

impl Handler<RefreshFacts> for Fetcher {
    type Result = ();

    fn handle(&mut self, _: RefreshFacts, _ctx: &mut Self::Context) {
        let (shared, max_age) = (self.shared.clone(), ms(self.shared.settings().fetch.facts_refresh_ms));
        actix_rt::spawn(async move {
            let facts = shared.facts.refresh(max_age).await;
            tracing::info!(securities = facts.listings.len(), "securities and calendar are read anew");
        });
    }
}

impl Handler<ApplySettings> for Fetcher {
    type Result = ();

    fn handle(&mut self, message: ApplySettings, _ctx: &mut Self::Context) {
        self.shared.row_room.resize(message.0.batch.max_buffered_rows);
        self.shared.settings.send_replace(message.0);
    }
}

/// What a task shall fetch, and which part of the store it is about.
#[derive(Debug, PartialEq, Eq)]
struct FetchPlan {
    range: DateRange,
    span: KeySpan,
}

impl FetchContext {
    async fn run(&self, mut message: FetchBars, settings: &ActorSettings) {
        let code = message.code;
        message.ticket.trail.store = self.bar_store.generation();
        let plan = match self.plan(&message, settings).await {
            Some(plan) => plan,
            None => {
                tracing::debug!(%code, "up to date, nothing to fetch");
                return message.ticket.done(TaskReport::default());
            }
        };
        if message.ticket.is_lost() {
            return; // another worker has the command now
        }
        let request = BarRequest { code, frequency: message.frequency, range: plan.range };
        // A whole answer of minutes is large: there must be room for it before it is asked for.
        let reserved = match message.frequency.minutes() {
            Some(_) => {
                let days = trading_days(plan.range, &self.facts(settings).await.calendar);
                self.row_room.enter(message.frequency.most_bars(days.len())).await
            }
            None => None,
        };
        let days = self.shared_days(&message, plan.range, settings);
        let call = async |source: Arc<dyn MarketSource>| match &days {
            Some(days) if source.has_day_bars(code) => match self.sections.bars(&source, code, days).await {
                // What it gives for one security it may not give for all.
                Err(error) if !error.kind.is_transient() => source.noted_bars(&request).await,
                answer => answer,
            },
            _ => source.noted_bars(&request).await,
        };
        match self.fetch(DataKind::of(message.frequency), call, &mut message.ticket).await {
            Ok((NotedBars { bars: mut rows, notes }, source)) => {
                message.ticket.trail.sources.rows_came(rows.len());
                rows.retain(|row| is_over(row, message.frequency));
                self.board.rows_fetched.add(rows.len() as u64);
                let known = self.known_days(&request, &rows, notes, settings).await;
                let room = match reserved {
                    Some(room) => Some(room),
                    None => self.row_room.enter(rows.len()).await,
                };
                let Some(room) = room else { return };
                let FetchBars { mut ticket, frequency, mode, .. } = message;
                self.cross_check(&request, source, &rows, call, &mut ticket, &settings.quality).await;
                ticket.enter(Stage::Checking);
                let FetchPlan { range, span } = plan;
                let message = ValidateBars { ticket, code, frequency, mode, range, span, source, rows, known, room };
                self.validator.do_send(message);
            }
            Err((error, attempts)) => self.give_up(message.ticket, error, attempts),
        }
    }

    async fn run_factors(&self, FetchFactors { mut ticket, code, mode }: FetchFactors, settings: &ActorSettings) {
        let newest = match mode {
            SyncMode::Replace => None,
            SyncMode::Incremental => self.newest(&self.factors, code, &ticket, settings).await,
        };
        let start = newest.and_then(|newest| newest.date().checked_add_days(Days::new(1)));
        let range = DateRange { start: start.unwrap_or(DateRange::FIRST_TRADING_DAY), end: shanghai::today() };
        if range.start > range.end {
            return ticket.done(TaskReport::default());
        }
        if ticket.is_lost() {
            return; // another worker has the command now
        }
        let call = async |source: Arc<dyn MarketSource>| source.factors(code, range).await;
        match self.fetch(DataKind::Factors, call, &mut ticket).await {
            Ok((rows, source)) => {
                ticket.trail.sources.rows_came(rows.len());
                self.board.rows_fetched.add(rows.len() as u64);
                let Some(room) = self.row_room.enter(rows.len()).await else { return };
                let facts = self.facts(settings).await;
                ticket.enter(Stage::Checking);
                self.validator.do_send(ValidateFactors { ticket, code, mode, range, source, rows, facts, room });
            }
            Err((error, attempts)) => self.give_up(ticket, error, attempts),
        }
    }

    /// An empty list is no list: it would be believed that nothing is listed any more.
    async fn run_list(&self, FetchList { mut ticket, kind }: FetchList) {
        let data_kind = match kind {
            ListKind::Stocks => DataKind::Stocks,
            ListKind::TradeDays => DataKind::TradeDays,
        };
        let call = async |source: Arc<dyn MarketSource>| {
            let list = match kind {
                ListKind::Stocks => FetchedList::Stocks(source.stocks().await?),
                ListKind::TradeDays => FetchedList::TradeDays(source.trade_days().await?),
            };
            let empty = || SourceErrorKind::BadAnswer("the list is empty".to_owned());
            let error = || SourceError { source_name: source.name(), request: data_kind.to_string(), kind: empty() };
            if list.is_empty() { Err(error()) } else { Ok(list) }
        };
        match self.fetch(data_kind, call, &mut ticket).await {
            Ok((list, source)) => {
                ticket.trail.sources.rows_came(list.len());
                self.board.rows_fetched.add(list.len() as u64);
                let Some(room) = self.row_room.enter(list.len()).await else { return };
                ticket.enter(Stage::Checking);
                self.validator.do_send(ValidateList { ticket, list, source, room });
            }
            Err((error, attempts)) => self.give_up(ticket, error, attempts),
        }
    }

    pub(crate) fn give_up(&self, ticket: Ticket, error: SourceError, attempts: u32) {
        self.board.record_error(&error.to_string());
        tracing::error!(subject = %ticket.subject(), attempts, %error, "fetch failed for good");
        ticket.failed(error, attempts);
    }

    /// The days to ask for; `None` where nothing can be missing.
    async fn plan(&self, message: &FetchBars, settings: &ActorSettings) -> Option<FetchPlan> {
        let code = message.code;
        let OpenRange { start, end } = message.range;
        let span_start = start;
        let start = match (start, message.mode) {
            (Some(start), _) => start,
            (None, SyncMode::Replace) => message.frequency.first_day(),
            (None, SyncMode::Incremental) => self.first_missing(message, settings).await?,
        };
        let span_end = end;
        let last = match message.frequency {
            Frequency::Day => last_closed_day(shanghai::now()),
            _ => shanghai::today(),
        };
        let end = end.map_or(last, |end| end.min(last));
        if start > end {
            return None;
        }
        let range = DateRange { start, end };
        let (from, to) = range.timestamps();
        // An end that was not asked for stays open: `full` without dates is about all that is stored of the code.
        let span = KeySpan { code, from: span_start.map(|_| from), to: span_end.map(|_| to) };
        Some(FetchPlan { range, span })
    }

    /// The days to fetch for all securities at once: few enough, and wanted by enough other tasks.
    fn shared_days(&self, message: &FetchBars, range: DateRange, settings: &ActorSettings) -> Option<Vec<NaiveDate>> {
        let worth = settings.fetch.whole_days_from_tasks;
        let is_worth_it = worth > 0 && self.board.tasks_in(Stage::Waiting).get() >= u64::from(worth);
        let fits = message.frequency == Frequency::Day && message.mode == SyncMode::Incremental;
        if is_worth_it && fits { cross_section::days_of(range) } else { None }
    }

    /// The first day whose bars may be missing.
    async fn first_missing(&self, message: &FetchBars, settings: &ActorSettings) -> Option<NaiveDate> {
        let FetchBars { ticket, code, frequency, .. } = message;
        let known = self.bars.of(*frequency);
        match (self.newest(&known, *code, ticket, settings).await, frequency.minutes()) {
            // A day whose minutes are not all there is fetched once more; the BatchWriter drops those that are.
            (Some(newest), Some(_)) if newest.time() < LAST_MINUTE => Some(newest.date()),
            (Some(newest), _) => newest.date().checked_add_days(Days::new(1)),
            (None, Some(_)) => shanghai::today().checked_sub_days(Days::new(settings.fetch.first_minute_days.into())),
            (None, None) => Some(frequency.first_day()),
        }
    }

    /// The newest stored timestamp, if there is one and the command is still ours.
    async fn newest(
        &self,
        latest: &LatestTimes,
        code: Code,
        ticket: &Ticket,
        settings: &ActorSettings,
    ) -> Option<chrono::NaiveDateTime> {
        let read = async || latest.newest(code, ms(settings.fetch.latest_refresh_ms)).await;
        self.waited_for(read, ticket, settings).await.flatten()
    }

    /// An answer of the store. While it does not answer, nothing can be written either, so this waits, with back-off, as
    /// long as the command is ours.
    pub(crate) async fn waited_for<T>(
        &self,
        read: impl AsyncFn() -> Result<T, StoreError>,
        ticket: &Ticket,
        settings: &ActorSettings,
    ) -> Option<T> {
        let mut delays = store_delays(settings);
        let mut has_failed = false;
        while !ticket.is_lost() {
            match read().await {
                Ok(answer) => {
                    // An answer at once may come out of memory: it does not say that the store is back.
                    if has_failed {
                        self.outage.succeeded();
                    }
                    return Some(answer);
                }
                Err(error) => {
                    has_failed = true;
                    let delay = delays.next().unwrap_or(ms(settings.batch.max_retry_delay_ms));
                    self.outage.failed(&error, delay);
                    actix_rt::time::sleep(delay).await;
                }
            }
        }
        None
    }
}

/// Whether a bar's time is over. A minute bar bears its end; one that has not ended would be stored as it is just now.
fn is_over(bar: &FetchedBar, frequency: Frequency) -> bool {
    match bar.timestamp {
        Field::Value(end) if frequency.minutes().is_some() => end <= shanghai::now(),
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
        let (past, future) = (shanghai::now() - Span::minutes(1), shanghai::now() + Span::minutes(1));
        assert!(is_over(&at(past), Frequency::Minute5));
        assert!(!is_over(&at(future), Frequency::Minute5));
        assert!(is_over(&at(future), Frequency::Day), "a day is labelled with its midnight");
        assert!(is_over(&bar(Field::Missing), Frequency::Minute5), "what cannot be read is the Validator's to report");
    }
}
