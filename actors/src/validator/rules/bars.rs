// Upstream: false_positive_tests, quality_monitor, validator
// Downstream: domain
// Role: Rules for a single fetched bar, and its conversion to the stored form.

use chrono::{NaiveDateTime, NaiveTime, Timelike};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::domain::{
    Anomaly, Bar, Code, DateRange, FetchedBar, Field, Frequency, Hundredths, Price, PriceFormat, Rule, SourceId,
};

/// The context of all rows of one answer.
#[derive(Debug, Clone, Copy)]
pub struct BarContext {
    /// The security.
    pub code: Code,
    /// The length of a bar.
    pub frequency: Frequency,
    /// The requested days.
    pub range: DateRange,
    /// The source of the rows.
    pub source: SourceId,
    /// What the columns of the store hold of a price.
    pub prices: PriceFormat,
}

/// Validates one row and converts it. The error is the first broken rule. No value is repaired or invented.
pub fn check(row: &FetchedBar, context: &BarContext) -> Result<Bar, Anomaly> {
    let timestamp = timestamp(row, context)?;
    let read = Reader { row_time: timestamp, code: context.code, prices: context.prices };
    let open = read.price("open", &row.open)?;
    let high = read.price("high", &row.high)?;
    let low = read.price("low", &row.low)?;
    let close = read.price("close", &row.close)?;
    if high < open.max(close) {
        return Err(read.anomaly("high", high.to_string(), Rule::HighBelowOpenOrClose));
    }
    if low > open.min(close) {
        return Err(read.anomaly("low", low.to_string(), Rule::LowAboveOpenOrClose));
    }
    let volume = read.not_negative("volume", &row.volume, Rule::VolumeNegative)?;
    let amount = if context.source.has_amounts() {
        read.not_negative("amount", &row.amount, Rule::AmountNegative)?
    } else {
        Decimal::ZERO
    };
    // Ginkgo truncates fractions of a lot.
    let lots = volume.trunc().to_i32();
    let volume = lots.ok_or_else(|| read.anomaly("volume", volume.to_string(), Rule::ValueOutOfRange))?;
    Ok(Bar {
        code: context.code,
        frequency: context.frequency,
        timestamp,
        open: read.fits("open", open)?,
        high: read.fits("high", high)?,
        low: read.fits("low", low)?,
        close: read.fits("close", close)?,
        volume,
        amount: read.amount_fits(amount)?,
        source: context.source,
    })
}

/// The first price with more decimals than `columns` hold, if any.
pub fn finer_price(row: &FetchedBar, columns: PriceFormat) -> Option<(&'static str, Decimal)> {
    let prices = [("open", &row.open), ("high", &row.high), ("low", &row.low), ("close", &row.close)];
    prices.into_iter().find_map(|(name, field)| match field {
        Field::Value(value) if columns.rounds(*value) => Some((name, *value)),
        _ => None,
    })
}

fn timestamp(row: &FetchedBar, context: &BarContext) -> Result<NaiveDateTime, Anomaly> {
    let anomaly =
        |timestamp, value: String, rule| Anomaly { code: context.code, timestamp, field: "timestamp", value, rule };
    match &row.timestamp {
        Field::Missing => Err(anomaly(None, String::new(), Rule::MissingValue)),
        Field::Unreadable(text) => Err(anomaly(None, text.to_string(), Rule::UnreadableValue)),
        Field::Value(time) => {
            let at_midnight = time.time() == NaiveTime::MIN;
            let fits_frequency =
                if context.frequency == Frequency::Day { at_midnight } else { is_session_minute(*time) };
            let plausible =
                fits_frequency && time.date() >= DateRange::FIRST_TRADING_DAY && context.range.contains(time.date());
            if plausible { Ok(*time) } else { Err(anomaly(Some(*time), time.to_string(), Rule::ImplausibleTimestamp)) }
        }
    }
}

/// Whether a minute bar may end at this time: 09:30 to 11:30 or 13:00 to 15:30. This includes the row of the opening
/// auction at 09:30 and the after-hours trading of ChiNext and STAR until 15:30.
fn is_session_minute(time: NaiveDateTime) -> bool {
    const SESSIONS: [(u32, u32); 2] = [(9 * 60 + 30, 11 * 60 + 30), (13 * 60, 15 * 60 + 30)];
    let minute = time.hour() * 60 + time.minute();
    time.second() == 0 && SESSIONS.iter().any(|(first, last)| (*first..=*last).contains(&minute))
}

