// Upstream: app, backfill, cli, main
// Downstream: many
// Role: Typed configuration of the whole worker.

//! Typed configuration: what may be set, with defaults and units, where it is read from, and what is wrong with it.

/// What values can work together.
mod check;
/// Ginkgo's environment and its rules.
mod cluster;
/// Settings of databases as sources.
mod database_sections;
/// Settings from environment variables.
pub mod environment;
/// The configuration file.
mod file;
/// Ginkgo's own files.
mod ginkgo;
/// The list of all settings.
pub mod keys;
/// What a setting holds.
pub mod kind;
/// Settings of one layer.
mod layer;
/// File, environment and defaults, put together.
pub mod load;
/// Secrets in output.
mod masked;
/// What is wrong with a configuration.
pub mod problem;
/// Texts about all settings.
pub mod reference;
/// What the types say of a setting.
mod schema;
/// Every setting with its default.
pub mod sections;
/// Settings of market data.
mod source_name;
mod source_sections;
/// Units of volumes and amounts.
mod units;
/// One setting's value.
mod value;
/// Changes of the file.
mod watch;
/// Files with the line of every key.
mod yaml;

pub use check::node_id_problem;
pub use database_sections::{
    ClickHouseSourceSection, MappingSection, MinuteLabel, MongoDates, MongoDbSourceSection, MySqlSourceSection,
    RedisSourceSection, TimeFormat, TimeZone,
};
pub use environment::Environment;
pub use file::named_file;
pub use load::{Fallback, Loaded, load, load_or_defaults};
pub use problem::{ConfigProblems, Place, Problem};
pub use sections::{
    ClickHouseSection, Compression, HttpSection, KafkaSection, LogFormat, LogSection, MySqlSection, RedisSection,
    Settings, WorkerSection,
};
pub use source_name::SourceName;
pub use source_sections::{
    BaoStockSection, EastMoneySection, FilesSection, RequestLimits, SourcesSection, TdxSection, TushareSection,
    YahooSection,
};
pub use units::{AmountUnit, VolumeUnit};
pub use watch::FileWatch;
