// Upstream: config, databases
// Downstream: many
// Role: Databases as sources: another Ginkgo's or the user's own tables, named in the settings.

use std::time::Duration;

use actors::domain::{
    Code, DateRange, FetchedBar, FetchedFactor, FetchedStock, FetchedTick, FetchedTradeDay, Field, Frequency, SourceId,
};
use actors::ports::{Abilities, BarRequest, DataKind, InterfaceFigures, MarketSource, SourceError, SourceErrorKind};
use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime};

use super::clickhouse::ClickHouseDatabase;
use super::database::{Database, Found, MAX_NAMES};
use super::mongodb::MongoDbDatabase;
use super::mysql::MySqlDatabase;
use super::query::Of;
use super::redis::RedisDatabase;
use super::rows::{Cell, Rows};
use crate::adapters::probe::Answer;
use crate::config::{MappingSection, SourceName, SourcesSection};
use crate::sources::SourceSetupError;
use crate::sources::databases::columns;
use crate::sources::databases::database::MAX_BYTES;
use crate::sources::databases::mapping::{Defaults, Mapping, Table};
use crate::sources::shared::budget::{Budget, QuotaState};
use crate::sources::shared::rate_limiter::RateLimiter;

/// A database as a source.
pub struct DatabaseSource<D> {
    database: D,
    name: SourceName,
    /// Server and database, for display.
    place: String,
    mapping: Mapping,
    /// The kinds of data it is configured for.
    kinds: Vec<DataKind>,
    timeout: Duration,
    limiter: RateLimiter,
}

/// The parts of a source that depend on its configuration section.
struct Part<'s> {
    name: SourceName,
    mapping: &'s MappingSection,
    defaults: Defaults,
    timeout_ms: u64,
    budget: Budget,
}

/// Builds a ClickHouse source.
pub fn clickhouse(
    sources: &SourcesSection,
    quotas: &QuotaState,
) -> Result<DatabaseSource<impl Database>, SourceSetupError> {
    let section = &sources.clickhouse;
    let part = Part {
        name: SourceName::ClickHouse,
        mapping: &section.mapping,
        defaults: Defaults::Tables,
        timeout_ms: section.timeout_ms,
        budget: quotas.budget(SourceName::ClickHouse, section.limits(sources)),
    };
    DatabaseSource::new(sources, part, ClickHouseDatabase::new(section))
}

/// Builds a MongoDB source.
pub fn mongodb(
    sources: &SourcesSection,
    quotas: &QuotaState,
) -> Result<DatabaseSource<impl Database>, SourceSetupError> {
    let section = &sources.mongodb;
    let part = Part {
        name: SourceName::MongoDb,
        mapping: &section.mapping,
        defaults: Defaults::Tables,
        timeout_ms: section.timeout_ms,
        budget: quotas.budget(SourceName::MongoDb, section.limits(sources)),
    };
    DatabaseSource::new(sources, part, MongoDbDatabase::new(section))
}

/// Builds a MySQL or MariaDB source.
pub fn mysql(sources: &SourcesSection, quotas: &QuotaState) -> Result<DatabaseSource<impl Database>, SourceSetupError> {
    let section = &sources.mysql;
    let part = Part {
        name: SourceName::MySql,
        mapping: &section.mapping,
        defaults: Defaults::Tables,
        timeout_ms: section.timeout_ms,
        budget: quotas.budget(SourceName::MySql, section.limits(sources)),
    };
    DatabaseSource::new(sources, part, MySqlDatabase::new(section))
}

/// Builds a Redis source.
pub fn redis(sources: &SourcesSection, quotas: &QuotaState) -> Result<DatabaseSource<impl Database>, SourceSetupError> {
    let section = &sources.redis;
    let part = Part {
        name: SourceName::Redis,
        mapping: &section.mapping,
        defaults: Defaults::Keys,
        timeout_ms: section.timeout_ms,
        budget: quotas.budget(SourceName::Redis, section.limits(sources)),
    };
    DatabaseSource::new(sources, part, RedisDatabase::new(section))
}

