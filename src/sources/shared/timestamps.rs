// Upstream: cells, sources::baostock, sources::databases, sources::eastmoney, sources::files, sources::yahoo
// Downstream: actors, kit
// Role: Parses the timestamp formats of the sources into days and times in Shanghai.

//! A daily bar belongs to a trading day in Shanghai and is stored at midnight of that day. Sources write the day in
//! several formats: `20240102` as text or number (Tushare), `2024-01-02` (EastMoney, BaoStock), a wall-clock time of
//! the day, an instant with a zone, or Unix seconds or milliseconds (Yahoo). An instant is first converted to Shanghai
//! time: `2024-01-01T16:00:00Z` is midnight of 2 January there.

use actors::domain::Field;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Asia::Shanghai;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// Numbers of up to eight digits are dates, larger ones are Unix times.
const FIRST_EPOCH: i64 = 100_000_000;
/// Unix seconds stay below this number until the year 5138. Unix milliseconds have been above it since 1973.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;
/// The year 5138 in milliseconds. Larger numbers are rejected.
const MILLISECONDS_LIMIT: i64 = 100_000_000_000_000;

/// Reads the day in a text, as midnight in Shanghai. An empty text, `null`, `None`, `NaN`, `nan` and `NaT` count as
/// missing.
pub fn day_of_text(text: &str) -> Field<NaiveDateTime> {
    let text = text.trim();
    if matches!(text, "" | "null" | "None" | "NaN" | "nan" | "NaT") {
        return Field::Missing;
    }
    let day = if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        number_day(text)
    } else {
        wall_clock_day(text).or_else(|| instant_day(text))
    };
    midnight(day, text)
}

/// Reads the time in a text, as wall clock in Shanghai: `2024-01-02 09:31:00` with or without seconds, or an instant
/// with a zone. An empty text, `null` and the like count as missing.
pub fn time_of_text(text: &str) -> Field<NaiveDateTime> {
    let text = text.trim();
    if matches!(text, "" | "null" | "None" | "NaN" | "nan" | "NaT") {
        return Field::Missing;
    }
    let wall_clock = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let instant = || Some(DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Shanghai).naive_local());
    wall_clock.or_else(instant).map_or_else(|| Field::unreadable(text), Field::Value)
}

/// Reads the time in 17 digits, as wall clock in Shanghai: `20240102093500000`, down to milliseconds. An empty text
/// counts as missing.
pub fn time_of_digits(text: &str) -> Field<NaiveDateTime> {
    let text = text.trim();
    if text.is_empty() {
        return Field::Missing;
    }
    let parts = || {
        let (day, time) = text.split_at_checked(8).filter(|_| text.len() == 17)?;
        let of = |range: std::ops::Range<usize>| digits(time.get(range)?);
        let time = NaiveTime::from_hms_milli_opt(of(0..2)?, of(2..4)?, of(4..6)?, of(6..9)?)?;
        Some(date_number_day(digits(day)?)?.and_time(time))
    };
    parts().map_or_else(|| Field::unreadable(text), Field::Value)
}

/// Converts Unix seconds to wall clock in Shanghai.
pub fn time_of_epoch(seconds: i64) -> Option<NaiveDateTime> {
    Some(Utc.timestamp_opt(seconds, 0).single()?.with_timezone(&Shanghai).naive_local())
}

/// Reads the day in a JSON number, as midnight in Shanghai: `20240102`, Unix seconds or Unix milliseconds.
pub fn day_of_number(text: &str) -> Field<NaiveDateTime> {
    midnight(number_day(text), text)
}

fn midnight(day: Option<NaiveDate>, text: &str) -> Field<NaiveDateTime> {
    day.map_or_else(|| Field::unreadable(text), |day| Field::Value(day.and_time(NaiveTime::MIN)))
}

