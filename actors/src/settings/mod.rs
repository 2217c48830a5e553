// Upstream: many
// Downstream: delay_basis, error, ranges, rules
// Role: The settings of all actors, as one immutable snapshot that a reload replaces.

//! This module is the only place for defaults and ranges. Units are part of the field names. The field comments are the
//! texts of the default configuration file and of docs/configuration.md.

/// The start of delay measurement.
mod delay_basis;
/// The error for an invalid setting.
mod error;
/// Checks of number ranges that are declared as field attributes.
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

/// The settings of all actors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ActorSettings {
    /// Fetching.
    pub fetch: FetchSettings,
    /// Writing.
    pub batch: BatchSettings,
    /// The heartbeat.
    pub heartbeat: HeartbeatSettings,
    /// Quality reports and alerts.
    pub quality: QualitySettings,
    /// Events for other components.
    pub events: EventSettings,
}

/// Settings of the Fetcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FetchSettings {
    /// Maximum number of concurrent fetches per worker, for each kind of data (daily bars, minute bars, ticks, factors,
    /// lists) by itself: a slow source of one kind holds up no other.
    #[schemars(range(min = 1, max = 1024))]
    pub max_in_flight: usize,
    /// Maximum number of attempts per fetch, including the first one.
    #[schemars(range(min = 1, max = 3))]
    pub max_attempts: u32,
    /// Maximum duration of one attempt, with all its requests and its waits for the vendor's limit. Each request has a
    /// timeout of its own; this one ends an answer that never does, so that its command cannot stay open for ever.
    #[schemars(range(min = 1_000))]
    pub attempt_timeout_ms: u64,
    /// Delay before the second attempt. It doubles with each further attempt, with jitter.
    #[schemars(range(min = 1))]
    pub first_retry_delay_ms: u64,
    /// Maximum delay between two attempts. It also limits the wait for a vendor's rate-limit window.
    pub max_retry_delay_ms: u64,
    /// Maximum number of codes of one command that one worker processes. A command with more codes is split and
    /// distributed in the consumer group.
    #[schemars(range(min = 1, max = 12_000))]
    pub max_codes_per_command: usize,
    /// Number of waiting tasks from which on increments of daily bars and of factors are fetched by day: one call per
    /// day returns the rows of all securities, if the source supports it. Fewer tasks, and other ones, that request the
    /// same days share calls for several securities. 0 disables both.
    pub whole_days_from_tasks: u32,
    /// Number of days that the first fetch of a code's minute bars goes back if the command names no start. `full`
    /// fetches the whole history.
    #[schemars(range(min = 1, max = 7_000))]
    pub first_minute_days: u32,
    /// Number of consecutive trading days without a tick after which a tick backfill (`tick` with `full`) ends.
    #[schemars(range(min = 1, max = 10_000))]
    pub tick_stop_after_empty_days: u32,
    /// Maximum age of the cached newest stored timestamps before they are read again.
    pub latest_refresh_ms: u64,
    /// Maximum age of the cached listings and trading calendar (from MySQL) and of the cached last stored closes before
    /// they are read again.
    #[schemars(range(min = 1_000))]
    pub facts_refresh_ms: u64,
    /// Whether the trading calendar is fetched when the known one ends within 45 days and a source has it: one worker
    /// of the group sends the command `trade_day`, at most once a day.
    pub extend_calendar: bool,
}

impl FetchSettings {
    /// Whether tasks wait a moment for others in order to share calls.
    pub fn shares_calls(&self) -> bool {
        self.whole_days_from_tasks > 0
    }
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            max_in_flight: 32,
            max_attempts: 3,
            // The longest answer, a security's whole history over a slow line, takes a few minutes.
            attempt_timeout_ms: 900_000,
            first_retry_delay_ms: 500,
            // Vendors' rate-limit windows last one minute; a longer delay would waste a whole window.
            max_retry_delay_ms: 60_000,
            max_codes_per_command: 50,
            // One call for a day returns 5,400 rows and takes as long as a few calls for one code.
            whole_days_from_tasks: 20,
            first_minute_days: 30,
            tick_stop_after_empty_days: 365,
            latest_refresh_ms: 60_000,
            // The data change once a day; a refresh takes two queries with several thousand rows.
            facts_refresh_ms: 600_000,
            extend_calendar: true,
        }
    }
}

/// Settings of the BatchWriter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchSettings {
    /// Number of rows at which a batch is written without further waiting.
    #[schemars(range(min = 1))]
    pub due_rows: usize,
    /// Maximum number of rows per INSERT. Rows that arrive during an INSERT are written together in the next one.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_rows: usize,
    /// Minimum number of rows per INSERT while more rows are expected; at most `max_rows`.
    pub min_rows: usize,
    /// How long a batch waits for further rows before it is written.
    pub flush_interval_ms: u64,
    /// If no more rows are expected and none arrived for this time, a batch is written before `flush_interval_ms` has
    /// passed. Choose a value above the pauses of a sender that sends commands in groups; otherwise each group becomes
    /// a separate INSERT.
    pub idle_flush_ms: u64,
    /// Maximum wait of a batch with fewer than `min_rows` rows; at least `flush_interval_ms`.
    pub max_wait_ms: u64,
    /// Maximum number of rows in memory between source and store. Fetching waits while the limit is reached. At least
    /// `max_rows`. A twentieth of it belongs to each kind of data alone.
    pub max_buffered_rows: usize,
    /// Delay before a failed write is retried. It doubles with each further attempt, with jitter.
    #[schemars(range(min = 1))]
    pub first_retry_delay_ms: u64,
    /// Maximum delay between two attempts of a write.
    pub max_retry_delay_ms: u64,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            due_rows: 10_000,
            // Half of `max_buffered_rows`, so that fetching continues during an INSERT.
            max_rows: 50_000,
            min_rows: 1_000,
            flush_interval_ms: 1_000,
            // Ginkgo's TaskTimer pauses for 100 ms between groups of 50 commands.
            idle_flush_ms: 250,
            max_wait_ms: 5_000,
            // At about 250 bytes per row: 25 MB, within the worker's 64 MB.
            max_buffered_rows: 100_000,
            first_retry_delay_ms: 200,
            max_retry_delay_ms: 10_000,
        }
    }
}

