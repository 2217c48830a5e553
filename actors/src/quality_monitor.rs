// Upstream: actors::command_router, actors::lifecycle, actors::store_outage, actors::supervisor, actors::worker_event
// Downstream: actors::domain::notification, actors::domain::task, actors::ports, actors::ports::market_source, actors::quality_summary, actors::settings, actors::supervision::vitals, actors::ticket
// Role: The actor that hears of every task's end, sends one summary an interval and gathered alerts in between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use chrono::{DateTime, Utc};

use crate::domain::{Notification, Subject};
use crate::ports::{Outbox, SourceError, StoreError};
use crate::quality_summary::{QualitySummary, refusal_alert, source_alert, store_alert, store_recovery};
use crate::settings::{ActorSettings, ApplySettings, ms};
use crate::supervision::Vitals;
use crate::ticket::TaskReport;

/// From the first failure to its alert: long enough that a burst of failures becomes one message.
const GATHER: Duration = Duration::from_secs(1);

/// Between two alerts of one kind: often enough for people, rare enough not to be a flood.
const ALERT_INTERVAL: Duration = Duration::from_secs(60);

/// Tries of one message. A report is worth less than the memory that a queue of old ones would take.
const PUBLISH_TRIES: u32 = 5;

/// A task ended well.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TaskFinished {
    /// What the task was about.
    pub subject: Subject,
    /// What it brought.
    pub report: TaskReport,
    /// From the command's own timestamp until now.
    pub delay: Option<Duration>,
    /// From the task's start until now.
    pub duration: Duration,
}

/// A task failed for good.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TaskFailed {
    /// What the task was about.
    pub subject: Subject,
    /// Why.
    pub error: SourceError,
}

/// A command could not be carried out.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CommandRefused {
    /// Why.
    pub reason: String,
}

/// The store does not take rows; sent once an outage.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StoreFailing {
    /// The last error.
    pub error: StoreError,
}

/// The store takes rows again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StoreRecovered {
    /// How long it did not.
    pub lasted: Duration,
}

/// The worker drains: send what is not sent yet. The answer comes when it is out, or given up.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SendWhatIsLeft;

/// Gathers and reports.
pub struct QualityMonitor {
    vitals: Vitals,
    settings: Arc<ActorSettings>,
    outbox: Arc<dyn Outbox>,
    node_id: Arc<str>,
    summary: QualitySummary,
    summary_since: DateTime<Utc>,
    failures: Gathered<(BTreeSet<Subject>, SourceError)>,
    refusals: Gathered<String>,
}

/// Failures of one kind that no alert has told of yet.
struct Gathered<T> {
    count: u64,
    last: Option<T>,
    alerted_at: Option<Instant>,
    scheduled: bool,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self { count: 0, last: None, alerted_at: None, scheduled: false }
    }
}

impl<T> Gathered<T> {
    /// The wait until the alert that has to be scheduled now; `None` where one is scheduled already.
    fn schedule(&mut self) -> Option<Duration> {
        if self.scheduled {
            return None;
        }
        self.scheduled = true;
        let since_last = self.alerted_at.map_or(ALERT_INTERVAL, |at| at.elapsed());
        Some(GATHER.max(ALERT_INTERVAL.saturating_sub(since_last)))
    }

    /// What the alert has to tell; nothing where it was told already.
    fn take(&mut self) -> Option<(u64, T)> {
        self.scheduled = false;
        self.alerted_at = Some(Instant::now());
        let count = std::mem::take(&mut self.count);
        self.last.take().map(|last| (count, last))
    }
}

impl QualityMonitor {
    /// A monitor that publishes through `outbox`.
    pub fn new(vitals: Vitals, settings: Arc<ActorSettings>, outbox: Arc<dyn Outbox>, node_id: Arc<str>) -> Self {
        Self {
            vitals,
            settings,
            outbox,
            node_id,
            summary: QualitySummary::default(),
            summary_since: Utc::now(),
            failures: Gathered::default(),
            refusals: Gathered::default(),
        }
    }

