// Upstream: validator
// Downstream: domain
// Role: Compares the minute bars of a day with its stored daily bar.

use chrono::{NaiveDate, NaiveTime};

use crate::domain::security_kind::SecurityKind;
use crate::domain::{Bar, DayTotal, Price};

/// From this day on, Shanghai has a closing auction. Before, the daily close was an average of the trades in the last
/// minute, so it may differ from the close of the last minute bar.
const SHANGHAI_CLOSING_AUCTION: NaiveDate = match NaiveDate::from_ymd_opt(2018, 8, 20) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

/// The end of the session.
const CLOSE: NaiveTime = match NaiveTime::from_hms_opt(15, 0, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};

/// The first field in which a day's minute bars (oldest first) differ from its daily bar, and a text with both values.
/// A day with missing minute bars is not compared.
pub fn difference(bars: &[Bar], total: &DayTotal, tolerance_percent: u32) -> Option<(&'static str, String)> {
    let (first, last) = (bars.first()?, bars.last()?);
    let a_session = 240 / first.frequency.minutes()? as usize;
    if bars.len() < a_session {
        return None;
    }
    let sum = |bars: &mut dyn Iterator<Item = &Bar>| bars.map(|bar| i64::from(bar.volume)).sum::<i64>();
    let volume = sum(&mut bars.iter());
    // Tolerance: each minute bar lost its fraction of a lot, and vendors round differently.
    let allowed = bars.len() as i64 + total.volume / 100 * i64::from(tolerance_percent);
    // The volume of trades after the session may be in the daily bar, in minute bars after 15:00, or in neither: vendors
    // differ, and most do not say. More than the whole session has is a wrong unit.
    let (least, most) = match SecurityKind::of(last.code).trades_after_hours(total.day) {
        true => (sum(&mut bars.iter().filter(|bar| bar.timestamp.time() <= CLOSE)), volume.saturating_mul(2)),
        false => (volume, volume),
    };
    if total.volume < least - allowed || total.volume > most + allowed {
        return Some(("volume", format!("{volume} lots in {} bars, daily bar {}", bars.len(), total.volume)));
    }
    let is_auctioned = last.code.exchange() != "SH" || total.day >= SHANGHAI_CLOSING_AUCTION;
    let of_minutes = [
        ("high", bars.iter().map(|bar| bar.high).max(), Some(total.high)),
        ("low", bars.iter().map(|bar| bar.low).min(), Some(total.low)),
        ("close", Some(last.close), is_auctioned.then_some(total.close)),
    ];
    of_minutes.into_iter().find_map(|(field, found, daily)| {
        let (found, daily) = (found?, daily?);
        // Tolerance of one fen: a third decimal may have been rounded up or down.
        ((found.0 - daily.0).abs() > Price::fen(1).0).then(|| (field, format!("{found}, daily bar {daily}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Frequency, Hundredths, Price, SourceId};
    use chrono::Duration;

    /// 000001.SZ on 2024-01-02 in half-hour bars. The day: open 9.39, high 9.42, low 9.21, close 9.21, 1,158,366 lots.
    fn half_hours() -> Vec<Bar> {
        let rows = [
            (600, 939, 942, 930, 936, 318_366),
            (630, 936, 938, 929, 931, 150_000),
            (660, 931, 933, 927, 928, 110_000),
            (690, 928, 930, 925, 926, 90_000),
            (810, 926, 928, 922, 923, 120_000),
            (840, 923, 925, 921, 924, 110_000),
            (870, 924, 924, 921, 922, 100_000),
            (900, 922, 923, 921, 921, 160_000),
        ];
        let midnight = total().day.and_hms_opt(0, 0, 0).unwrap();
        let bar = |(minute, open, high, low, close, volume): (i64, i64, i64, i64, i64, i32)| Bar {
            code: "000001.SZ".parse().unwrap(),
            frequency: Frequency::Minute30,
            timestamp: midnight + Duration::minutes(minute),
            open: Price::fen(open),
            high: Price::fen(high),
            low: Price::fen(low),
            close: Price::fen(close),
            volume,
            amount: Hundredths(0),
            source: SourceId::TUSHARE,
        };
        rows.into_iter().map(bar).collect()
    }

    fn total() -> DayTotal {
        let (high, low, close) = (Price::fen(942), Price::fen(921), Price::fen(921));
        DayTotal { day: "2024-01-02".parse().unwrap(), high, low, close, volume: 1_158_366 }
    }

    fn field(bars: &[Bar], total: &DayTotal) -> Option<&'static str> {
        difference(bars, total, 2).map(|(field, _)| field)
    }

    #[test]
    fn day_sum_names_the_differing_field() {
        let bars = half_hours();
        assert_eq!(field(&bars, &total()), None);
        assert_eq!(field(&bars, &DayTotal { volume: 1_175_000, ..total() }), None, "trades after the close");
        assert_eq!(field(&bars, &DayTotal { volume: 115_836_600, ..total() }), Some("volume"), "shares, not lots");
        assert_eq!(field(&bars, &DayTotal { high: Price::fen(943), ..total() }), None, "tolerance");
        assert_eq!(field(&bars, &DayTotal { high: Price::fen(951), ..total() }), Some("high"));
        assert_eq!(field(&bars, &DayTotal { low: Price::fen(919), ..total() }), Some("low"));
        assert_eq!(field(&bars, &DayTotal { close: Price::fen(923), ..total() }), Some("close"));
        assert_eq!(field(&bars[1..], &DayTotal { high: Price::fen(951), ..total() }), None, "incomplete day");
        let found = difference(&bars, &DayTotal { close: Price::fen(923), ..total() }, 2);
        assert_eq!(found, Some(("close", "9.21, daily bar 9.23".to_owned())));
    }

    #[test]
    fn volume_after_hours_may_be_in_either() {
        let of = |code: &str, day: &str| {
            let (mut bars, mut total) = (half_hours(), DayTotal { day: day.parse().unwrap(), ..total() });
            bars.iter_mut().for_each(|bar| {
                bar.code = code.parse().unwrap();
                bar.timestamp = total.day.and_time(bar.timestamp.time());
            });
            total.volume += 200_000;
            let in_day = field(&bars, &total);
            let late = Bar { timestamp: total.day.and_hms_opt(15, 30, 0).unwrap(), volume: 200_000, ..bars[7].clone() };
            bars.push(late);
            let in_both = field(&bars, &total);
            total.volume -= 200_000;
            let in_minutes = field(&bars, &total);
            total.volume -= 200_000;
            let lacking = field(&bars, &total);
            total.volume *= 100;
            (in_day, in_both, in_minutes, lacking, field(&bars, &total))
        };
        let (broken, allowed) = (Some("volume"), (None, None, None, Some("volume"), Some("volume")));
        assert_eq!(of("688981.SH", "2019-07-22"), allowed);
        assert_eq!(of("300750.SZ", "2020-08-24"), allowed);
        assert_eq!(of("600000.SH", "2026-07-06"), allowed);
        for (code, day) in [("688981.SH", "2019-07-19"), ("300750.SZ", "2020-08-21"), ("600000.SH", "2026-07-03")] {
            assert_eq!(of(code, day), (broken, None, broken, broken, broken), "{code}");
        }
    }

    #[test]
    fn a_close_in_shanghai_was_an_average_until_2018() {
        let mut bars = half_hours();
        bars.iter_mut().for_each(|bar| bar.code = "600000.SH".parse().unwrap());
        let other = DayTotal { close: Price::fen(923), ..total() };
        assert_eq!(field(&bars, &other), Some("close"));
        assert_eq!(field(&bars, &DayTotal { day: "2018-08-17".parse().unwrap(), ..other }), None);
    }
}
