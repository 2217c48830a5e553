// Upstream: batch_writer::bars, benches::pipeline, market_cache, simulation
// Downstream: bar, frequency
// Role: The UUID of a bar: it identifies key and values, and the version of a bar that replaced another.

use chrono::Utc;
use uuid::Uuid;

use crate::domain::Bar;

/// The UUID namespace of bars. It is a constant, so every worker computes the same UUID for a bar.
const BAR_NAMESPACE: Uuid = Uuid::from_u128(0x6a1f_3c52_97d4_4e0b_8f26_b15d_c04e_7a93);

/// The prefix of all UUIDs of Ginkgo's bars.
const PREFIX: &str = "bar_";

/// The last 62 bits of a UUID: its digits after the version and the variant.
const NAME_BITS: u128 = (1 << 62) - 1;

/// The UUID of a bar that replaces no other: `bar_` and 32 hexadecimal digits of a UUID version 5 over the business key
/// (code, frequency, timestamp) and the values. It identifies an unchanged bar in the store, so the bar is not written
/// again. A bar with changed values has another UUID. The source is not part of it: the same values from another source
/// are the same bar.
pub fn bar_uuid(bar: &Bar) -> String {
    text_of(name_based(bar))
}

/// The UUID of a bar that replaces rows of the same key: a UUID version 8 of `version` (60 bits) and the last 62 bits of
/// the name-based UUID. It differs from the UUIDs of all other replacements, so each copy can be removed on its own, and
/// it still identifies the values.
pub fn replacing_bar_uuid(bar: &Bar, version: RowVersion) -> String {
    let (high, low) = (u128::from(version.0 >> 12), u128::from(version.0 & 0xfff));
    let name = name_based(bar).as_u128() & NAME_BITS;
    text_of(Uuid::from_u128(high << 80 | 0x8 << 76 | low << 64 | 0b10 << 62 | name))
}

/// Whether a stored UUID identifies the same key and values as the name-based UUID `bar_uuid`.
pub fn is_same_bar(stored: &str, bar_uuid: &str) -> bool {
    let name = |text: &str| parse(text).filter(|uuid| matches!(uuid.get_version_num(), 5 | 8)).map(name_bits);
    stored == bar_uuid || name(stored).is_some_and(|stored| Some(stored) == name(bar_uuid))
}

/// The place of a row in the order of replacements, from its UUID. The order is the same for every worker: of the rows
/// of a key, the one with the highest version stays; of two with the same version, the one with the greater UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowVersion(u64);

impl RowVersion {
    /// The version of rows that replaced no other, and of rows of the Python worker.
    const FIRST: Self = Self(0);

    /// A new version: the current time in milliseconds (48 bits) and 12 random bits, so that two workers that replace a
    /// row in the same millisecond get different versions.
    pub fn now() -> Self {
        let now = u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default();
        let random = u64::from(Uuid::new_v4().as_bytes()[0]) << 4 | u64::from(Uuid::new_v4().as_bytes()[0] & 0xf);
        Self((now << 12 | random) & ((1 << 60) - 1))
    }

    /// The version of a stored row.
    pub fn of(uuid: &str) -> Self {
        let Some(uuid) = parse(uuid).filter(|uuid| uuid.get_version_num() == 8) else { return Self::FIRST };
        let bits = uuid.as_u128();
        Self(((bits >> 80) as u64) << 12 | ((bits >> 64) as u64 & 0xfff))
    }

    /// This version, or the next one after `other` if that is higher: clocks of workers differ.
    pub fn above(self, other: Self) -> Self {
        self.max(Self(other.0.saturating_add(1)))
    }
}

fn name_based(bar: &Bar) -> Uuid {
    let mut name = [0_u8; 72];
    let mut filled = 0;
    let mut put = |bytes: &[u8]| {
        if let Some(place) = name.get_mut(filled..filled + bytes.len()) {
            place.copy_from_slice(bytes);
            filled += bytes.len();
        }
    };
    put(bar.code.as_str().as_bytes());
    put(&bar.frequency.as_ginkgo().to_le_bytes());
    put(&bar.timestamp.and_utc().timestamp().to_le_bytes());
    for price in [bar.open, bar.high, bar.low, bar.close, bar.amount] {
        put(&price.0.to_le_bytes());
    }
    put(&bar.volume.to_le_bytes());
    // Earlier releases wrote another number here for a row that replaced copies of itself.
    put(&[0]);
    Uuid::new_v5(&BAR_NAMESPACE, name.get(..filled).unwrap_or(&name))
}

fn name_bits(uuid: Uuid) -> u128 {
    uuid.as_u128() & NAME_BITS
}

fn text_of(uuid: Uuid) -> String {
    format!("{PREFIX}{}", uuid.simple())
}

fn parse(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text.strip_prefix(PREFIX)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Frequency, Hundredths, SourceId};
    use chrono::NaiveDate;

    fn bar() -> Bar {
        Bar {
            code: "000001.SZ".parse().unwrap(),
            frequency: Frequency::Day,
            timestamp: NaiveDate::from_ymd_opt(2024, 1, 2).unwrap().and_hms_opt(0, 0, 0).unwrap(),
            open: Hundredths(1000),
            high: Hundredths(1010),
            low: Hundredths(990),
            close: Hundredths(1005),
            volume: 12345,
            amount: Hundredths(67890),
            source: SourceId::TUSHARE,
        }
    }

    #[test]
    fn identity_follows_key_and_values_and_not_the_source() {
        let same = Bar { source: SourceId::OTHER, ..bar() };
        assert_eq!(bar_uuid(&bar()), bar_uuid(&same));
        let changes = [
            Bar { code: "000002.SZ".parse().unwrap(), ..bar() },
            Bar { timestamp: bar().timestamp + chrono::Duration::days(1), ..bar() },
            Bar { open: Hundredths(1001), ..bar() },
            Bar { volume: 12346, ..bar() },
            Bar { amount: Hundredths(67891), ..bar() },
        ];
        for changed in changes {
            assert_ne!(bar_uuid(&bar()), bar_uuid(&changed), "{changed:?}");
        }
    }

    #[test]
    fn a_replacement_keeps_name_and_version_in_its_uuid() {
        let (first, second) = (RowVersion(7), RowVersion((1 << 60) - 1));
        let other = Bar { close: Hundredths(1006), ..bar() };
        for version in [first, second] {
            let uuid = replacing_bar_uuid(&bar(), version);
            assert_eq!((uuid.len(), RowVersion::of(&uuid)), (36, version));
            assert!(is_same_bar(&uuid, &bar_uuid(&bar())) && !is_same_bar(&uuid, &bar_uuid(&other)));
        }
        assert!(is_same_bar(&bar_uuid(&bar()), &bar_uuid(&bar())));
        for foreign in ["", "bar_", "bar_00000000000040008000000000000000", "a row of somebody else"] {
            assert_eq!((RowVersion::of(foreign), is_same_bar(foreign, &bar_uuid(&bar()))), (RowVersion(0), false));
        }
        assert!(RowVersion::now() > RowVersion::of(&bar_uuid(&bar())) && first.above(second) > second);
        assert_eq!(second.above(first), second);
    }

    #[test]
    fn the_uuid_is_the_same_in_every_worker_and_release() {
        let uuid = bar_uuid(&bar());
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid, "bar_edcd94cdf6d85933ae975b5ba3f4b5ba");
    }
}
