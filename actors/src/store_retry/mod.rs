// Upstream: none
// Downstream: backoff, insert, insert_token, outage, read
// Role: How writes and reads of a store are retried.

//! How writes and reads of a store are retried.

/// Delays between attempts.
mod backoff;
/// One INSERT.
mod insert;
/// Deduplication tokens.
mod insert_token;
/// Outages of a store.
mod outage;
/// Reads that wait for an answer.
mod read;

pub use backoff::StoreTries;
pub(crate) use backoff::store_delays;
pub use insert::{insert_counted, insert_once};
pub use insert_token::insert_token;
pub use outage::StoreOutage;
pub(crate) use read::read_until_answered;
