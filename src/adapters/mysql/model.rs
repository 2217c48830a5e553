// Upstream: stock_info, sync_record, trade_day
// Downstream: none
// Role: Constants of all MySQL tables: statement size and the defaults of Ginkgo's models for unused columns.

/// Rows per INSERT: about 150 KB of text, about one hundredth of the default maximum packet size.
pub const ROWS_PER_STATEMENT: usize = 500;

/// The default of Ginkgo's models for the unused column `meta`.
pub const META: &str = "{}";

/// The default of Ginkgo's models for the unused column `desc`.
pub const DESC: &str = "This man is lazy, there is no description.";
