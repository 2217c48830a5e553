// Upstream: app, http
// Downstream: actors, observability, observability::metrics, store_check
// Role: Builds the HTTP answers of a worker: health, readiness, metrics and status.

use std::time::Duration;

use actors::domain::{Lifecycle, Stage};
use actors::ports::{FeedState, IntakePause, PartitionState};
use actors::supervision::{ActorSnapshot, Stalled};
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::observability::http::store_check::StoreCheck;
use crate::observability::metrics::Exposition;
use crate::observability::worker_view::WorkerView;

/// Maximum age of the last heartbeat of a ready worker: the time for which Ginkgo's readers consider it valid.
const REDIS_RECENTLY: Duration = Duration::from_secs(30);

/// One HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A text answer.
    pub fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    fn json(status: StatusCode, body: &Value) -> Self {
        Self { status, content_type: "application/json", body: format!("{body}\n") }
    }

    /// 200 if `good`, else 503.
    fn verdict(good: bool, body: &Value) -> Self {
        Self::json(if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, body)
    }
}

/// All endpoints of a worker.
#[derive(Debug)]
pub struct Answers {
    view: WorkerView,
    metrics: Exposition,
    store: StoreCheck,
    lists: StoreCheck,
}

impl Answers {
    /// The endpoints of one worker, with the checks of its store of bars and of its lists.
    pub fn new(view: WorkerView, metrics: Exposition, store: StoreCheck, lists: StoreCheck) -> Self {
        Self { view, metrics, store, lists }
    }

    /// The answer for a path.
    pub async fn to(&self, path: &str) -> Answer {
        match path {
            "/healthz" => self.health(),
            "/readyz" => self.readiness().await,
            "/metrics" => {
                let (status, content_type) = (StatusCode::OK, Exposition::CONTENT_TYPE);
                Answer { status, content_type, body: self.metrics.page() }
            }
            "/status" => Answer::json(StatusCode::OK, &status(&self.view)),
            _ => Answer::text(StatusCode::NOT_FOUND, "available paths: /healthz, /readyz, /metrics, /status\n"),
        }
    }

    /// Liveness: whether all actors and the consumer have been active within the time limit.
    fn health(&self) -> Answer {
        let late = self.view.board.progress.stalled(self.view.feed.state().since_last_poll);
        let body = json!({
            "status": if late.is_empty() { "alive" } else { "late" },
            "node_id": self.view.identity.node_id.as_ref(),
            "bound_seconds": Stalled::BOUND.as_secs(),
            "late": late.iter().map(late_json).collect::<Vec<_>>(),
        });
        Answer::verdict(late.is_empty(), &body)
    }

    /// Readiness: whether the worker takes commands and can execute them.
    async fn readiness(&self) -> Answer {
        let mut reasons = self.reasons_against();
        let (store, lists) = tokio::join!(self.store.answer(), self.lists.answer());
        reasons.extend(store.err().map(|reason| format!("ClickHouse: {reason}")));
        reasons.extend(lists.err().map(|reason| format!("MySQL: {reason}")));
        let body = json!({
            "status": if reasons.is_empty() { "ready" } else { "not ready" },
            "node_id": self.view.identity.node_id.as_ref(),
            "reasons": reasons,
        });
        Answer::verdict(reasons.is_empty(), &body)
    }

    fn reasons_against(&self) -> Vec<String> {
        let board = &self.view.board;
        let mut reasons = Vec::new();
        match board.lifecycle() {
            Lifecycle::Running => {}
            other => reasons.push(format!("the worker is {}", other.as_str())),
        }
        reasons.extend(board.rival());
        match self.view.feed.state() {
            FeedState { fault: Some(fault), .. } => reasons.push(fault),
            FeedState { unknown: Some(unknown), .. } => reasons.push(unknown),
            FeedState { joined: false, .. } => {
                reasons.push("the worker has not received an assignment from the consumer group".to_owned());
            }
            _ => {}
        }
        if board.gate.is_closed_by(IntakePause::Paused) {
            reasons.push("an operator paused the worker".to_owned());
        }
        if board.gate.is_closed_by(IntakePause::StoreOutage) {
            reasons.push("ClickHouse does not accept rows".to_owned());
        }
        reasons.extend(board.refused_sources.reason_to_wait());
        match board.progress.since_last_beat() {
            None => reasons.push("Redis has not accepted a heartbeat yet".to_owned()),
            Some(age) if age > REDIS_RECENTLY => {
                reasons.push(format!("Redis accepted the last heartbeat {} s ago", age.as_secs()));
            }
            Some(_) => {}
        }
        reasons
    }
}

