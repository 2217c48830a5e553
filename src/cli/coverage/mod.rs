// Upstream: main
// Downstream: many
// Role: Implements `data-worker coverage`, which shows the share of stored trading days by board or code and month.

use std::path::PathBuf;
use std::process::ExitCode;

use actors::domain::coverage::CoverageSearch;
use actors::domain::expected_rows::last_expected_day;
use actors::domain::month::bit_of;
use actors::domain::{Code, DateRange, Frequency, MarketFacts, counted_len, shanghai_clock};
use chrono::{Months, NaiveDate};
use clap::{Args, ValueEnum};

use super::days::{day, frequency};
use super::fold::{WIDTH, fold};
use super::suspended::Suspended;
use super::{block_on, load, print};
use crate::adapters::clickhouse::stored_months::StoredKind;
use crate::app::service_hub::ServiceHub;
use crate::config::Settings;

mod found;
mod history;
mod page;
mod page_data;
mod picture;
mod table;

use found::Found;
use picture::{Picture, RowKind};

/// The default range: ten years.
const DEFAULT_MONTHS: Months = Months::new(120);

/// Maximum age of the cached facts: longer than the command runs.
const MAX_FACT_AGE: std::time::Duration = std::time::Duration::from_secs(86_400);

/// The kind of data that the picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Daily bars.
    Bars,
    /// Minute bars. A day with some of its minutes does not count as stored.
    Minutes,
    /// Adjustment factors.
    Factors,
    /// Ticks. A day with any tick counts as stored.
    Ticks,
}

/// Options of `data-worker coverage`.
#[derive(Debug, Args)]
pub struct CoverageOptions {
    /// Configuration file; default: the file that a worker would use, see docs/configuration.md.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Kind of data; default: bars, or minutes with a --frequency of minutes.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Frequency of the bars: 1d, 1m, 5m, 15m, 30m or 60m; default: 1d, for --kind minutes 1m.
    #[arg(long, visible_alias = "freq", value_parser = frequency)]
    frequency: Option<Frequency>,
    /// Rows of the picture; default: boards, with --codes the codes.
    #[arg(long, value_enum)]
    by: Option<RowKind>,
    /// Securities, separated by commas; default: the whole stock list.
    #[arg(long, visible_alias = "code", value_delimiter = ',')]
    codes: Vec<Code>,
    /// First day; default: ten years before the last day.
    #[arg(long, value_parser = day)]
    start: Option<NaiveDate>,
    /// Last day; default and maximum: today from 17:00 (Shanghai) on, yesterday before.
    #[arg(long, value_parser = day)]
    end: Option<NaiveDate>,
    /// Ignores missing days on which the security was suspended, as reported by a source of daily bars; this
    /// takes some requests to it.
    #[arg(long)]
    except_suspended: bool,
    /// Prints one JSON object per line for each row.
    #[arg(long)]
    json: bool,
    /// Writes a web page instead: the heat map with the missing days of each code, dead letters, and quality over time.
    /// It needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What is shown, with its name.
#[derive(Debug, Clone, Copy)]
struct Subject {
    stored: StoredKind,
    /// The frequency of the rows; a day for other data.
    frequency: Frequency,
}

impl Subject {
    fn name(self) -> String {
        match self.stored {
            StoredKind::Bars(Frequency::Day) => "daily bars".to_owned(),
            StoredKind::Bars(frequency) => format!("{frequency} bars"),
            StoredKind::Factors => "adjustment factors".to_owned(),
            StoredKind::Ticks => "ticks".to_owned(),
        }
    }
}

impl CoverageOptions {
    /// Prints the picture or writes the page. Exit code 0: all expected days are stored; 3: some are missing; 1: the
    /// search failed, or something that was searched is unknown; 2: options that exclude each other.
    pub fn run(self) -> ExitCode {
        self.show().unwrap_or_else(|code| code)
    }

    fn show(&self) -> Result<ExitCode, ExitCode> {
        let subject = self.subject().map_err(|reason| {
            eprintln!("{reason}");
            ExitCode::from(2)
        })?;
        let loaded = load(self.config.as_deref())?;
        let found = block_on(self.look(&loaded.settings, subject))??;
        if let Some(file) = &self.html {
            self.write_page(file, &loaded.settings, &found)?;
        }
        let text = match (self.json, &self.html) {
            (true, _) => found.picture.lines(),
            (false, Some(file)) => format!("{}{} written\n", found.summary(), file.display()),
            (false, None) => table::table(&found.picture) + "\n" + &found.summary(),
        };
        let printed = print(&text);
        found.doubts.iter().for_each(|doubt| eprint!("{}", fold(doubt, WIDTH, 0)));
        Ok(if printed == ExitCode::SUCCESS { found.exit_code() } else { printed })
    }

