// Upstream: app, clickhouse
// Downstream: many
// Role: Implements the report port on ClickHouse: one row per report, with the issues of single codes in arrays.

use actors::domain::{Code, CodeIssue, QualityReport, Rule, SourceFigures, StoredIssue, shanghai_clock};
use actors::ports::{CodeHistory, ReportBatch, ReportStore, StoreError, StoreErrorClass};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use clickhouse::Row;
use serde::Deserialize;

use crate::adapters::clickhouse::clock::{ClockError, TableClock};
use crate::adapters::clickhouse::errors::Effect;
use crate::adapters::clickhouse::rows::{put_length, put_text};
use crate::adapters::clickhouse::schema::DATA_QUALITY_REPORT;
use crate::adapters::clickhouse::statements::quoted;
use crate::adapters::clickhouse::table::Table;
use crate::config::ClickHouseSection;

/// Maximum number of issues read for one code. For more, query shorter periods.
const MAX_ISSUES: usize = 10_000;

/// The quality reports in one ClickHouse database.
pub struct ClickHouseReports {
    table: Table,
}

#[derive(Row, Deserialize)]
struct TroubleRow {
    timestamp: u32,
    node_id: String,
    what: String,
    rule: String,
    number: u64,
    detail: String,
}

impl ClickHouseReports {
    /// Creates the client; the first request connects.
    pub fn new(config: &ClickHouseSection) -> Self {
        Self { table: Table::new(config, DATA_QUALITY_REPORT) }
    }
}

#[async_trait]
impl ReportStore for ClickHouseReports {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.table.prepare().await
    }

    async fn keep(&self, batch: &ReportBatch) -> Result<(), StoreError> {
        let operation = format!("insert {} quality reports", batch.reports.len());
        // A table that was missing or wrong at the start may be correct by now.
        if self.table.facts(&operation).is_err() {
            self.table.prepare().await?;
        }
        let clock = self.table.facts(&operation)?.clock;
        let bytes = encode(&batch.reports, clock)
            .map_err(|error| self.table.error(&operation, StoreErrorClass::Schema, error.to_string()))?;
        let inserted = self.table.insert(bytes, batch.reports.len(), &batch.token).await;
        if inserted.as_ref().is_err_and(|error| error.class == StoreErrorClass::Schema) {
            self.table.forget_facts();
        }
        inserted
    }

    async fn history(&self, code: Code, since: DateTime<Utc>) -> Result<CodeHistory, StoreError> {
        let operation = format!("read the quality history of {code}");
        if self.table.facts(&operation).is_err() {
            self.table.check().await?;
        }
        let clock = self.table.facts(&operation)?.clock;
        let since = clock
            .to_epoch(shanghai_clock::wall_clock(since))
            .map_err(|error| self.table.error(&operation, StoreErrorClass::Refused, error.to_string()))?;
        let (table, quoted_code) = (self.table.full_name(), quoted(std::iter::once(code.as_str())));
        let wanted = format!("kind = 'interval' AND timestamp >= toDateTime({since})");
        let count = format!("SELECT uniqExact(report_id) FROM {table} WHERE {wanted}");
        let counting = self.table.client.query_raw(&count).fetch_one::<u64>();
        let num_reports = self.table.bounded(&operation, Effect::None, counting).await?;
        let oldest = format!("SELECT toUInt32(min(timestamp)) FROM {table} WHERE kind = 'interval'");
        let asking = self.table.client.query_raw(&oldest).fetch_one::<u32>();
        let oldest = self.table.bounded(&operation, Effect::None, asking).await?;
        let kept_since = (oldest > 0).then(|| clock.to_wall_clock(oldest));
        let select = format!(
            "SELECT timestamp, node_id, troubles.what, troubles.rule, troubles.number, troubles.detail FROM {table} FINAL \
             ARRAY JOIN troubles WHERE {wanted} AND troubles.code = {quoted_code} \
             ORDER BY timestamp, node_id, troubles.what, troubles.rule LIMIT {MAX_ISSUES}"
        );
        let reading = self.table.client.query_raw(&select).fetch_all::<TroubleRow>();
        let rows = self.table.bounded(&operation, Effect::None, reading).await?;
        let kept = |row: TroubleRow| {
            let TroubleRow { timestamp, node_id, what, rule, number, detail } = row;
            let issue = CodeIssue { code: code.to_string(), what, rule, number, detail };
            StoredIssue { at: clock.to_wall_clock(timestamp), node_id, issue }
        };
        Ok(CodeHistory { num_reports, kept_since, issues: rows.into_iter().map(kept).collect() })
    }
}

