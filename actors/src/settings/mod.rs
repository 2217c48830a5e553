// Upstream: many
// Downstream: delay_basis, error, ranges, rules
// Role: The settings of all actors, as one immutable snapshot that can be handed anew.

//! Defaults and ranges stand here and nowhere else. Units are part of the names. The comments of fields are what
//! operators read in the default configuration file and in docs/configuration.md.

/// From where delays are measured.
mod delay_basis;
/// A setting that cannot work.
mod error;
/// Ranges of numbers, declared beside their fields.
pub mod ranges;
/// Validation rules and their thresholds.
pub mod rules;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::delay_basis::DelayBasis;
use crate::settings::ranges::out_of_range;
use crate::settings::rules::{CrossCheckSettings, RuleSettings};

pub use error::SettingsError;

/// What every actor is configured by.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ActorSettings {
    /// Fetching.
    pub fetch: FetchSettings,
    /// Writing.
    pub batch: BatchSettings,
    /// The heartbeat.
    pub heartbeat: HeartbeatSettings,
    /// Summaries.
    pub quality: QualitySettings,
    /// What is told to other components.
    pub events: EventSettings,
}

/// How the Fetcher works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FetchSettings {
    /// Fetches at once on one worker.
    #[schemars(range(min = 1, max = 1024))]
    pub max_in_flight: usize,
    /// Attempts per fetch, the first included.
    #[schemars(range(min = 1, max = 3))]
    pub max_attempts: u32,
    /// Wait before the second attempt; doubles with each further one, with jitter.
    #[schemars(range(min = 1))]
    pub first_retry_delay_ms: u64,
    /// The longest wait between attempts, a vendor's rate-limit window included.
    pub max_retry_delay_ms: u64,
    /// Codes of one command that one worker takes on; a command for more is split among the group.
    #[schemars(range(min = 1, max = 12_000))]
    pub max_codes_per_command: usize,
    /// So many waiting tasks of daily bars make it worth to fetch the last days as a whole, for all securities by one call,
    /// where the source can; 0: never.
    pub whole_days_from_tasks: u32,
    /// How many days back the first fetch of a code's minute bars goes where it names no start; `full` brings all there
    /// are.
    #[schemars(range(min = 1, max = 7_000))]
    pub first_minute_days: u32,
    /// Trading days in a row without a tick after which a backfill of ticks (`tick` with `full`) ends.
    #[schemars(range(min = 1, max = 10_000))]
    pub tick_stop_after_empty_days: u32,
    /// How long the table of newest stored timestamps is believed before it is read again.
    pub latest_refresh_ms: u64,
    /// How long the list of securities and the calendar, as MySQL has them, and the last stored closes are believed before
    /// they are read again.
    #[schemars(range(min = 1_000))]
    pub facts_refresh_ms: u64,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            max_in_flight: 32,
            max_attempts: 3,
            first_retry_delay_ms: 500,
            // Vendors count by the minute: a longer wait would leave a whole window unused.
            max_retry_delay_ms: 60_000,
            max_codes_per_command: 50,
            // One call for a day brings 5,400 rows and takes as long as a few calls for a code.
            whole_days_from_tasks: 20,
            first_minute_days: 30,
            tick_stop_after_empty_days: 365,
            latest_refresh_ms: 60_000,
            // They change once a day; two queries of some thousand rows.
            facts_refresh_ms: 600_000,
        }
    }
}

