// Upstream: cargo
// Downstream: actors, config, kit, mapping, rows, times
// Role: Tests of the conversion from text cells to rows: time formats, units, missing values, arbitrary text.

use std::borrow::Cow;

use actors::domain::{DateRange, Field, Frequency};
use chrono::{NaiveDate, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Asia::Shanghai;
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::rows::{Cell, Rows};
use super::times::{Bound, Times};
use crate::config::{AmountUnit, MappingSection, MinuteLabel, TimeFormat, TimeZone, VolumeUnit};
use crate::sources::databases::mapping::{Defaults, Mapping};

const FORMATS: [TimeFormat; 4] =
    [TimeFormat::Datetime, TimeFormat::Digits, TimeFormat::Seconds, TimeFormat::Milliseconds];
const ZONES: [TimeZone; 2] = [TimeZone::Shanghai, TimeZone::Utc];

fn times(format: TimeFormat, zone: TimeZone) -> Times {
    Times { format, zone, label: MinuteLabel::End }
}

fn mapping(section: MappingSection) -> Mapping {
    Mapping::new(&section, Defaults::Tables).unwrap()
}

fn cells<'a>(texts: &[Option<&'a str>]) -> Vec<Cell<'a>> {
    texts.iter().map(|text| text.map(Cow::Borrowed)).collect()
}

fn time(text: &str) -> NaiveDateTime {
    text.parse().unwrap()
}

fn value(text: &str) -> Field<Decimal> {
    Field::Value(text.parse().unwrap())
}

/// A Shanghai time as a database with this format and zone writes it.
fn written(moment: NaiveDateTime, times: Times, of_day: bool) -> String {
    let instant = Shanghai.from_local_datetime(&moment).earliest().unwrap();
    let clock = if times.zone == TimeZone::Utc { instant.with_timezone(&Utc).naive_utc() } else { moment };
    match times.format {
        TimeFormat::Datetime => clock.to_string(),
        TimeFormat::Digits if of_day && times.zone == TimeZone::Shanghai => clock.format("%Y%m%d").to_string(),
        TimeFormat::Digits => clock.format("%Y%m%d%H%M%S").to_string(),
        TimeFormat::Seconds => instant.timestamp().to_string(),
        TimeFormat::Milliseconds => instant.timestamp_millis().to_string(),
    }
}

#[test]
fn reads_every_format_of_a_minute() {
    let cases = [
        (TimeFormat::Datetime, TimeZone::Shanghai, "2024-01-02 09:31:00"),
        (TimeFormat::Datetime, TimeZone::Shanghai, "2024-01-02 09:31:00.000000"),
        (TimeFormat::Datetime, TimeZone::Shanghai, "2024-01-02T01:31:00Z"),
        (TimeFormat::Datetime, TimeZone::Utc, "2024-01-02 01:31:00"),
        (TimeFormat::Datetime, TimeZone::Utc, "2024-01-02T01:31"),
        (TimeFormat::Datetime, TimeZone::Utc, "2024-01-02T09:31:00+08:00"),
        (TimeFormat::Digits, TimeZone::Shanghai, "20240102093100"),
        (TimeFormat::Digits, TimeZone::Shanghai, "202401020931"),
        (TimeFormat::Digits, TimeZone::Shanghai, "20240102093100000"),
        (TimeFormat::Digits, TimeZone::Utc, "20240102013100"),
        (TimeFormat::Seconds, TimeZone::Shanghai, "1704159060"),
        (TimeFormat::Seconds, TimeZone::Utc, "1704159060.75"),
        (TimeFormat::Milliseconds, TimeZone::Utc, "1704159060750"),
    ];
    for (format, zone, text) in cases {
        assert_eq!(
            times(format, zone).time(text),
            Field::Value(time("2024-01-02T09:31:00")),
            "{format:?} {zone:?} {text}"
        );
    }
    let start = Times { label: MinuteLabel::Start, ..times(TimeFormat::Datetime, TimeZone::Shanghai) };
    assert_eq!(start.bar("2024-01-02 10:30:00", Frequency::Minute30), Field::Value(time("2024-01-02T11:00:00")));
    assert_eq!(start.bar("2024-01-02", Frequency::Day), Field::Value(time("2024-01-02T00:00:00")));
}

#[test]
fn reads_every_format_of_a_day_as_midnight() {
    let day = Field::Value(time("2024-01-02T00:00:00"));
    for (format, zone, text) in [
        (TimeFormat::Datetime, TimeZone::Shanghai, "2024-01-02"),
        (TimeFormat::Datetime, TimeZone::Utc, "2024-01-02"),
        (TimeFormat::Datetime, TimeZone::Utc, "2024-01-01 16:00:00"),
        (TimeFormat::Datetime, TimeZone::Utc, "2024-01-02 00:00:00"),
        (TimeFormat::Datetime, TimeZone::Shanghai, "20240102"),
        (TimeFormat::Digits, TimeZone::Shanghai, "20240102000000"),
        (TimeFormat::Digits, TimeZone::Utc, "20240101160000"),
        (TimeFormat::Digits, TimeZone::Utc, "20240102"),
        (TimeFormat::Seconds, TimeZone::Utc, "1704124800"),
        (TimeFormat::Milliseconds, TimeZone::Utc, "1704124800000"),
        // Lists of such a database may write days as dates.
        (TimeFormat::Seconds, TimeZone::Utc, "2024-01-02"),
    ] {
        assert_eq!(times(format, zone).day(text), day, "{format:?} {zone:?} {text}");
    }
    for (format, text) in FORMATS
        .iter()
        .flat_map(|format| ["soon", "2024-13-01", "-1e30", "99999999999999999999"].map(|text| (*format, text)))
    {
        assert!(matches!(times(format, TimeZone::Shanghai).day(text), Field::Unreadable(_)), "{format:?} {text}");
        assert!(matches!(times(format, TimeZone::Shanghai).time(text), Field::Unreadable(_)), "{format:?} {text}");
    }
}

