// Upstream: sources
// Downstream: source
// Role: Databases as sources: what another Ginkgo or the user's own collection holds, by names from the settings.

//! One source for all of them: a database gives rows as cells of text ([`Database`]), the settings say what they mean
//! ([`mapping`]), and [`rows`] makes bars and the like of them. Nothing is ever written.

/// ClickHouse.
mod clickhouse;
/// Columns of each kind of row.
mod columns;
/// A database as its client sees it.
mod database;
/// What goes wrong.
mod errors;
/// Rows of JSON.
mod json;
/// Tables and columns.
pub mod mapping;
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
/// The source.
mod source;
/// Times.
mod times;

pub use source::{DatabaseSource, clickhouse, mapping_problems, mongodb, mysql, redis};