/// Reads the fields of one row.
struct Reader {
    row_time: NaiveDateTime,
    code: Code,
    prices: PriceFormat,
}

impl Reader {
    fn anomaly(&self, field: &'static str, value: String, rule: Rule) -> Anomaly {
        Anomaly { code: self.code, timestamp: Some(self.row_time), field, value, rule }
    }

    fn value(&self, name: &'static str, field: &Field<Decimal>) -> Result<Decimal, Anomaly> {
        match field {
            Field::Value(value) => Ok(*value),
            Field::Missing => Err(self.anomaly(name, String::new(), Rule::MissingValue)),
            Field::Unreadable(text) => Err(self.anomaly(name, text.to_string(), Rule::UnreadableValue)),
        }
    }

    /// Reads a price. It must be greater than zero before and after rounding to the column's decimals.
    fn price(&self, name: &'static str, field: &Field<Decimal>) -> Result<Decimal, Anomaly> {
        let value = self.value(name, field)?;
        let positive = self.prices.round(value).is_none_or(|rounded| rounded.0 > 0);
        if positive && value > Decimal::ZERO {
            Ok(value)
        } else {
            Err(self.anomaly(name, value.to_string(), Rule::PriceNotPositive))
        }
    }

    fn not_negative(&self, name: &'static str, field: &Field<Decimal>, rule: Rule) -> Result<Decimal, Anomaly> {
        let value = self.value(name, field)?;
        if value >= Decimal::ZERO { Ok(value) } else { Err(self.anomaly(name, value.to_string(), rule)) }
    }

    fn fits(&self, name: &'static str, value: Decimal) -> Result<Price, Anomaly> {
        self.prices.round(value).ok_or_else(|| self.anomaly(name, value.to_string(), Rule::ValueOutOfRange))
    }

