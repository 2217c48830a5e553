// Upstream: paginate, source
// Downstream: actors, cursor, kit, request
// Role: TDX's requests 0x0fb5 and 0x0fc5: a page of the trades of a past day or of today. Pure.

//! Pages count back from the last trade; within a page the oldest trade comes first. Times are minutes of the day,
//! without seconds. Prices are differences from the previous trade. Today's records also have the number of deals.

use actors::domain::{FetchedTick, Field};
use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;

use super::cursor::{Cursor, Malformed};
use super::request::{Request, Security};

/// Requests a page of the trades of a past day.
pub struct PastTicks {
    /// The security.
    pub security: Security,
    /// The day.
    pub day: NaiveDate,
    /// The number of later trades to skip.
    pub skip: u16,
}

/// Requests a page of the trades of the newest trading day.
pub struct TodaysTicks {
    /// The security.
    pub security: Security,
    /// The day, which the answer does not contain.
    pub day: NaiveDate,
    /// The number of later trades to skip.
    pub skip: u16,
}

/// A request for a page of trades.
pub trait TickPage: Request<Answer = Vec<FetchedTick>> {
    /// Maximum number of trades in one answer.
    const PAGE_TICKS: u16;
    /// The request of the page that skips this many trades.
    fn page(security: Security, day: NaiveDate, skip: u16) -> Self;
}

impl Request for PastTicks {
    type Answer = Vec<FetchedTick>;
    const KIND: u16 = 0x0fb5;

    fn payload(&self) -> Vec<u8> {
        let day = self.day.year().unsigned_abs() * 10_000 + self.day.month() * 100 + self.day.day();
        let mut payload = day.to_le_bytes().to_vec();
        payload.extend(self.security.bytes());
        payload.extend(self.skip.to_le_bytes());
        payload.extend(Self::PAGE_TICKS.to_le_bytes());
        payload
    }

    fn parse(&self, body: &[u8]) -> Result<Vec<FetchedTick>, Malformed> {
        let mut cursor = Cursor::new(body);
        let count = cursor.count(6)?;
        // The meaning of these four bytes is unknown. A day without trades may lack them.
        if count > 0 {
            let _unknown: [u8; 4] = cursor.bytes()?;
        }
        read(&mut cursor, count, Self::PAGE_TICKS, self.security, self.day, false)
    }
}

impl TickPage for PastTicks {
    const PAGE_TICKS: u16 = 2_000;

    fn page(security: Security, day: NaiveDate, skip: u16) -> Self {
        Self { security, day, skip }
    }
}

impl Request for TodaysTicks {
    type Answer = Vec<FetchedTick>;
    const KIND: u16 = 0x0fc5;

    fn payload(&self) -> Vec<u8> {
        let mut payload = self.security.bytes();
        payload.extend(self.skip.to_le_bytes());
        payload.extend(Self::PAGE_TICKS.to_le_bytes());
        payload
    }

    fn parse(&self, body: &[u8]) -> Result<Vec<FetchedTick>, Malformed> {
        let mut cursor = Cursor::new(body);
        let count = cursor.count(7)?;
        read(&mut cursor, count, Self::PAGE_TICKS, self.security, self.day, true)
    }
}

impl TickPage for TodaysTicks {
    const PAGE_TICKS: u16 = 1_800;

    fn page(security: Security, day: NaiveDate, skip: u16) -> Self {
        Self { security, day, skip }
    }
}

