// Upstream: heartbeat
// Downstream: adapters, request_counts
// Role: Finds out which commands of the worker a Redis user may send, without changing anything.

use redis::Cmd;
use redis::aio::MultiplexedConnection;

use crate::adapters::probe::Answer;
use crate::adapters::redis::request_counts::PREFIX as REQUESTS;

/// Adds the commands that the worker needs. Those that the user may not send are faults, if a heartbeat fails without
/// them, and facts otherwise. The keys are not there: the names of workers have no brackets.
pub async fn with_rights(mut answer: Answer, prefix: &str, connection: &mut MultiplexedConnection) -> Answer {
    let key = format!("{prefix}:(check)");
    let [requests, alerts, stored] =
        [format!("{REQUESTS}:(check)"), format!("{prefix}.alerts:(check)"), format!("{prefix}.stored:(check)")];
    for (name, command, without) in commands(&key, &requests, &alerts, &stored) {
        if let Err(error) = command.exec_async(connection).await {
            answer = match without {
                None => answer.with_fault(format!("the user may not {name}: {error}")),
                Some(lost) => answer.with(format!("the user may not {name}, so {lost}: {error}")),
            };
        }
    }
    answer.with(format!(
        "needs GET, SET, DEL, SCAN on {prefix}:*, SET on {prefix}.claim:*, GET, SET on {prefix}.stored:*, EVAL \
         on {REQUESTS}:* and {prefix}.alerts:*"
    ))
}

/// Commands, with what the worker lacks without them; `None` if heartbeats fail.
fn commands(key: &str, requests: &str, alerts: &str, stored: &str) -> [(String, Cmd, Option<&'static str>); 8] {
    let fetched_again = Some("a command that is delivered again fetches stored rows again");
    let eval = |key: &str| redis::cmd("EVAL").arg("return 1").arg(1).arg(key).clone();
    [
        (format!("GET {key}"), redis::cmd("GET").arg(key).clone(), None),
        (format!("SET {key}"), redis::cmd("SET").arg(key).arg("").arg("XX").arg("PX").arg(1).clone(), None),
        (format!("DEL {key}"), redis::cmd("DEL").arg(key).clone(), None),
        (format!("GET {stored}"), redis::cmd("GET").arg(stored).clone(), fetched_again),
        (
            format!("SET {stored}"),
            redis::cmd("SET").arg(stored).arg("").arg("XX").arg("PX").arg(1).clone(),
            fetched_again,
        ),
        (
            format!("SCAN {key}"),
            redis::cmd("SCAN").arg(0).arg("MATCH").arg(key).arg("COUNT").arg(1).clone(),
            Some("`status` does not see the workers"),
        ),
        (format!("EVAL on {requests}"), eval(requests), Some("workers with one account do not share its limits")),
        (format!("EVAL on {alerts}"), eval(alerts), Some("alerts are not shared with the other workers")),
    ]
}
