// Upstream: many
// Downstream: masked, security_sections, units
// Role: Settings of databases as sources: server, login, tables and columns.

use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::config::masked::masked;
use crate::config::security_sections::{MySqlTls, SentinelSection};
use crate::config::{AmountUnit, VolumeUnit};

/// How the data of a database differ from Ginkgo's schema.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MappingSection {
    /// Tables (collections, keys) whose names differ from Ginkgo's, as `kind=name` with the kinds `bars`,
    /// `minute_bars`, `ticks`, `factors`, `stocks`, `trade_days`. A name may contain the placeholders `{code}`
    /// (000001.SZ), `{digits}`, `{exchange}`, `{prefix}` (sz), for bars `{frequency}` (1d, 5m), and for ticks `{date}`
    /// (20240102).
    pub tables: Vec<String>,
    /// Columns (fields) whose names differ from Ginkgo's, as `kind.column=name`, such as `bars.time=trade_date`. An
    /// empty name means that the column does not exist; this is allowed for `code`, `frequency`, `market`, `deleted`,
    /// `industry`, `list_date` and `delist_date`.
    pub columns: Vec<String>,
    /// Format of the values in the column `code`, with the placeholders `{code}`, `{digits}`, `{exchange}` and
    /// `{prefix}`: for example `{prefix}{digits}`.
    pub code: String,
    /// Format of times.
    pub time_format: TimeFormat,
    /// Time zone of times that contain none.
    pub time_zone: TimeZone,
    /// Whether the time of a minute bar is its start or its end.
    pub minute_label: MinuteLabel,
    /// Unit of volumes, including those of ticks.
    pub volume_unit: VolumeUnit,
    /// Unit of amounts.
    pub amount_unit: AmountUnit,
    /// Maximum number of rows that one request may return; more rows are an error.
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
            // Eight years of 1-minute bars; about 85 MB in the worker.
            rows_per_request: 500_000,
        }
    }
}

/// Format of times in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// A date or time type, or text such as 2024-01-02 09:31:00.
    #[default]
    Datetime,
    /// Digits such as 20240102 or 20240102093100, as text or as a number.
    Digits,
    /// Unix time in seconds.
    Seconds,
    /// Unix time in milliseconds.
    Milliseconds,
}

/// Time zone of times that contain none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeZone {
    /// Local time in Shanghai, as Ginkgo stores it.
    #[default]
    Shanghai,
    /// UTC.
    Utc,
}

/// Whether the time of a minute bar is its start or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MinuteLabel {
    /// The end of the bar, as with Ginkgo and most vendors.
    #[default]
    End,
    /// The start of the bar.
    Start,
}

/// A ClickHouse server with market data, such as that of another Ginkgo.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClickHouseSourceSection {
    /// Host of the ClickHouse server.
    pub host: String,
    /// Port of the server's HTTP interface.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// User. Only reads, but must be allowed to set query settings (`readonly = 2`).
    pub user: String,
    /// Password, if the server requires one.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Database with the tables.
    pub database: String,
    /// Whether connections use TLS (HTTPS).
    pub tls: bool,
    /// File with the CA certificates (PEM) that the server's certificate is verified by. Empty: those of the system.
    pub ca_file: PathBuf,
    /// File with the client certificate and its chain (PEM), if the server asks for one.
    pub certificate_file: PathBuf,
    /// File with the private key (PEM) of the client certificate.
    pub key_file: PathBuf,
    /// Timeout of one request.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Maximum number of requests per minute; 0: the worker sets no limit.
    pub requests_per_minute: u32,
    /// Maximum number of requests per calendar day in Shanghai; 0: the worker sets no limit.
    pub requests_per_day: u32,
    /// Maximum number of concurrent requests.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_concurrent: u32,
    /// How its data differ from Ginkgo's schema.
    #[serde(rename = "shape")]
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
            tls: false,
            ca_file: PathBuf::new(),
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
            timeout_ms: 60_000,
            requests_per_minute: 0,
            requests_per_day: 0,
            max_concurrent: 8,
            mapping: MappingSection::default(),
        }
    }
}

