// Upstream: config, source_sections, sources::databases, tests::it
// Downstream: masked, units
// Role: Settings of databases as sources: address, login, tables and columns.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::config::masked::masked;
use crate::config::{AmountUnit, VolumeUnit};

/// How a database's data differ from Ginkgo's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MappingSection {
    /// Tables (collections, keys) that are not named as Ginkgo names them, as `kind=name` with the kinds `bars`,
    /// `minute_bars`, `ticks`, `factors`, `stocks`, `trade_days`. A name may hold `{code}` (000001.SZ), `{digits}`, `{exchange}`,
    /// `{prefix}` (sz), `{frequency}` (1d, 5m) and `{date}` (20240102, of ticks alone).
    pub tables: Vec<String>,
    /// Columns (fields) that are not named as Ginkgo names them, as `kind.column=name`, such as `bars.time=trade_date`; without a name
    /// there is none, which `code`, `frequency`, `market`, `deleted`, `industry`, `list_date` and `delist_date` allow.
    pub columns: Vec<String>,
    /// How the column `code` names a security, with the same words in braces: `{code}` or, for example, `{prefix}{digits}`.
    pub code: String,
    /// How times are written.
    pub time_format: TimeFormat,
    /// The zone of times that name none.
    pub time_zone: TimeZone,
    /// Which end of a minute bar its time is.
    pub minute_label: MinuteLabel,
    /// What volumes count, those of ticks, too.
    pub volume_unit: VolumeUnit,
    /// What amounts count.
    pub amount_unit: AmountUnit,
    /// The most rows that one request may have; more are an error.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub rows_per_request: u64,
}

impl Default for MappingSection {
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            columns: Vec::new(),
            code: "{code}".into(),
            time_format: TimeFormat::Datetime,
            time_zone: TimeZone::Shanghai,
            minute_label: MinuteLabel::End,
            volume_unit: VolumeUnit::Lots,
            amount_unit: AmountUnit::ThousandYuan,
            // Eight years of minutes, about 85 MB in the worker.
            rows_per_request: 500_000,
        }
    }
}

/// How a database writes times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// In a type for dates or times, or as text such as 2024-01-02 09:31:00.
    #[default]
    Datetime,
    /// As digits such as 20240102 or 20240102093100, in a text or a number.
    Digits,
    /// As Unix seconds.
    Seconds,
    /// As Unix milliseconds.
    Milliseconds,
}

/// A zone of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeZone {
    /// Wall clock in Shanghai, as Ginkgo stores it.
    #[default]
    Shanghai,
    /// UTC.
    Utc,
}

/// Which end of a minute bar its time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MinuteLabel {
    /// Its last moment, as Ginkgo and most vendors have it.
    #[default]
    End,
    /// Its first moment.
    Start,
}

/// A ClickHouse that holds market data, such as another Ginkgo's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClickHouseSourceSection {
    /// Host of the ClickHouse server.
    pub host: String,
    /// Port of its HTTP interface.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// User; it only reads, and may set how (`readonly = 2`).
    pub user: String,
    /// Password, if the server wants one.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Database with the tables.
    pub database: String,
    /// Longest wait for one answer.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Requests in any minute; 0: no limit of ours.
    pub requests_per_minute: u32,
    /// Requests on a Shanghai day; 0: no limit of ours.
    pub requests_per_day: u32,
    /// Requests at the same time.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_concurrent: u32,
    /// How its data differ from Ginkgo's.
    pub mapping: MappingSection,
}

impl Default for ClickHouseSourceSection {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 8123,
            user: "default".into(),
            password: None,
            database: "ginkgo".into(),
            timeout_ms: 60_000,
            requests_per_minute: 0,
            requests_per_day: 0,
            max_concurrent: 8,
            mapping: MappingSection::default(),
        }
    }
}

/// A MySQL or MariaDB that holds market data, such as another Ginkgo's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MySqlSourceSection {
    /// Host of the MySQL or MariaDB server.
    pub host: String,
    /// Port of the MySQL or MariaDB server.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// User; it only reads.
    pub user: String,
    /// Password, if the server wants one.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Database with the tables.
    pub database: String,
    /// Longest wait for one answer, connecting included.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Requests in any minute; 0: no limit of ours.
    pub requests_per_minute: u32,
    /// Requests on a Shanghai day; 0: no limit of ours.
    pub requests_per_day: u32,
    /// Requests at the same time, each on a connection of its own.
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: u32,
    /// How its data differ from Ginkgo's.
    pub mapping: MappingSection,
}

impl Default for MySqlSourceSection {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 3306,
            user: "root".into(),
            password: None,
            database: "ginkgo".into(),
            timeout_ms: 30_000,
            requests_per_minute: 0,
            requests_per_day: 0,
            max_concurrent: 4,
            mapping: MappingSection::default(),
        }
    }
}

/// A MongoDB that holds market data.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MongoDbSourceSection {
    /// Host of the MongoDB server.
    pub host: String,
    /// Port of the MongoDB server.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// User; empty: the server asks for none.
    pub user: String,
    /// Password of the user.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Database in which the user is known.
    pub login_database: String,
    /// Whether the connection is encrypted, and the server's certificate checked.
    pub tls: bool,
    /// Database with the collections.
    pub database: String,
    /// What dates of MongoDB's own type mean.
    pub dates: MongoDates,
    /// Longest wait for one answer, connecting included.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Requests in any minute; 0: no limit of ours.
    pub requests_per_minute: u32,
    /// Requests on a Shanghai day; 0: no limit of ours.
    pub requests_per_day: u32,
    /// Requests at the same time, each on a connection of its own.
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: u32,
    /// How its data differ from Ginkgo's.
    pub mapping: MappingSection,
}

/// What a date of MongoDB's own type means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MongoDates {
    /// An instant.
    #[default]
    Instants,
    /// A wall clock of the zone `time_zone` that was stored without one, as Python's naive datetimes are.
    WallClock,
}

impl Default for MongoDbSourceSection {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 27_017,
            user: String::new(),
            password: None,
            login_database: "admin".into(),
            tls: false,
            database: "ginkgo".into(),
            dates: MongoDates::Instants,
            timeout_ms: 30_000,
            requests_per_minute: 0,
            requests_per_day: 0,
            max_concurrent: 8,
            mapping: MappingSection::default(),
        }
    }
}

/// A Redis that holds market data as JSON.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSourceSection {
    /// Host of the Redis server.
    pub host: String,
    /// Port of the Redis server.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Number of the Redis database.
    pub database: u8,
    /// User of an access list; empty: the default one.
    pub user: String,
    /// Password, if the server wants one.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Longest wait for one answer, connecting included.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Requests in any minute; 0: no limit of ours.
    pub requests_per_minute: u32,
    /// Requests on a Shanghai day; 0: no limit of ours.
    pub requests_per_day: u32,
    /// Requests at the same time.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_concurrent: u32,
    /// How its data differ from what docs/operations.md describes.
    pub mapping: MappingSection,
}

impl Default for RedisSourceSection {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 6379,
            database: 0,
            user: String::new(),
            password: None,
            timeout_ms: 15_000,
            requests_per_minute: 0,
            requests_per_day: 0,
            max_concurrent: 8,
            mapping: MappingSection::default(),
        }
    }
}