fn read(
    cursor: &mut Cursor<'_>,
    count: usize,
    max_ticks: u16,
    security: Security,
    day: NaiveDate,
    counts_deals: bool,
) -> Result<Vec<FetchedTick>, Malformed> {
    if count > usize::from(max_ticks) {
        return Err(Malformed(format!("{count} trades, but at most {max_ticks} were requested")));
    }
    let decimals = security.decimals();
    let mut price = 0;
    let mut ticks = Vec::with_capacity(count);
    for _ in 0..count {
        let minute = u32::from(cursor.u16()?);
        price += cursor.varint()?;
        let volume = cursor.varint()?;
        if counts_deals {
            let _deals = cursor.varint()?;
        }
        let direction = cursor.varint()?;
        let _unknown = cursor.varint()?;
        ticks.push(FetchedTick {
            timestamp: day
                .and_hms_opt(minute / 60, minute % 60, 0)
                .map_or_else(|| Field::unreadable(&format!("minute {minute}")), Field::Value),
            price: Field::Value(Decimal::new(price, decimals)),
            volume: Field::Value(Decimal::from(volume)),
            direction: Field::Value(Decimal::from(direction)),
        });
    }
    Ok(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day() -> NaiveDate {
        "2024-03-20".parse().unwrap()
    }

    fn past(code: &str) -> PastTicks {
        PastTicks::page(Security::of(code.parse().unwrap()).unwrap(), day(), 0)
    }

    fn todays(code: &str) -> TodaysTicks {
        TodaysTicks::page(Security::of(code.parse().unwrap()).unwrap(), day(), 0)
    }

    /// Three trades: the opening auction at 7.00, two in the first minute.
    fn body(is_past: bool) -> Vec<u8> {
        let mut body = 3_u16.to_le_bytes().to_vec();
        if is_past {
            body.extend([1, 2, 3, 4]);
        }
        let deals: &[u8] = if is_past { &[] } else { &[5] };
        for (minute, price, volume, side) in
            [(565_u16, vec![0xbc, 0x0a], 10, 2), (570, vec![0x01], 20, 0), (570, vec![0x42], 30, 1)]
        {
            body.extend([&minute.to_le_bytes()[..], &price, &[volume], deals, &[side, 0]].concat());
        }
        body
    }

    #[test]
    fn trades_keep_their_order_and_the_vendors_direction() {
        for ticks in [past("600000.SH").parse(&body(true)).unwrap(), todays("600000.SH").parse(&body(false)).unwrap()] {
            let of = |tick: &FetchedTick| match tick {
                FetchedTick {
                    timestamp: Field::Value(time),
                    price: Field::Value(price),
                    volume: Field::Value(volume),
                    direction: Field::Value(direction),
                } => format!("{time} {price} {volume} {direction}"),
                other => format!("{other:?}"),
            };
            assert_eq!(
                ticks.iter().map(of).collect::<Vec<_>>(),
                ["2024-03-20 09:25:00 7.00 10 2", "2024-03-20 09:30:00 7.01 20 0", "2024-03-20 09:30:00 6.99 30 1"]
            );
        }
        let fund = past("510300.SH").parse(&body(true)).unwrap();
        assert_eq!(fund[0].price, Field::Value("0.700".parse().unwrap()), "prices of funds have three decimal places");
    }

    #[test]
    fn the_requests_are_those_of_the_public_clients() {
        let past = PastTicks { skip: 100, ..past("600000.SH") };
        assert_eq!(past.payload(), [&[0xc0, 0xd7, 0x34, 0x01, 1, 0][..], b"600000", &[100, 0, 0xd0, 7]].concat());
        assert_eq!(todays("000001.SZ").payload(), [&[0, 0][..], b"000001", &[0, 0, 8, 7]].concat());
    }

    #[test]
    fn empty_day_is_empty_and_truncated_answer_rejected() {
        assert_eq!(past("600000.SH").parse(&[0, 0, 0, 0, 0, 0]).unwrap(), []);
        assert_eq!(past("600000.SH").parse(&[0, 0]).unwrap(), []);
        assert_eq!(todays("600000.SH").parse(&[0, 0]).unwrap(), []);
        let whole = body(true);
        for end in 0..whole.len() {
            assert!(past("600000.SH").parse(&whole[..end]).is_err(), "{end}");
        }
        let many = [&2_001_u16.to_le_bytes()[..], &[0; 20_000]].concat();
        assert!(past("600000.SH").parse(&many).unwrap_err().to_string().contains("at most 2000 were requested"));
    }

    #[test]
    fn mutated_pages_give_trades_or_an_error() {
        kit::fuzz::mutate(&[body(true), body(false)], |bytes| {
            let _ticks = past("600000.SH").parse(bytes);
            let _ticks = todays("600000.SH").parse(bytes);
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn any_bytes_are_trades_or_an_error(count in 0_u16..8, rest in prop::collection::vec(any::<u8>(), 0..100)) {
            let body = [&count.to_le_bytes()[..], &rest].concat();
            for ticks in [past("600000.SH").parse(&body), todays("600000.SH").parse(&body)].into_iter().flatten() {
                prop_assert_eq!(ticks.len(), usize::from(count));
            }
        }
    }
}