fn number_day(text: &str) -> Option<NaiveDate> {
    if text.len() == 8
        && let Some(number) = digits(text)
    {
        return date_number_day(number);
    }
    // Tables with missing cells write whole numbers as fractions: `20240102.0`.
    let number = text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(text)).ok()?;
    let whole = number.trunc().to_i64()?;
    let instant = match whole {
        // A date has no fraction.
        ..FIRST_EPOCH if number.fract().is_zero() => return date_number_day(u32::try_from(whole).ok()?),
        ..FIRST_EPOCH => return None,
        FIRST_EPOCH..FIRST_MILLISECONDS => Utc.timestamp_opt(whole, 0),
        FIRST_MILLISECONDS..MILLISECONDS_LIMIT => Utc.timestamp_millis_opt(whole),
        _ => return None,
    };
    shanghai_day(instant.single()?)
}

fn date_number_day(number: u32) -> Option<NaiveDate> {
    let year = i32::try_from(number / 10_000).ok().filter(|year| *year >= 1_000)?;
    NaiveDate::from_ymd_opt(year, number / 100 % 100, number % 100)
}

/// Reads `YYYY-MM-DD`, alone or with a time of day without a zone.
fn wall_clock_day(text: &str) -> Option<NaiveDate> {
    let (date, rest) = text.split_at_checked(10)?;
    if !rest.is_empty() {
        let time = rest.strip_prefix([' ', 'T'])?;
        NaiveTime::parse_from_str(time, "%H:%M:%S%.f").or_else(|_| NaiveTime::parse_from_str(time, "%H:%M")).ok()?;
    }
    let (year, month, day) = (date.get(..4)?, date.get(5..7)?, date.get(8..)?);
    let dashes = date.get(4..5)? == "-" && date.get(7..8)? == "-";
    let year = i32::try_from(digits(year)?).ok()?;
    if dashes { NaiveDate::from_ymd_opt(year, digits(month)?, digits(day)?) } else { None }
}