/// How the BatchWriter works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchSettings {
    /// Rows with which a batch is written without waiting for more.
    #[schemars(range(min = 1))]
    pub due_rows: usize,
    /// The most rows of one INSERT: what came while another one was under way is written together.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_rows: usize,
    /// The least rows worth an INSERT while more are on their way; at most `max_rows`.
    pub min_rows: usize,
    /// Wait for further rows before a batch is written.
    pub flush_interval_ms: u64,
    /// With nothing more on its way and nothing come for so long, a batch is written before its interval is over. Longer
    /// than the pauses of whoever sends commands in runs, or each run becomes an INSERT.
    pub idle_flush_ms: u64,
    /// The longest wait of a batch below `min_rows`; at least `flush_interval_ms`.
    pub max_wait_ms: u64,
    /// Rows in memory between source and store; fetching waits when they are reached. At least `max_rows`.
    pub max_buffered_rows: usize,
    /// Wait before a failed write is tried again; doubles, with jitter.
    #[schemars(range(min = 1))]
    pub first_retry_delay_ms: u64,
    /// The longest wait between tries of a write.
    pub max_retry_delay_ms: u64,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            due_rows: 10_000,
            // Half of what may wait in memory, so that fetching goes on meanwhile.
            max_rows: 50_000,
            min_rows: 1_000,
            flush_interval_ms: 1_000,
            // Ginkgo's TaskTimer pauses for 100 ms between its runs of 50 commands.
            idle_flush_ms: 250,
            max_wait_ms: 5_000,
            // At about 250 bytes a row: 25 MB, within the worker's 64 MB.
            max_buffered_rows: 100_000,
            first_retry_delay_ms: 200,
            max_retry_delay_ms: 10_000,
        }
    }
}

/// How the Heartbeat works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeartbeatSettings {
    /// Time between two heartbeats.
    #[schemars(range(min = 100))]
    pub interval_ms: u64,
    /// After which a heartbeat that is not renewed vanishes; at least twice `interval_ms`.
    #[schemars(range(min = 1_000))]
    pub ttl_ms: u64,
    /// With work waiting and nothing moving for so long, the status is `error`.
    pub stall_after_ms: u64,
}

impl Default for HeartbeatSettings {
    fn default() -> Self {
        Self {
            interval_ms: 10_000,
            ttl_ms: 30_000,
            // Twice the longest wait for one answer of a source.
            stall_after_ms: 60_000,
        }
    }
}

/// How the QualityMonitor works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QualitySettings {
    /// Time between two reports, while there is anything to report.
    #[schemars(range(min = 1_000))]
    pub report_interval_ms: u64,
    /// Anomalies and codes of each kind shown as examples in one message; the kept report has all codes.
    #[schemars(range(max = 1_000))]
    pub max_examples: usize,
    /// A job (the commands of one id, or of one sender's run) is reported when none of its commands is open and none came
    /// for so long. Longer than the pauses of whoever sends commands in runs.
    #[schemars(range(min = 100))]
    pub job_quiet_ms: u64,
    /// Whether the sources of daily bars are asked, where days are missing, if the security was suspended: one request more
    /// for such a code, or one a day for all codes of an evening. Tushare and BaoStock tell.
    pub ask_suspensions: bool,
    /// From where a delay is measured.
    pub delay_basis: DelayBasis,
    /// Whether reports are kept in ClickHouse's `data_quality_report`.
    pub keep_reports: bool,
    /// Rules of the market that bars are judged by.
    pub rules: RuleSettings,
    /// Comparisons with another source.
    pub cross_check: CrossCheckSettings,
    /// When figures become alerts.
    pub alerts: AlertSettings,
}