    fn subject(&self) -> Result<Subject, String> {
        let is_minutes = self.frequency.is_some_and(|frequency| frequency != Frequency::Day);
        let of_bars = |frequency| Subject { stored: StoredKind::Bars(frequency), frequency };
        let kind = self.kind.unwrap_or(if is_minutes { Kind::Minutes } else { Kind::Bars });
        match (kind, self.frequency) {
            (Kind::Bars, frequency) => Ok(of_bars(frequency.unwrap_or(Frequency::Day))),
            (Kind::Minutes, None) => Ok(of_bars(Frequency::Minute1)),
            (Kind::Minutes, Some(Frequency::Day)) => Err("--frequency 1d is not one of minutes".to_owned()),
            (Kind::Minutes, Some(frequency)) => Ok(of_bars(frequency)),
            (Kind::Factors, None) => Ok(Subject { stored: StoredKind::Factors, frequency: Frequency::Day }),
            (Kind::Ticks, None) => Ok(Subject { stored: StoredKind::Ticks, frequency: Frequency::Day }),
            (Kind::Factors | Kind::Ticks, Some(_)) => Err("--frequency is for bars only".to_owned()),
        }
    }

    /// The searched days. The last one is a day whose rows should be there.
    fn range(&self) -> DateRange {
        let end = self.end.unwrap_or(NaiveDate::MAX).min(last_expected_day(shanghai_clock::now()));
        let start = self.start.or_else(|| end.succ_opt()?.checked_sub_months(DEFAULT_MONTHS));
        DateRange { start: start.unwrap_or(end).max(DateRange::FIRST_TRADING_DAY), end }
    }

    async fn look(&self, settings: &Settings, subject: Subject) -> Result<Found, ExitCode> {
        let reported = |error: actors::ports::StoreError| {
            eprintln!("{error}");
            ExitCode::FAILURE
        };
        let mut codes = match self.codes.is_empty() {
            true => ServiceHub::listed_codes(settings, self.range().start).await.map_err(reported)?,
            false => self.codes.clone(),
        };
        codes.sort_unstable();
        codes.dedup();
        if codes.is_empty() {
            eprintln!("the stock list (stock_info) is empty; name --codes, or send `stockinfo` first");
            return Err(ExitCode::FAILURE);
        }
        let facts = ServiceHub::market_facts(settings).current(MAX_FACT_AGE).await;
        let search = CoverageSearch::new(&facts, self.range(), subject.frequency);
        let stored = ServiceHub::stored_months(settings);
        let stored = stored.of(subject.stored, &codes, search.range()).await.map_err(reported)?;
        let suspended =
            self.except_suspended.then(|| Suspended::of(settings, codes.len(), search.range())).transpose()?;
        let mut days = Vec::with_capacity(codes.len());
        for code in codes {
            let mut months = search.find(code, stored.get(&code).map_or(&[], Vec::as_slice));
            if let Some(suspended) = &suspended {
                leave_out(suspended, &search, code, &mut months).await?;
            }
            days.push((code, months));
        }
        let by = self.by.unwrap_or(if self.codes.is_empty() { RowKind::Board } else { RowKind::Code });
        let picture = Picture::of(&search, &facts, by, days.into_iter());
        let doubts = doubts(&picture, &facts, search.range());
        Ok(Found { picture, subject: subject.name(), range: search.range(), doubts })
    }

    fn write_page(&self, file: &PathBuf, settings: &Settings, found: &Found) -> Result<(), ExitCode> {
        // Reports of today are there before its rows should be.
        let reported = DateRange { end: self.end.unwrap_or(shanghai_clock::today()), ..found.range };
        let history = history::read(settings, reported)?;
        let page = page::page(found, &history);
        std::fs::write(file, page).map_err(|error| {
            eprintln!("{}: {error}", file.display());
            ExitCode::FAILURE
        })
    }
}

/// Removes the days on which the security was suspended from what is expected.
async fn leave_out(
    suspended: &Suspended,
    search: &CoverageSearch<'_>,
    code: Code,
    months: &mut [actors::domain::coverage::MonthDays],
) -> Result<(), ExitCode> {
    let days = months.iter().enumerate().flat_map(|(n, month)| search.first().plus(n).days(month.missing));
    let all: Vec<NaiveDate> = days.collect();
    let mut left = all.clone();
    suspended.leave_out(code, &mut left).await?;
    for day in all.into_iter().filter(|day| left.binary_search(day).is_err()) {
        let place = actors::domain::month::Month::of(day).since(search.first()).and_then(|n| months.get_mut(n));
        if let Some(month) = place {
            month.expected &= !bit_of(day);
            month.missing &= !bit_of(day);
        }
    }
    Ok(())
}

/// What is not known, as sentences.
fn doubts(picture: &Picture, facts: &MarketFacts, range: DateRange) -> Vec<String> {
    let calendar = facts.calendar.end_within(range).filter(|_| range.start <= range.end).map(|end| {
        format!(
            "the trading calendar ends on {end}: later days are not counted, their months are shown as not known. Send \
             `trade_day`, which reads the calendar of a source into MySQL"
        )
    });
    let unlisted = (picture.num_unlisted > 0).then(|| {
        format!(
            "{} of which the stock list (stock_info) does not say since when they are listed: earlier days are not \
             counted. Send `stockinfo` with a source that reports listing days",
            counted_len(picture.num_unlisted, "security")
        )
    });
    calendar.into_iter().chain(unlisted).collect()
}
