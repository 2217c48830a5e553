// Upstream: mapping, query, source
// Downstream: none
// Role: The columns that are read for each kind of row.

/// The columns of a bar, in the order of its cells.
pub const BAR: &[&str] = &["time", "open", "high", "low", "close", "volume", "amount"];
/// The columns of a daily bar in a query for all securities.
pub const DAY_BAR: &[&str] = &["time", "open", "high", "low", "close", "volume", "amount", "code"];
/// The columns of a trade.
pub const TICK: &[&str] = &["time", "price", "volume", "direction"];
/// The columns of an adjustment factor.
pub const FACTOR: &[&str] = &["time", "factor"];
/// The columns of a security.
pub const STOCK: &[&str] = &["code", "name", "industry", "list_date", "delist_date", "market", "deleted"];
/// The columns of a calendar day.
pub const TRADE_DAY: &[&str] = &["time", "is_open", "market", "deleted"];
