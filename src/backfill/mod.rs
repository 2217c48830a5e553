// Upstream: main
// Downstream: many
// Role: Implements `data-worker backfill`, a resumable backfill of a range of days without Kafka.

mod coverage;
mod estimate;
mod feed;
mod journal;
mod pieces;
mod plan;
mod progress;
mod request;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::System;
use actors::domain::expected_rows::last_closed_day;
use actors::domain::{Code, DateRange, Frequency, counted_len, shanghai_clock};
use actors::fetcher::request_plan::Way;
use actors::ports::MarketSource;
use actors::supervision::StatusBoard;
use actors::supervisor::ExitReport;
use chrono::NaiveDate;

use self::coverage::Group;
use self::estimate::Estimate;
use self::feed::{FeedPort, NoOrders, PieceFeed};
use self::journal::Journal;
use self::pieces::Piece;
use self::plan::Offered;
use self::progress::Progress;
use self::request::{Kind, Request};
use crate::app::run;
use crate::app::service_hub::ServiceHub;
use crate::app::signals::StopSignals;
use crate::cli::days::day;
use crate::config::{self, Environment, LogFormat, LogSection, Settings};
use crate::observability::telemetry;
use crate::observability::telemetry::JsonTo;

/// Interval of the progress output.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Maximum number of failures that the summary lists.
const MAX_NAMED: usize = 20;

/// Exit code of a backfill that was stopped before its end. Wrong arguments have the code 2.
const STOPPED: u8 = 3;

/// Why a backfill does not start.
enum Refusal {
    /// Its arguments make no sense.
    Arguments(String),
    /// A server, a file or a setting.
    Failed(String),
}

/// Options of `data-worker backfill`.
#[derive(Debug, clap::Args)]
pub struct BackfillOptions {
    /// Securities, such as 000001.SZ,600000.SH.
    #[arg(
        long,
        visible_alias = "code",
        value_delimiter = ',',
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    codes: Vec<String>,
    /// All securities in MySQL's stock_info.
    #[arg(long)]
    all: bool,
    /// First day, such as 2024-01-31 or 20240131.
    #[arg(long, value_parser = day)]
    start: NaiveDate,
    /// Last day, such as 2024-01-31 or 20240131; default: today.
    #[arg(long, value_parser = day)]
    end: Option<NaiveDate>,
    /// Frequency of bars: 1d, 1m, 5m, 15m, 30m or 60m.
    #[arg(long, default_value = "1d")]
    frequency: String,
    /// Kind of data.
    #[arg(long, value_enum, default_value = "bar")]
    kind: Kind,
    /// Replaces stored rows by fetched rows.
    #[arg(long)]
    force: bool,
    /// Prints what would be done - calls, time, rows - and fetches nothing.
    #[arg(long)]
    dry_run: bool,
    /// Folder for the journal of finished parts; default: the folder in GINKGO_DATA_WORKER_STATE, otherwise data-worker
    /// in $XDG_STATE_HOME or ~/.local/state.
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Configuration file; default: the file that a worker would use, see docs/configuration.md.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Minimum level of log lines on stderr.
    #[arg(long, value_name = "LEVEL", default_value = "error")]
    log_level: String,
}

impl BackfillOptions {
    /// Runs the backfill. Exit code 0: everything is done; 1: something failed; 2: wrong arguments; 3: it was stopped
    /// before its end, and the same command resumes it.
    pub fn run(&self) -> ExitCode {
        let environment = Environment::of_process();
        let loaded = match config::load(self.config.as_deref(), &environment) {
            Ok(loaded) => loaded,
            Err(problems) => {
                for problem in &problems.0 {
                    eprintln!("data-worker backfill: {problem}");
                }
                return ExitCode::FAILURE;
            }
        };
        let folder = loaded.settings.log.folder.clone();
        let log = LogSection { level: self.log_level.clone(), format: LogFormat::Text, folder };
        let _telemetry = match telemetry::start(&log, JsonTo::ErrorStream) {
            Ok(telemetry) => telemetry,
            Err(error) => {
                eprintln!("data-worker backfill: cannot write logs: {error}");
                return ExitCode::FAILURE;
            }
        };
        let state = journal::folder(self.state.as_deref(), &environment);
        match System::new().block_on(self.fill(loaded.settings, &state)) {
            Ok(code) => code,
            Err(Refusal::Arguments(reason)) => {
                eprintln!("data-worker backfill: {reason}");
                ExitCode::from(2)
            }
            Err(Refusal::Failed(reason)) => {
                eprintln!("data-worker backfill: {reason}");
                ExitCode::FAILURE
            }
        }
    }

