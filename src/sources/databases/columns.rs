// Upstream: mapping, query, source
// Downstream: none
// Role: The columns that are read of each kind of row.

/// The columns of a bar, in the order of its cells.
pub const BAR: &[&str] = &["time", "open", "high", "low", "close", "volume", "amount"];
/// Those of a bar among those of all securities.
pub const DAY_BAR: &[&str] = &["time", "open", "high", "low", "close", "volume", "amount", "code"];
/// Those of a trade.
pub const TICK: &[&str] = &["time", "price", "volume", "direction"];
/// Those of an adjustment factor.
pub const FACTOR: &[&str] = &["time", "factor"];
/// Those of a security.
pub const STOCK: &[&str] = &["code", "name", "industry", "list_date", "delist_date", "market", "deleted"];
/// Those of a day.
pub const TRADE_DAY: &[&str] = &["time", "is_open", "market", "deleted"];
