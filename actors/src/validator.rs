// Upstream: actors::children, actors::fetcher, actors::quality_score_tests, actors::tick_fetch
// Downstream: actors::bar_rules, actors::batch_writer, actors::day_sums, actors::domain::adjust_factor, actors::domain::bar, actors::domain::code, actors::domain::frequency, actors::domain::known_days, actors::domain::market_facts, actors::domain::price_limit, actors::domain::task, actors::domain::tick, actors::expectation, actors::factor_plan, actors::factor_rules, actors::market_rules, actors::ports, actors::ports::market_source, actors::reference_list, actors::rule_settings, actors::settings, actors::shanghai, actors::supervision::vitals, actors::tick_days, actors::tick_plan, actors::tick_rules, actors::ticket, actors::write_plan
// Role: The actor that checks fetched rows: sound ones go on to the BatchWriter, invalid ones are skipped and recorded.

use std::collections::HashSet;
use std::sync::Arc;

use actix::prelude::*;
use chrono::{NaiveDate, NaiveDateTime};
use rust_decimal::Decimal;
use tokio::sync::OwnedSemaphorePermit;

use crate::bar_rules::{BarContext, check, finer_price};
use crate::batch_writer::{BatchWriter, WriteBars, WriteFactors, WriteList, WriteTicks};
use crate::day_sums::difference;
use crate::domain::price_limit::Board;
use crate::domain::{
    Anomaly, Bar, Code, DateRange, DayTotal, FetchedBar, FetchedFactor, FetchedTick, Frequency, KnownDays, MarketFacts,
    Rule, SourceId, SyncMode, TaskCounts,
};
use crate::expectation::{Asked, Expectation};
use crate::factor_plan::FactorUnit;
use crate::factor_rules::{self, FactorContext};
use crate::market_rules::MarketRules;
use crate::ports::{KeySpan, SourceError, SourceErrorKind};
use crate::reference_list::{self, FetchedList};
use crate::rule_settings::RuleAction;
use crate::settings::{ActorSettings, ApplySettings, QualitySettings};
use crate::shanghai;
use crate::supervision::Vitals;
use crate::tick_days::BackfillDays;
use crate::tick_plan::TickUnit;
use crate::tick_rules::{self, TickContext};
use crate::ticket::{TaskReport, Ticket};
use crate::write_plan::WriteUnit;

/// Check the rows of one answer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ValidateBars {
    /// The task's pass.
    pub ticket: Ticket,
    /// The security.
    pub code: Code,
    /// How long a bar lasts.
    pub frequency: Frequency,
    /// Insert what is missing, or replace.
    pub mode: SyncMode,
    /// The days that were asked for.
    pub range: DateRange,
    /// The part of the store the task is about.
    pub span: KeySpan,
    /// Who gave the rows.
    pub source: SourceId,
    /// The rows as they came.
    pub rows: Vec<FetchedBar>,
    /// What is known of their days.
    pub known: KnownDays,
    /// The rows' room in memory; freed when they are stored.
    pub room: OwnedSemaphorePermit,
}

/// Check the factors of one answer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ValidateFactors {
    /// The task's pass.
    pub ticket: Ticket,
    /// The security.
    pub code: Code,
    /// Add to what is stored, or replace it.
    pub mode: SyncMode,
    /// The days that were asked for.
    pub range: DateRange,
    /// Who gave the rows.
    pub source: SourceId,
    /// The rows as they came.
    pub rows: Vec<FetchedFactor>,
    /// Listings and calendar.
    pub facts: Arc<MarketFacts>,
    /// The rows' room in memory; freed when they are stored.
    pub room: OwnedSemaphorePermit,
}

/// Check the ticks of some days.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ValidateTicks {
    /// The task's pass.
    pub ticket: Ticket,
    /// The security.
    pub code: Code,
    /// Whether stored days are replaced in any case.
    pub overwrite: bool,
    /// Days with their ticks as they came.
    pub days: Vec<(NaiveDate, Vec<FetchedTick>)>,
    /// Who gave them.
    pub source: SourceId,
    /// Listings and calendar.
    pub facts: Arc<MarketFacts>,
    /// Days that should have come and that did not.
    pub expectation: Expectation,
    /// How the backfill went so far, if it is one.
    pub backfill: Option<BackfillDays>,
    /// The rows' room in memory; freed when they are stored.
    pub room: OwnedSemaphorePermit,
}

/// Check the rows of a list.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ValidateList {
    /// The task's pass.
    pub ticket: Ticket,
    /// The list as it came.
    pub list: FetchedList,
    /// Who gave it.
    pub source: SourceId,
    /// The rows' room in memory; freed when they are stored.
    pub room: OwnedSemaphorePermit,
}

/// Checks rows. Keeps nothing between messages.
pub struct Validator {
    vitals: Vitals,
    settings: Arc<ActorSettings>,
    writer: Addr<BatchWriter>,
}

