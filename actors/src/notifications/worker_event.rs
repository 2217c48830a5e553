// Upstream: config_actor, notifications, quality_monitor, supervisor
// Downstream: domain, ports, publish, supervision
// Role: The events of the worker (started, stopped, paused, reloaded, …), their texts and their publication.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::domain::{Identity, Level, Notification};
use crate::notifications::publish;
use crate::ports::Outbox;
use crate::supervision::StatusBoard;

/// Maximum number of changed settings or problems listed in one event. The total is always included.
const MAX_NAMED: usize = 20;

/// An event of the worker as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerEvent {
    /// The worker accepts commands.
    Started,
    /// The worker stopped regularly.
    Stopped,
    /// The worker failed and stops; contains the reason.
    Failed(String),
    /// An operator paused the worker: it accepts no new commands.
    Paused,
    /// An operator resumed the worker: it accepts commands again.
    Resumed,
    /// The answer to an operator's heartbeat test.
    Alive,
    /// A new configuration was applied; contains the changed settings.
    Reloaded(Vec<String>),
    /// The configuration was reloaded and equals the active one.
    ReloadUnchanged,
    /// A new configuration was rejected; contains all problems.
    ReloadRefused(Vec<String>),
}

impl WorkerEvent {
    /// The event's name in notifications (`data.event`).
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::Stopped => "STOPPED",
            Self::Failed(_) => "ERROR",
            Self::Paused => "PAUSED",
            Self::Resumed => "RESUMED",
            Self::Alive => "HEARTBEAT",
            Self::Reloaded(_) => "RELOADED",
            Self::ReloadUnchanged => "RELOAD_UNCHANGED",
            Self::ReloadRefused(_) => "RELOAD_REFUSED",
        }
    }

    fn level(&self) -> Level {
        match self {
            Self::Started | Self::Resumed | Self::Alive | Self::Reloaded(_) | Self::ReloadUnchanged => Level::Info,
            Self::Stopped | Self::Paused => Level::Warning,
            Self::Failed(_) | Self::ReloadRefused(_) => Level::Error,
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Started => "数据采集 Worker 已启动",
            Self::Stopped => "数据采集 Worker 已停止",
            Self::Failed(_) => "数据采集 Worker 出错",
            Self::Paused => "数据采集 Worker 已暂停",
            Self::Resumed => "数据采集 Worker 已恢复",
            Self::Alive => "数据采集 Worker 心跳测试",
            Self::Reloaded(_) => "配置已重新加载",
            Self::ReloadUnchanged => "配置没有变化",
            Self::ReloadRefused(_) => "配置重新加载被拒绝",
        }
    }

    fn content(&self, identity: &Identity, board: &StatusBoard) -> String {
        let (node_id, host) = (&identity.node_id, &identity.host);
        match self {
            Self::Started => format!("DataWorker `{node_id}` started on {host}"),
            Self::Stopped => format!(
                "DataWorker `{node_id}` stopped (Messages: {}, Bars: {}, Errors: {})",
                board.counters.commands_resolved.get(),
                board.counters.rows_written.get(),
                board.counters.errors.get()
            ),
            Self::Failed(reason) => format!("DataWorker `{node_id}` error: {reason}"),
            Self::Paused => format!("DataWorker `{node_id}` accepts no new commands until it is resumed or restarted"),
            Self::Resumed => format!("DataWorker `{node_id}` accepts commands again"),
            Self::Alive => format!("DataWorker `{node_id}` on {host} is {}", board.lifecycle().as_str()),
            Self::Reloaded(changed) => format!("DataWorker `{node_id}` reloaded: {}", named(changed, ", ")),
            Self::ReloadUnchanged => format!("DataWorker `{node_id}`: the configuration has no changes"),
            Self::ReloadRefused(problems) => {
                format!(
                    "DataWorker `{node_id}` rejected the new configuration and keeps the old one: {}",
                    named(problems, "; ")
                )
            }
        }
    }

    fn detail(&self) -> Value {
        match self {
            Self::Failed(reason) => json!({"reason": reason}),
            Self::Reloaded(changed) => json!({"changed": first(changed), "changed_total": changed.len()}),
            Self::ReloadRefused(problems) => json!({"problems": first(problems), "problems_total": problems.len()}),
            _ => json!({}),
        }
    }

    /// The event as a notification, with the field names that Ginkgo uses.
    pub(crate) fn to_notification(
        &self,
        identity: &Identity,
        board: &StatusBoard,
        correlation_id: Option<&str>,
    ) -> Notification {
        let (node_id, host, status) = (identity.node_id.as_ref(), identity.host.as_ref(), board.lifecycle().as_str());
        let mut data = json!({
            "event": self.name(),
            "node_id": node_id,
            "host": host,
            "status": status,
            "messages_processed": board.counters.commands_resolved.get(),
            "bars_written": board.counters.rows_written.get(),
            "errors": board.counters.errors.get(),
            "uptime_seconds": board.progress.uptime().as_secs(),
            "correlation_id": correlation_id,
        });
        if let (Value::Object(data), Value::Object(detail)) = (&mut data, self.detail()) {
            data.extend(detail);
        }
        Notification {
            kind: "data_worker_event",
            level: self.level(),
            title: self.title().to_owned(),
            content: self.content(identity, board),
            fields: vec![("node_id", node_id.to_owned()), ("host", host.to_owned()), ("status", status.to_owned())],
            data,
        }
    }
}

fn first(items: &[String]) -> &[String] {
    items.get(..MAX_NAMED).unwrap_or(items)
}

fn named(items: &[String], separator: &str) -> String {
    let shown = first(items);
    let unnamed = items.len() - shown.len();
    let more = if unnamed > 0 { format!("{separator}and {unnamed} more") } else { String::new() };
    format!("{}{more}", shown.join(separator))
}

/// Publishes the events of one worker.
#[derive(Clone)]
pub struct Announcer {
    /// The worker that sends the events.
    pub identity: Identity,
    /// The worker's status board.
    pub board: Arc<StatusBoard>,
    /// Publishes the notifications.
    pub outbox: Arc<dyn Outbox>,
}

impl Announcer {
    /// Publishes an event and returns when it is published or given up. `correlation_id` is that of the operator order
    /// that the event answers.
    pub async fn announce(&self, event: &WorkerEvent, correlation_id: Option<&str>) {
        let notification = event.to_notification(&self.identity, &self.board, correlation_id);
        publish(self.outbox.as_ref(), &self.identity.node_id, &notification).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_problems_is_cut_and_counted() {
        let identity = Identity { node_id: "n1".into(), host: "h1".into(), http_address: None };
        let problems: Vec<String> = (0..30).map(|n| format!("problem {n}")).collect();
        let refused = WorkerEvent::ReloadRefused(problems);
        let notification = refused.to_notification(&identity, &StatusBoard::default(), Some("c1"));
        assert!(notification.content.ends_with("problem 19; and 10 more"), "{}", notification.content);
        assert_eq!(notification.data["problems_total"], 30);
        assert_eq!(notification.data["problems"].as_array().map(Vec::len), Some(20));
        assert_eq!(notification.data["correlation_id"], "c1");
        assert_eq!(notification.level, Level::Error);
    }
}
