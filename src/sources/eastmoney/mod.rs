// Upstream: none
// Downstream: source
// Role: EastMoney as a source: pages, reach of minute bars, throttling and the rate limiter.

//! EastMoney's quotation pages over HTTP. There is no account and no published interface. Requests are those of the
//! vendor's own pages.

/// Parses the envelope of answers.
pub mod answer;
/// The list of securities.
pub mod clist;
/// Bars.
pub mod klines;
/// Bars without an open.
mod opens;
/// The source.
mod source;

pub use source::EastMoneySource;
