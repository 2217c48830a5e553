// Upstream: actor, quality_monitor, validator::rules
// Downstream: domain, settings, validator::rules
// Role: Validates the bars of one answer: separates valid from invalid rows and counts expected and missing rows.

use std::collections::HashSet;

use chrono::{NaiveDate, NaiveDateTime};
use rust_decimal::Decimal;

use crate::domain::expected_rows::{ExpectedRows, RequestedDays};
use crate::domain::price_limit::MarketBoard;
use crate::domain::{Anomaly, Bar, Code, DayTotal, FetchedBar, KnownDays, PriceFormat, Rule, TaskCounts};
use crate::settings::QualitySettings;
use crate::settings::rules::RuleAction;
use crate::validator::rules::bars::{BarContext, check, finer_price};
use crate::validator::rules::day_sums::difference;
use crate::validator::rules::market::MarketRules;

/// The result of validating one answer.
pub(crate) struct Checked {
    pub(crate) rows: Vec<Bar>,
    pub(crate) counts: TaskCounts,
    pub(crate) anomalies: Vec<Anomaly>,
    /// Timestamps of invalid rows. Rows stored at these timestamps are kept, because no valid replacement exists.
    pub(crate) invalid_times: HashSet<NaiveDateTime>,
    /// Whether the timestamp of an invalid row is missing or unreadable.
    pub(crate) has_unknown_timestamp: bool,
}

pub(crate) fn check_all(
    fetched: &[FetchedBar],
    context: &BarContext,
    known: &KnownDays,
    quality: &QualitySettings,
) -> Checked {
    let max_examples = quality.max_examples;
    let decimals = DecimalsRule::of(context, quality);
    let mut checked = Checked {
        rows: Vec::with_capacity(fetched.len()),
        counts: TaskCounts { fetched: fetched.len() as u64, ..TaskCounts::default() },
        anomalies: Vec::new(),
        invalid_times: HashSet::new(),
        has_unknown_timestamp: false,
    };
    let mut seen = HashSet::with_capacity(fetched.len());
    for row in fetched {
        match check(row, context) {
            Ok(bar) if !seen.insert(bar.timestamp) => checked.skip(duplicate(&bar), max_examples),
            Ok(bar) => {
                let finer =
                    decimals.as_ref().and_then(|rule| finer_price(row, rule.allowed).map(|finer| (rule, finer)));
                if finer.is_none_or(|(rule, finer)| checked.keeps_finer_price(&bar, finer, rule, max_examples)) {
                    checked.rows.push(bar);
                }
            }
            Err(anomaly) => {
                match anomaly.timestamp {
                    Some(time) => {
                        checked.invalid_times.insert(time);
                    }
                    None => checked.has_unknown_timestamp = true,
                }
                checked.skip(anomaly, max_examples);
            }
        }
    }
    checked.note_not_offered(context.code, known, max_examples);
    checked.judge(context.code, known, quality);
    checked.compare_with_daily_bars(&known.day_totals, quality);
    checked
}

/// The rule for the decimals of prices.
struct DecimalsRule {
    rule: Rule,
    action: RuleAction,
    /// What a price may have.
    allowed: PriceFormat,
}

impl DecimalsRule {
    /// Shares in yuan are traded in whole fen. Funds, bonds and B shares have a third decimal, which the columns may
    /// lack. Prices that a source computes have any number of decimals. `None` if there is nothing to check.
    fn of(context: &BarContext, quality: &QualitySettings) -> Option<Self> {
        let (rule, allowed) = match MarketBoard::of(context.code) {
            Some(_) => (Rule::PriceDecimals, PriceFormat::GINKGO),
            None => (Rule::PriceRounded, context.prices),
        };
        let action = quality.rules.action(rule);
        let is_checked = context.source.has_exact_prices() && action != RuleAction::Ignore;
        is_checked.then_some(Self { rule, action, allowed })
    }
}

impl Checked {
    /// Applies the market rules to the valid rows, oldest first.
    fn judge(&mut self, code: Code, known: &KnownDays, quality: &QualitySettings) {
        let mut market = MarketRules::new(&quality.rules, code, known);
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by_key(|bar| bar.timestamp);
        rows.retain(|bar| {
            let mut is_kept = true;
            for broken in market.judge(bar) {
                if broken.skips {
                    is_kept = false;
                    self.invalid_times.insert(bar.timestamp);
                    self.skip(broken.anomaly, quality.max_examples);
                } else {
                    self.warn(broken.anomaly, quality.max_examples);
                }
            }
            is_kept
        });
        self.rows = rows;
    }

