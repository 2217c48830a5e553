// Upstream: many
// Downstream: bar_store, factor_store, report_store, tick_store
// Role: The stores of one ClickHouse database, which are replaced together.

use std::sync::Arc;

use crate::ports::{BarStore, FactorStore, ReportStore, TickStore};

/// The stores in one database.
#[derive(Clone)]
pub struct StoreSet {
    /// Bars.
    pub bars: Arc<dyn BarStore>,
    /// Adjustment factors.
    pub factors: Arc<dyn FactorStore>,
    /// Ticks.
    pub ticks: Arc<dyn TickStore>,
    /// Quality reports.
    pub reports: Arc<dyn ReportStore>,
}
