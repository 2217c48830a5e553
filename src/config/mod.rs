// Upstream: none
// Downstream: none
// Role: Typed configuration of the whole worker.

//! Typed configuration: what may be set, with defaults and units.

pub mod sections;

pub use sections::{
    ClickHouseSection, FilesSection, KafkaSection, LogFormat, LogSection, MySqlSection, RedisSection, Settings,
    SourceName, SourcesSection, TushareSection, WorkerSection,
};
