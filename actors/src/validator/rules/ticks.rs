// Upstream: validator
// Downstream: domain, prices, settings
// Role: Rules for fetched ticks.

use std::collections::{BTreeSet, HashMap};

use chrono::{NaiveDate, NaiveDateTime, Timelike};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::domain::price_limit::{MarketBoard, too_far_apart};
use crate::domain::{
    Anomaly, Code, FetchedTick, Field, MarketFacts, Price, PriceFormat, Rule, SourceId, TaskCounts, Tick,
};
use crate::settings::rules::{RuleAction, RuleSettings};
use crate::validator::rules::prices::{DELISTING_DAYS, FIRST_CALENDAR_DAYS};

/// The direction values that Ginkgo accepts.
const DIRECTIONS: [i8; 8] = [0, 1, 2, 4, 5, 6, 7, 8];

/// Accepted minutes of the day: from the opening auction (09:15) to the end of after-hours trading (15:30).
const TRADING: std::ops::RangeInclusive<u32> = (9 * 60 + 15)..=(15 * 60 + 30);

/// Minutes of the day with trades: the end of the opening auction, the sessions and the after-hours trading.
const SESSIONS: [std::ops::RangeInclusive<u32>; 3] =
    [(9 * 60 + 25)..=(11 * 60 + 30), (13 * 60)..=(15 * 60), (15 * 60 + 5)..=(15 * 60 + 30)];

/// The result of validating the ticks of one or more days.
pub struct CheckedTicks {
    /// Valid ticks in the order of the answer.
    pub rows: Vec<Tick>,
    /// Days with a skipped row. Their stored rows are not deleted, because the new rows are incomplete.
    pub days_with_skipped_rows: BTreeSet<NaiveDate>,
    /// Row counts by outcome.
    pub counts: TaskCounts,
    /// Examples of skipped and reported rows.
    pub anomalies: Vec<Anomaly>,
}

/// The context of all ticks of one answer.
pub struct TickContext<'a> {
    /// The security.
    pub code: Code,
    /// The source of the ticks.
    pub source: SourceId,
    /// Listings and the trading calendar.
    pub facts: &'a MarketFacts,
    /// Days without price limits, as far as the stored daily bars tell.
    pub unlimited: &'a BTreeSet<NaiveDate>,
    /// What the column of the store holds of a price.
    pub prices: PriceFormat,
    /// The action of each market rule.
    pub rules: &'a RuleSettings,
    /// Maximum number of anomalies that are kept as examples.
    pub max_examples: usize,
}

/// Validates the ticks of one or more days.
pub fn check_all(days: &[(NaiveDate, Vec<FetchedTick>)], context: &TickContext<'_>) -> CheckedTicks {
    let TickContext { code, source, rules, .. } = *context;
    let mut checked = CheckedTicks {
        rows: Vec::new(),
        days_with_skipped_rows: BTreeSet::new(),
        counts: TaskCounts::default(),
        anomalies: Vec::new(),
    };
    let mut equal: HashMap<(NaiveDateTime, Price, i32, i8), u32> = HashMap::new();
    let is_finer = MarketBoard::of(code).is_none() && source.has_exact_prices();
    for (day, fetched) in days {
        checked.counts.fetched += fetched.len() as u64;
        let mut market = DayRules::new(*day, context);
        for row in fetched {
            let trade = match check(row, *day, code, context.prices) {
                Ok(trade) => trade,
                Err(anomaly) => {
                    checked.skip(*day, anomaly, context.max_examples);
                    continue;
                }
            };
            let (timestamp, price, volume, direction) = trade;
            let mut is_kept = true;
            // Shares in yuan have no third decimal.
            let exact = row.price.value().filter(|value| context.prices.rounds(**value) && is_finer);
            let rounded = exact.map(|_| (Rule::PriceRounded, "price"));
            for (rule, field) in market.judge(timestamp, price).chain(rounded) {
                let value = match (rule, exact) {
                    (Rule::PriceRounded, Some(exact)) => exact.to_string(),
                    _ if field == "price" => price.to_string(),
                    _ => timestamp.to_string(),
                };
                let anomaly = Anomaly { code, timestamp: Some(timestamp), field, value, rule };
                match rules.action(rule) {
                    RuleAction::Ignore => {}
                    RuleAction::Warning => checked.warn(anomaly, context.max_examples),
                    RuleAction::Error => {
                        checked.skip(*day, anomaly, context.max_examples);
                        is_kept = false;
                        break;
                    }
                }
            }
            if is_kept {
                market.keep(timestamp, price);
                let count = equal.entry(trade).or_default();
                checked.rows.push(Tick {
                    code,
                    timestamp,
                    price,
                    volume,
                    direction,
                    source,
                    nth: *count,
                    version: None,
                });
                *count += 1;
            }
        }
    }
    checked
}

