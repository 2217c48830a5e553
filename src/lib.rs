// Upstream: none
// Downstream: none
// Role: Adapters and wiring of the data worker; everything that knows a client library lives here.

//! The data worker around its actors: configuration, adapters, sources, command line.
//!
//! `main` parses the command line ([`cli`]); `run` loads the configuration ([`config`]), builds the adapters
//! ([`app::service_hub`]) and starts the actors of the `actors` crate ([`app::run`]). A command then arrives at
//! [`adapters::kafka`], which hands it to the CommandRouter.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)
)]

pub mod adapters;
pub mod app;
/// Fills the past with one pass over all codes.
pub mod backfill;
pub mod cli;
pub mod config;
pub mod observability;
pub mod sources;
pub mod standalone;
