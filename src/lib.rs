// Upstream: none
// Downstream: none
// Role: Adapters, sources, configuration and command line around the actors; contains all client libraries.

//! The data worker around its actors: configuration, adapters, sources and command line.
//!
//! `main` parses the command line ([`cli`]) and loads the configuration ([`config`]). [`app::run`] builds the adapters
//! ([`app::service_hub`]) and starts the actors of the `actors` crate. [`adapters::kafka`] delivers commands to the
//! CommandRouter.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)
)]

pub mod adapters;
pub mod app;
/// Fills a date range for many codes without Kafka.
pub mod backfill;
pub mod cli;
pub mod config;
pub mod observability;
pub mod sources;
pub mod standalone;
