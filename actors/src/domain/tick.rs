// Upstream: many
// Downstream: bar, code
// Role: A trade of a day, as a source gives it and as it is stored.

use chrono::NaiveDateTime;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::domain::{Code, Field, Hundredths, SourceId};

/// The name space of the identities of ticks; a constant, so that every worker gives a tick the same uuid.
const TICK_NAMESPACE: Uuid = Uuid::from_u128(0x9c54_17ab_3d0e_4f68_a1b7_5e29_04cd_7f13);

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

/// A trade that passed every rule and fits its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The security.
    pub code: Code,
    /// Shanghai wall clock, to the minute.
    pub timestamp: NaiveDateTime,
    /// Yuan.
    pub price: Hundredths,
    /// Lots of 100 shares.
    pub volume: i32,
    /// The source's number.
    pub direction: i8,
    /// Who gave it.
    pub source: SourceId,
    /// Of trades that are equal in all of the above, the how many-th it is: they are different trades.
    pub nth: u32,
}

impl Tick {
    /// Its identity, 32 hexadecimal digits of a UUID version 5 over everything but the source: a stored tick is recognised
    /// and not written again.
    pub fn uuid(&self) -> String {
        let mut name = Vec::with_capacity(40);
        name.extend_from_slice(self.code.as_str().as_bytes());
        name.extend_from_slice(&self.timestamp.and_utc().timestamp().to_le_bytes());
        name.extend_from_slice(&self.price.0.to_le_bytes());
        name.extend_from_slice(&self.volume.to_le_bytes());
        name.extend_from_slice(&self.direction.to_le_bytes());
        name.extend_from_slice(&self.nth.to_le_bytes());
        Uuid::new_v5(&TICK_NAMESPACE, &name).simple().to_string()
    }
}