fn late_json(late: &Stalled) -> Value {
    json!({ "part": late.part, "silent_seconds": late.silent_for.as_secs_f64(), "reason": late.to_string() })
}

/// The complete state of the worker.
fn status(view: &WorkerView) -> Value {
    let (board, identity, feed) = (&view.board, &view.identity, view.feed.state());
    let partitions = view.partitions();
    let closed_by: Vec<&str> = [IntakePause::Paused, IntakePause::StoreOutage]
        .into_iter()
        .filter(|reason| board.gate.is_closed_by(*reason))
        .map(IntakePause::as_str)
        .collect();
    json!({
        "node_id": identity.node_id.as_ref(),
        "host": identity.host.as_ref(),
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "status": view.lifecycle().as_str(),
        "illness": board.unhealthy_reason(),
        "uptime_seconds": board.progress.uptime().as_secs(),
        "heartbeat_age_seconds": board.progress.since_last_beat().map(|age| age.as_secs_f64()),
        "last_progress_seconds": board.progress.since_last_progress().as_secs_f64(),
        "config": { "generation": view.config_generation(), "reloads_refused": board.counters.reloads_refused.get() },
        "intake": { "open": closed_by.is_empty(), "closed_by": closed_by },
        "supervision": supervision(view),
        "tasks": Stage::ALL
            .iter()
            .map(|stage| (stage.as_str().to_owned(), board.counters.tasks_in(*stage).get().into()))
            .collect::<serde_json::Map<String, Value>>(),
        "buffered_rows": board.counters.rows_buffered.get(),
        "commands": {
            "resolved": board.counters.commands_resolved.get(),
            "unresolved": feed.num_unresolved,
            "oldest": feed.oldest.as_ref().map(|oldest| json!({
                "command": oldest.command.to_string(),
                "age_seconds": oldest.age.as_secs_f64(),
            })),
            "dead_lettered": board.counters.commands_dead_lettered.get(),
            "passed_over": board.counters.commands_passed_over.get(),
            "split": board.counters.commands_split.get(),
        },
        "rows": {
            "fetched": board.counters.rows_fetched.get(),
            "written": board.counters.rows_written.get(),
            "skipped": board.counters.rows_skipped.get(),
        },
        "errors": {
            "count": board.counters.errors.get(),
            "last": board.last_error(),
            "last_age_seconds": board.last_error_age().map(|age| age.as_secs()),
        },
        "feed": {
            "joined": feed.joined,
            "fault": feed.fault,
            "unknown": feed.unknown,
            "last_poll_seconds": feed.since_last_poll.as_secs_f64(),
            "rebuilds": feed.num_rebuilds,
            "lag": partitions.iter().map(|partition| partition.lag).sum::<Option<u64>>(),
        },
        "partitions": partitions.iter().map(partition_json).collect::<Vec<_>>(),
    })
}

/// The supervisor and its children, in start order.
fn supervision(view: &WorkerView) -> Value {
    let children: Vec<Value> = view.board.progress.actors().iter().map(|actor| actor_json(view, actor)).collect();
    json!({
        "actor": "supervisor",
        "state": view.board.lifecycle().as_str(),
        "restarts": view.board.progress.num_restarts(),
        "children": children,
    })
}

fn actor_json(view: &WorkerView, actor: &ActorSnapshot) -> Value {
    let state = match actor {
        ActorSnapshot { is_down: true, .. } => "restarting",
        ActorSnapshot { silent_for, .. } if *silent_for > Stalled::BOUND => "late",
        _ => "running",
    };
    // The tasks of an actor. Actors without a stage have only their mailbox.
    let stages: Vec<&Stage> = Stage::ALL.iter().filter(|stage| stage.actor() == actor.name).collect();
    let queue = stages.iter().map(|stage| view.board.counters.tasks_in(**stage).get()).reduce(|a, b| a + b);
    json!({
        "actor": actor.name,
        "state": state,
        "restarts": actor.num_restarts,
        "queue": queue,
        "last_progress_seconds": actor.silent_for.as_secs_f64(),
    })
}

fn partition_json(partition: &PartitionState) -> Value {
    json!({
        "topic": partition.topic.as_ref(),
        "partition": partition.partition,
        "position": partition.position,
        "committed": partition.committed,
        "end": partition.end,
        "lag": partition.lag,
        "unresolved": partition.num_unresolved,
    })
}
