// Upstream: command_router, quality_monitor, supervisor
// Downstream: many
// Role: The actor that collects task outcomes, reports each interval and each finished job, and sends alerts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use actix::prelude::*;
use chrono::{DateTime, Utc};

use crate::domain::clock::utc_now;
use crate::domain::{JobKey, Lifecycle, Notification, QualityReport, QualitySummary};
use crate::notifications::{publish, publish_text};
use crate::pipeline::{BackgroundWriter, TaskError};
use crate::ports::{AlertStore, LogBroken, Outbox, Swappable};
use crate::quality_monitor::alert_book::AlertBook;
use crate::quality_monitor::alert_draft::AlertDraft;
use crate::quality_monitor::calendar_alert::CalendarAlert;
use crate::quality_monitor::failure_alerts::{SourceAlerts, log_alert, refusal_alert};
use crate::quality_monitor::health_alert::HealthAlert;
use crate::quality_monitor::jobs::{EndedJob, OpenJobs};
use crate::quality_monitor::outcomes::Outcomes;
use crate::quality_monitor::refused_source_alert::RefusedSourceAlerts;
use crate::quality_monitor::store_alerts::StoreAlerts;
use crate::quality_monitor::threshold_alerts::threshold_alerts;
use crate::quality_monitor::{
    CommandEnded, CommandRefused, JobCommandBegun, JobCommandEnded, PublishPending, Recorded, StoreFailing,
    StoreRecovered, TaskFailed, TaskFinished,
};
use crate::settings::{ActorSettings, ApplySettings, ms};
use crate::supervision::Vitals;

/// Delay from the first failure to its alert, so that a burst of failures causes one alert.
const GATHER: Duration = Duration::from_secs(1);

/// Maximum number of rejected commands whose dead letters one alert follows.
const MAX_FOLLOWED: usize = 10_000;

/// Minimum time between two alerts on rejected commands.
const ALERT_INTERVAL: Duration = Duration::from_secs(60);

/// Interval of the checks for finished jobs and of the worker's health.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Collects the outcomes of tasks and commands, and sends reports and alerts.
pub struct QualityMonitor {
    vitals: Vitals,
    settings: Arc<ActorSettings>,
    outbox: Arc<dyn Outbox>,
    kept: BackgroundWriter<QualityReport>,
    node_id: Arc<str>,
    summary: QualitySummary,
    /// The same by command, for alerts.
    by_command: BTreeMap<&'static str, QualitySummary>,
    summary_since: DateTime<Utc>,
    jobs: OpenJobs,
    book: Arc<AlertBook>,
    sources: SourceAlerts,
    /// Whether a check of the failures is scheduled.
    is_gathering: bool,
    stores: StoreAlerts,
    health: HealthAlert,
    calendar: CalendarAlert,
    refused_sources: RefusedSourceAlerts,
    refusals: Refusals,
    outcomes: Outcomes,
}

/// Rejected commands that no alert has reported yet.
#[derive(Default)]
struct Refusals {
    count: u64,
    /// Whether the dead letters are recorded, of [`MAX_FOLLOWED`] at most.
    recorded: Vec<Recorded>,
    last: Option<String>,
    alerted_at: Option<Instant>,
    scheduled: bool,
}

impl Refusals {
    /// The delay of the alert to schedule now; `None` if an alert is already scheduled.
    fn schedule(&mut self) -> Option<Duration> {
        if self.scheduled {
            return None;
        }
        self.scheduled = true;
        let since_last = self.alerted_at.map_or(ALERT_INTERVAL, |at| at.elapsed());
        Some(GATHER.max(ALERT_INTERVAL.saturating_sub(since_last)))
    }

    /// The alert; `None` if all rejected commands are already reported.
    fn take(&mut self) -> Option<Notification> {
        self.scheduled = false;
        self.alerted_at = Some(Instant::now());
        let count = std::mem::take(&mut self.count);
        let num_unrecorded = std::mem::take(&mut self.recorded).iter().filter(|recorded| !recorded.get()).count();
        self.last.take().map(|reason| refusal_alert(count, num_unrecorded as u64, &reason))
    }
}