/// When figures become alerts. They are judged with each summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertSettings {
    /// Share of the expected rows that did not come, in percent, above which there is a warning.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub missing_warning_percent: f64,
    /// The same for an error.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub missing_error_percent: f64,
    /// Delay, measured as `quality.delay_basis` says, to rows being readable, above which there is a warning; that of the
    /// 95th of 100 tasks counts.
    pub delay_warning_ms: u64,
    /// The same for an error.
    pub delay_error_ms: u64,
    /// Share of the fetched rows that were invalid, in percent, above which there is a warning.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub invalid_warning_percent: f64,
    /// The same for an error.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub invalid_error_percent: f64,
    /// Share of an interval's tasks that failed at their source, in percent, above which a source's trouble is an error; below
    /// it, and where only one failed, a warning. What only an operator can mend, such as a refused token, is an error at once.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub source_error_percent: f64,
    /// A store that takes no rows is a warning after three tries, and an error after so long.
    pub write_error_ms: u64,
    /// Rows of an interval below which no share is judged: one suspended share alone would be 100 percent.
    pub min_rows: u64,
    /// An alert that lasts is told again after so long; one that escalates at once. One that came and went three times within
    /// that time is told as resolved after it.
    pub cool_down_ms: u64,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            missing_warning_percent: 5.0,
            missing_error_percent: 20.0,
            delay_warning_ms: 300_000,
            delay_error_ms: 600_000,
            // The specification wants 99.9 % of all rows sound.
            invalid_warning_percent: 0.1,
            invalid_error_percent: 5.0,
            source_error_percent: 20.0,
            write_error_ms: 60_000,
            min_rows: 20,
            cool_down_ms: 3_600_000,
        }
    }
}

impl Default for QualitySettings {
    fn default() -> Self {
        Self {
            report_interval_ms: 300_000,
            max_examples: 20,
            // Ginkgo's TaskTimer pauses for 100 ms; a report shall be out 10 s after its job's end.
            job_quiet_ms: 3_000,
            ask_suspensions: true,
            delay_basis: DelayBasis::Command,
            keep_reports: true,
            rules: RuleSettings::default(),
            cross_check: CrossCheckSettings::default(),
            alerts: AlertSettings::default(),
        }
    }
}

/// What is told to other components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventSettings {
    /// Whether the newest stored daily bar of a code is published as a PriceUpdate to `kafka.market_data_topic`.
    pub price_update: bool,
    /// Whether each ended task gets a row in MySQL's `data_sync_record`.
    pub sync_records: bool,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self { price_update: false, sync_records: true }
    }
}

impl ActorSettings {
    /// Every setting that cannot work, not only the first.
    pub fn problems(&self) -> Vec<SettingsError> {
        let mut problems = out_of_range(self);
        problems.extend(self.conflicts());
        problems
    }

    /// Every setting that cannot work beside another.
    pub fn conflicts(&self) -> Vec<SettingsError> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, field: &str, found: u64, must: &str| {
            if !ok {
                problems.push(SettingsError { field: field.into(), found: found.to_string(), must: must.into() });
            }
        };
        let (batch, heartbeat) = (&self.batch, &self.heartbeat);
        check(
            batch.min_rows <= batch.max_rows,
            "batch.min_rows",
            batch.min_rows as u64,
            "it must not exceed batch.max_rows",
        );
        check(
            batch.max_wait_ms >= batch.flush_interval_ms,
            "batch.max_wait_ms",
            batch.max_wait_ms,
            "it must not be below batch.flush_interval_ms",
        );
        check(
            batch.max_buffered_rows >= batch.max_rows,
            "batch.max_buffered_rows",
            batch.max_buffered_rows as u64,
            "it must not be below batch.max_rows",
        );
        check(
            heartbeat.ttl_ms >= heartbeat.interval_ms.saturating_mul(2),
            "heartbeat.ttl_ms",
            heartbeat.ttl_ms,
            "it must be at least twice heartbeat.interval_ms",
        );
        problems
    }
}

/// Shorthand for a number of milliseconds from the settings.
pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// From now on these settings are in force. Every actor takes this message; it changes nothing that is under way.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ApplySettings(pub Arc<ActorSettings>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_every_problem_is_named() {
        assert_eq!(ActorSettings::default().problems(), []);
        let mut settings = ActorSettings::default();
        settings.fetch.max_attempts = 4;
        settings.heartbeat.ttl_ms = 5;
        let texts: Vec<String> = settings.problems().iter().map(ToString::to_string).collect();
        assert!(texts.contains(&"fetch.max_attempts is 4, but it must be 1 to 3".to_owned()), "{texts:?}");
        assert_eq!(texts.len(), 3, "{texts:?}");
    }
}
