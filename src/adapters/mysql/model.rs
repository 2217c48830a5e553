// Upstream: departed, stock_info, sync_record, trade_day
// Downstream: none
// Role: The defaults of Ginkgo's models for the columns of MySQL tables that the worker does not use.

/// The default of Ginkgo's models for the unused column `meta`.
pub const META: &str = "{}";

/// The default of Ginkgo's models for the unused column `desc`.
pub const DESC: &str = "This man is lazy, there is no description.";