/// Reads an instant with its zone (RFC 3339).
fn instant_day(text: &str) -> Option<NaiveDate> {
    shanghai_day(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
}

fn shanghai_day(instant: DateTime<Utc>) -> Option<NaiveDate> {
    // The zone's history matters: Shanghai had daylight saving time until 1991.
    Some(instant.with_timezone(&Shanghai).date_naive())
}

/// Parses digits only; `u32::from_str` alone would accept a sign.
fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn second_of_january() -> Field<NaiveDateTime> {
        Field::Value(NaiveDate::from_ymd_opt(2024, 1, 2).unwrap().and_time(NaiveTime::MIN))
    }

    #[test]
    fn a_minute_is_a_wall_clock_in_shanghai() {
        let expected = Field::Value("2024-01-02T09:31:00".parse().unwrap());
        for text in ["2024-01-02 09:31:00", " 2024-01-02T09:31 ", "2024-01-02T01:31:00Z", "2024-01-02T09:31:00+08:00"] {
            assert_eq!(time_of_text(text), expected, "{text}");
        }
        assert_eq!(time_of_text(""), Field::Missing);
        for text in ["2024-01-02", "09:31", "2024-13-02 09:31:00", "soon"] {
            assert_eq!(time_of_text(text), Field::unreadable(text));
        }
    }

    #[test]
    fn digits_and_instants_name_a_minute_too() {
        let expected: NaiveDateTime = "2024-01-02T09:35:00".parse().unwrap();
        assert_eq!(time_of_digits("20240102093500000"), Field::Value(expected));
        assert_eq!(time_of_epoch(1_704_159_300), Some(expected));
        assert_eq!(time_of_digits(" "), Field::Missing);
        for text in [
            "20240102",
            "2024010209350000",
            "20240102253500000",
            "20241302093500000",
            "+0240102093500000",
            "二〇二四〇一",
        ] {
            assert_eq!(time_of_digits(text), Field::unreadable(text));
        }
        assert_eq!(time_of_epoch(i64::MAX), None);
    }

    #[test]
    fn every_format_of_a_day_is_its_midnight_in_shanghai() {
        let formats = [
            "20240102",
            " 20240102 ",
            "20240102.0",
            "2024-01-02",
            "2024-01-02 00:00:00",
            "2024-01-02 09:30",
            "2024-01-02 15:00:00",
            "2024-01-02 23:59:59.999",
            "2024-01-02T15:00:00",
            "2024-01-01T16:00:00Z",      // midnight in Shanghai
            "2024-01-02T07:00:00Z",      // the close
            "2024-01-02T15:59:59Z",      // the last second of the day
            "2024-01-02T00:00:00+08:00", // midnight, with Shanghai's offset
            "2024-01-02 00:00:00+08:00",
            "2024-01-01T11:00:00-05:00", // midnight, with New York's offset
            "1704124800",                // midnight in Shanghai
            "1704159000000",             // the open, in milliseconds
        ];
        for text in formats {
            assert_eq!(day_of_text(text), second_of_january(), "{text}");
        }
        for number in
            ["20240102", "20240102.0", "2.0240102e7", "1704124800", "1704178800", "1704124800.5", "1704124800000"]
        {
            assert_eq!(day_of_number(number), second_of_january(), "{number}");
        }
    }

    #[test]
    fn instant_before_midnight_is_the_previous_day() {
        let first = Field::Value(NaiveDate::from_ymd_opt(2024, 1, 1).unwrap().and_time(NaiveTime::MIN));
        assert_eq!(day_of_text("2024-01-01T15:59:59Z"), first);
        assert_eq!(day_of_number("1704124799"), first);
        // Daylight saving time, UTC+9, still applied in 1991: 15:00 UTC is already the next day.
        let summer = Field::Value(NaiveDate::from_ymd_opt(1991, 7, 2).unwrap().and_time(NaiveTime::MIN));
        assert_eq!(day_of_text("1991-07-01T15:00:00Z"), summer);
    }

    #[test]
    fn keeps_unreadable_days_as_text() {
        let texts = [
            "2024-13-01",
            "2024-02-30",
            "20240230",
            "2024-1-2",
            "2024/01/02",
            "02.01.2024",
            "2024010",
            "0",
            "-20240102",
            "+2024012",
            "2024-01-02X",
            "2024-01-02 25:00",
            "today",
            "2024-01-02T00:00:00+99:00",
            "9999999999999999",
            "20240102.5",
            "00010101",
            "二〇二四年",
            "1.2.3",
        ];
        for text in texts {
            assert_eq!(day_of_text(text), Field::unreadable(text), "{text}");
        }
        for number in ["0", "-1", "20240230", "1e300", "20240102.5", "true"] {
            assert_eq!(day_of_number(number), Field::unreadable(number), "{number}");
        }
        assert_eq!(day_of_text(" "), Field::Missing);
        assert_eq!(day_of_text("NaT"), Field::Missing);
    }

    #[test]
    fn mutated_timestamps_are_read_or_kept_as_text() {
        let samples =
            ["20240102", "2024-01-02 09:31:00", "2024-01-01T16:00:00+08:00", "1704124800.5", "20240102093500000"];
        kit::fuzz::mutate(&samples, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let _fields = [day_of_text(&text), day_of_number(&text), time_of_text(&text), time_of_digits(&text)];
        });
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,30}", near in "[0-9TZ:+. -]{0,30}", number in any::<f64>()) {
            for text in [text, near, number.to_string(), format!("{number:e}")] {
                let _field = day_of_text(&text);
                let _field = day_of_number(&text);
                let _field = time_of_digits(&text);
            }
        }

        #[test]
        fn every_instant_of_a_day_is_that_day(seconds in 100_000_000_i64..4_000_000_000) {
            let day = Utc.timestamp_opt(seconds, 0).unwrap().with_timezone(&Shanghai);
            let expected = Field::Value(day.date_naive().and_time(NaiveTime::MIN));
            prop_assert_eq!(day_of_number(&seconds.to_string()), expected.clone());
            prop_assert_eq!(day_of_number(&format!("{seconds}789")), expected.clone());
            prop_assert_eq!(day_of_text(&day.to_rfc3339()), expected.clone());
            prop_assert_eq!(day_of_text(&day.format("%Y%m%d").to_string()), expected.clone());
            prop_assert_eq!(day_of_text(&day.format("%Y-%m-%d %H:%M").to_string()), expected);
        }
    }
}
