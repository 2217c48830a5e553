// Upstream: many
// Downstream: data_kind, market_source
// Role: The port to the configured sources of each kind of data.

use crate::ports::{DataKind, MarketSource};
use std::sync::Arc;

/// The configured sources of each kind of data.
pub trait MarketSources: Send + Sync {
    /// The active sources, the preferred one first. If one fails permanently, the next one is called.
    fn of(&self, kind: DataKind) -> Vec<Arc<dyn MarketSource>>;

    /// The sources that rows of this kind are compared with, the preferred one first.
    fn to_compare(&self, kind: DataKind) -> Vec<Arc<dyn MarketSource>> {
        let _unused = kind;
        Vec::new()
    }

    /// Every source that is active for some kind of data. One that is so for several kinds comes several times.
    fn all(&self) -> Vec<Arc<dyn MarketSource>> {
        DataKind::ALL.into_iter().flat_map(|kind| [self.of(kind), self.to_compare(kind)].concat()).collect()
    }

    /// Other sources replace all of these; see [`MarketSource::retire`].
    fn retire(&self) {}
}