#[test]
fn converts_bars_to_ginkgos_units() {
    let row = cells(&[
        Some("2024-01-02"),
        Some("9.39"),
        Some("9.42"),
        Some("9.21"),
        Some("9.21"),
        Some("115836645"),
        Some("1075742252.45"),
    ]);
    let own = mapping(MappingSection {
        volume_unit: VolumeUnit::Shares,
        amount_unit: AmountUnit::Yuan,
        ..MappingSection::default()
    });
    let bar = own.bar(&row, Frequency::Day);
    assert_eq!((bar.volume, bar.amount), (value("1158366.45"), value("1075742.25245")));
    let ginkgos = mapping(MappingSection::default()).bar(&row, Frequency::Day);
    assert_eq!((ginkgos.volume, ginkgos.amount), (value("115836645"), value("1075742252.45")));
    assert_eq!(
        (ginkgos.timestamp, ginkgos.open, ginkgos.high),
        (Field::Value(time("2024-01-02T00:00:00")), value("9.39"), value("9.42"))
    );
}

#[test]
fn keeps_missing_and_unreadable_values() {
    let mapping = mapping(MappingSection::default());
    let bar = mapping.bar(&cells(&[None, None, Some("abc"), Some("NaN"), Some(""), Some("1e300")]), Frequency::Day);
    assert_eq!((bar.timestamp, bar.open, bar.high), (Field::Missing, Field::Missing, Field::unreadable("abc")));
    assert_eq!((bar.low, bar.close, bar.volume), (Field::Missing, Field::Missing, Field::unreadable("1e300")));
    assert_eq!(bar.amount, Field::Missing, "a row may be short");
    let tick = mapping.tick(&cells(&[Some("2024-01-02 09:30:00"), Some("9.39"), Some("12"), None]));
    assert_eq!((tick.price, tick.direction), (value("9.39"), Field::Missing));
    assert_eq!(mapping.factor(&cells(&[Some("2024-01-02"), Some("116.719")])).factor, value("116.719"));
}

#[test]
fn deleted_rows_and_other_markets_are_left_out() {
    let mapping = mapping(MappingSection::default());
    let stock = |market, deleted| {
        mapping.stock(&cells(&[Some("000001.SZ"), Some("平安银行"), Some(""), Some("19910403"), None, market, deleted]))
    };
    assert!(stock(Some("1"), Some("0")).is_some() && stock(None, None).is_some());
    assert!(stock(Some("1"), Some("1")).is_none() && stock(Some("2"), Some("0")).is_none());
    let kept = stock(None, None).unwrap();
    assert_eq!((kept.industry, kept.delist_date), (Field::Missing, Field::Missing));
    assert_eq!(kept.list_date, Field::Value(time("1991-04-03T00:00:00")));
    let day = |market, deleted| mapping.trade_day(&cells(&[Some("2024-01-02 00:00:00"), Some("1"), market, deleted]));
    assert_eq!(day(Some("1"), Some("0")).unwrap().is_open, value("1"));
    assert!(day(Some("1"), Some("true")).is_none());
}

#[test]
fn too_many_rows_and_too_much_text_are_refused() {
    let mut num_taken = 0;
    let mut take = |_: &[Cell<'_>]| num_taken += 1;
    let mut rows = Rows::new("bar", 2, 10, &mut take);
    assert!(rows.push(&cells(&[Some("12345")])).is_ok() && rows.push(&cells(&[None])).is_ok());
    let error = rows.push(&cells(&[None])).unwrap_err().to_string();
    assert!(error.contains("table `bar` has more than 2 rows"), "{error}");
    let mut rows = Rows::new("bar", 9, 10, &mut take);
    let error = rows.push(&cells(&[Some("12345678901")])).unwrap_err().to_string();
    assert!(error.contains("more than 10 bytes"), "{error}");
    assert_eq!(num_taken, 2);
}

fn any_times() -> impl Strategy<Value = Times> {
    (prop::sample::select(&FORMATS[..]), prop::sample::select(&ZONES[..]))
        .prop_map(|(format, zone)| times(format, zone))
}

fn any_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[-+0-9.:eETZ ]{0,24}|\\PC{0,12}")
}