impl QualityMonitor {
    /// Creates a monitor that publishes through `outbox`, stores reports through `kept`, and shares the states of alerts
    /// through `alerts`.
    pub fn new(
        vitals: Vitals,
        settings: Arc<ActorSettings>,
        outbox: Arc<dyn Outbox>,
        kept: BackgroundWriter<QualityReport>,
        node_id: Arc<str>,
        alerts: Arc<Swappable<dyn AlertStore>>,
    ) -> Self {
        let book = Arc::new(AlertBook::new(alerts, outbox.clone(), node_id.clone()));
        Self {
            vitals,
            settings,
            outbox,
            kept,
            node_id,
            summary: QualitySummary::default(),
            by_command: BTreeMap::new(),
            summary_since: utc_now(),
            jobs: OpenJobs::default(),
            book,
            sources: SourceAlerts::default(),
            is_gathering: false,
            stores: StoreAlerts::default(),
            health: HealthAlert::default(),
            calendar: CalendarAlert::default(),
            refused_sources: RefusedSourceAlerts::default(),
            refusals: Refusals::default(),
            outcomes: Outcomes::default(),
        }
    }

    fn schedule_summary(&self, ctx: &mut Context<Self>) {
        ctx.run_later(ms(self.settings.quality.report_interval_ms), |monitor, ctx| {
            let (alerts, report) = monitor.take_summary();
            let (book, window) = (monitor.book.clone(), monitor.window());
            actix_rt::spawn(async move {
                for alert in alerts {
                    book.tell(alert, window).await;
                }
                book.settle(window).await;
            });
            report.into_iter().for_each(|report| monitor.send(report));
            monitor.schedule_summary(ctx);
        });
    }

    fn report_ended_jobs(&mut self) {
        let ended = self.jobs.take_ended(Instant::now(), ms(self.settings.quality.job_quiet_ms));
        for job in ended {
            let messages = self.report_job(job);
            self.send(messages);
        }
    }

    /// The health is what the last heartbeat reported.
    fn report_health(&mut self) {
        let reason = self.vitals.board().failure_of_worker();
        // What is wrong with a worker that starts is not known yet.
        if reason.is_none() && self.vitals.board().lifecycle() != Lifecycle::Running {
            return;
        }
        let limits = &self.settings.quality.alerts;
        let alert = self.health.judge(&self.node_id, reason.as_deref(), limits, Instant::now());
        alert.into_iter().for_each(|alert| self.tell(alert));
    }

    fn report_calendar(&mut self) {
        let alert = self.calendar.judge(self.vitals.board().calendar_days_left());
        alert.into_iter().for_each(|alert| self.tell(alert));
    }

    fn report_refused_sources(&mut self) {
        let refused = self.vitals.board().refused_sources.list();
        // Their failed fetches are part of this alert, and raise no second one.
        refused.iter().for_each(|source| self.sources.forget_refusals(source.name));
        let alerts = self.refused_sources.judge(&refused, &self.settings.quality.alerts, Instant::now());
        alerts.into_iter().for_each(|alert| self.tell(alert));
    }

    /// What the interval says about alerts, and its report. Nothing if there was no activity.
    fn take_summary(&mut self) -> (Vec<AlertDraft>, Option<Notification>) {
        self.report_refused_sources();
        let now = utc_now();
        let since = std::mem::replace(&mut self.summary_since, now);
        let (summary, by_command) = (std::mem::take(&mut self.summary), std::mem::take(&mut self.by_command));
        let limits = &self.settings.quality.alerts;
        let mut alerts = self.sources.end_interval(limits);
        alerts.extend(self.stores.end_interval(limits));
        if summary.is_empty() {
            return (alerts, None);
        }
        alerts.extend(by_command.values().flat_map(|summary| threshold_alerts(summary, &self.settings.quality)));
        let answered = summary.sources.iter().filter(|(_, figures)| figures.calls > figures.failures);
        alerts.extend(self.refused_sources.answered(answered.map(|(source, _)| source), limits));
        (alerts, Some(self.keep(QualityReport::new(&self.node_id, None, since, now, summary))))
    }