/// Settings of the Heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeartbeatSettings {
    /// Interval between two heartbeats.
    #[schemars(range(min = 100))]
    pub interval_ms: u64,
    /// Time to live of a heartbeat that is not renewed; at least twice `interval_ms`.
    #[schemars(range(min = 1_000))]
    pub ttl_ms: u64,
    /// If work is waiting and nothing progresses for this time, the status is `error`.
    pub stall_after_ms: u64,
}

impl Default for HeartbeatSettings {
    fn default() -> Self {
        Self {
            interval_ms: 10_000,
            ttl_ms: 30_000,
            // Twice the longest timeout of one source response.
            stall_after_ms: 60_000,
        }
    }
}

/// Settings of the QualityMonitor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QualitySettings {
    /// Interval between two reports. No report is sent if nothing happened.
    #[schemars(range(min = 1_000))]
    pub report_interval_ms: u64,
    /// Maximum number of anomalies and of codes of each kind shown as examples in one notification. The stored report
    /// contains all codes.
    #[schemars(range(max = 1_000))]
    pub max_examples: usize,
    /// A job is the group of commands with one job id, or of one sender and one command name. It is reported when all
    /// its commands have ended and no further one arrived for this time. Choose a value above the pauses of a sender
    /// that sends commands in groups.
    #[schemars(range(min = 100))]
    pub job_quiet_ms: u64,
    /// Whether the sources of daily bars are queried for suspensions when days are missing. This costs one extra
    /// request for each such code, or one per day for all codes of an evening. Tushare and BaoStock provide
    /// suspensions.
    pub ask_suspensions: bool,
    /// The time from which a delay is measured.
    pub delay_basis: DelayBasis,
    /// Whether reports are stored in ClickHouse's table `data_quality_report`.
    pub keep_reports: bool,
    /// Market rules, checked in addition to the rules without which a row cannot be stored.
    pub rules: RuleSettings,
    /// Comparison of bars with another source.
    pub cross_check: CrossCheckSettings,
    /// Thresholds of alerts.
    pub alerts: AlertSettings,
}

/// Thresholds of alerts. They are evaluated with each report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertSettings {
    /// Missing rows, in percent of the expected rows, above which a warning is raised.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub missing_warning_percent: f64,
    /// The same for an error.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub missing_error_percent: f64,
    /// Delay until rows are readable, above which a warning is raised. The 95th percentile of the tasks is compared;
    /// `quality.delay_basis` defines the start of the measurement.
    pub delay_warning_ms: u64,
    /// The same for an error.
    pub delay_error_ms: u64,
    /// Invalid rows, in percent of the fetched rows, above which a warning is raised.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub invalid_warning_percent: f64,
    /// The same for an error.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub invalid_error_percent: f64,
    /// Tasks that failed at their source, in percent of an interval's tasks, above which the source alert is an error.
    /// At or below it, and if only one task failed, the alert is a warning. A failure that only an operator can fix,
    /// such as a rejected token, is an error at once.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub source_error_percent: f64,
    /// A failing store raises a warning after three attempts, and an error after this time.
    pub write_error_ms: u64,
    /// Minimum number of rows in an interval for share thresholds: below it one suspended share could amount to 100
    /// percent.
    pub min_rows: u64,
    /// A lasting alert is repeated after this time; an escalation is sent at once. The resolution of an alert that was
    /// raised three times within this time is delayed until this time has passed since the first of them.
    pub cool_down_ms: u64,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            missing_warning_percent: 5.0,
            missing_error_percent: 20.0,
            delay_warning_ms: 300_000,
            delay_error_ms: 600_000,
            // The specification requires that 99.9 % of all rows are valid.
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
            // Ginkgo's TaskTimer pauses for 100 ms. A report must be sent within 10 s after the end of its job.
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

/// Events for other components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventSettings {
    /// Whether the newest stored daily bar of a code is published as a PriceUpdate to `kafka.market_data_topic`.
    pub price_update: bool,
    /// Whether each ended task is recorded as a row in MySQL's table `data_sync_record`.
    pub sync_records: bool,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self { price_update: false, sync_records: true }
    }
}

impl ActorSettings {
    /// Every invalid setting, not only the first one.
    pub fn problems(&self) -> Vec<SettingsError> {
        let mut problems = out_of_range(self);
        problems.extend(self.conflicts());
        problems
    }

    /// Every setting that conflicts with another one.
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

/// Converts a setting in milliseconds to a duration.
pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Applies new settings from now on. Every actor handles this message; running work is not affected.
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