    async fn fill(&self, mut settings: Settings, state: &Path) -> Result<ExitCode, Refusal> {
        // Old bars must not be published as price updates.
        settings.events.price_update = false;
        let request = self.request(&settings).await?;
        let sources = ServiceHub::market_sources(&settings).map_err(|error| Refusal::Failed(error.to_string()))?;
        let source = sources.of(request.data_kind()).into_iter().next().ok_or_else(|| {
            let kind = request.data_kind();
            Refusal::Failed(format!("no source of {kind} is configured; see sources.{}", kind.key()))
        })?;
        let facts = ServiceHub::market_facts(&settings);
        let calendar = &facts.current(Duration::from_millis(settings.fetch.facts_refresh_ms)).await.calendar;
        let units = request.units(calendar);
        let subject = subject(&request, &settings);
        let unusable = |error: std::io::Error| {
            Refusal::Failed(format!("the journal in {} cannot be used: {error}; see --state", state.display()))
        };
        let (journal, done) = match self.dry_run {
            true => (None, journal::done(state, &subject).map_err(unusable)?),
            false => Journal::open(state, &subject).map(|(journal, done)| (Some(journal), done)).map_err(unusable)?,
        };
        let groups = coverage::left(&request.codes, &units, &done);
        let share_calls = settings.actor_settings().fetch.shares_calls();
        let abilities = source.abilities(request.data_kind()).of_tasks(share_calls);
        let covers = |code| source.covers_in_whole_days(code);
        let mut offered = Offered { abilities, covers_in_whole_days: &covers };
        let begun = format!(
            "{}, {}: {}; journal {}",
            counted_len(request.codes.len(), "code"),
            request.range,
            left_text(&request, &units, &groups),
            journal::path(state, &subject).display()
        );
        let mut chosen = plan::cheapest(&request, &units, &groups, offered);
        let Some(journal) = journal else {
            let by_code = plan::by_code(&request, &units, &groups, offered);
            let by_day = plan::by_day(&request, &units, &groups, offered);
            let (source, calls_per_minute) = (source.name(), abilities.calls_per_minute);
            println!("{begun}");
            println!("{}", Estimate { request: &request, source, calls_per_minute, by_code, by_day, chosen });
            return Ok(ExitCode::SUCCESS);
        };
        if let Some(refusal) = refusal_of_whole_days(source.as_ref(), &chosen.pieces).await {
            println!("{} gives no whole days ({refusal}); securities are requested one by one", source.name());
            offered.abilities.rows_per_day_call = None;
            chosen = plan::cheapest(&request, &units, &groups, offered);
        }
        let (parts, calls) = (counted_len(chosen.pieces.len(), "part"), counted_len(chosen.num_calls, "call"));
        println!("{begun}; {parts} in {calls} of {}", source.name());
        drop((source, sources));
        self.run_pieces(&settings, PieceFeed::new(request, chosen.pieces, journal), abilities.calls_per_minute).await
    }

    /// Runs a worker that has these pieces as its commands.
    async fn run_pieces(
        &self,
        settings: &Settings,
        feed: Arc<PieceFeed>,
        calls_per_minute: u32,
    ) -> Result<ExitCode, Refusal> {
        let port = Arc::new(FeedPort(feed.clone()));
        let parts = ServiceHub::without_kafka(settings, port.clone(), Arc::new(NoOrders), port)
            .map_err(|error| Refusal::Failed(error.to_string()))?;
        let board = Arc::new(StatusBoard::default());
        let begun = Instant::now();
        let mut life = run::launch(parts, settings.actor_settings(), board.clone());
        life.stop_on(StopSignals::listen());
        let report = tokio::select! {
            () = follow(&feed, &board, calls_per_minute) => {
                life.stop("the backfill is done");
                life.ended().await
            }
            report = life.ended() => report,
        };
        Ok(summary(&feed, &board, begun.elapsed(), &report))
    }

    async fn request(&self, settings: &Settings) -> Result<Request, Refusal> {
        let frequency = Frequency::named(&self.frequency).ok_or_else(|| {
            let reason =
                format!("--frequency is {:?}, but it must be one of 1d, 1m, 5m, 15m, 30m, 60m", self.frequency);
            Refusal::Arguments(reason)
        })?;
        let now = shanghai_clock::now();
        let range = DateRange { start: self.start, end: self.end.unwrap_or(now.date()) };
        if range.start > range.end {
            return Err(Refusal::Arguments(format!("--start {} is after --end {}", range.start, range.end)));
        }
        // A daily bar is complete after the close. A day that is not over must not be noted as done.
        let newest = match self.kind {
            Kind::Bar if frequency.minutes().is_none() => last_closed_day(now),
            Kind::Bar | Kind::Tick | Kind::Adjustfactor => now.date(),
        };
        if range.start > newest {
            return Err(Refusal::Arguments(format!(
                "--start {} is after {newest}, the last day with data",
                range.start
            )));
        }
        let range = DateRange { end: range.end.min(newest), ..range };
        Ok(Request { codes: self.codes(settings).await?, kind: self.kind, frequency, range, force: self.force })
    }