#[test]
fn mutated_rows_are_rows_with_what_could_be_read() {
    let mapping = mapping(MappingSection { volume_unit: VolumeUnit::Shares, ..MappingSection::default() });
    let samples = [
        "2024-01-02 15:00:00|9.39|9.42|9.21|9.21|1158277|107574.245|000001.SZ",
        "2024-01-02T09:31:00Z|9.39|120|1",
        "20240102|116.719",
        "sz.000001|平安银行|银行|1991-04-03|2100-01-01|1|0",
    ];
    kit::fuzz::mutate(&samples, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let row: Vec<Cell<'_>> = text.split('|').map(|text| (!text.is_empty()).then_some(text.into())).collect();
        let open = row.get(1).and_then(|cell| cell.as_deref()).map_or(Field::Missing, Field::number);
        assert_eq!(mapping.bar(&row, Frequency::Minute5).open, open);
        assert_eq!(mapping.tick(&row).price, open);
        assert_eq!(mapping.factor(&row).factor, open);
        let _others = (mapping.day_bar(&row), mapping.stock(&row), mapping.trade_day(&row));
    });
}

#[test]
fn mutated_times_are_times_or_kept_as_they_came() {
    let samples = [
        "2024-01-02 09:31:00.000",
        "2024-01-02T01:31:00Z",
        "20240102093100",
        "20240102",
        "1704159060",
        "1704159060000",
    ];
    kit::fuzz::mutate(&samples, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        // Every format and every zone is covered.
        let times = Times {
            format: FORMATS[bytes.len() % FORMATS.len()],
            zone: ZONES[bytes.first().map_or(0, |byte| usize::from(*byte)) % ZONES.len()],
            label: MinuteLabel::Start,
        };
        if let Field::Value(day) = times.bar(&text, Frequency::Day) {
            assert_eq!(day.time(), chrono::NaiveTime::MIN);
        }
        if let Field::Unreadable(kept) = times.bar(&text, Frequency::Minute5) {
            assert!(!kept.is_empty());
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(15_000))]

    #[test]
    fn every_moment_is_read_back_from_every_form(minutes in 0_i64..22_000_000, times in any_times()) {
        let moment = time("1992-01-01T00:00:00") + TimeDelta::minutes(minutes);
        prop_assert_eq!(times.time(&written(moment, times, false)), Field::Value(moment));
        let midnight = moment.date().and_hms_opt(0, 0, 0).unwrap();
        prop_assert_eq!(times.day(&written(midnight, times, true)), Field::Value(midnight));
    }

    #[test]
    fn bounds_let_in_every_moment_of_the_days(
        start in 0_i64..15_000, length in 0_i64..100, minute in 0_i64..1_440, times in any_times(),
    ) {
        let first = NaiveDate::from_ymd_opt(1992, 1, 1).unwrap() + TimeDelta::days(start);
        let range = DateRange { start: first, end: first + TimeDelta::days(length) };
        for day in [range.start, range.end] {
            let moment = day.and_hms_opt(0, 0, 0).unwrap() + TimeDelta::minutes(minute);
            let text = written(moment, times, false);
            let is_in = match times.bounds(range, false) {
                (Bound::Text(from), Bound::Text(before)) => from <= text && text < before,
                (Bound::Number(from), Bound::Number(before)) => (from..before).contains(&text.parse().unwrap()),
                _ => false,
            };
            prop_assert!(is_in, "{}", text);
        }
    }

    #[test]
    fn any_cells_make_a_row(texts in prop::collection::vec(any_text(), 0..9), times in any_times()) {
        let row: Vec<Cell<'_>> = texts.iter().map(|text| text.as_deref().map(Cow::Borrowed)).collect();
        let mut mapping = mapping(MappingSection { volume_unit: VolumeUnit::Shares, ..MappingSection::default() });
        mapping.times = times;
        let open = row.get(1).and_then(|cell| cell.as_deref()).map_or(Field::Missing, Field::number);
        prop_assert_eq!(&mapping.bar(&row, Frequency::Day).open, &open);
        prop_assert_eq!(&mapping.bar(&row, Frequency::Minute5).open, &open);
        prop_assert_eq!(&mapping.tick(&row).price, &open);
        prop_assert_eq!(&mapping.factor(&row).factor, &open);
        let _others = (mapping.day_bar(&row), mapping.stock(&row), mapping.trade_day(&row));
    }

    #[test]
    fn units_move_the_point_and_nothing_else(shares in 0_i64..1_000_000_000_000, fen in 0_i64..1_000_000_000_000_000) {
        let (volume_unit, amount_unit) = (VolumeUnit::Shares, AmountUnit::Yuan);
        let own = mapping(MappingSection { volume_unit, amount_unit, ..MappingSection::default() });
        let (shares_text, yuan) = (shares.to_string(), Decimal::new(fen, 2).to_string());
        let row = cells(&[None, None, None, None, None, Some(&shares_text), Some(&yuan)]);
        let bar = own.bar(&row, Frequency::Day);
        prop_assert_eq!(bar.volume, Field::Value(Decimal::new(shares, 2)));
        prop_assert_eq!(bar.amount, Field::Value(Decimal::new(fen, 5)));
    }
}
