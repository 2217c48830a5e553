// Upstream: ex_rights, paginate, source
// Downstream: actors, cursor, kit, request, sources::shared
// Role: TDX's request 0x052d: a page of daily or minute bars of one security. Pure.

//! Pages count back from the newest bar; within a page the oldest bar comes first. Prices are differences in
//! thousandths of a yuan: the open from the previous close, the others from the open. The time of a minute bar is its
//! end. Minute bars count shares, daily bars (category 9) count lots. Amounts are in yuan.

use actors::domain::{FetchedBar, Field, Frequency};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use rust_decimal::Decimal;

use super::cursor::{Cursor, Malformed, decimal};
use super::request::{Request, Security};
use crate::sources::shared::units;

/// Maximum number of bars in one answer.
pub const PAGE_BARS: u16 = 800;

/// The length of the shortest record: the time, four varints of one byte, two floats.
const LEAST_RECORD: usize = 16;

/// At the start of the afternoon session, the morning's last bar may carry 13:00 instead of 11:30. No bar ends at
/// 13:00.
const AFTERNOON: u32 = 13 * 60;
const MORNINGS_END: u32 = 11 * 60 + 30;

/// Requests a page of bars.
pub struct Bars {
    /// The security.
    pub security: Security,
    /// The length of a bar.
    pub frequency: Frequency,
    /// The number of newer bars to skip.
    pub skip: u16,
    /// Maximum number of bars, up to [`PAGE_BARS`].
    pub count: u16,
}

impl Bars {
    fn category(&self) -> u16 {
        match self.frequency {
            Frequency::Minute5 => 0,
            Frequency::Minute15 => 1,
            Frequency::Minute30 => 2,
            Frequency::Minute60 => 3,
            Frequency::Minute1 => 8,
            Frequency::Day => 9,
        }
    }
}

impl Request for Bars {
    type Answer = Vec<FetchedBar>;
    const KIND: u16 = 0x052d;

    fn payload(&self) -> Vec<u8> {
        let mut payload = self.security.bytes();
        for number in [self.category(), 1, self.skip, self.count] {
            payload.extend(number.to_le_bytes());
        }
        payload.extend([0; 10]);
        payload
    }

    fn parse(&self, body: &[u8]) -> Result<Vec<FetchedBar>, Malformed> {
        let mut cursor = Cursor::new(body);
        let count = cursor.count(LEAST_RECORD)?;
        if count > usize::from(self.count) {
            return Err(Malformed(format!("{count} bars, but at most {} were requested", self.count)));
        }
        let is_day = self.frequency == Frequency::Day;
        let mut before = 0;
        let mut bars = Vec::with_capacity(count);
        for _ in 0..count {
            let timestamp = if is_day { day(cursor.u32()?) } else { minute(cursor.u16()?, cursor.u16()?) };
            let open = before + cursor.varint()?;
            let close = open + cursor.varint()?;
            let (high, low) = (open + cursor.varint()?, open + cursor.varint()?);
            let (volume, amount) = (decimal(cursor.f32()?), decimal(cursor.f32()?));
            before = close;
            let price = |thousandths| Field::Value(Decimal::new(thousandths, 3));
            bars.push(FetchedBar {
                timestamp,
                open: price(open),
                high: price(high),
                low: price(low),
                close: price(close),
                volume: if is_day { volume } else { units::smaller(volume, units::SHARES) },
                amount: units::smaller(amount, units::YUAN),
            });
        }
        Ok(bars)
    }
}

/// The date of a number such as `20240102`.
pub fn date(number: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(i32::try_from(number / 10_000).ok()?, number / 100 % 100, number % 100)
}

fn day(number: u32) -> Field<NaiveDateTime> {
    date(number)
        .map_or_else(|| Field::unreadable(&number.to_string()), |day| Field::Value(day.and_time(NaiveTime::MIN)))
}