    fn report_job(&self, job: EndedJob) -> Notification {
        let EndedJob { key, since, until, summary } = job;
        self.keep(QualityReport::new(&self.node_id, Some(key), since, until, summary))
    }

    /// Stores a report, if configured, and returns it as a notification.
    fn keep(&self, report: QualityReport) -> Notification {
        let report = report.with_calendar(self.vitals.board().calendar_days_left());
        let messages = report.to_notification(self.settings.quality.max_examples);
        if self.settings.quality.keep_reports {
            self.kept.note(report);
        }
        messages
    }

    /// How long what another worker has seen of a cause keeps an alert open: until it must have seen that it is gone.
    fn window(&self) -> Duration {
        2 * ms(self.settings.quality.report_interval_ms)
    }

    fn tell(&self, alert: AlertDraft) {
        let (book, window) = (self.book.clone(), self.window());
        actix_rt::spawn(async move { book.tell(alert, window).await });
    }

    fn send(&self, notification: Notification) {
        let (outbox, node_id) = (self.outbox.clone(), self.node_id.clone());
        actix_rt::spawn(async move {
            publish(outbox.as_ref(), &node_id, &notification).await;
        });
    }

    fn send_outcomes(&mut self) {
        for message in self.outcomes.take(&self.node_id, utc_now()) {
            let outbox = self.outbox.clone();
            actix_rt::spawn(async move {
                publish_text(outbox.as_ref(), &message).await;
            });
        }
    }

    /// Adds a task to the summary of the interval and of its job.
    fn add(&mut self, job: &Arc<JobKey>, mut add: impl FnMut(&mut QualitySummary, &ActorSettings)) {
        for summary in [&mut self.summary, self.by_command.entry(job.command).or_default()] {
            summary.commands.insert(job.command);
            add(summary, &self.settings);
        }
        if let Some(summary) = self.jobs.summary(job) {
            add(summary, &self.settings);
        }
    }
}

/// The kind of data that a command writes, as alerts on stores name it.
fn store_of(command: &str) -> &'static str {
    match command {
        "adjustfactor" => "factors",
        "tick" => "ticks",
        "stockinfo" | "trade_day" => "lists",
        _ => "bars",
    }
}

impl Actor for QualityMonitor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.vitals.begin(ctx);
        self.schedule_summary(ctx);
        ctx.run_interval(POLL_INTERVAL, |monitor, _| {
            monitor.report_ended_jobs();
            monitor.report_health();
            monitor.report_calendar();
            monitor.report_refused_sources();
            monitor.send_outcomes();
        });
    }
}

impl Supervised for QualityMonitor {
    /// Discards the collected data, because it may have caused the panic.
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        self.summary = QualitySummary::default();
        self.jobs = OpenJobs::default();
        self.sources = SourceAlerts::default();
        self.by_command.clear();
        self.is_gathering = false;
        self.refusals = Refusals::default();
    }
}

impl Handler<JobCommandBegun> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: JobCommandBegun, _ctx: &mut Self::Context) {
        let JobCommandBegun { job, is_replay, trace_id } = message;
        self.jobs.begun(&job);
        if is_replay {
            self.add(&job, |summary, _| summary.num_replayed += 1);
        }
        if let Some(id) = trace_id {
            self.add(&job, |summary, _| summary.note_trace(id.clone()));
        }
    }
}

impl Handler<JobCommandEnded> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: JobCommandEnded, _ctx: &mut Self::Context) {
        self.jobs.ended(&message.0, Instant::now());
    }
}