    fn amount_fits(&self, value: Decimal) -> Result<Hundredths, Anomaly> {
        let amount = Hundredths::from_decimal(value).filter(|_| self.prices.has_room(value));
        amount.ok_or_else(|| self.anomaly("amount", value.to_string(), Rule::ValueOutOfRange))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;
    use proptest::prelude::*;

    fn context() -> BarContext {
        BarContext {
            code: "000001.SZ".parse().unwrap(),
            frequency: Frequency::Day,
            range: DateRange { start: day(2024, 1, 1).date(), end: day(2024, 1, 31).date() },
            source: SourceId::TUSHARE,
            prices: PriceFormat::GINKGO,
        }
    }

    fn day(y: i32, m: u32, d: u32) -> NaiveDateTime {
        NaiveDate::from_ymd_opt(y, m, d).unwrap().and_time(NaiveTime::MIN)
    }

    fn row(values: [&str; 6]) -> FetchedBar {
        let [open, high, low, close, volume, amount] = values.map(Field::number);
        FetchedBar { timestamp: Field::Value(day(2024, 1, 2)), open, high, low, close, volume, amount }
    }

    fn violation(values: [&str; 6]) -> (&'static str, Rule) {
        let anomaly = check(&row(values), &context()).unwrap_err();
        (anomaly.field, anomaly.rule)
    }

    #[test]
    fn a_sound_bar_is_stored_in_ginkgos_units() {
        let bar = check(&row(["8.75", "8.85", "8.69", "8.70", "525152.77", "460697.377"]), &context()).unwrap();
        assert_eq!(
            (bar.open, bar.high, bar.low, bar.close),
            (Price::fen(875), Price::fen(885), Price::fen(869), Price::fen(870))
        );
        assert_eq!(bar.volume, 525_152, "the fraction of a lot is truncated");
        assert_eq!(bar.amount, Hundredths(46_069_738), "the amount is rounded half up");
    }

    #[test]
    fn every_rule_is_named_with_the_field_that_broke_it() {
        assert_eq!(violation(["", "9", "8", "8.5", "1", "1"]), ("open", Rule::MissingValue));
        assert_eq!(violation(["8.5", "NaN", "8", "8.5", "1", "1"]), ("high", Rule::MissingValue));
        assert_eq!(violation(["8.5", "9", "x", "8.5", "1", "1"]), ("low", Rule::UnreadableValue));
        assert_eq!(violation(["8.5", "9", "inf", "8.5", "1", "1"]), ("low", Rule::UnreadableValue));
        assert_eq!(violation(["0", "9", "8", "8.5", "1", "1"]), ("open", Rule::PriceNotPositive));
        assert_eq!(violation(["8.5", "9", "8", "-8.5", "1", "1"]), ("close", Rule::PriceNotPositive));
        assert_eq!(violation(["0.001", "9", "0.001", "8.5", "1", "1"]), ("open", Rule::PriceNotPositive));
        assert_eq!(violation(["8.5", "8.4", "8", "8.3", "1", "1"]), ("high", Rule::HighBelowOpenOrClose));
        assert_eq!(violation(["8.5", "9", "8.6", "8.7", "1", "1"]), ("low", Rule::LowAboveOpenOrClose));
        assert_eq!(violation(["8.5", "9", "8", "8.5", "-1", "1"]), ("volume", Rule::VolumeNegative));
        assert_eq!(violation(["8.5", "9", "8", "8.5", "1", "-1"]), ("amount", Rule::AmountNegative));
        assert_eq!(violation(["8.5", "9", "8", "8.5", "2147483648", "1"]), ("volume", Rule::ValueOutOfRange));
        assert_eq!(violation(["8.5", "9", "8", "8.5", "1", "100000000000000"]), ("amount", Rule::ValueOutOfRange));
    }

    #[test]
    fn a_price_in_less_than_a_fen_is_found() {
        let finer = |values| finer_price(&row(values), PriceFormat::GINKGO).map(|(name, _)| name);
        assert_eq!(finer(["8.75", "8.85", "8.69", "8.7", "1", "0.875"]), None);
        assert_eq!(finer(["8.7500000000", "8.85", "8.690", "8.7", "1", "1"]), None, "trailing zeros");
        assert_eq!(finer(["8.75", "8.85", "8.690001", "8.7", "1", "1"]), Some("low"));
    }

    #[test]
    fn a_day_without_trading_is_a_sound_bar() {
        assert!(check(&row(["8.5", "8.5", "8.5", "8.5", "0", "0"]), &context()).is_ok());
    }

    #[test]
    fn a_source_without_amounts_has_zero() {
        let row = row(["8.5", "9", "8", "8.5", "1", ""]);
        assert_eq!(check(&row, &context()).unwrap_err().rule, Rule::MissingValue);
        let unknown = BarContext { source: SourceId::OTHER.without_amounts(), ..context() };
        assert_eq!(check(&row, &unknown).unwrap().amount, Hundredths(0));
    }

    #[test]
    fn a_time_that_was_not_asked_for_is_implausible() {
        let good = row(["8.5", "9", "8", "8.5", "1", "1"]);
        let times = [
            day(2023, 12, 31),
            day(2024, 2, 1),
            day(1969, 1, 1),
            day(2107, 1, 1),
            day(2024, 1, 2) + chrono::Duration::hours(16),
        ];
        for time in times {
            let row = FetchedBar { timestamp: Field::Value(time), ..good.clone() };
            assert_eq!(check(&row, &context()).unwrap_err().rule, Rule::ImplausibleTimestamp, "{time}");
        }
        let row = FetchedBar { timestamp: Field::unreadable("soon"), ..good };
        let anomaly = check(&row, &context()).unwrap_err();
        assert_eq!((anomaly.rule, anomaly.value.as_str(), anomaly.timestamp), (Rule::UnreadableValue, "soon", None));
    }

    proptest! {
        #[test]
        fn whatever_passes_keeps_every_rule(texts in prop::collection::vec("-?[0-9]{1,18}(\\.[0-9]{0,6})?|NaN|", 6)) {
            let texts: [&str; 6] = std::array::from_fn(|i| texts[i].as_str());
            if let Ok(bar) = check(&row(texts), &context()) {
                prop_assert!(bar.low.0 > 0 && bar.low <= bar.open.min(bar.close));
                prop_assert!(bar.high >= bar.open.max(bar.close));
                prop_assert!(bar.volume >= 0 && bar.amount.0 >= 0);
            }
        }
    }
}
