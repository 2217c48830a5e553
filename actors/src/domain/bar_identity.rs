// Upstream: batch_writer::bars, benches::pipeline, fetcher, market_cache, simulation
// Downstream: bar, frequency, price, row_version
// Role: The UUID of a bar, which identifies its key and values.

use uuid::Uuid;

use crate::domain::row_version::RowVersion;
use crate::domain::{Bar, Price};

/// The UUID namespace of bars. It is a constant, so every worker computes the same UUID for a bar.
const BAR_NAMESPACE: Uuid = Uuid::from_u128(0x6a1f_3c52_97d4_4e0b_8f26_b15d_c04e_7a93);

/// The UUID of a bar that replaces no other: `bar_` and 32 hexadecimal digits of a UUID version 5 over the business key
/// (code, frequency, timestamp) and the values. It identifies an unchanged bar in the store, so the bar is not written
/// again. A bar with changed values has another UUID. The source is not part of it: the same values from another source
/// are the same bar.
pub fn bar_uuid(bar: &Bar) -> String {
    text_of(name_based(bar))
}

/// The UUID of a bar that replaces rows of the same key; see [`RowVersion::uuid`].
pub fn replacing_bar_uuid(bar: &Bar, version: RowVersion) -> String {
    text_of(version.uuid(name_based(bar)))
}

fn name_based(bar: &Bar) -> Uuid {
    let mut name = [0_u8; 80];
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
    let prices = [bar.open, bar.high, bar.low, bar.close].map(Price::fen_and_rest);
    for (fen, _) in prices {
        put(&fen.to_le_bytes());
    }
    put(&bar.amount.0.to_le_bytes());
    put(&bar.volume.to_le_bytes());
    // Earlier releases wrote another number here for a row that replaced copies of itself.
    put(&[0]);
    // A bar with prices in whole fen keeps the name that earlier releases gave it.
    if prices.iter().any(|(_, rest)| *rest != 0) {
        put(&prices.map(|(_, rest)| rest));
    }
    Uuid::new_v5(&BAR_NAMESPACE, name.get(..filled).unwrap_or(&name))
}

fn text_of(uuid: Uuid) -> String {
    format!("bar_{}", uuid.simple())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Frequency, Hundredths, Price, SourceId};
    use chrono::NaiveDate;

    fn bar() -> Bar {
        Bar {
            code: "000001.SZ".parse().unwrap(),
            frequency: Frequency::Day,
            timestamp: NaiveDate::from_ymd_opt(2024, 1, 2).unwrap().and_hms_opt(0, 0, 0).unwrap(),
            open: Price::fen(1000),
            high: Price::fen(1010),
            low: Price::fen(990),
            close: Price::fen(1005),
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
            Bar { open: Price::fen(1001), ..bar() },
            Bar { volume: 12346, ..bar() },
            Bar { amount: Hundredths(67891), ..bar() },
        ];
        for changed in changes {
            assert_ne!(bar_uuid(&bar()), bar_uuid(&changed), "{changed:?}");
        }
    }

    #[test]
    fn the_uuid_is_the_same_in_every_worker_and_release() {
        let uuid = bar_uuid(&bar());
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid, "bar_edcd94cdf6d85933ae975b5ba3f4b5ba");
    }

    #[test]
    fn further_decimals_are_part_of_the_identity() {
        let uuid = |close: i64| bar_uuid(&Bar { close: Price(close), ..bar() });
        let [same, finer, finest] = [100_500, 100_530, 100_531].map(uuid);
        assert_eq!(same, bar_uuid(&bar()));
        assert!(finer != same && finest != same && finest != finer);
        let open = bar_uuid(&Bar { open: Price(100_030), ..bar() });
        assert_ne!(open, bar_uuid(&Bar { high: Price(101_030), ..bar() }));
    }
}
