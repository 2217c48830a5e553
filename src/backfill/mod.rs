// Upstream: main
// Downstream: many
// Role: Implements `data-worker backfill`, a resumable backfill of a range of days without Kafka.

mod feed;
mod journal;
mod pieces;
mod progress;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::System;
use actors::domain::{Code, DateRange, Frequency, counted_len, shanghai_clock};
use actors::supervision::StatusBoard;
use actors::supervisor::ExitReport;
use chrono::NaiveDate;

use self::feed::{FeedPort, NoOrders, PieceFeed};
use self::journal::Journal;
use self::pieces::{Kind, Request};
use self::progress::Progress;
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

/// Why a backfill does not start.
type Refusal = String;

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
    /// Runs the backfill. Exit code 0: everything is done; 1: something failed; 2: it was stopped before its end, and
    /// the same command resumes it.
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
            Err(refusal) => {
                eprintln!("data-worker backfill: {refusal}");
                ExitCode::FAILURE
            }
        }
    }

    async fn fill(&self, mut settings: Settings, state: &Path) -> Result<ExitCode, Refusal> {
        // Old bars must not be published as price updates.
        settings.events.price_update = false;
        let frequency = Frequency::named(&self.frequency).ok_or_else(|| {
            format!("--frequency is {:?}, but it must be one of 1d, 1m, 5m, 15m, 30m, 60m", self.frequency)
        })?;
        let range = DateRange { start: self.start, end: self.end.unwrap_or_else(shanghai_clock::today) };
        if range.start > range.end {
            return Err(format!("--start {} is after --end {}", range.start, range.end));
        }
        let codes = self.codes(&settings).await?;
        let request = Request { codes, kind: self.kind, frequency, range, force: self.force };
        let pieces = request.pieces();
        let (journal, done) = Journal::open(state, &pieces)
            .map_err(|error| format!("the journal in {} cannot be used: {error}; see --state", state.display()))?;
        println!(
            "{}, {range}: {}, {} of them done before; journal {}",
            counted_len(request.codes.len(), "code"),
            counted_len(pieces.len(), "part"),
            done.len(),
            journal.path().display()
        );
        let feed = PieceFeed::new(pieces, journal, |piece| done.contains(&piece.id));
        let port = Arc::new(FeedPort(feed.clone()));
        let parts = ServiceHub::without_kafka(&settings, port.clone(), Arc::new(NoOrders), port)
            .map_err(|error| error.to_string())?;
        let board = Arc::new(StatusBoard::default());
        let begun = Instant::now();
        let mut life = run::launch(parts, settings.actor_settings(), board.clone());
        life.stop_on(StopSignals::listen());
        let report = tokio::select! {
            () = follow(&feed, &board) => {
                life.stop("the backfill is done");
                life.ended().await
            }
            report = life.ended() => report,
        };
        Ok(summary(&feed, &board, begun.elapsed(), &report))
    }

    async fn codes(&self, settings: &Settings) -> Result<Vec<Code>, Refusal> {
        if self.all {
            let listed = ServiceHub::listed_codes(settings).await.map_err(|error| error.to_string())?;
            return match listed.is_empty() {
                true => Err("the stock list (stock_info) is empty; send `stockinfo` first".to_owned()),
                false => Ok(listed),
            };
        }
        let mut codes = Vec::new();
        for text in self.codes.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            let code: Code = text.parse().map_err(|error| format!("--codes: {error}"))?;
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        if codes.is_empty() { Err("--codes contains no code".to_owned()) } else { Ok(codes) }
    }
}

/// Shows the progress until no pieces are left.
async fn follow(feed: &PieceFeed, board: &StatusBoard) {
    let mut progress = Progress::new(feed.standing().num_pieces);
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
        return ExitCode::from(2);
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