/// Encodes reports in the column order of the schema.
fn encode(reports: &[QualityReport], clock: TableClock) -> Result<Bytes, ClockError> {
    let mut bytes = Vec::new();
    for report in reports {
        let (summary, counts) = (&report.summary, &report.summary.counts);
        let job = report.job.as_ref();
        put_text(&mut bytes, &report.id);
        put_text(&mut bytes, report.kind());
        put_text(&mut bytes, &report.node_id);
        put_text(&mut bytes, &job.map(ToString::to_string).unwrap_or_default());
        put_text(&mut bytes, job.map_or("", |job| &job.sender));
        put_text(&mut bytes, &report.task_type());
        for time in [report.until, report.since] {
            // Whole seconds are sufficient here; the duration column has the fraction.
            let time: NaiveDateTime = shanghai_clock::wall_clock(time);
            bytes.extend_from_slice(&clock.to_epoch(time)?.to_le_bytes());
        }
        bytes.extend_from_slice(&report.duration().as_secs_f64().to_le_bytes());
        for number in [
            summary.num_done,
            summary.num_failed,
            summary.num_refused,
            counts.expected,
            counts.missing,
            counts.fetched,
            report.num_actual(),
            counts.written,
            counts.unchanged,
            counts.replaced,
            counts.num_skipped(),
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&report.success_rate().to_le_bytes());
        let delays = &summary.delays;
        for delay in [delays.percentile(50), delays.percentile(95), delays.longest()] {
            put_optional(&mut bytes, delay.map(|delay| delay.as_secs_f64()));
        }
        put_map(&mut bytes, counts.skipped.iter().map(|(rule, number): (&Rule, &u64)| (rule.as_str(), *number)));
        put_map(&mut bytes, counts.warned.iter().map(|(rule, number)| (rule.as_str(), *number)));
        let figures: Vec<(&str, &SourceFigures)> = summary.sources.iter().collect();
        put_map(&mut bytes, figures.iter().map(|(source, figures)| (*source, figures.rows)));
        put_map(&mut bytes, figures.iter().map(|(source, figures)| (*source, figures.calls)));
        put_map(&mut bytes, figures.iter().map(|(source, figures)| (*source, figures.failures)));
        put_troubles(&mut bytes, &report.issues());
    }
    Ok(bytes.into())
}

fn put_optional(bytes: &mut Vec<u8>, value: Option<f64>) {
    bytes.push(u8::from(value.is_none()));
    if let Some(value) = value {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}

fn put_map<'a>(bytes: &mut Vec<u8>, entries: impl ExactSizeIterator<Item = (&'a str, u64)>) {
    put_length(bytes, entries.len());
    for (key, value) in entries {
        put_text(bytes, key);
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}

fn put_troubles(bytes: &mut Vec<u8>, issues: &[CodeIssue]) {
    let texts: [fn(&CodeIssue) -> &str; 3] = [|issue| &issue.code, |issue| &issue.what, |issue| &issue.rule];
    for text in texts {
        put_length(bytes, issues.len());
        issues.iter().for_each(|issue| put_text(bytes, text(issue)));
    }
    put_length(bytes, issues.len());
    issues.iter().for_each(|issue| bytes.extend_from_slice(&issue.number.to_le_bytes()));
    put_length(bytes, issues.len());
    issues.iter().for_each(|issue| put_text(bytes, &issue.detail));
}
