// Upstream: none
// Downstream: backoff, insert, insert_token, outage, read
// Role: Retries writes and reads of a store.

//! Retries writes and reads of a store.

/// Delays between attempts.
mod backoff;
/// A counted INSERT.
mod insert;
/// Deduplication tokens.
mod insert_token;
/// Outages of a store.
mod outage;
/// Reads that are retried until the store answers.
mod read;

pub use backoff::StoreTries;
pub(crate) use backoff::store_delays;
pub use insert::insert_counted;
pub use insert_token::insert_token;
pub use outage::{OutageListener, StoreOperation, StoreOutage};
pub(crate) use read::{Unread, read_until_answered};
