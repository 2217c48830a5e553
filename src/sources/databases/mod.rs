// Upstream: none
// Downstream: source
// Role: Databases as sources: another Ginkgo's or the user's own tables, named in the settings.

//! One source type serves all databases. A client (`database::Database`) returns rows as text cells, the settings
//! ([`mapping`]) define what the cells mean, and `rows` converts them to bars and other records. The source only reads.

/// ClickHouse.
mod clickhouse;
/// Columns of each kind of row.
mod columns;
/// The interface of a database client.
mod database;
/// Errors.
mod errors;
/// Parses JSON rows.
mod json;
/// The mapping of tables and columns.
pub mod mapping;
/// MongoDB.
mod mongodb;
/// MySQL and MariaDB.
mod mysql;
/// Name patterns with placeholders.
mod pattern;
/// Queries.
mod query;
/// Redis.
mod redis;
/// Converts rows to records.
mod rows;
#[cfg(test)]
mod rows_tests;
/// The source.
mod source;
/// Parses times.
mod times;

pub use source::{DatabaseSource, clickhouse, mapping_problems, mongodb, mysql, redis};
