// Upstream: many
// Downstream: bar, code, price, row_version
// Role: A tick (one trade), as fetched from a source and as stored.

use chrono::NaiveDateTime;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::domain::row_version::{RowName, RowVersion};
use crate::domain::{Code, Field, Price, SourceId};

/// The UUID namespace of ticks. It is a constant, so every worker computes the same UUID for a tick.
const TICK_NAMESPACE: Uuid = Uuid::from_u128(0x9c54_17ab_3d0e_4f68_a1b7_5e29_04cd_7f13);

/// A trade as fetched from a source, in Ginkgo's units and time zone, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTick {
    /// Shanghai wall clock, to the minute: the sources provide no seconds. Trades within one minute keep their order.
    pub timestamp: Field<NaiveDateTime>,
    /// Price, yuan.
    pub price: Field<Decimal>,
    /// Volume in lots of 100 shares.
    pub volume: Field<Decimal>,
    /// The trade direction, as the source's own number. Ginkgo's readers know the numbers of TDX (0 buyer, 1 seller, 2
    /// neutral).
    pub direction: Field<Decimal>,
}

/// A trade that passed every rule and fits its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The security.
    pub code: Code,
    /// Shanghai wall clock, to the minute.
    pub timestamp: NaiveDateTime,
    /// Price, yuan.
    pub price: Price,
    /// Volume in lots of 100 shares.
    pub volume: i32,
    /// The trade direction, as the source's own number.
    pub direction: i8,
    /// The source of the tick.
    pub source: SourceId,
    /// The ordinal among trades that are equal in all fields above. Such trades are distinct and must have distinct
    /// UUIDs.
    pub nth: u32,
    /// The version of a row that replaces a stored day.
    pub version: Option<RowVersion>,
}

impl Tick {
    /// The row's UUID: 32 hexadecimal digits of its name, or of its version and its name (see [`RowVersion::uuid`]).
    pub fn uuid(&self) -> String {
        let name = self.name_based();
        self.version.map_or(name, |version| version.uuid(name)).simple().to_string()
    }

    /// The name of the tick, which its stored row keeps in every version.
    pub fn name(&self) -> RowName {
        RowName::of_uuid(self.name_based())
    }

    /// A UUID version 5 over all fields except the source. It identifies a stored tick, so the tick is not written
    /// again.
    fn name_based(&self) -> Uuid {
        let mut name = Vec::with_capacity(40);
        name.extend_from_slice(self.code.as_str().as_bytes());
        name.extend_from_slice(&self.timestamp.and_utc().timestamp().to_le_bytes());
        let (fen, rest) = self.price.fen_and_rest();
        name.extend_from_slice(&fen.to_le_bytes());
        name.extend_from_slice(&self.volume.to_le_bytes());
        name.extend_from_slice(&self.direction.to_le_bytes());
        name.extend_from_slice(&self.nth.to_le_bytes());
        // A price in whole fen keeps the name that earlier releases gave it.
        if rest != 0 {
            name.push(rest);
        }
        Uuid::new_v5(&TICK_NAMESPACE, &name)
    }
}
