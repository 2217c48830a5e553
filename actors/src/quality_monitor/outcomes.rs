// Upstream: actor
// Downstream: domain, messages
// Role: Collects the row counts of commands whose senders wait for them, and groups them into messages.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::quality_monitor::CommandEnded;

/// Number of outcomes at which the messages are due at once.
const MAX_HELD: usize = 500;

/// Outcomes of commands that no message contains yet.
#[derive(Debug, Default)]
pub struct Outcomes {
    by_job: BTreeMap<String, Vec<Value>>,
    num_held: usize,
}

impl Outcomes {
    /// Adds an outcome. Returns whether the messages are due now.
    pub fn add(&mut self, ended: CommandEnded) -> bool {
        let CommandEnded { correlation_id, command, counts, num_failed } = ended;
        let outcome = json!({
            "command": command,
            "records_fetched": counts.fetched,
            "records_written": counts.written,
            "records_unchanged": counts.unchanged,
            "records_skipped": counts.num_skipped(),
            "tasks_not_offered": counts.not_offered,
            "tasks_failed": num_failed,
        });
        self.by_job.entry(correlation_id).or_default().push(outcome);
        self.num_held += 1;
        self.num_held >= MAX_HELD
    }

    /// The messages with all outcomes so far, one per job. They are for the waiting program and not for people: without
    /// a
    /// `message_type`, Ginkgo's NotificationWorker delivers them to nobody.
    pub fn take(&mut self, node_id: &str, now: DateTime<Utc>) -> Vec<String> {
        self.num_held = 0;
        let message = |(correlation_id, outcomes): (String, Vec<Value>)| {
            json!({
                "type": "data_command_outcomes",
                "timestamp": now.to_rfc3339_opts(SecondsFormat::Micros, true),
                "source": node_id,
                "severity": "INFO",
                "data": { "correlation_id": correlation_id, "outcomes": outcomes },
            })
            .to_string()
        };
        std::mem::take(&mut self.by_job).into_iter().map(message).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TaskCounts;

    #[test]
    fn outcomes_are_grouped_by_job_and_sent_once() {
        let mut outcomes = Outcomes::default();
        let ended = |job: &str, offset| CommandEnded {
            correlation_id: job.to_owned(),
            command: format!("t[0]@{offset}"),
            counts: TaskCounts { fetched: 7, written: 2, unchanged: 5, ..TaskCounts::default() },
            num_failed: 1,
        };
        let due: Vec<bool> =
            [("a", 1), ("b", 2), ("a", 3)].map(|(job, offset)| outcomes.add(ended(job, offset))).into();
        assert_eq!(due, [false; 3]);
        let messages = outcomes.take("n1", Utc::now());
        assert_eq!(messages.len(), 2);
        let first: Value = serde_json::from_str(&messages[0]).unwrap();
        assert_eq!(first["message_type"], Value::Null);
        assert_eq!(first["data"]["correlation_id"], "a");
        let of_a = first["data"]["outcomes"].as_array().unwrap();
        assert_eq!((of_a.len(), &of_a[1]["command"], &of_a[1]["records_unchanged"]), (2, &json!("t[0]@3"), &json!(5)));
        assert!(outcomes.take("n1", Utc::now()).is_empty());
        assert!(
            (1..=MAX_HELD).map(|offset| outcomes.add(ended("c", offset))).eq((1..=MAX_HELD).map(|n| n == MAX_HELD))
        );
    }
}