/// Checks the mappings of all database sections. Returns each section with an invalid mapping, and the reason.
pub fn mapping_problems(sources: &SourcesSection) -> Vec<(&'static str, String)> {
    let mappings = [
        (SourceName::ClickHouse, &sources.clickhouse.mapping, Defaults::Tables),
        (SourceName::MongoDb, &sources.mongodb.mapping, Defaults::Tables),
        (SourceName::MySql, &sources.mysql.mapping, Defaults::Tables),
        (SourceName::Redis, &sources.redis.mapping, Defaults::Keys),
    ];
    let problem = |(name, mapping, defaults): (SourceName, &MappingSection, Defaults)| {
        Some((name.as_str(), Mapping::new(mapping, defaults).err()?.to_string()))
    };
    mappings.into_iter().filter_map(problem).collect()
}

impl<D: Database> DatabaseSource<D> {
    fn new(sources: &SourcesSection, part: Part<'_>, database: D) -> Result<Self, SourceSetupError> {
        let Part { name, mapping, defaults, timeout_ms, budget } = part;
        if timeout_ms == 0 {
            return Err(SourceSetupError::TimeoutZero { section: name.as_str() });
        }
        let mapping = Mapping::new(mapping, defaults)
            .map_err(|error| SourceSetupError::Mapping { section: name.as_str(), reason: error.to_string() })?;
        let timeout = Duration::from_millis(timeout_ms);
        Ok(Self {
            database,
            name,
            place: sources.place(name),
            mapping,
            kinds: sources.kinds_of(name),
            timeout,
            limiter: RateLimiter::new(budget),
        })
    }

    /// Finds the table of each kind of data that this source serves and checks its columns.
    pub async fn probe(&self) -> Result<Answer, SourceErrorKind> {
        let mut answer = Answer::default();
        for kind in &self.kinds {
            let Some(table) = self.mapping.table(*kind) else { continue };
            answer = match self.database.find(&table.name).await? {
                Found::Empty(name) => answer.with(format!("{kind}: {} `{name}` is empty", D::WHAT)),
                Found::Nothing(names) => {
                    let mapping = format!("sources.{}.shape", self.name.as_str());
                    let there = listed(&names).map_or(String::new(), |names| format!("; there are {names}"));
                    let expected = table.name.as_str();
                    answer.with_fault(format!(
                        "{kind}: there is no {} `{expected}`{there}; name another one in {mapping}.tables",
                        D::WHAT
                    ))
                }
                Found::Table { name, columns } => self.check_columns(answer, *kind, table, &name, &columns),
            };
        }
        Ok(answer)
    }

    fn check_columns(&self, answer: Answer, kind: DataKind, table: &Table, name: &str, columns: &[String]) -> Answer {
        let expected = if D::IS_STRICT { table.expected() } else { table.required() };
        let missing: Vec<&str> =
            expected.into_iter().filter(|column| !columns.iter().any(|there| there == column)).collect();
        if missing.is_empty() {
            return answer.with(format!("{kind}: {} `{name}`", D::WHAT));
        }
        let mapping = format!("sources.{}.shape", self.name.as_str());
        answer.with_fault(format!(
            "{kind}: {} `{name}` has no column {}; it has {}; name others in {mapping}.columns",
            D::WHAT,
            missing.join(", "),
            listed(columns).unwrap_or_default()
        ))
    }

    /// Whether one request returns a day's bars of all securities.
    fn holds_all_in_one_table(&self) -> bool {
        self.mapping.table(DataKind::Bars).is_some_and(|table| table.column("code").is_some() && !table.name.has_code())
    }