/// A MySQL or MariaDB server with market data, such as that of another Ginkgo.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MySqlSourceSection {
    /// Host of the MySQL or MariaDB server.
    pub host: String,
    /// Port of the MySQL or MariaDB server.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// User. Only reads.
    pub user: String,
    /// Password, if the server requires one.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Database with the tables.
    pub database: String,
    /// TLS of the connections.
    pub tls: MySqlTls,
    /// File with the CA certificates (PEM) that the server's certificate is verified by. Empty: those of the system.
    pub ca_file: PathBuf,
    /// File with the client certificate and its chain (PEM), if the server asks for one.
    pub certificate_file: PathBuf,
    /// File with the private key (PEM) of the client certificate.
    pub key_file: PathBuf,
    /// Timeout of one request, including the connection attempt.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Maximum number of requests per minute; 0: the worker sets no limit.
    pub requests_per_minute: u32,
    /// Maximum number of requests per calendar day in Shanghai; 0: the worker sets no limit.
    pub requests_per_day: u32,
    /// Maximum number of concurrent requests, each on its own connection.
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: u32,
    /// How its data differ from Ginkgo's schema.
    #[serde(rename = "shape")]
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
            tls: MySqlTls::default(),
            ca_file: PathBuf::new(),
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
            timeout_ms: 30_000,
            requests_per_minute: 0,
            requests_per_day: 0,
            max_concurrent: 4,
            mapping: MappingSection::default(),
        }
    }
}

/// A MongoDB server with market data.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MongoDbSourceSection {
    /// Host of the MongoDB server.
    pub host: String,
    /// Port of the MongoDB server.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// User. Empty: the server requires no login.
    pub user: String,
    /// Password of the user.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Authentication database of the user.
    pub login_database: String,
    /// Whether the connection uses TLS and verifies the server's certificate.
    pub tls: bool,
    /// Database with the collections.
    pub database: String,
    /// Meaning of values of MongoDB's date type.
    pub dates: MongoDates,
    /// File with the CA certificates (PEM) that the server's certificate is verified by. Empty: those of the system.
    pub ca_file: PathBuf,
    /// File with the client certificate and its private key (PEM, both in one file), if the server asks for one.
    pub certificate_file: PathBuf,
    /// Timeout of one request, including the connection attempt.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Maximum number of requests per minute; 0: the worker sets no limit.
    pub requests_per_minute: u32,
    /// Maximum number of requests per calendar day in Shanghai; 0: the worker sets no limit.
    pub requests_per_day: u32,
    /// Maximum number of concurrent requests, each on its own connection.
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: u32,
    /// How its data differ from Ginkgo's schema.
    #[serde(rename = "shape")]
    pub mapping: MappingSection,
}

/// Meaning of values of MongoDB's date type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MongoDates {
    /// UTC instants.
    #[default]
    Instants,
    /// Local times in the zone `time_zone`, stored as if they were UTC, as Python does with naive datetimes.
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
            ca_file: PathBuf::new(),
            certificate_file: PathBuf::new(),
            timeout_ms: 30_000,
            requests_per_minute: 0,
            requests_per_day: 0,
            max_concurrent: 8,
            mapping: MappingSection::default(),
        }
    }
}

/// A Redis server with market data as JSON.
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
    /// ACL user. Empty: the default user.
    pub user: String,
    /// Password, if the server requires one.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Whether connections use TLS, those to Sentinels too.
    pub tls: bool,
    /// File with the CA certificates (PEM) that the server's certificate is verified by. Empty: those of the system.
    pub ca_file: PathBuf,
    /// File with the client certificate and its chain (PEM), if the server asks for one.
    pub certificate_file: PathBuf,
    /// File with the private key (PEM) of the client certificate.
    pub key_file: PathBuf,
    /// Timeout of one request, including the connection attempt.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Maximum number of requests per minute; 0: the worker sets no limit.
    pub requests_per_minute: u32,
    /// Maximum number of requests per calendar day in Shanghai; 0: the worker sets no limit.
    pub requests_per_day: u32,
    /// Maximum number of concurrent requests.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_concurrent: u32,
    /// How its data differ from the layout in docs/operations.md.
    #[serde(rename = "shape")]
    pub mapping: MappingSection,
    /// Sentinels that name the master.
    pub sentinel: SentinelSection,
}

impl Default for RedisSourceSection {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 6379,
            database: 0,
            user: String::new(),
            password: None,
            tls: false,
            ca_file: PathBuf::new(),
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
            timeout_ms: 15_000,
            requests_per_minute: 0,
            requests_per_day: 0,
            max_concurrent: 8,
            mapping: MappingSection::default(),
            sentinel: SentinelSection::default(),
        }
    }
}
