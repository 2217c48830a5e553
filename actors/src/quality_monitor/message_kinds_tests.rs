// Upstream: cargo
// Downstream: many
// Role: Tests every kind of message to people with empty and with huge contents against Discord's limits.

use std::time::Duration;

use chrono::Utc;
use tokio::time::Instant;

use crate::domain::notification::assert_fits_discord;
use crate::domain::{
    Anomaly, Identity, JobKey, Notification, QualityReport, QualitySummary, Rule, Subject, TaskCounts, TaskReport,
};
use crate::notifications::WorkerEvent;
use crate::ports::{SourceError, SourceErrorKind, StoreError, StoreErrorClass};
use crate::quality_monitor::alert_draft::AlertDraft;
use crate::quality_monitor::alert_state::AlertTransition;
use crate::quality_monitor::failure_alerts::{SourceAlert, log_alert, refusal_alert};
use crate::quality_monitor::health_alert::HealthAlert;
use crate::quality_monitor::refused_source_alert::RefusedSourceAlerts;
use crate::quality_monitor::store_alerts::StoreAlerts;
use crate::quality_monitor::threshold_alerts::threshold_alerts;
use crate::quality_monitor::{StoreFailing, StoreRecovered};
use crate::settings::{AlertSettings, QualitySettings};
use crate::supervision::{RefusedSource, StatusBoard};

/// A limit of examples that a configuration may have.
const MAX_EXAMPLES: usize = 1_000;

fn worker_events(text: &str) -> Vec<Notification> {
    let many = vec![text.to_owned(); 100];
    let events = [
        WorkerEvent::Started,
        WorkerEvent::Stopped,
        WorkerEvent::Failed(text.to_owned()),
        WorkerEvent::Paused,
        WorkerEvent::Resumed,
        WorkerEvent::Alive,
        WorkerEvent::Reloaded(many.clone()),
        WorkerEvent::ReloadUnchanged,
        WorkerEvent::ReloadRefused(many),
    ];
    let identity = Identity { node_id: text.into(), host: text.into(), http_address: None };
    events.iter().map(|event| event.to_notification(&identity, &StatusBoard::default(), None)).collect()
}

/// Summaries without any task, with refused commands only, and of a whole market in which everything is wrong.
fn summaries(text: &str) -> Vec<QualitySummary> {
    let quality = QualitySettings { max_examples: MAX_EXAMPLES, ..QualitySettings::default() };
    let mut refused = QualitySummary::default();
    refused.add_refused();
    let mut market = QualitySummary::default();
    for n in 0..6_000 {
        let code = format!("{n:06}.SZ").parse().unwrap();
        let mut counts = TaskCounts { expected: 9, missing: 9, fetched: 9, ..TaskCounts::default() };
        counts.skipped.insert(Rule::PriceNotPositive, 9);
        let anomaly =
            Anomaly { code, timestamp: None, field: "open", value: text.into(), rule: Rule::PriceNotPositive };
        let report = TaskReport { counts, anomalies: vec![anomaly], backfill: None };
        market.add_finished(Subject::Code(code), &report, Some(Duration::from_secs(100_000)), &quality);
        market.add_failed(Subject::Code(code), text);
    }
    market.commands.extend(["bar_snapshot", "adjustfactor", "tick", "stockinfo", "trade_day"]);
    vec![QualitySummary::default(), refused, market]
}

fn reports(text: &str) -> Vec<Notification> {
    let report =
        |job, summary| QualityReport::new(text, job, Utc::now(), Utc::now(), summary).to_notification(MAX_EXAMPLES);
    let job = |id| JobKey { id, command: "bar_snapshot", sender: text.to_owned() };
    let mut messages = Vec::new();
    for summary in summaries(text) {
        messages.push(report(None, summary.clone()));
        messages.push(report(Some(job(None)), summary.clone()));
        messages.push(report(Some(job(Some(text.to_owned()))), summary));
    }
    messages
}

fn alerts(text: &str) -> Vec<Notification> {
    let (limits, now) = (AlertSettings::default(), Instant::now());
    let quality = QualitySettings { max_examples: MAX_EXAMPLES, ..QualitySettings::default() };
    let mut drafts: Vec<AlertDraft> = Vec::new();
    for summary in summaries(text).iter().rev() {
        drafts.extend(threshold_alerts(summary, &quality));
    }
    let mut source = SourceAlert::default();
    for n in 0..6_000 {
        let kind = SourceErrorKind::Server(text.to_owned());
        let error = SourceError { source_name: "tushare", request: text.to_owned(), kind };
        source.failed("tick", Subject::Code(format!("{n:06}.SZ").parse().unwrap()), error, MAX_EXAMPLES);
    }
    drafts.extend(source.end_interval(&limits));
    source.succeeded("tick");
    drafts.extend(source.end_interval(&limits));
    let mut stores = StoreAlerts::default();
    let error = StoreError {
        store: text.to_owned(),
        operation: text.to_owned(),
        class: StoreErrorClass::Access,
        reason: text.to_owned(),
    };
    let lasting = Duration::from_secs(90);
    drafts.push(stores.failing(StoreFailing { data_name: "bars", error, lasting, is_awaited: true }, &limits));
    let recovered = StoreRecovered { data_name: "bars", is_write: true, lasted: lasting };
    drafts.push(stores.recovered(recovered, &limits));
    stores.wrote("lists");
    drafts.extend(stores.end_interval(&limits));
    let mut health = HealthAlert::default();
    drafts.extend(health.judge(text, None, &limits, now));
    drafts.extend(health.judge(text, Some(text), &limits, now));
    drafts.extend(health.judge(text, None, &limits, now));
    let mut refused = RefusedSourceAlerts::default();
    let source = RefusedSource { name: "tushare", reason: text.to_owned(), since: now };
    drafts.extend(refused.judge(&[source], &limits, now));
    drafts.extend(refused.judge(&[], &limits, now));
    drafts.extend(refused.answered(["tdx"].into_iter(), &limits));
    let transitions = |draft: AlertDraft| match draft.level {
        Some(_) => [AlertTransition::Raised, AlertTransition::Escalated, AlertTransition::Lasting]
            .map(|t| (draft.words)(t))
            .to_vec(),
        None => vec![(draft.words)(AlertTransition::Resolved)],
    };
    let fixed = [refusal_alert(7, 0, text), refusal_alert(7, 7, text), log_alert(text)];
    fixed.into_iter().chain(drafts.into_iter().flat_map(transitions)).collect()
}

#[test]
fn every_kind_of_message_fits_discord() {
    for text in ["", " ", "x", &"很长的原因😀 ".repeat(3_000)] {
        let messages = [worker_events(text), reports(text), alerts(text)].concat();
        assert!(messages.len() >= 9 + 9 + 10, "{}", messages.len());
        for message in messages {
            assert_fits_discord(&message.to_json("n1", Utc::now()));
        }
    }
}

#[test]
fn report_on_refused_commands_has_a_task_type() {
    let mut summary = QualitySummary::default();
    summary.add_refused();
    let message = QualityReport::new("n1", None, Utc::now(), Utc::now(), summary).to_notification(20);
    assert!(message.fields.contains(&("task_type", "none".to_owned())), "{:?}", message.fields);
    assert_eq!(message.data["task_type"], "none");
}