    /// Counts the bars of which the source offers only some values. They do not count as missing, and stored rows stay.
    fn note_not_offered(&mut self, code: Code, known: &KnownDays, max_examples: usize) {
        for time in &known.not_offered {
            self.invalid_times.insert(*time);
            let (timestamp, rule) = (Some(*time), Rule::NotOffered);
            self.warn(Anomaly { code, timestamp, field: "open", value: String::new(), rule }, max_examples);
        }
    }

    /// Compares the minute bars of complete days with the stored daily bars. The comparison cannot identify the wrong
    /// bar of a day. The action `Error` skips all bars of the day. The action `Warning` reports the last bar.
    fn compare_with_daily_bars(&mut self, totals: &[DayTotal], quality: &QualitySettings) {
        let rules = &quality.rules;
        let mut rows = std::mem::take(&mut self.rows);
        for total in totals.iter().filter(|_| rules.day_sum != RuleAction::Ignore) {
            let begin = rows.partition_point(|bar| bar.timestamp.date() < total.day);
            let end = rows.partition_point(|bar| bar.timestamp.date() <= total.day);
            let bars = rows.get(begin..end).unwrap_or_default();
            let Some((field, value)) = difference(bars, total, rules.day_sum_tolerance_percent) else { continue };
            let broken = |bar: &Bar| {
                let timestamp = Some(bar.timestamp);
                Anomaly { code: bar.code, timestamp, field, value: value.clone(), rule: Rule::DaySum }
            };
            if rules.day_sum == RuleAction::Error {
                for bar in rows.drain(begin..end) {
                    self.invalid_times.insert(bar.timestamp);
                    self.skip(broken(&bar), quality.max_examples);
                }
            } else if let Some(last) = bars.last() {
                self.warn(broken(last), quality.max_examples);
            }
        }
        self.rows = rows;
    }

    /// Counts expected and missing rows. An invalid row counts as skipped and not as missing.
    pub(crate) fn expect(&mut self, context: &BarContext, known: &KnownDays, now: NaiveDateTime) {
        let mut came: Vec<NaiveDate> = self.rows.iter().map(|bar| bar.timestamp.date()).collect();
        came.extend(self.invalid_times.iter().map(NaiveDateTime::date));
        came.sort_unstable();
        let BarContext { code, range, frequency, .. } = *context;
        let (calendar, suspended) = (&known.facts.calendar, known.suspended());
        let asked = RequestedDays { range, frequency, calendar, listing: known.listing(code), suspended: &suspended };
        let ExpectedRows { rows, missing } = asked.expect(&came, now);
        (self.counts.expected, self.counts.missing) = (rows, missing);
    }