impl Validator {
    /// A validator that hands sound rows to `writer`.
    pub fn new(vitals: Vitals, settings: Arc<ActorSettings>, writer: Addr<BatchWriter>) -> Self {
        Self { vitals, settings, writer }
    }
}

impl Actor for Validator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.vitals.begin(ctx);
    }
}

/// No state to reset.
impl Supervised for Validator {}

impl Handler<ApplySettings> for Validator {
    type Result = ();

    fn handle(&mut self, message: ApplySettings, _ctx: &mut Self::Context) {
        self.settings = message.0;
    }
}

impl Handler<ValidateBars> for Validator {
    type Result = ();

    fn handle(&mut self, message: ValidateBars, _ctx: &mut Self::Context) {
        self.vitals.fault_point("handler");
        let ValidateBars { ticket, code, frequency, mode, range, span, source, rows, known, room } = message;
        let _logged_in = ticket.span().clone().entered();
        let context = BarContext { code, frequency, range, source };
        let mut checked = check_all(&rows, &context, &known, &self.settings.quality);
        checked.expect(&context, &known, shanghai::now());
        drop(rows);
        self.vitals.board().rows_skipped.add(checked.counts.num_skipped());
        let report = TaskReport { counts: checked.counts, anomalies: checked.anomalies, backfill: None };
        if checked.rows.is_empty() {
            // Nothing sound came: nothing is written, and a replacement by nothing is not believed.
            return ticket.done(report);
        }
        let unit = WriteUnit {
            frequency,
            mode,
            span,
            rows: checked.rows,
            keep: checked.invalid_times,
            keep_unmatched: checked.unreadable_times,
        };
        self.writer.do_send(WriteBars { ticket, unit, report, room });
    }
}

impl Handler<ValidateFactors> for Validator {
    type Result = ();

    fn handle(&mut self, message: ValidateFactors, _ctx: &mut Self::Context) {
        let ValidateFactors { ticket, code, mode, range, source, rows, facts, room } = message;
        let _logged_in = ticket.span().clone().entered();
        let quality = &self.settings.quality;
        let context = FactorContext { code, range, source, facts: &facts, rules: &quality.rules };
        let mut checked = factor_rules::check_all(&rows, &context, quality.max_examples);
        checked.expect(&context, shanghai::now());
        let num_skipped = checked.counts.num_skipped();
        self.vitals.board().rows_skipped.add(num_skipped);
        let report = TaskReport { counts: checked.counts, anomalies: checked.anomalies, backfill: None };
        if checked.rows.is_empty() {
            return ticket.done(report);
        }
        // Where an invalid row came, what is stored for its day is the best that is known: nothing is removed then.
        let mode = if num_skipped == 0 { mode } else { SyncMode::Incremental };
        self.writer.do_send(WriteFactors { ticket, unit: FactorUnit { code, mode, rows: checked.rows }, report, room });
    }
}

impl Handler<ValidateTicks> for Validator {
    type Result = ();

    fn handle(&mut self, message: ValidateTicks, _ctx: &mut Self::Context) {
        let ValidateTicks { ticket, code, overwrite, days, source, facts, expectation, backfill, room } = message;
        let _logged_in = ticket.span().clone().entered();
        let QualitySettings { rules, max_examples, .. } = &self.settings.quality;
        let context = TickContext { code, source, facts: &facts, rules, max_examples: *max_examples };
        let mut checked = tick_rules::check_all(&days, &context);
        (checked.counts.expected, checked.counts.missing) = (expectation.rows, expectation.missing);
        self.vitals.board().rows_skipped.add(checked.counts.num_skipped());
        let report = TaskReport { counts: checked.counts, anomalies: checked.anomalies, backfill };
        if checked.rows.is_empty() {
            return ticket.done(report);
        }
        let unit = TickUnit { code, overwrite, rows: checked.rows, unsound_days: checked.unsound_days };
        self.writer.do_send(WriteTicks { ticket, unit, report, room });
    }
}

impl Handler<ValidateList> for Validator {
    type Result = ();

    fn handle(&mut self, message: ValidateList, _ctx: &mut Self::Context) {
        let ValidateList { ticket, list, source, room } = message;
        let _logged_in = ticket.span().clone().entered();
        let checked = reference_list::check(&list, source, self.settings.quality.max_examples);
        self.vitals.board().rows_skipped.add(checked.counts.num_skipped());
        if checked.list.is_empty() {
            let kind = SourceErrorKind::BadAnswer(format!("none of {} rows is sound", list.len()));
            let request = ticket.subject().to_string();
            return ticket.failed(SourceError { source_name: "(validator)", request, kind }, 1);
        }
        let report = TaskReport { counts: checked.counts, anomalies: checked.anomalies, backfill: None };
        self.writer.do_send(WriteList { ticket, list: checked.list, report, room });
    }
}