    async fn codes(&self, settings: &Settings) -> Result<Vec<Code>, Refusal> {
        if self.all {
            let listed = ServiceHub::listed_codes(settings, self.start).await;
            let listed = listed.map_err(|error| Refusal::Failed(error.to_string()))?;
            let empty = || Refusal::Failed("the stock list (stock_info) is empty; send `stockinfo` first".to_owned());
            return match listed.is_empty() {
                true => Err(empty()),
                false => Ok(listed),
            };
        }
        let mut codes = Vec::new();
        for text in self.codes.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            let code: Code = text.parse().map_err(|error| Refusal::Arguments(format!("--codes: {error}")))?;
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        if codes.is_empty() { Err(Refusal::Arguments("--codes contains no code".to_owned())) } else { Ok(codes) }
    }
}

/// What identifies a backfill for its journal: everything but the securities and the end, which may be today.
fn subject(request: &Request, settings: &Settings) -> String {
    let store = &settings.clickhouse;
    let force = if request.force { " force" } else { "" };
    let (what, start) = (request.what(), request.range.start);
    format!("{what}{force} from {start} on, in {}:{}/{}", store.host, store.port, store.database)
}

/// How much of a backfill is left.
fn left_text(request: &Request, units: &[DateRange], groups: &[Group]) -> String {
    let all = request.codes.len() * units.len();
    let left: usize = groups.iter().map(|group| group.codes.len() * group.num_units()).sum();
    let done = all.saturating_sub(left);
    let unit = if request.kind == Kind::Adjustfactor { "series" } else { "trading days of a code" };
    format!("{done} of {all} {unit} done before")
}

/// Asks for the first whole day of the plan, if it has one. The error is permanent: the account may not ask for whole
/// days.
async fn refusal_of_whole_days(source: &dyn MarketSource, pieces: &[Piece]) -> Option<String> {
    let first = pieces.iter().find(|piece| piece.way == Way::ByDay)?;
    let error = source.day_bars(first.range.start).await.err()?;
    (!error.kind.is_transient() && !error.kind.is_refused_login()).then(|| error.to_string())
}

/// Shows the progress until no pieces are left.
async fn follow(feed: &PieceFeed, board: &StatusBoard, calls_per_minute: u32) {
    let mut progress = Progress::new(feed.standing().num_pieces, calls_per_minute);
    loop {
        let standing = feed.standing();
        progress.show(&standing, board.counters.rows_written.get());
        if standing.is_over() {
            return progress.finish();
        }
        actix_rt::time::sleep(POLL_INTERVAL).await;
    }
}

fn summary(feed: &PieceFeed, board: &StatusBoard, elapsed: Duration, report: &ExitReport) -> ExitCode {
    let standing = feed.standing();
    println!(
        "{} of {} parts done, {} failed; {} rows fetched, {} stored, {} skipped as invalid; {:.1} s",
        standing.num_done,
        standing.num_pieces,
        standing.num_failed,
        board.counters.rows_fetched.get(),
        board.counters.rows_written.get(),
        board.counters.rows_skipped.get(),
        elapsed.as_secs_f64()
    );
    let failures = feed.failures();
    for (piece, reason) in failures.iter().take(MAX_NAMED) {
        println!("failed: {piece}: {reason}");
    }
    if failures.len() > MAX_NAMED {
        println!("and {} more", failures.len() - MAX_NAMED);
    }
    if let Some(error) = feed.journal_error() {
        println!("the journal could not be written: {error}");
    }
    if let ExitReport::Failed(reason) = report {
        println!("the worker failed: {reason}");
        return ExitCode::FAILURE;
    }
    if !standing.is_over() {
        println!("not finished; run the same command again to resume");
        return ExitCode::from(STOPPED);
    }
    if standing.num_failed > 0 {
        println!("run the same command again to retry the failed parts");
        return ExitCode::FAILURE;
    }
    if let Err(error) = feed.forget_journal() {
        println!("the journal could not be removed: {error}");
    }
    ExitCode::SUCCESS
}
