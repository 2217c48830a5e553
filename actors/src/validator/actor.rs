// Upstream: fetcher, supervisor, validator
// Downstream: many
// Role: The actor that validates fetched rows: valid rows go to the BatchWriter, invalid rows are skipped and counted.

use std::sync::Arc;

use crate::batch_writer::bars::plan::WriteUnit;
use crate::batch_writer::factors::plan::FactorUnit;
use crate::batch_writer::ticks::plan::TickUnit;
use crate::batch_writer::{BatchWriter, WriteBars, WriteFactors, WriteList, WriteTicks};
use crate::domain::{SyncMode, TaskReport, reference_list, shanghai_clock};
use crate::ports::{SourceError, SourceErrorKind};
use crate::settings::{ActorSettings, ApplySettings, QualitySettings};
use crate::supervision::Vitals;
use crate::validator::check_bars::check_all;
use crate::validator::rules::bars::BarContext;
use crate::validator::rules::factors::FactorContext;
use crate::validator::rules::ticks::TickContext;
use crate::validator::rules::{factors, ticks};
use crate::validator::{ValidateBars, ValidateFactors, ValidateList, ValidateTicks};
use actix::prelude::*;

/// Validates fetched rows. It keeps no state between messages except the settings.
pub struct Validator {
    vitals: Vitals,
    settings: Arc<ActorSettings>,
    writer: Addr<BatchWriter>,
}

impl Validator {
    /// Creates a validator that sends valid rows to `writer`.
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

/// A restart has no state to reset.
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
        self.vitals.fail_point("handler");
        let ValidateBars { guard, code, frequency, mode, range, span, source, rows, known, permit } = message;
        let _logged_in = guard.span().clone().entered();
        let context = BarContext { code, frequency, range, source, prices: known.prices };
        let mut checked = check_all(&rows, &context, &known, &self.settings.quality);
        checked.expect(&context, &known, shanghai_clock::now());
        drop(rows);
        self.vitals.board().counters.rows_skipped.add(checked.counts.num_skipped());
        let report = TaskReport { counts: checked.counts, anomalies: checked.anomalies, backfill: None };
        if checked.rows.is_empty() {
            // Without a valid row nothing is written. Stored rows are never replaced by an empty answer.
            return guard.done(report);
        }
        let unit = WriteUnit {
            frequency,
            mode,
            span,
            rows: checked.rows,
            keep: checked.invalid_times,
            keep_unmatched: checked.has_unknown_timestamp,
        };
        self.writer.do_send(WriteBars { guard, unit, report, permit });
    }
}

impl Handler<ValidateFactors> for Validator {
    type Result = ();

    fn handle(&mut self, message: ValidateFactors, _ctx: &mut Self::Context) {
        let ValidateFactors { guard, code, mode, range, removable_until, source, rows, facts, permit } = message;
        let _logged_in = guard.span().clone().entered();
        let quality = &self.settings.quality;
        let context = FactorContext { code, range, source, facts: &facts, rules: &quality.rules };
        let mut checked = factors::check_all(&rows, &context, quality.max_examples);
        checked.expect(&context, shanghai_clock::now());
        let num_skipped = checked.counts.num_skipped();
        self.vitals.board().counters.rows_skipped.add(num_skipped);
        let report = TaskReport { counts: checked.counts, anomalies: checked.anomalies, backfill: None };
        if checked.rows.is_empty() {
            return guard.done(report);
        }
        // A replacement would delete the stored rows of days whose new row is invalid. Therefore rows are only added if
        // the answer contains an invalid row.
        let mode = if num_skipped == 0 { mode } else { SyncMode::Incremental };
        self.writer.do_send(WriteFactors {
            guard,
            unit: FactorUnit { code, mode, removable_until, rows: checked.rows },
            report,
            permit,
        });
    }
}

impl Handler<ValidateTicks> for Validator {
    type Result = ();

    fn handle(&mut self, message: ValidateTicks, _ctx: &mut Self::Context) {
        let ValidateTicks {
            guard,
            code,
            overwrite,
            days,
            source,
            facts,
            unlimited,
            prices,
            expected,
            backfill,
            permit,
        } = message;
        let _logged_in = guard.span().clone().entered();
        let QualitySettings { rules, max_examples, .. } = &self.settings.quality;
        let context = TickContext {
            code,
            source,
            facts: &facts,
            unlimited: &unlimited,
            prices,
            rules,
            max_examples: *max_examples,
        };
        let mut checked = ticks::check_all(&days, &context);
        (checked.counts.expected, checked.counts.missing) = (expected.rows, expected.missing);
        self.vitals.board().counters.rows_skipped.add(checked.counts.num_skipped());
        let report = TaskReport { counts: checked.counts, anomalies: checked.anomalies, backfill };
        if checked.rows.is_empty() {
            return guard.done(report);
        }
        let unit =
            TickUnit { code, overwrite, rows: checked.rows, days_with_skipped_rows: checked.days_with_skipped_rows };
        self.writer.do_send(WriteTicks { guard, unit, report, permit });
    }
}

impl Handler<ValidateList> for Validator {
    type Result = ();

    fn handle(&mut self, message: ValidateList, _ctx: &mut Self::Context) {
        let ValidateList { guard, list, source, permit } = message;
        let _logged_in = guard.span().clone().entered();
        let checked = reference_list::check(&list, source, shanghai_clock::today(), self.settings.quality.max_examples);
        self.vitals.board().counters.rows_skipped.add(checked.counts.num_skipped());
        if checked.list.is_empty() {
            let kind = SourceErrorKind::BadAnswer(format!("none of {} rows is valid", list.len()));
            let request = guard.subject().to_string();
            return guard.failed(SourceError { source_name: "(validator)", request, kind }, 1);
        }
        let report = TaskReport { counts: checked.counts, anomalies: checked.anomalies, backfill: None };
        self.writer.do_send(WriteList { guard, list: checked.list, report, permit });
    }
}