/// The rows of one answer, checked.
pub(crate) struct Checked {
    rows: Vec<Bar>,
    pub(crate) counts: TaskCounts,
    pub(crate) anomalies: Vec<Anomaly>,
    /// Times of invalid rows: what is stored there is not touched, for nothing better is known.
    invalid_times: HashSet<NaiveDateTime>,
    /// Whether an invalid row's time is unknown.
    unreadable_times: bool,
}

pub(crate) fn check_all(
    fetched: &[FetchedBar],
    context: &BarContext,
    known: &KnownDays,
    quality: &QualitySettings,
) -> Checked {
    let max_examples = quality.max_examples;
    // Funds and B shares are traded in tenths of a fen.
    let is_in_fen = Board::of(context.code).is_some() && context.source.knows_exact_prices();
    let decimals = if is_in_fen { quality.rules.price_decimals } else { RuleAction::Ignore };
    let mut checked = Checked {
        rows: Vec::with_capacity(fetched.len()),
        counts: TaskCounts { fetched: fetched.len() as u64, ..TaskCounts::default() },
        anomalies: Vec::new(),
        invalid_times: HashSet::new(),
        unreadable_times: false,
    };
    let mut seen = HashSet::with_capacity(fetched.len());
    for row in fetched {
        match check(row, context) {
            Ok(bar) if !seen.insert(bar.timestamp) => checked.skip(duplicate(&bar), max_examples),
            Ok(bar) => {
                let finer = if decimals == RuleAction::Ignore { None } else { finer_price(row) };
                if finer.is_none_or(|finer| checked.keeps_finer(&bar, finer, decimals, max_examples)) {
                    checked.rows.push(bar);
                }
            }
            Err(anomaly) => {
                match anomaly.timestamp {
                    Some(time) => {
                        checked.invalid_times.insert(time);
                    }
                    None => checked.unreadable_times = true,
                }
                checked.skip(anomaly, max_examples);
            }
        }
    }
    checked.judge(context.code, known, quality);
    checked.judge_days(&known.day_totals, quality);
    checked
}

impl Checked {
    /// Judges the sound rows by the rules of the market, oldest first; most rows break none.
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

    /// Judges the minutes of whole days by their stored daily bars. Which of a day's bars is wrong cannot be said: an error
    /// skips them all, a warning is told of the last.
    fn judge_days(&mut self, totals: &[DayTotal], quality: &QualitySettings) {
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

    /// Counts what should have come. A row that came and is invalid is skipped, but not missing.
    pub(crate) fn expect(&mut self, context: &BarContext, known: &KnownDays, now: NaiveDateTime) {
        let mut came: Vec<NaiveDate> = self.rows.iter().map(|bar| bar.timestamp.date()).collect();
        came.extend(self.invalid_times.iter().map(NaiveDateTime::date));
        came.sort_unstable();
        let BarContext { code, range, frequency, .. } = *context;
        let (calendar, suspended) = (&known.facts.calendar, known.suspended());
        let asked = Asked { range, frequency, calendar, listing: known.listing(code), suspended: &suspended };
        let Expectation { rows, missing } = asked.expect(&came, now);
        (self.counts.expected, self.counts.missing) = (rows, missing);
    }

    /// Tells of a price in less than a fen; whether the row is kept.
    fn keeps_finer(
        &mut self,
        bar: &Bar,
        finer: (&'static str, Decimal),
        action: RuleAction,
        max_examples: usize,
    ) -> bool {
        let (code, timestamp, rule) = (bar.code, Some(bar.timestamp), Rule::PriceDecimals);
        let anomaly = Anomaly { code, timestamp, field: finer.0, value: finer.1.to_string(), rule };
        let is_kept = action != RuleAction::Error;
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
        tracing::debug!(code = %anomaly.code, time = ?anomaly.timestamp, field = anomaly.field, value = anomaly.value, rule = anomaly.rule.as_str(), "row skipped");
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
    use crate::domain::Field;
    use chrono::NaiveTime;

    #[test]
    fn invalid_rows_are_counted_by_rule_and_examples_are_bounded() {
        let day = |d| NaiveDate::from_ymd_opt(2024, 1, d).unwrap();
        let context = BarContext {
            code: "000001.SZ".parse().unwrap(),
            frequency: Frequency::Day,
            range: DateRange { start: day(1), end: day(31) },
            source: SourceId::TUSHARE,
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
        assert_eq!(warned, [Rule::NonTradingDay], "a Saturday is kept and told of");
        let expected = [
            (Rule::MissingValue, 1),
            (Rule::PriceNotPositive, 1),
            (Rule::HighBelowOpenOrClose, 1),
            (Rule::DuplicateTimestamp, 1),
        ];
        assert_eq!(checked.counts.skipped, expected.into_iter().collect());
        assert_eq!((checked.counts.fetched, checked.counts.num_skipped()), (7, 4));
        assert_eq!(checked.anomalies.len(), 2);
        assert!(checked.unreadable_times);
        assert_eq!(checked.invalid_times.len(), 2);
    }
}
