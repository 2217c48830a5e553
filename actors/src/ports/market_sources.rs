// Upstream: data_worker, fetcher, ports, supervisor, tests::it
// Downstream: data_kind, market_source
// Role: The port to the sources of each kind of data.

use crate::ports::{DataKind, MarketSource};
use std::sync::Arc;

/// The sources of each kind of data.
pub trait MarketSources: Send + Sync {
    /// Those in force now, the preferred one first. The next one is asked when one fails for good.
    fn of(&self, kind: DataKind) -> Vec<Arc<dyn MarketSource>>;

    /// Those that rows of this kind are compared with, the preferred one first.
    fn to_compare(&self, kind: DataKind) -> Vec<Arc<dyn MarketSource>> {
        let _unused = kind;
        Vec::new()
    }

    /// Others have taken the place of all of these: see [`MarketSource::retire`].
    fn retire(&self) {}
}
