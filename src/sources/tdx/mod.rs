// Upstream: none
// Downstream: source
// Role: TDX as a source: pages, reach of its history and the rate limiter.

//! TDX is the quotation servers of a trading program, over TCP. Each request has a file that encodes it and parses its
//! answers. The protocol is not published; it is known from public clients.

/// Bars.
pub mod bars;
/// Sends requests within the limits.
mod client;
/// One connection.
mod connection;
/// Reads numbers in answers.
pub mod cursor;
/// Ex-right days.
pub mod ex_rights;
/// Computes factors from ex-right days.
pub mod factors;
/// Encodes requests and decodes answers.
pub mod frame;
/// Joins pages.
mod paginate;
/// The pool of connections.
mod pool;
/// The interface of requests.
pub mod request;
/// The list of securities.
pub mod securities;
/// The source.
mod source;
/// Trades.
pub mod ticks;

pub use source::TdxSource;
