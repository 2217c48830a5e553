// Upstream: actors::command_router, actors::flush, actors::lifecycle, actors::list_merge, actors::supervisor
// Downstream: actors::domain::bar, actors::domain::code, actors::domain::task, actors::latest_bars, actors::observation, actors::ports, actors::reference_list, actors::settings, actors::shanghai, actors::store_outage, actors::supervision::board, actors::supervision::vitals, actors::ticket, actors::validator
// Role: The actor that fetches a task's rows from the source, at most three times, and hands them to the Validator.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{Days, NaiveDate};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use crate::domain::{Code, DateRange, Frequency, SourceId, Stage, SyncMode};
use crate::latest_bars::LatestBars;
use crate::observation::Observation;
use crate::ports::{BarRequest, KeySpan, MarketSource, SourceError, SourceErrorKind};
use crate::reference_list::{FetchedList, ListKind};
use crate::settings::{ActorSettings, ApplySettings, ms};
use crate::shanghai;
use crate::store_outage::StoreOutage;
use crate::supervision::{Board, Vitals};
use crate::ticket::{TaskReport, Ticket};
use crate::validator::{ValidateBars, ValidateList, Validator};

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
    /// First day asked for, if any.
    pub start: Option<NaiveDate>,
    /// Last day asked for, if any.
    pub end: Option<NaiveDate>,
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
    settings: Arc<ActorSettings>,
}

/// What a fetch needs; outlives a restart of the actor.
struct FetchContext {
    source: Arc<dyn MarketSource>,
    latest: Arc<LatestBars>,
    validator: Addr<Validator>,
    outage: Arc<StoreOutage>,
    board: Arc<Board>,
    row_room: RowRoom,
}

/// Room for rows between source and store. A fetch that brought rows waits here until there is room for them.
struct RowRoom {
    semaphore: Arc<Semaphore>,
    size: std::sync::Mutex<usize>,
}

impl RowRoom {
    fn new(size: usize) -> Self {
        Self { semaphore: Arc::new(Semaphore::new(size)), size: std::sync::Mutex::new(size) }
    }

    /// Waits for room for `rows` rows. A task with more rows than the whole room takes all of it.
    async fn enter(&self, rows: usize) -> Option<OwnedSemaphorePermit> {
        let whole = *self.size.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let permits = u32::try_from(rows.clamp(1, whole.max(1))).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.semaphore.clone().acquire_many_owned(permits).await.ok()
    }

    /// Changes the room's size; a smaller one takes effect as rows leave.
    fn resize(&self, new_size: usize) {
        let mut size = self.size.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if new_size > *size {
            self.semaphore.add_permits(new_size - *size);
        } else if new_size < *size {
            let excess = u32::try_from(*size - new_size).unwrap_or(u32::MAX);
            let semaphore = self.semaphore.clone();
            actix_rt::spawn(async move {
                if let Ok(permits) = semaphore.acquire_many_owned(excess).await {
                    permits.forget();
                }
            });
        }
        *size = new_size;
    }
}

impl Fetcher {
    /// A fetcher of one source.
    pub fn new(
        vitals: Vitals,
        settings: Arc<ActorSettings>,
        source: Arc<dyn MarketSource>,
        latest: Arc<LatestBars>,
        outage: Arc<StoreOutage>,
        validator: Addr<Validator>,
    ) -> Self {
        let shared = FetchContext {
            source,
            latest,
            outage,
            validator,
            board: vitals.board().clone(),
            row_room: RowRoom::new(settings.batch.max_buffered_rows),
        };
        Self { vitals, shared: Arc::new(shared), settings }
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
        let (shared, settings, vitals) = (self.shared.clone(), self.settings.clone(), self.vitals.clone());
        let span = message.ticket.span().clone();
        let fetching = async move {
            vitals.fault_point("task");
            shared.run(message, &settings).await;
        };
        actix_rt::spawn(fetching.instrument(span));
    }
}

impl Handler<FetchList> for Fetcher {
    type Result = ();

    fn handle(&mut self, message: FetchList, _ctx: &mut Self::Context) {
        let (shared, settings) = (self.shared.clone(), self.settings.clone());
        let span = message.ticket.span().clone();
        actix_rt::spawn(async move { shared.run_list(message, &settings).await }.instrument(span));
    }
}

impl Handler<ApplySettings> for Fetcher {
    type Result = ();

    fn handle(&mut self, message: ApplySettings, _ctx: &mut Self::Context) {
        self.shared.row_room.resize(message.0.batch.max_buffered_rows);
        self.settings = message.0;
    }
}

/// What a task shall fetch, and which part of the store it is about.
#[derive(Debug, PartialEq, Eq)]
struct FetchPlan {
    range: DateRange,
    span: KeySpan,
}

impl FetchContext {
    async fn run(&self, message: FetchBars, settings: &ActorSettings) {
        let code = message.code;
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
        let call = async |source: Arc<dyn MarketSource>| source.bars(&request).await;
        match self.fetch(call, &message.ticket, settings).await {
            Ok((rows, source)) => {
                self.board.rows_fetched.add(rows.len() as u64);
                let Some(room) = self.row_room.enter(rows.len()).await else { return };
                let FetchBars { mut ticket, frequency, mode, .. } = message;
                ticket.enter(Stage::Checking);
                let FetchPlan { range, span } = plan;
                self.validator.do_send(ValidateBars { ticket, code, frequency, mode, range, span, source, rows, room });
            }
            Err((error, attempts)) => self.give_up(message.ticket, error, attempts),
        }
    }

