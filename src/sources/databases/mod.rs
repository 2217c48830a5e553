// Upstream: config::check, sources::databases::clickhouse, sources::databases::mongodb, sources::databases::mysql, sources::databases::redis
// Downstream: actors::domain::adjust_factor, actors::domain::bar, actors::domain::code, actors::domain::frequency, actors::domain::stock_info, actors::domain::task, actors::domain::tick, actors::domain::trade_day, actors::ports::market_source, config::database_sections, config::source_name, config::source_sections, probe, sources, sources::budget, sources::databases::clickhouse, sources::databases::errors, sources::databases::mongodb, sources::databases::mysql, sources::databases::pattern, sources::databases::query, sources::databases::redis, sources::databases::rows, sources::databases::shape, sources::gate
// Role: Databases as sources: what another Ginkgo or the user's own collection holds, by names from the settings.

//! One source for all of them: a database gives rows as cells of text ([`Database`]), the settings say what they mean
//! ([`shape`]), and [`rows`] makes bars and the like of them. Nothing is ever written.

/// ClickHouse.
mod clickhouse;
/// What goes wrong.
mod errors;
/// Rows of JSON.
mod json;
/// MongoDB.
mod mongodb;
/// MySQL and MariaDB.
mod mysql;
/// Names with words in braces.
mod pattern;
/// What is asked.
mod query;
/// Redis.
mod redis;
/// What rows become.
mod rows;
#[cfg(test)]
mod rows_tests;
/// Tables and columns.
pub mod shape;
/// Times.
mod times;

use std::future::Future;
use std::time::Duration;

use actors::domain::{
    Code, DateRange, FetchedBar, FetchedFactor, FetchedStock, FetchedTick, FetchedTradeDay, Field, Frequency, SourceId,
};
use actors::ports::{BarRequest, DataKind, MarketSource, SourceError, SourceErrorKind};
use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime};

use self::clickhouse::ClickHouseDatabase;
use self::errors::DatabaseError;
use self::mongodb::MongoDbDatabase;
use self::mysql::MySqlDatabase;
use self::pattern::Pattern;
use self::query::{Of, Query};
use self::redis::RedisDatabase;
use self::rows::{Cell, Rows};
use self::shape::{Defaults, Shape, Table};
use crate::config::{ShapeSection, SourceName, SourcesSection};
use crate::probe::Answer;
use crate::sources::budget::{Budget, Ledger};
use crate::sources::gate::Gate;
use crate::sources::{SourceSetupError, place};

/// The most text of one request: of 500,000 bars it is about half of that.
const MAX_BYTES: usize = 64 << 20;
/// The longest value that is read whole; a longer one is none of a column's kind.
const MAX_TEXT: usize = 200;
/// Names of tables that are looked through: a few times as many as there are securities.
const MAX_TABLES: usize = 20_000;
/// Names that an error lists.
const MAX_NAMES: usize = 12;

/// A database, as its client sees it. Futures are bounded in time by the caller.
pub trait Database: Send + Sync + 'static {
    /// What a table is called there.
    const WHAT: &'static str;
    /// Whether every column that is read must be there, as in SQL.
    const IS_STRICT: bool;

    /// Reads rows.
    fn read(&self, query: &Query, rows: &mut Rows<'_>) -> impl Future<Output = Result<(), DatabaseError>> + Send;

    /// Looks for a table of a name, or the first one that fits.
    fn find(&self, pattern: &Pattern) -> impl Future<Output = Result<Found, DatabaseError>> + Send;
}

/// What there is in the place of a table.
pub enum Found {
    /// The table with its columns.
    Table {
        /// Its name.
        name: String,
        /// Their names.
        columns: Vec<String>,
    },
    /// One without rows, whose columns nobody knows.
    Empty(String),
    /// None; the names that are there.
    Nothing(Vec<String>),
}

/// A database as a source.
pub struct DatabaseSource<D> {
    database: D,
    name: SourceName,
    /// Server and database, for people.
    place: String,
    shape: Shape,
    /// What it is a source of.
    kinds: Vec<DataKind>,
    timeout: Duration,
    gate: Gate,
}

/// A section's own part of a source.
struct Part<'s> {
    name: SourceName,
    shape: &'s ShapeSection,
    defaults: Defaults,
    timeout_ms: u64,
    budget: Budget,
}

/// A ClickHouse as a source.
pub fn clickhouse(
    sources: &SourcesSection,
    ledger: &Ledger,
) -> Result<DatabaseSource<impl Database>, SourceSetupError> {
    let section = &sources.clickhouse;
    let part = Part {
        name: SourceName::ClickHouse,
        shape: &section.shape,
        defaults: Defaults::Tables,
        timeout_ms: section.timeout_ms,
        budget: ledger.budget(SourceName::ClickHouse, section.limits(sources)),
    };
    DatabaseSource::new(sources, part, ClickHouseDatabase::new(section))
}