impl Handler<TaskFinished> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: TaskFinished, _ctx: &mut Self::Context) {
        self.vitals.fail_point("handler");
        let TaskFinished { subject, job, report, delay, sources } = message;
        if report.counts.not_offered == 0 {
            self.sources.succeeded(job.command);
        }
        if report.counts.written + report.counts.replaced > 0 {
            self.stores.wrote(store_of(job.command));
        }
        self.add(&job, |summary, settings| {
            summary.add_finished(subject, &report, delay, &settings.quality);
            summary.sources.add(&sources);
        });
    }
}

impl Handler<TaskFailed> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: TaskFailed, ctx: &mut Self::Context) {
        let TaskFailed { subject, job, error, sources } = message;
        let reason = error.to_string();
        self.add(&job, |summary, _| {
            summary.add_failed(subject, &reason);
            summary.sources.add(&sources);
        });
        // The store of a subject that cannot be used has an alert of its own.
        let TaskError::Source(error) = error else { return };
        self.sources.failed(job.command, subject, error, self.settings.quality.max_examples);
        if !std::mem::replace(&mut self.is_gathering, true) {
            ctx.run_later(GATHER, |monitor, _| {
                monitor.is_gathering = false;
                monitor.report_refused_sources();
                let alerts = monitor.sources.judge(&monitor.settings.quality.alerts);
                alerts.into_iter().for_each(|alert| monitor.tell(alert));
            });
        }
    }
}

impl Handler<CommandEnded> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: CommandEnded, _ctx: &mut Self::Context) {
        if self.outcomes.add(message) {
            self.send_outcomes();
        }
    }
}

impl Handler<CommandRefused> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: CommandRefused, ctx: &mut Self::Context) {
        self.summary.add_refused();
        self.refusals.count += 1;
        self.refusals.last = Some(message.reason);
        if self.refusals.recorded.len() < MAX_FOLLOWED {
            self.refusals.recorded.push(message.is_recorded);
        }
        if let Some(wait) = self.refusals.schedule() {
            ctx.run_later(wait, |monitor, _| {
                let messages = monitor.refusals.take();
                messages.into_iter().for_each(|alert| monitor.send(alert));
            });
        }
    }
}

impl Handler<LogBroken> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: LogBroken, _ctx: &mut Self::Context) {
        self.vitals.board().record_error(&message.reason);
        self.send(log_alert(&message.reason));
    }
}

impl Handler<StoreFailing> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: StoreFailing, _ctx: &mut Self::Context) {
        let alert = self.stores.failing(message, &self.settings.quality.alerts);
        self.tell(alert);
    }
}

impl Handler<StoreRecovered> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: StoreRecovered, _ctx: &mut Self::Context) {
        let alert = self.stores.recovered(message, &self.settings.quality.alerts);
        self.tell(alert);
    }
}

impl Handler<PublishPending> for QualityMonitor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: PublishPending, _ctx: &mut Self::Context) -> Self::Result {
        let mut left: Vec<Notification> = self.refusals.take().into_iter().collect();
        let ended = self.jobs.take_left();
        left.extend(ended.into_iter().map(|job| self.report_job(job)));
        let (alerts, report) = self.take_summary();
        left.extend(report);
        let (book, window) = (self.book.clone(), self.window());
        let (outbox, node_id) = (self.outbox.clone(), self.node_id.clone());
        let outcomes = self.outcomes.take(&node_id, utc_now());
        Box::pin(async move {
            for message in outcomes {
                publish_text(outbox.as_ref(), &message).await;
            }
            for alert in alerts {
                book.tell(alert, window).await;
            }
            for notification in left {
                publish(outbox.as_ref(), &node_id, &notification).await;
            }
        })
    }
}

impl Handler<ApplySettings> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: ApplySettings, _ctx: &mut Self::Context) {
        self.settings = message.0;
    }
}
