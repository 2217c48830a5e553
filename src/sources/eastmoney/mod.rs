// Upstream: none
// Downstream: source
// Role: EastMoney as a source: pages, how far its minutes reach back, its closed door, the gate before it.

//! EastMoney's quotation pages, over HTTP. There is no account and no published interface: requests are those of the
//! vendor's own pages.

/// The envelope of answers.
pub mod answer;
/// The list of securities.
pub mod clist;
/// Bars.
pub mod klines;
/// The source.
mod source;

pub use source::EastMoneySource;
