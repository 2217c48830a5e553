// Upstream: app, backfill, cli, main
// Downstream: many
// Role: Module of the typed configuration of the whole worker.

//! Typed configuration: the settings with their defaults and units, the places they are read from, and their checks.

/// Merging of layers into settings.
mod assemble;
/// Checks of values and of their combinations.
mod check;
/// Ginkgo's environment, its port rule and its host guard.
mod cluster;
/// Settings of databases as sources.
mod database_sections;
/// Environment variables.
pub mod environment;
/// The valid part of an invalid configuration.
mod fallback;
/// The configuration file.
mod file;
/// Ginkgo's own configuration files.
mod ginkgo;
/// Checks of the names of servers.
mod host_names;
/// Further properties of librdkafka.
pub mod kafka_properties;
/// The list of all settings.
pub mod keys;
/// The kind of value of a setting.
pub mod kind;
/// The settings of one layer.
mod layer;
/// Loading: merges files, environment and defaults.
pub mod load;
/// Masking of secrets.
mod masked;
/// Problems of a configuration.
pub mod problem;
/// Further settings of ClickHouse's statements.
pub mod query_settings;
/// Generated texts: the default file and the documentation page.
pub mod reference;
/// Properties of settings, derived from their types.
mod schema;
/// Sections of settings.
pub mod sections;
/// Checks of addresses, files and logins of servers.
mod security_checks;
/// Sections of settings about encryption and logins.
mod security_sections;
/// Names of market data sources.
mod source_name;
/// Settings of market data sources.
mod source_sections;
/// Units of volumes and amounts.
mod units;
/// Parsing of values.
mod value;
/// Watch for changes of the configuration file.
mod watch;
/// YAML files with the line of every key.
mod yaml;

pub use check::node_id_problem;
pub use database_sections::{
    ClickHouseSourceSection, MappingSection, MinuteLabel, MongoDates, MongoDbSourceSection, MySqlSourceSection,
    RedisSourceSection, TimeFormat, TimeZone,
};
pub use environment::Environment;
pub use file::named_file;
pub use load::{Fallback, Loaded, load, load_or_defaults, load_strictly};
pub use problem::{ConfigProblems, Place, Problem};
pub use sections::{
    ClickHouseSection, Compression, HttpSection, KafkaSection, LogFormat, LogSection, MySqlSection, RedisSection,
    Settings, WorkerSection,
};
pub use security_checks::split_address;
pub use security_sections::{
    KafkaSaslSection, KafkaSecuritySection, MySqlTls, SaslMechanism, SecurityProtocol, SentinelSection,
};
pub use source_name::SourceName;
pub use source_sections::*;
pub use units::{AmountUnit, VolumeUnit};
pub use watch::FileWatch;
