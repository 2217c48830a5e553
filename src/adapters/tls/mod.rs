// Upstream: none
// Downstream: none
// Role: Module of TLS: certificate files, client configuration, inspection of servers.

//! TLS of the clients that use rustls: ClickHouse, Redis, MySQL and the inspection of `config check --connect`.

/// What to change, by the text of an error.
pub mod advice;
/// Certificate files of a section of the settings.
pub mod files;
/// What a server presents.
pub mod inspect;
mod x509;
