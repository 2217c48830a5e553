// Upstream: command_router, fetcher, supervisor
// Downstream: many
// Role: The actor that fetches a task's rows from the sources, with retries, and passes them to the Validator.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::watch;
use tracing::Instrument;

use crate::domain::DateRange;
use crate::fetcher::bars::fetch_bars;
use crate::fetcher::calendar_watch::{CHECK_INTERVAL, CalendarWatch};
use crate::fetcher::command_plan::plan_command;
use crate::fetcher::cross_check::CrossCheck;
use crate::fetcher::cross_section::CrossSections;
use crate::fetcher::factors::fetch_factors;
use crate::fetcher::former_stocks::FormerStocksRequest;
use crate::fetcher::lists::fetch_list;
use crate::fetcher::parts::{FetchParts, StoredData};
use crate::fetcher::plan::FetchPlanner;
use crate::fetcher::row_context::RowContextReader;
use crate::fetcher::several_codes::SeveralCodes;
use crate::fetcher::source_caller::SourceCaller;
use crate::fetcher::source_circuit::SourceCircuits;
use crate::fetcher::suspensions::Suspensions;
use crate::fetcher::ticks::fetch_ticks;
use crate::fetcher::{FetchBars, FetchFactors, FetchList, FetchTicks, PlanCommand, RefreshFacts};
use crate::pipeline::RowBudget;
use crate::ports::{MarketSources, Swappable};
use crate::settings::{ActorSettings, ApplySettings, ms};
use crate::supervision::Vitals;
use crate::validator::Validator;

/// Time from the start to the first look at the calendar: the worker has joined its group.
const FIRST_CHECK: Duration = Duration::from_secs(10);

/// Starts fetches. Each fetch is a separate future, so a panic in one does not end the others.
pub struct Fetcher {
    vitals: Vitals,
    settings: watch::Sender<Arc<ActorSettings>>,
    parts: Arc<FetchParts>,
    calendar_watch: Arc<CalendarWatch>,
}

impl Fetcher {
    /// Creates a fetcher that requests rows missing in `stored` from `sources`.
    pub fn new(
        vitals: Vitals,
        settings: Arc<ActorSettings>,
        sources: Arc<Swappable<dyn MarketSources>>,
        stored: StoredData,
        calendar_watch: CalendarWatch,
        validator: Addr<Validator>,
    ) -> Self {
        let board = vitals.board().clone();
        let StoredData { latest_bars, latest_factors, stores, facts, last_closes, outage, notes } = stored;
        let row_budget = RowBudget::new(settings.batch.max_buffered_rows);
        let settings = watch::Sender::new(settings);
        let circuits = Arc::new(SourceCircuits::new(board.clone()));
        let parts = FetchParts {
            planner: FetchPlanner { bars: latest_bars, factors: latest_factors, stores: stores.clone(), outage },
            caller: SourceCaller::new(sources.clone(), settings.subscribe(), circuits.clone(), board.clone()),
            cross_sections: CrossSections::default(),
            several_codes: SeveralCodes::default(),
            cross_check: CrossCheck::new(sources.clone(), circuits.clone(), board.clone()),
            row_context: RowContextReader {
                facts,
                last_closes,
                stores: stores.clone(),
                sources,
                circuits,
                suspensions: Suspensions::default(),
            },
            former_stocks: FormerStocksRequest::new(calendar_watch.claims.clone()),
            stores,
            notes,
            row_budget,
            validator,
            board,
        };
        Self { vitals, settings, parts: Arc::new(parts), calendar_watch: Arc::new(calendar_watch) }
    }

    fn in_force(&self) -> Arc<ActorSettings> {
        self.settings.borrow().clone()
    }

    /// Reads the calendar, so that its end is known without any task, and has it extended where needed.
    fn watch_calendar(&self) {
        let (parts, watch, settings) = (self.parts.clone(), self.calendar_watch.clone(), self.in_force());
        actix_rt::spawn(async move {
            parts.row_context.facts(&settings).await;
            watch.check(&parts.board, &settings).await;
        });
    }
}

impl Actor for Fetcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.vitals.begin(ctx);
        ctx.run_later(FIRST_CHECK, |fetcher, _| fetcher.watch_calendar());
        ctx.run_interval(CHECK_INTERVAL, |fetcher, _| fetcher.watch_calendar());
    }
}

/// A restart resets no state: fetches in progress are separate futures.
impl Supervised for Fetcher {}

impl Handler<FetchBars> for Fetcher {
    type Result = ();

    fn handle(&mut self, message: FetchBars, _ctx: &mut Self::Context) {
        self.vitals.fail_point("handler");
        let (parts, settings, vitals) = (self.parts.clone(), self.in_force(), self.vitals.clone());
        let span = message.guard.span().clone();
        let fetching = async move {
            vitals.fail_point("task");
            fetch_bars(&parts, message, &settings).await;
        };
        actix_rt::spawn(fetching.instrument(span));
    }
}

impl Handler<FetchFactors> for Fetcher {
    type Result = ();

    fn handle(&mut self, message: FetchFactors, _ctx: &mut Self::Context) {
        let (parts, settings, span) = (self.parts.clone(), self.in_force(), message.guard.span().clone());
        actix_rt::spawn(async move { fetch_factors(&parts, message, &settings).await }.instrument(span));
    }
}

impl Handler<FetchTicks> for Fetcher {
    type Result = ();

    fn handle(&mut self, message: FetchTicks, _ctx: &mut Self::Context) {
        let (parts, settings, span) = (self.parts.clone(), self.in_force(), message.guard.span().clone());
        actix_rt::spawn(async move { fetch_ticks(&parts, message, &settings).await }.instrument(span));
    }
}

impl Handler<FetchList> for Fetcher {
    type Result = ();

    fn handle(&mut self, message: FetchList, _ctx: &mut Self::Context) {
        let (parts, span) = (self.parts.clone(), message.guard.span().clone());
        actix_rt::spawn(async move { fetch_list(&parts, message).await }.instrument(span));
    }
}

impl Handler<PlanCommand> for Fetcher {
    type Result = ResponseFuture<Option<Vec<DateRange>>>;

    fn handle(&mut self, message: PlanCommand, _ctx: &mut Self::Context) -> Self::Result {
        let (parts, settings) = (self.parts.clone(), self.in_force());
        Box::pin(async move { plan_command(&parts, message, &settings).await })
    }
}

impl Handler<RefreshFacts> for Fetcher {
    type Result = ();

    fn handle(&mut self, _: RefreshFacts, _ctx: &mut Self::Context) {
        let (parts, max_age) = (self.parts.clone(), ms(self.in_force().fetch.facts_refresh_ms));
        actix_rt::spawn(async move {
            let facts = parts.row_context.facts.refresh(max_age).await;
            tracing::info!(securities = facts.listings.len(), "listings and trading calendar read again");
        });
    }
}

impl Handler<ApplySettings> for Fetcher {
    type Result = ();

    fn handle(&mut self, message: ApplySettings, _ctx: &mut Self::Context) {
        self.parts.row_budget.resize(message.0.batch.max_buffered_rows);
        self.settings.send_replace(message.0);
        self.parts.caller.reloaded();
        self.parts.cross_sections.reloaded();
        self.parts.several_codes.reloaded();
    }
}