/// A MongoDB as a source.
pub fn mongodb(sources: &SourcesSection, ledger: &Ledger) -> Result<DatabaseSource<impl Database>, SourceSetupError> {
    let section = &sources.mongodb;
    let part = Part {
        name: SourceName::MongoDb,
        shape: &section.shape,
        defaults: Defaults::Tables,
        timeout_ms: section.timeout_ms,
        budget: ledger.budget(SourceName::MongoDb, section.limits(sources)),
    };
    DatabaseSource::new(sources, part, MongoDbDatabase::new(section))
}

/// A MySQL or MariaDB as a source.
pub fn mysql(sources: &SourcesSection, ledger: &Ledger) -> Result<DatabaseSource<impl Database>, SourceSetupError> {
    let section = &sources.mysql;
    let part = Part {
        name: SourceName::MySql,
        shape: &section.shape,
        defaults: Defaults::Tables,
        timeout_ms: section.timeout_ms,
        budget: ledger.budget(SourceName::MySql, section.limits(sources)),
    };
    DatabaseSource::new(sources, part, MySqlDatabase::new(section))
}

/// A Redis as a source.
pub fn redis(sources: &SourcesSection, ledger: &Ledger) -> Result<DatabaseSource<impl Database>, SourceSetupError> {
    let section = &sources.redis;
    let part = Part {
        name: SourceName::Redis,
        shape: &section.shape,
        defaults: Defaults::Keys,
        timeout_ms: section.timeout_ms,
        budget: ledger.budget(SourceName::Redis, section.limits(sources)),
    };
    let database = RedisDatabase::new(section)
        .map_err(|error| SourceSetupError::Client { section: "redis", reason: error.to_string() })?;
    DatabaseSource::new(sources, part, database)
}

/// What is wrong with the shapes of the databases in use: the section and why.
pub fn shape_problems(sources: &SourcesSection) -> Vec<(&'static str, String)> {
    let shapes = [
        (SourceName::ClickHouse, &sources.clickhouse.shape, Defaults::Tables),
        (SourceName::MongoDb, &sources.mongodb.shape, Defaults::Tables),
        (SourceName::MySql, &sources.mysql.shape, Defaults::Tables),
        (SourceName::Redis, &sources.redis.shape, Defaults::Keys),
    ];
    let problem = |(name, shape, defaults): (SourceName, &ShapeSection, Defaults)| {
        Some((name.as_str(), Shape::new(shape, defaults).err()?.to_string()))
    };
    shapes.into_iter().filter_map(problem).collect()
}

impl<D: Database> DatabaseSource<D> {
    fn new(sources: &SourcesSection, part: Part<'_>, database: D) -> Result<Self, SourceSetupError> {
        let Part { name, shape, defaults, timeout_ms, budget } = part;
        if timeout_ms == 0 {
            return Err(SourceSetupError::TimeoutZero { section: name.as_str() });
        }
        let shape = Shape::new(shape, defaults)
            .map_err(|error| SourceSetupError::Shape { section: name.as_str(), reason: error.to_string() })?;
        let timeout = Duration::from_millis(timeout_ms);
        Ok(Self {
            database,
            name,
            place: place(sources, name),
            shape,
            kinds: sources.kinds_of(name),
            timeout,
            gate: Gate::new(budget),
        })
    }

    /// Looks for the table of each kind of data that comes from here, and for its columns.
    pub async fn probe(&self) -> Result<Answer, SourceErrorKind> {
        let mut answer = Answer::default();
        for kind in &self.kinds {
            let Some(table) = self.shape.table(*kind) else { continue };
            answer = match self.database.find(&table.name).await? {
                Found::Empty(name) => answer.with(format!("{kind}: {} `{name}` is empty", D::WHAT)),
                Found::Nothing(names) => {
                    let shape = format!("sources.{}.shape", self.name.as_str());
                    let there = listed(&names).map_or(String::new(), |names| format!("; there are {names}"));
                    let expected = table.name.as_str();
                    answer.with_fault(format!(
                        "{kind}: there is no {} `{expected}`{there}; name another one in {shape}.tables",
                        D::WHAT
                    ))
                }
                Found::Table { name, columns } => self.judge(answer, *kind, table, &name, &columns),
            };
        }
        Ok(answer)
    }

    fn judge(&self, answer: Answer, kind: DataKind, table: &Table, name: &str, columns: &[String]) -> Answer {
        let expected = if D::IS_STRICT { table.expected() } else { table.required() };
        let missing: Vec<&str> =
            expected.into_iter().filter(|column| !columns.iter().any(|there| there == column)).collect();
        if missing.is_empty() {
            return answer.with(format!("{kind}: {} `{name}`", D::WHAT));
        }
        let shape = format!("sources.{}.shape", self.name.as_str());
        answer.with_fault(format!(
            "{kind}: {} `{name}` has no column {}; it has {}; name others in {shape}.columns",
            D::WHAT,
            missing.join(", "),
            listed(columns).unwrap_or_default()
        ))
    }

    /// Whether a day's bars of all securities are a single request.
    fn holds_all_in_one_table(&self) -> bool {
        self.shape.table(DataKind::Bars).is_some_and(|table| table.column("code").is_some() && !table.name.has_code())
    }

