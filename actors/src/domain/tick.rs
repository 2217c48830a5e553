// Upstream: actors::domain, actors::ports::market_source, sources::tdx, sources::tdx::ticks, sources::tdx::walk, tests::it::sources_tdx
// Downstream: actors::domain::bar
// Role: A trade of a day, as a source gives it.

use chrono::NaiveDateTime;
use rust_decimal::Decimal;

use crate::domain::Field;

/// A trade as a source gave it, in Ginkgo's units and zone, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTick {
    /// Shanghai wall clock, to the minute: the sources tell no seconds. Trades of one minute keep their order.
    pub timestamp: Field<NaiveDateTime>,
    /// Price, yuan.
    pub price: Field<Decimal>,
    /// Volume in lots of 100 shares.
    pub volume: Field<Decimal>,
    /// Who acted, in the source's own number: readers of Ginkgo know TDX's (0 buyer, 1 seller, 2 nobody).
    pub direction: Field<Decimal>,
}