impl CheckedTicks {
    fn skip(&mut self, day: NaiveDate, anomaly: Anomaly, max_examples: usize) {
        self.days_with_skipped_rows.insert(day);
        *self.counts.skipped.entry(anomaly.rule).or_default() += 1;
        if self.anomalies.len() < max_examples {
            self.anomalies.push(anomaly);
        }
    }

    fn warn(&mut self, anomaly: Anomaly, max_examples: usize) {
        *self.counts.warned.entry(anomaly.rule).or_default() += 1;
        if self.anomalies.len() < max_examples {
            self.anomalies.push(anomaly);
        }
    }
}

/// The market rules for the trades of one day.
struct DayRules {
    /// Rules that every trade of the day breaks.
    of_day: Vec<(Rule, &'static str)>,
    /// The price limit in percent; `None` if the day has no limit or may be one of the first or last trading days.
    percent: Option<i64>,
    newest: Option<NaiveDateTime>,
    /// The lowest and the highest price so far in fen, without prices that are too far from the others.
    prices: Option<(i64, i64)>,
}

impl DayRules {
    fn new(day: NaiveDate, context: &TickContext<'_>) -> Self {
        let listing = context.facts.listing(context.code);
        let (listed, delisted) = listing.map_or((None, None), |listing| (listing.listed, listing.delisted));
        let violation = [
            (context.facts.calendar.is_trading_day(day) == Some(false), Rule::NonTradingDay),
            (listed.is_some_and(|listed| day < listed), Rule::BeforeListing),
            (delisted.is_some_and(|delisted| day > delisted), Rule::AfterDelisting),
        ];
        // Some days after the listing and before the delisting have no limit; see `rules::prices`.
        let is_judged = listed.is_some_and(|listed| (day - listed).num_days() > FIRST_CALENDAR_DAYS)
            && delisted.is_none_or(|delisted| (delisted - day).num_days() > DELISTING_DAYS);
        let board = MarketBoard::of(context.code).filter(|_| is_judged && !context.unlimited.contains(&day));
        Self {
            of_day: violation
                .into_iter()
                .filter(|(is_broken, _)| *is_broken)
                .map(|(_, rule)| (rule, "timestamp"))
                .collect(),
            percent: board.and_then(|board| board.limit_percent(day, false)),
            newest: None,
            prices: None,
        }
    }

    fn judge(&self, timestamp: NaiveDateTime, price: Price) -> impl Iterator<Item = (Rule, &'static str)> {
        let fen = price.to_fen();
        let minute = timestamp.hour() * 60 + timestamp.minute();
        let in_session = SESSIONS.iter().any(|session| session.contains(&minute));
        let is_older = self.newest.is_some_and(|newest| timestamp < newest);
        let is_far = self.percent.zip(self.prices).is_some_and(|(percent, (low, high))| {
            let is_beyond = fen < low || fen > high;
            is_beyond && too_far_apart(low.min(fen), high.max(fen), percent)
        });
        let of_trade = [
            (!in_session).then_some((Rule::TickSession, "timestamp")),
            is_older.then_some((Rule::TickOrder, "timestamp")),
            is_far.then_some((Rule::PriceLimit, "price")),
        ];
        self.of_day.iter().copied().chain(of_trade.into_iter().flatten())
    }