    /// Reads rows of a kind and makes something of each.
    async fn read<R: Send>(
        &self,
        kind: DataKind,
        columns: &[&str],
        of: Of,
        make: impl Fn(&Shape, &[Cell<'_>]) -> Option<R> + Send + Sync,
    ) -> Result<Vec<R>, SourceError> {
        let request = async || {
            let Some(table) = self.shape.table(kind) else { return Err(SourceErrorKind::NotOffered(kind)) };
            let query = self.shape.query(kind, table, columns, of);
            let mut made = Vec::new();
            let mut take = |cells: &[Cell<'_>]| made.extend(make(&self.shape, cells));
            let mut rows = Rows::new(&query.table, query.max_rows, MAX_BYTES, &mut take);
            match tokio::time::timeout(self.timeout, self.database.read(&query, &mut rows)).await {
                Ok(Ok(())) => Ok(made),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(SourceErrorKind::Timeout(self.timeout)),
            }
        };
        self.gate.pass(self.timeout, request).await.map_err(|kind_of_error| SourceError {
            source_name: self.name.as_str(),
            request: described(kind, of, &self.place),
            kind: kind_of_error,
        })
    }
}

fn described(kind: DataKind, of: Of, place: &str) -> String {
    let mut text = kind.to_string();
    if let Some(code) = of.code {
        text.push_str(&format!(" of {code}"));
    }
    if let Some(frequency) = of.frequency.filter(|frequency| *frequency != Frequency::Day) {
        text.push_str(&format!(" {frequency}"));
    }
    if let Some(range) = of.range {
        text.push_str(&format!(" {range}"));
    }
    format!("{text} at {place}")
}

/// The first of some names.
fn listed(names: &[String]) -> Option<String> {
    let more = if names.len() > MAX_NAMES { ", …" } else { "" };
    let some: Vec<&str> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
    (!some.is_empty()).then(|| some.join(", ") + more)
}

/// Whether a row is of a range. One whose time cannot be read may be: it is passed on, so that it is reported.
fn is_in(time: &Field<NaiveDateTime>, range: DateRange) -> bool {
    match time {
        Field::Value(time) => range.contains(time.date()),
        Field::Missing | Field::Unreadable(_) => true,
    }
}

#[async_trait]
impl<D: Database> MarketSource for DatabaseSource<D> {
    fn name(&self) -> &'static str {
        self.name.as_str()
    }

    fn id(&self) -> SourceId {
        SourceId::DATABASE
    }

    fn held_back(&self) -> Duration {
        self.gate.held_back()
    }

    fn retire(&self) {
        self.gate.retire();
    }

    async fn bars(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceError> {
        let BarRequest { code, frequency, range } = *request;
        let of = Of { code: Some(code), frequency: Some(frequency), range: Some(range) };
        self.read(DataKind::of(frequency), rows::BAR, of, |shape, cells| {
            Some(shape.bar(cells, frequency)).filter(|bar| is_in(&bar.timestamp, range))
        })
        .await
    }

    fn has_day_bars(&self, _code: Code) -> bool {
        self.holds_all_in_one_table()
    }

    async fn day_bars(&self, day: NaiveDate) -> Result<Vec<(Code, FetchedBar)>, SourceError> {
        if !self.holds_all_in_one_table() {
            return Err(self.not_offered(DataKind::Bars));
        }
        let range = DateRange { start: day, end: day };
        let of = Of { code: None, frequency: Some(Frequency::Day), range: Some(range) };
        self.read(DataKind::Bars, rows::DAY_BAR, of, |shape, cells| {
            shape.day_bar(cells).filter(|(_, bar)| is_in(&bar.timestamp, range))
        })
        .await
    }

    async fn ticks(&self, code: Code, day: NaiveDate) -> Result<Vec<FetchedTick>, SourceError> {
        let range = DateRange { start: day, end: day };
        let of = Of { code: Some(code), frequency: None, range: Some(range) };
        self.read(DataKind::Ticks, rows::TICK, of, |shape, cells| {
            Some(shape.tick(cells)).filter(|tick| is_in(&tick.timestamp, range))
        })
        .await
    }

    async fn factors(&self, code: Code, range: DateRange) -> Result<Vec<FetchedFactor>, SourceError> {
        let of = Of { code: Some(code), frequency: None, range: Some(range) };
        self.read(DataKind::Factors, rows::FACTOR, of, |shape, cells| {
            Some(shape.factor(cells)).filter(|factor| is_in(&factor.timestamp, range))
        })
        .await
    }

    async fn stocks(&self) -> Result<Vec<FetchedStock>, SourceError> {
        self.read(DataKind::Stocks, rows::STOCK, Of::default(), Shape::stock).await
    }

    async fn trade_days(&self) -> Result<Vec<FetchedTradeDay>, SourceError> {
        self.read(DataKind::TradeDays, rows::TRADE_DAY, Of::default(), Shape::trade_day).await
    }
}