    /// Reports a price with too many decimals. Returns whether the row is kept.
    fn keeps_finer_price(
        &mut self,
        bar: &Bar,
        finer: (&'static str, Decimal),
        DecimalsRule { rule, action, .. }: &DecimalsRule,
        max_examples: usize,
    ) -> bool {
        let (code, timestamp, rule) = (bar.code, Some(bar.timestamp), *rule);
        let anomaly = Anomaly { code, timestamp, field: finer.0, value: finer.1.to_string(), rule };
        let is_kept = *action != RuleAction::Error;
        if is_kept {
            self.warn(anomaly, max_examples);
        } else {
            self.invalid_times.insert(bar.timestamp);
            self.skip(anomaly, max_examples);
        }
        is_kept
    }

    fn warn(&mut self, anomaly: Anomaly, max_examples: usize) {
        *self.counts.warned.entry(anomaly.rule).or_default() += 1;
        if self.anomalies.len() < max_examples {
            self.anomalies.push(anomaly);
        }
    }

    fn skip(&mut self, anomaly: Anomaly, max_examples: usize) {
        *self.counts.skipped.entry(anomaly.rule).or_default() += 1;
        tracing::debug!(
            code = %anomaly.code,
            time = anomaly.timestamp.map(tracing::field::display),
            field = anomaly.field,
            value = anomaly.value,
            rule = anomaly.rule.as_str(),
            "invalid row skipped"
        );
        if self.anomalies.len() < max_examples {
            self.anomalies.push(anomaly);
        }
    }
}

fn duplicate(bar: &Bar) -> Anomaly {
    Anomaly {
        code: bar.code,
        timestamp: Some(bar.timestamp),
        field: "timestamp",
        value: bar.timestamp.to_string(),
        rule: Rule::DuplicateTimestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DateRange, Field, Frequency, MarketFacts, SourceId};
    use chrono::NaiveTime;

    #[test]
    fn third_decimal_is_reported_where_the_column_lacks_it() {
        let day = NaiveDate::from_ymd_opt(2024, 1, 2).unwrap();
        let number = Field::number;
        let row = |price: &str| FetchedBar {
            timestamp: Field::Value(day.and_time(NaiveTime::MIN)),
            open: number(price),
            high: number(price),
            low: number(price),
            close: number(price),
            volume: number("0"),
            amount: number("0"),
        };
        let check = |code: &str, price: &str, prices, rounded| {
            let (code, frequency, source) = (code.parse().unwrap(), Frequency::Day, SourceId::TUSHARE);
            let context = BarContext { code, frequency, range: DateRange { start: day, end: day }, source, prices };
            let mut quality = QualitySettings::default();
            quality.rules.price_rounded = rounded;
            let known = KnownDays::new(MarketFacts::built_in(day).into(), Vec::new(), None);
            let checked = check_all(&[row(price)], &context, &known, &quality);
            let stored = checked.rows.first().map(|bar| bar.close.to_string());
            (stored, checked.counts.warned.into_keys().next(), checked.counts.skipped.into_keys().next())
        };
        let (two, four) = (PriceFormat::GINKGO, PriceFormat::FINEST);
        for (code, price, rounded) in
            [("159915.SZ", "1.853", "1.85"), ("113050.SH", "105.123", "105.12"), ("900901.SH", "0.291", "0.29")]
        {
            let stored = |text: &str| Some(text.to_owned());
            let rule = Some(Rule::PriceRounded);
            assert_eq!(check(code, price, two, RuleAction::Warning), (stored(rounded), rule, None));
            assert_eq!(check(code, price, two, RuleAction::Error), (None, None, rule));
            assert_eq!(check(code, price, two, RuleAction::Ignore), (stored(rounded), None, None));
            assert_eq!(check(code, price, four, RuleAction::Error), (stored(price), None, None));
        }
        let share = check("600000.SH", "8.123", two, RuleAction::Error);
        assert_eq!(share.1, Some(Rule::PriceDecimals), "a share has its own rule");
    }

    #[test]
    fn counts_invalid_rows_by_rule_and_bounds_examples() {
        let day = |d| NaiveDate::from_ymd_opt(2024, 1, d).unwrap();
        let context = BarContext {
            code: "000001.SZ".parse().unwrap(),
            frequency: Frequency::Day,
            range: DateRange { start: day(1), end: day(31) },
            source: SourceId::TUSHARE,
            prices: PriceFormat::GINKGO,
        };
        let value = |n: i64| Field::Value(Decimal::from(n));
        let quality = QualitySettings { max_examples: 2, ..QualitySettings::default() };
        let row = |d, open: i64| FetchedBar {
            timestamp: Field::Value(day(d).and_time(NaiveTime::MIN)),
            open: value(open),
            high: value(10),
            low: value(5),
            close: value(7),
            volume: value(1),
            amount: value(1),
        };
        let no_time = FetchedBar { timestamp: Field::Missing, ..row(9, 7) };
        let fetched = [row(2, 7), row(3, -1), row(2, 8), row(4, 11), row(5, 6), row(6, 6), no_time];
        let known = KnownDays::new(MarketFacts::built_in(day(31)).into(), Vec::new(), None);
        let checked = check_all(&fetched, &context, &known, &quality);
        assert_eq!(checked.rows.iter().map(|bar| bar.timestamp.date()).collect::<Vec<_>>(), [day(2), day(5), day(6)]);
        let warned: Vec<Rule> = checked.counts.warned.keys().copied().collect();
        assert_eq!(warned, [Rule::NonTradingDay], "a Saturday is kept and reported");
        let expected = [
            (Rule::MissingValue, 1),
            (Rule::PriceNotPositive, 1),
            (Rule::HighBelowOpenOrClose, 1),
            (Rule::DuplicateTimestamp, 1),
        ];
        assert_eq!(checked.counts.skipped, expected.into_iter().collect());
        assert_eq!((checked.counts.fetched, checked.counts.num_skipped()), (7, 4));
        assert_eq!(checked.anomalies.len(), 2);
        assert!(checked.has_unknown_timestamp);
        assert_eq!(checked.invalid_times.len(), 2);
    }
}
