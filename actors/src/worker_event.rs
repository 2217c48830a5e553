// Upstream: actors::lifecycle
// Downstream: actors::domain::notification, actors::heartbeat, actors::supervision::board
// Role: The worker's own events in words: started, stopped, in error.

use serde_json::json;

use crate::domain::{Level, Notification};
use crate::heartbeat::Identity;
use crate::supervision::Board;

/// A lifecycle event, with the words of Ginkgo's own.
pub fn worker_event(
    identity: &Identity,
    board: &Board,
    name: &'static str,
    level: Level,
    title: &str,
    reason: Option<&str>,
) -> Notification {
    let (node_id, host) = (identity.node_id.as_ref(), identity.host.as_ref());
    let (messages, bars, errors) = (board.commands_resolved.get(), board.rows_written.get(), board.errors.get());
    let content = match (name, reason) {
        ("STARTED", _) => format!("DataWorker `{node_id}` started on {host}"),
        (_, Some(reason)) => format!("DataWorker `{node_id}` error: {reason}"),
        _ => format!("DataWorker `{node_id}` stopped (Messages: {messages}, Bars: {bars}, Errors: {errors})"),
    };
    Notification {
        kind: "data_worker_event",
        level,
        title: title.to_owned(),
        content,
        fields: vec![
            ("node_id", node_id.to_owned()),
            ("host", host.to_owned()),
            ("status", board.lifecycle().as_str().to_owned()),
        ],
        data: json!({
            "event": name,
            "node_id": node_id,
            "host": host,
            "status": board.lifecycle().as_str(),
            "messages_processed": messages,
            "bars_written": bars,
            "errors": errors,
            "reason": reason,
        }),
    }
}