    fn schedule_summary(&self, ctx: &mut Context<Self>) {
        ctx.run_later(ms(self.settings.quality.summary_interval_ms), |monitor, ctx| {
            if let Some(notification) = monitor.take_summary() {
                monitor.send(notification);
            }
            monitor.schedule_summary(ctx);
        });
    }

    fn take_summary(&mut self) -> Option<Notification> {
        let now = Utc::now();
        let since = std::mem::replace(&mut self.summary_since, now);
        let summary = std::mem::take(&mut self.summary);
        (!summary.is_empty()).then(|| summary.to_notification(&self.node_id, since, now))
    }

    fn take_source_alert(&mut self) -> Option<Notification> {
        self.failures.take().map(|(count, (subjects, error))| source_alert(&subjects, count, &error))
    }

    fn take_refusal_alert(&mut self) -> Option<Notification> {
        self.refusals.take().map(|(count, reason)| refusal_alert(count, &reason))
    }

    fn send(&self, notification: Notification) {
        let (outbox, node_id) = (self.outbox.clone(), self.node_id.clone());
        actix_rt::spawn(async move { publish(outbox.as_ref(), &node_id, &notification).await });
    }
}

/// Publishes a message; a failure is logged with the message, so that it is not lost to the operator.
pub async fn publish(outbox: &dyn Outbox, node_id: &str, notification: &Notification) {
    let message = notification.to_json(node_id, Utc::now());
    for attempt in 1..=PUBLISH_TRIES {
        match outbox.notify(&message).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(attempt, %error, "notification is not published"),
        }
    }
    tracing::error!(message, "notification given up");
}

impl Actor for QualityMonitor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.vitals.begin(ctx);
        self.schedule_summary(ctx);
    }
}

impl Supervised for QualityMonitor {
    /// What was gathered is given up: after a panic in adding it up it may be what caused it.
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        self.summary = QualitySummary::default();
        self.failures = Gathered::default();
        self.refusals = Gathered::default();
    }
}

impl Handler<TaskFinished> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: TaskFinished, _ctx: &mut Self::Context) {
        self.vitals.fault_point("handler");
        let TaskFinished { report, delay, duration, .. } = message;
        self.summary.add_finished(report, delay, duration, self.settings.quality.max_examples);
    }
}

impl Handler<TaskFailed> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: TaskFailed, ctx: &mut Self::Context) {
        let max_examples = self.settings.quality.max_examples;
        self.summary.add_failed(message.subject, max_examples);
        self.failures.count += 1;
        let (mut subjects, _) = self.failures.last.take().unwrap_or_else(|| (BTreeSet::new(), message.error.clone()));
        if subjects.len() < max_examples {
            subjects.insert(message.subject);
        }
        self.failures.last = Some((subjects, message.error));
        if let Some(wait) = self.failures.schedule() {
            ctx.run_later(wait, |monitor, _| {
                if let Some(alert) = monitor.take_source_alert() {
                    monitor.send(alert);
                }
            });
        }
    }
}

impl Handler<CommandRefused> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: CommandRefused, ctx: &mut Self::Context) {
        self.summary.add_refused();
        self.refusals.count += 1;
        self.refusals.last = Some(message.reason);
        if let Some(wait) = self.refusals.schedule() {
            ctx.run_later(wait, |monitor, _| {
                if let Some(alert) = monitor.take_refusal_alert() {
                    monitor.send(alert);
                }
            });
        }
    }
}

impl Handler<StoreFailing> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: StoreFailing, _ctx: &mut Self::Context) {
        self.send(store_alert(&message.error));
    }
}

impl Handler<StoreRecovered> for QualityMonitor {
    type Result = ();

    fn handle(&mut self, message: StoreRecovered, _ctx: &mut Self::Context) {
        self.send(store_recovery(message.lasted));
    }
}

impl Handler<SendWhatIsLeft> for QualityMonitor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: SendWhatIsLeft, _ctx: &mut Self::Context) -> Self::Result {
        let left = [self.take_source_alert(), self.take_refusal_alert(), self.take_summary()];
        let (outbox, node_id) = (self.outbox.clone(), self.node_id.clone());
        Box::pin(async move {
            for notification in left.into_iter().flatten() {
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
