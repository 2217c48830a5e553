// Upstream: demonstration, outcome
// Downstream: actors, sample
// Role: Builds the commands of the demonstration as Ginkgo sends them, and measures the effect of each.

use std::fmt;
use std::time::Duration;

use actors::domain::shanghai_clock;
use actors::supervision::StatusBoard;
use serde_json::{Value, json};

use crate::standalone::sample::{MADE_UP, REAL, SENDER};

/// A command of the demonstration.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// A short description.
    pub title: String,
    /// The message.
    pub payload: String,
    /// Whether the command must not write any rows.
    pub writes_nothing: bool,
}

/// The commands in order; each is sent after the previous one is resolved.
pub fn steps() -> Vec<Step> {
    let (real, made_up) = (REAL.code, MADE_UP.code);
    let cut_off = command(json!({ "code": real })).chars().take(40).collect();
    vec![
        Step { title: format!("incremental {real}"), payload: command(json!({ "code": real })), writes_nothing: false },
        Step {
            title: format!("incremental {real} again"),
            payload: command(json!({ "code": real })),
            writes_nothing: true,
        },
        Step {
            title: format!("full {real}"),
            payload: command(json!({ "code": real, "full": true })),
            writes_nothing: true,
        },
        Step {
            title: format!("full {made_up} (made up)"),
            payload: command(json!({ "code": made_up, "full": true })),
            writes_nothing: false,
        },
        Step { title: "a message that is cut off".to_owned(), payload: cut_off, writes_nothing: true },
    ]
}

fn command(params: Value) -> String {
    let timestamp = shanghai_clock::now().format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
    json!({ "command": "bar_snapshot", "timestamp": timestamp, "params": params, "source": SENDER }).to_string()
}

/// A snapshot of the worker's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Resolved commands, whatever their outcome.
    pub resolved: u64,
    /// Resolved commands that are dead letters.
    pub dead_lettered: u64,
    /// Fetched rows.
    pub fetched: u64,
    /// Newly stored rows.
    pub written: u64,
    /// Invalid rows.
    pub skipped: u64,
}

impl Figures {
    /// Reads the current counters.
    pub fn of(board: &StatusBoard) -> Self {
        Self {
            resolved: board.counters.commands_resolved.get(),
            dead_lettered: board.counters.commands_dead_lettered.get(),
            fetched: board.counters.rows_fetched.get(),
            written: board.counters.rows_written.get(),
            skipped: board.counters.rows_skipped.get(),
        }
    }

    /// The difference to an earlier snapshot.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            resolved: self.resolved - earlier.resolved,
            dead_lettered: self.dead_lettered - earlier.dead_lettered,
            fetched: self.fetched - earlier.fetched,
            written: self.written - earlier.written,
            skipped: self.skipped - earlier.skipped,
        }
    }
}

/// A resolved command.
#[derive(Debug, Clone, PartialEq)]
pub struct StepDone {
    /// The command.
    pub step: Step,
    /// The change of the counters.
    pub change: Figures,
    /// Time from sending to resolution.
    pub took: Duration,
}

impl fmt::Display for StepDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { dead_lettered, fetched, written, skipped, .. } = self.change;
        write!(f, "{:28} {:5.2} s  ", self.step.title, self.took.as_secs_f64())?;
        if dead_lettered > 0 {
            return write!(f, "recorded as a dead letter");
        }
        let unchanged = fetched.saturating_sub(written + skipped);
        write!(f, "{fetched:4} rows fetched, {written:4} written, {unchanged:4} unchanged, {skipped} skipped")
    }
}