    /// Records a kept trade. A price that is too far from the others is not used for later comparisons.
    fn keep(&mut self, timestamp: NaiveDateTime, price: Price) {
        let fen = price.to_fen();
        self.newest = self.newest.max(Some(timestamp));
        let (low, high) = self.prices.unwrap_or((fen, fen));
        let (lower, higher) = (low.min(fen), high.max(fen));
        if !self.percent.is_some_and(|percent| too_far_apart(lower, higher, percent)) {
            self.prices = Some((lower, higher));
        }
    }
}

fn check(
    row: &FetchedTick,
    day: NaiveDate,
    code: Code,
    prices: PriceFormat,
) -> Result<(NaiveDateTime, Price, i32, i8), Anomaly> {
    let wrong = |timestamp, field, value: &str, rule| Anomaly { code, timestamp, field, value: value.to_owned(), rule };
    let timestamp = match &row.timestamp {
        Field::Value(time) => *time,
        Field::Missing => return Err(wrong(None, "timestamp", "", Rule::MissingValue)),
        Field::Unreadable(text) => return Err(wrong(None, "timestamp", text, Rule::UnreadableValue)),
    };
    let minute = timestamp.hour() * 60 + timestamp.minute();
    if timestamp.date() != day || !TRADING.contains(&minute) {
        return Err(wrong(Some(timestamp), "timestamp", &timestamp.to_string(), Rule::ImplausibleTimestamp));
    }
    let number = |name: &'static str, field: &Field<Decimal>| match field {
        Field::Value(value) => Ok(*value),
        Field::Missing => Err(wrong(Some(timestamp), name, "", Rule::MissingValue)),
        Field::Unreadable(text) => Err(wrong(Some(timestamp), name, text, Rule::UnreadableValue)),
    };
    let (price, volume) = (number("price", &row.price)?, number("volume", &row.volume)?);
    let direction = number("direction", &row.direction)?;
    let unfit = |name, value: Decimal| wrong(Some(timestamp), name, &value.to_string(), Rule::ValueOutOfRange);
    let rounded = prices.round(price).ok_or_else(|| unfit("price", price))?;
    if rounded.0 <= 0 {
        return Err(wrong(Some(timestamp), "price", &price.to_string(), Rule::PriceNotPositive));
    }
    if volume < Decimal::ZERO {
        return Err(wrong(Some(timestamp), "volume", &volume.to_string(), Rule::VolumeNegative));
    }
    let lots = volume.trunc().to_i32().ok_or_else(|| unfit("volume", volume))?;
    let side = direction.to_i8().filter(|side| direction.fract().is_zero() && DIRECTIONS.contains(side));
    Ok((timestamp, rounded, lots, side.ok_or_else(|| unfit("direction", direction))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Listing;
    use std::sync::Arc;

    fn tick(time: &str, price: &str, volume: &str, direction: &str) -> FetchedTick {
        FetchedTick {
            timestamp: format!("2024-01-02T{time}").parse().map_or(Field::Missing, Field::Value),
            price: Field::number(price),
            volume: Field::number(volume),
            direction: Field::number(direction),
        }
    }

    fn judged(days: &[(NaiveDate, Vec<FetchedTick>)], facts: MarketFacts, rules: &RuleSettings) -> CheckedTicks {
        let (code, source) = ("000001.SZ".parse().unwrap(), SourceId::TDX);
        check_all(
            days,
            &TickContext {
                code,
                source,
                facts: &facts,
                unlimited: &BTreeSet::new(),
                prices: PriceFormat::GINKGO,
                rules,
                max_examples: 3,
            },
        )
    }

    #[test]
    fn market_rules_warn_about_or_reject_ticks() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let code = "000001.SZ".parse().unwrap();
        let (listed, delisted) = (Some(day("1991-04-03")), Some(day("2024-12-31")));
        let listing = Listing { code, name: "A".to_owned(), listed, delisted };
        let listings = Arc::new([(code, listing)].into_iter().collect());
        let facts = MarketFacts { listings, ..MarketFacts::built_in(day("2024-06-03")) };
        let rows = vec![
            tick("09:20:00", "11.50", "7", "2"),
            tick("09:25:00", "11.50", "120", "2"),
            tick("12:00:00", "11.50", "7", "0"),
            tick("11:29:00", "11.51", "7", "1"),
            tick("13:00:00", "14.20", "7", "1"),
            tick("13:01:00", "11.60", "7", "1"),
            tick("15:02:00", "11.60", "7", "1"),
        ];
        let checked = judged(&[(day("2024-01-02"), rows.clone())], facts.clone(), &RuleSettings::default());
        let expected = [(Rule::PriceLimit, 1), (Rule::TickSession, 3), (Rule::TickOrder, 1)];
        assert_eq!(checked.counts.warned, expected.into_iter().collect());
        assert_eq!((checked.rows.len(), checked.days_with_skipped_rows.len(), checked.anomalies.len()), (7, 0, 3));
        let strict = RuleSettings {
            tick_session: RuleAction::Error,
            price_limit: RuleAction::Ignore,
            ..RuleSettings::default()
        };
        let checked = judged(&[(day("2024-01-02"), rows)], facts.clone(), &strict);
        assert_eq!(checked.counts.skipped, [(Rule::TickSession, 3)].into_iter().collect());
        assert_eq!((checked.counts.warned.len(), checked.rows.len(), checked.days_with_skipped_rows.len()), (0, 4, 1));

        let wrong = |date: &str| {
            let tick = FetchedTick {
                timestamp: Field::Value(day(date).and_hms_opt(9, 31, 0).unwrap()),
                ..tick("", "11.50", "1", "1")
            };
            let checked = judged(&[(day(date), vec![tick])], facts.clone(), &RuleSettings::default());
            checked.counts.warned.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(wrong("2024-02-12"), [Rule::NonTradingDay]);
        assert_eq!(wrong("1991-04-02"), [Rule::BeforeListing]);
        assert_eq!(wrong("2025-01-02"), [Rule::AfterDelisting]);
    }

    #[test]
    fn rounded_tick_of_a_fund_is_reported() {
        let day = NaiveDate::from_ymd_opt(2024, 1, 2).unwrap();
        let facts = MarketFacts::built_in(day);
        let rows = [(day, vec![tick("09:25:00", "1.853", "7", "2")])];
        let rules = RuleSettings::default();
        let judged = |code: &str, prices| {
            let (code, source) = (code.parse().unwrap(), SourceId::TDX);
            let unlimited = BTreeSet::new();
            let context = TickContext {
                code,
                source,
                facts: &facts,
                unlimited: &unlimited,
                prices,
                rules: &rules,
                max_examples: 3,
            };
            let checked = check_all(&rows, &context);
            (checked.rows[0].price.to_string(), checked.counts.warned.into_keys().next())
        };
        assert_eq!(judged("159915.SZ", PriceFormat::GINKGO), ("1.85".to_owned(), Some(Rule::PriceRounded)));
        assert_eq!(judged("159915.SZ", PriceFormat::FINEST), ("1.853".to_owned(), None));
        assert_eq!(judged("600000.SH", PriceFormat::GINKGO).1, None);
    }

    #[test]
    fn numbers_equal_ticks_and_rejects_invalid_ones() {
        let day = NaiveDate::from_ymd_opt(2024, 1, 2).unwrap();
        let rows = vec![
            tick("09:25:00", "11.50", "120", "2"),
            tick("09:30:00", "11.51", "7", "0"),
            tick("09:30:00", "11.51", "7", "0"),
            tick("09:30:00", "11.50", "7", "1"),
            tick("08:59:00", "11.50", "7", "1"),
            tick("09:31:00", "0", "7", "1"),
            tick("09:31:00", "11.50", "-1", "1"),
            tick("09:31:00", "11.50", "1", "3"),
            tick("09:31:00", "x", "1", "1"),
            tick("", "11.50", "1", "1"),
        ];
        let other_day = (day.succ_opt().unwrap(), vec![tick("09:31:00", "11.50", "1", "1")]);
        let checked = judged(&[(day, rows), other_day], MarketFacts::built_in(day), &RuleSettings::default());
        assert_eq!(checked.rows.iter().map(|row| row.nth).collect::<Vec<_>>(), [0, 0, 1, 0]);
        let identities: BTreeSet<String> = checked.rows.iter().map(Tick::uuid).collect();
        assert_eq!(identities.len(), 4);
        assert_eq!((checked.counts.fetched, checked.counts.num_skipped(), checked.anomalies.len()), (11, 7, 3));
        assert_eq!(checked.counts.skipped[&Rule::ImplausibleTimestamp], 2);
        assert_eq!(checked.days_with_skipped_rows.len(), 2);
    }
}
