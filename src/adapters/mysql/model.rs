// Upstream: stock_info, sync_record, trade_day
// Downstream: none
// Role: What Ginkgo's models write into the columns that nobody reads.

/// Rows of one INSERT: about 150 KB of text, a hundredth of what servers take by default.
pub const ROWS_PER_STATEMENT: usize = 500;

/// What Ginkgo's models put into the columns nobody uses.
pub const META: &str = "{}";

/// The same for the description.
pub const DESC: &str = "This man is lazy, there is no description.";