    /// An empty list is no list: it would be believed that nothing is listed any more.
    async fn run_list(&self, FetchList { mut ticket, kind }: FetchList, settings: &ActorSettings) {
        let call = async |source: Arc<dyn MarketSource>| match kind {
            ListKind::Stocks => source.stocks().await.map(FetchedList::Stocks),
            ListKind::TradeDays => source.trade_days().await.map(FetchedList::TradeDays),
        };
        match self.fetch(call, &ticket, settings).await {
            Ok((list, _)) if list.is_empty() => {
                let kind = SourceErrorKind::BadAnswer("the list is empty".to_owned());
                let request = ticket.subject().to_string();
                self.give_up(ticket, SourceError { source_name: self.source.name(), request, kind }, 1);
            }
            Ok((list, source)) => {
                self.board.rows_fetched.add(list.len() as u64);
                let Some(room) = self.row_room.enter(list.len()).await else { return };
                ticket.enter(Stage::Checking);
                self.validator.do_send(ValidateList { ticket, list, source, room });
            }
            Err((error, attempts)) => self.give_up(ticket, error, attempts),
        }
    }

    fn give_up(&self, ticket: Ticket, error: SourceError, attempts: u32) {
        self.board.record_error(&error.to_string());
        tracing::error!(subject = %ticket.subject(), attempts, %error, "fetch failed for good");
        ticket.failed(error, attempts);
    }

    /// The days to ask for; `None` where nothing can be missing.
    async fn plan(&self, message: &FetchBars, settings: &ActorSettings) -> Option<FetchPlan> {
        let code = message.code;
        let end = message.end.unwrap_or_else(shanghai::today);
        let start = match (message.start, message.mode) {
            (Some(start), _) => start,
            (None, SyncMode::Replace) => DateRange::FIRST_TRADING_DAY,
            (None, SyncMode::Incremental) => match self.newest(code, &message.ticket, settings).await {
                Some(newest) => newest.date().checked_add_days(Days::new(1))?,
                None => DateRange::FIRST_TRADING_DAY,
            },
        };
        if start > end {
            return None;
        }
        let range = DateRange { start, end };
        let (from, to) = range.timestamps();
        // An end that was not asked for stays open: `full` without dates is about all that is stored of the code.
        let span = KeySpan { code, from: message.start.map(|_| from), to: message.end.map(|_| to) };
        Some(FetchPlan { range, span })
    }

    /// The newest stored timestamp. While the store does not answer, nothing can be written either, so this waits, with
    /// back-off, as long as the command is ours.
    async fn newest(&self, code: Code, ticket: &Ticket, settings: &ActorSettings) -> Option<chrono::NaiveDateTime> {
        let mut delays = store_delays(settings);
        loop {
            match self.latest.newest(code, ms(settings.fetch.latest_refresh_ms)).await {
                Ok(newest) => {
                    self.outage.succeeded();
                    return newest;
                }
                Err(error) => {
                    let delay = delays.next().unwrap_or(ms(settings.batch.max_retry_delay_ms));
                    self.outage.failed(&error, delay);
                    actix_rt::time::sleep(delay).await;
                }
            }
            if ticket.is_lost() {
                return None;
            }
        }
    }

    /// At most `max_attempts` attempts; permanent errors are not tried again. Also says which source answered.
    async fn fetch<T>(
        &self,
        call: impl AsyncFn(Arc<dyn MarketSource>) -> Result<T, SourceError>,
        ticket: &Ticket,
        settings: &ActorSettings,
    ) -> Result<(T, SourceId), (SourceError, u32)> {
        let mut delays = retry_delays(settings);
        let mut attempt = 1;
        loop {
            // Each attempt anew: a reload may have brought another source or another token.
            let source = self.source.clone().in_force();
            let begun = Instant::now();
            let answer = call(source.clone()).await;
            let (error, duration) = (answer.as_ref().err(), begun.elapsed());
            self.board.observe(&Observation::FetchEnded { source: source.name(), error, duration });
            let error = match answer {
                Ok(answer) => return Ok((answer, source.id())),
                Err(error) => error,
            };
            self.board.progressed();
            let Some(delay) = delays.next().filter(|_| error.kind.is_transient() && !ticket.is_lost()) else {
                return Err((error, attempt));
            };
            let delay = wait_before_retry(&error.kind, delay, settings);
            tracing::warn!(subject = %ticket.subject(), attempt, %error, retry_in = ?delay, "fetch failed, will be tried again");
            self.board.observe(&Observation::FetchRetried { error: &error, wait: delay });
            self.board.protect(delay);
            actix_rt::time::sleep(delay).await;
            attempt += 1;
        }
    }
}

/// The vendor's own word is honoured, but no wait is longer than the longest allowed one.
fn wait_before_retry(kind: &SourceErrorKind, delay: Duration, settings: &ActorSettings) -> Duration {
    let wanted = match kind {
        SourceErrorKind::RateLimited { retry_after, .. } => (*retry_after).max(delay),
        _ => delay,
    };
    wanted.min(ms(settings.fetch.max_retry_delay_ms))
}

/// The waits between attempts; one fewer than attempts.
fn retry_delays(settings: &ActorSettings) -> impl Iterator<Item = Duration> + use<> {
    let fetch = &settings.fetch;
    ExponentialBuilder::default()
        .with_min_delay(ms(fetch.first_retry_delay_ms))
        .with_max_delay(ms(fetch.max_retry_delay_ms))
        .with_jitter()
        .with_max_times(fetch.max_attempts.saturating_sub(1) as usize)
        .build()
}

/// The waits between tries of the store: without end, because giving up would lose rows.
pub(crate) fn store_delays(settings: &ActorSettings) -> impl Iterator<Item = Duration> + use<> {
    let batch = &settings.batch;
    ExponentialBuilder::default()
        .with_min_delay(ms(batch.first_retry_delay_ms))
        .with_max_delay(ms(batch.max_retry_delay_ms))
        .with_jitter()
        .without_max_times()
        .build()
}