    /// Reads the rows of a kind and converts each of them.
    async fn read<R: Send>(
        &self,
        kind: DataKind,
        columns: &[&str],
        of: Of,
        make: impl Fn(&Mapping, &[Cell<'_>]) -> Option<R> + Send + Sync,
    ) -> Result<Vec<R>, SourceError> {
        let request = async || {
            let Some(table) = self.mapping.table(kind) else { return Err(SourceErrorKind::NotOffered(kind)) };
            let query = self.mapping.query(kind, table, columns, of);
            let mut made = Vec::new();
            let mut take = |cells: &[Cell<'_>]| made.extend(make(&self.mapping, cells));
            let mut rows = Rows::new(&query.table, query.max_rows, MAX_BYTES, &mut take);
            match tokio::time::timeout(self.timeout, self.database.read(&query, &mut rows)).await {
                Ok(Ok(())) => Ok(made),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(SourceErrorKind::Timeout(self.timeout)),
            }
        };
        self.limiter.pass(self.timeout, request).await.map_err(|kind_of_error| SourceError {
            source_name: self.name.as_str(),
            request: describe_request(kind, of, &self.place),
            kind: kind_of_error,
        })
    }
}

fn describe_request(kind: DataKind, of: Of, place: &str) -> String {
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

/// The first names of a list.
fn listed(names: &[String]) -> Option<String> {
    let more = if names.len() > MAX_NAMES { ", …" } else { "" };
    let some: Vec<&str> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
    (!some.is_empty()).then(|| some.join(", ") + more)
}

/// Whether a row is in a range. A row with an unreadable time passes, so that it is reported.
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

    fn interface_figures(&self) -> Vec<InterfaceFigures> {
        self.limiter.figures()
    }

    fn retire(&self) {
        self.limiter.retire();
    }

    async fn bars(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceError> {
        let BarRequest { code, frequency, range } = *request;
        let of = Of { code: Some(code), frequency: Some(frequency), range: Some(range) };
        self.read(DataKind::of(frequency), columns::BAR, of, |mapping, cells| {
            Some(mapping.bar(cells, frequency)).filter(|bar| is_in(&bar.timestamp, range))
        })
        .await
    }

    fn abilities(&self, kind: DataKind) -> Abilities {
        let has_days = kind == DataKind::Bars && self.holds_all_in_one_table();
        let calls_per_minute = self.limiter.calls_per_minute();
        Abilities { rows_per_day_call: has_days.then_some(usize::MAX), calls_per_minute, ..Abilities::default() }
    }

    async fn day_bars(&self, day: NaiveDate) -> Result<Vec<(Code, FetchedBar)>, SourceError> {
        if !self.holds_all_in_one_table() {
            return Err(self.not_offered(DataKind::Bars));
        }
        let range = DateRange { start: day, end: day };
        let of = Of { code: None, frequency: Some(Frequency::Day), range: Some(range) };
        self.read(DataKind::Bars, columns::DAY_BAR, of, |mapping, cells| {
            mapping.day_bar(cells).filter(|(_, bar)| is_in(&bar.timestamp, range))
        })
        .await
    }

    async fn ticks(&self, code: Code, day: NaiveDate) -> Result<Vec<FetchedTick>, SourceError> {
        let range = DateRange { start: day, end: day };
        let of = Of { code: Some(code), frequency: None, range: Some(range) };
        self.read(DataKind::Ticks, columns::TICK, of, |mapping, cells| {
            Some(mapping.tick(cells)).filter(|tick| is_in(&tick.timestamp, range))
        })
        .await
    }

    async fn factors(&self, code: Code, range: DateRange) -> Result<Vec<FetchedFactor>, SourceError> {
        let of = Of { code: Some(code), frequency: None, range: Some(range) };
        self.read(DataKind::Factors, columns::FACTOR, of, |mapping, cells| {
            Some(mapping.factor(cells)).filter(|factor| is_in(&factor.timestamp, range))
        })
        .await
    }

    async fn stocks(&self) -> Result<Vec<FetchedStock>, SourceError> {
        self.read(DataKind::Stocks, columns::STOCK, Of::default(), Mapping::stock).await
    }

    async fn trade_days(&self) -> Result<Vec<FetchedTradeDay>, SourceError> {
        self.read(DataKind::TradeDays, columns::TRADE_DAY, Of::default(), Mapping::trade_day).await
    }
}