/// The day is encoded as `(year - 2004) * 2048 + month * 100 + day`, the time as minutes since midnight.
fn minute(day: u16, minute: u16) -> Field<NaiveDateTime> {
    let (year, rest) = (i32::from(day / 2048) + 2004, u32::from(day % 2048));
    let minutes = if u32::from(minute) == AFTERNOON { MORNINGS_END } else { u32::from(minute) };
    let time = || NaiveDate::from_ymd_opt(year, rest / 100, rest % 100)?.and_hms_opt(minutes / 60, minutes % 60, 0);
    time().map_or_else(|| Field::unreadable(&format!("day {day}, minute {minute}")), Field::Value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A server's answer from 2017: ten daily bars of 000001.SZ.
    const RECORDED: &str = "0a006ec73301b28c011e3254a081ad4816d6984d6fc7330154ae0182024ab0a51d4978090c4e70c733015414285e8003bb48\
        8b59a64d71c73301140086015ec059274945cb154e74c73301006828724060f648ae0edc4d75c73301000a1e7c40f6da48a3\
        7dc24d76c7330100680ad0018052b748ad68a24d77c7330100680072a0f0a448f8b9914d78c733010054285ee0a48b48c294\
        764d7bc733010aa401b8014a001def4874abd44d";

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    fn page(frequency: Frequency) -> Bars {
        Bars { security: Security::of("000001.SZ".parse().unwrap()).unwrap(), frequency, skip: 0, count: PAGE_BARS }
    }

    fn value(text: &str) -> Field<Decimal> {
        Field::Value(text.parse().unwrap())
    }

    #[test]
    fn a_recorded_answer_is_read_to_the_digit() {
        let bars = page(Frequency::Day).parse(&unhex(RECORDED)).unwrap();
        assert_eq!(bars.len(), 10);
        let expected = FetchedBar {
            timestamp: Field::Value("2017-06-19T00:00:00".parse().unwrap()),
            open: value("9.03"),
            high: value("9.15"),
            low: value("9.02"),
            close: value("9.13"),
            volume: value("489704"),
            amount: value("446000.768"),
        };
        assert_eq!(bars[9], expected);
        assert_eq!(bars[0].timestamp, Field::Value("2017-06-06T00:00:00".parse().unwrap()));
    }

    #[test]
    fn minute_bars_count_shares_and_carry_their_end() {
        let record = |minute: u16| {
            let day = (2024 - 2004) * 2048 + 102_u16;
            let prices = [0x80 + 0x28, 0x77, 0x41, 0x0a, 0x42];
            [
                &day.to_le_bytes()[..],
                &minute.to_le_bytes(),
                &prices,
                &236_600_f32.to_le_bytes(),
                &1_668_500.8_f32.to_le_bytes(),
            ]
            .concat()
        };
        let body = [&2_u16.to_le_bytes()[..], &record(571), &record(780)].concat();
        let bars = page(Frequency::Minute1).parse(&body).unwrap();
        assert_eq!(bars[0].timestamp, Field::Value("2024-01-02T09:31:00".parse().unwrap()));
        assert_eq!(bars[1].timestamp, Field::Value("2024-01-02T11:30:00".parse().unwrap()));
        assert_eq!((&bars[0].open, &bars[0].close), (&value("7.656"), &value("7.655")));
        assert_eq!((&bars[0].high, &bars[0].low), (&value("7.666"), &value("7.654")));
        assert_eq!((&bars[0].volume, &bars[0].amount), (&value("2366"), &value("1668.5008")));
        assert_eq!(bars[1].open, value("15.311"), "difference from the previous close");
        assert_eq!(page(Frequency::Minute1).payload()[8], 8);
    }

    #[test]
    fn rejects_bad_pages_and_keeps_bad_times() {
        let body = unhex(RECORDED);
        let refusal = |body: &[u8]| page(Frequency::Day).parse(body).unwrap_err().to_string();
        assert!(refusal(&[]).contains("ends at byte 0"));
        assert!(refusal(&body[..100]).contains("10 records"), "{}", refusal(&body[..100]));
        assert!(refusal(&body[..body.len() - 1]).contains("ends at byte"));
        assert!(refusal(&[0xff, 0xff]).contains("65535 records"));
        let few = Bars { count: 3, ..page(Frequency::Day) };
        assert!(few.parse(&body).unwrap_err().to_string().contains("at most 3 were requested"));
        assert_eq!(page(Frequency::Day).parse(&[0, 0]).unwrap(), []);
        assert_eq!(day(20_240_230), Field::unreadable("20240230"));
        assert_eq!(minute(102, 1_500), Field::unreadable("day 102, minute 1500"));
    }

    #[test]
    fn mutated_pages_give_bars_or_an_error() {
        kit::fuzz::mutate(&[unhex(RECORDED)], |bytes| {
            let frequency = if bytes.len() % 2 == 0 { Frequency::Day } else { Frequency::Minute5 };
            let _bars = page(frequency).parse(bytes);
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn any_bytes_are_bars_or_an_error(count in 0_u16..6, rest in prop::collection::vec(any::<u8>(), 0..140), day: bool) {
            let body = [&count.to_le_bytes()[..], &rest].concat();
            let frequency = if day { Frequency::Day } else { Frequency::Minute5 };
            if let Ok(bars) = page(frequency).parse(&body) {
                prop_assert_eq!(bars.len(), usize::from(count));
            }
        }

        #[test]
        fn a_mutated_answer_is_read_or_refused(at in 0_usize..170, byte: u8) {
            let mut body = unhex(RECORDED);
            body[at] = byte;
            let _bars = page(Frequency::Day).parse(&body);
        }
    }
}
