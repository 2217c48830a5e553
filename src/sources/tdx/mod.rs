// Upstream: none
// Downstream: source
// Role: TDX as a source: pages of its requests joined, how far its history reaches, the gate before its servers.

//! TDX, the quotation servers of a trading program, over TCP. Each request has a file that knows its bytes and reads its
//! answers; the protocol is not published, but known from public clients.

/// Bars.
pub mod bars;
/// Requests within limits.
mod client;
/// One connection.
mod connection;
/// Numbers in answers.
pub mod cursor;
/// Ex-right days.
pub mod ex_rights;
/// Factors from them.
pub mod factors;
/// Requests and answers as bytes.
pub mod frame;
/// Pages, joined.
mod paginate;
/// All connections.
mod pool;
/// What requests have in common.
pub mod request;
/// The list of securities.
pub mod securities;
/// The source.
mod source;
/// Trades.
pub mod ticks;

pub use source::TdxSource;
