// Upstream: gaps, main
// Downstream: actors, adapters::kafka, cli, config, follow, validate
// Role: Implements `data-worker send`, which publishes a command or an order and follows its outcome.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use actors::domain::{OrderKind, shanghai_clock};
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::follow::{EXIT_NO_OUTCOME, Follower, POLL_INTERVAL};
use super::validate::{commands_help, validate};
use crate::adapters::kafka::admin_client::{AdminClient, AdminClientError, Mark};
use crate::config::KafkaSection;

/// Wait for further answers after the first answer to an order for all workers.
const MORE_ANSWERS: Duration = Duration::from_secs(2);

/// Options of `data-worker send`.
#[derive(Debug, Args)]
#[command(after_help = commands_help())]
pub struct SendOptions {
    /// Configuration file; default: the file that a worker would use, see docs/configuration.md.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Waits for the outcome of the command with all parts of it, and prints the row counts; exit code 1 for a dead
    /// letter or a refused order, 2 if there is no outcome within --timeout.
    #[arg(long)]
    wait: bool,
    /// Maximum wait in seconds.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Command or order; see the list below.
    command: String,
    /// Stock codes, separated by commas; each gets its own command, as Ginkgo does it.
    #[arg(long, visible_alias = "codes", value_delimiter = ',')]
    code: Vec<String>,
    /// Fetches the whole history and replaces all stored rows.
    #[arg(long)]
    full: bool,
    /// Replaces the stored rows in the range.
    #[arg(long)]
    force: bool,
    /// Node id of the only worker that the order addresses.
    #[arg(long)]
    node: Option<String>,
    /// Additional parameter, such as `start_date=20240102`; may be repeated.
    #[arg(long = "param", value_parser = parameter)]
    params: Vec<(String, Value)>,
}

/// Parses `name=value`. The value is JSON if it parses as JSON other than a number, otherwise text: dates are digits.
fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form name=value"))?;
    let json = serde_json::from_str(value).ok().filter(|value: &Value| !value.is_number());
    Ok((name.to_owned(), json.unwrap_or_else(|| value.into())))
}

impl SendOptions {
    /// Sends the messages and waits if requested. Exit code 0: sent and, with `--wait`, done.
    pub fn run(self) -> ExitCode {
        let loaded = match super::load(self.config.as_deref()) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        let kafka = &loaded.settings.kafka;
        let outcome = match OrderKind::named(&self.command) {
            Some(order) => self.send_order(kafka, order),
            None => self.send_commands(kafka),
        };
        outcome.unwrap_or_else(|error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        })
    }

    fn message(&self, code: Option<&String>, id: &str) -> String {
        let mut params = Map::new();
        if self.full || self.force {
            params.insert("full".to_owned(), self.full.into());
            params.insert("force".to_owned(), self.force.into());
        }
        params.extend(self.params.iter().cloned());
        let order = OrderKind::named(&self.command);
        params.extend(
            self.node.as_ref().filter(|_| order.is_some()).map(|node| ("node_id".to_owned(), node.as_str().into())),
        );
        params.extend(code.map(|code| ("code".to_owned(), code.as_str().into())));
        json!({
            "command": self.command,
            "timestamp": shanghai_clock::now().format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
            "params": params,
            "source": "data-worker send",
            "correlation_id": id,
            "report_outcome": self.wait,
            "trace_id": null,
            "span_id": null,
        })
        .to_string()
    }

    fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.timeout)
    }

    /// What is wrong with the command, by the parser of the worker.
    fn problem(&self) -> Option<String> {
        let codes: Vec<Option<&String>> =
            if self.code.is_empty() { vec![None] } else { self.code.iter().map(Some).collect() };
        codes.into_iter().find_map(|code| validate(&self.command, &self.message(code, "")).err())
    }

    fn send_commands(&self, kafka: &KafkaSection) -> Result<ExitCode, AdminClientError> {
        if let Some(problem) = self.problem() {
            eprintln!("{problem}; nothing was sent");
            return Ok(ExitCode::FAILURE);
        }
        let admin = AdminClient::new(kafka)?;
        let topic = command_topic(kafka);
        let codes: Vec<Option<&String>> =
            if self.code.is_empty() { vec![None] } else { self.code.iter().map(Some).collect() };
        let mut open = Vec::with_capacity(codes.len());
        let id = uuid::Uuid::new_v4().simple().to_string();
        let follower = if self.wait { Some(Follower::begin(&admin, kafka, &id)?) } else { None };
        for code in codes {
            let position = admin.send(topic, &self.message(code, &id))?;
            let name = code.map_or_else(|| self.command.clone(), |code| format!("{} {code}", self.command));
            println!("{name}: sent to {}[{}]@{}", position.topic, position.partition, position.offset);
            open.push((name, position));
        }
        let Some(follower) = follower else { return Ok(ExitCode::SUCCESS) };
        follower.follow(open, Duration::from_secs(self.timeout))
    }

    fn send_order(&self, kafka: &KafkaSection, order: OrderKind) -> Result<ExitCode, AdminClientError> {
        let admin = AdminClient::new(kafka)?;
        let answers =
            if self.wait && order.is_answered() { Some(admin.mark(&kafka.notification_topic)?) } else { None };
        let id = uuid::Uuid::new_v4().simple().to_string();
        admin.send(&kafka.control_topic, &self.message(None, &id))?;
        println!("{}: sent to {}", self.command, kafka.control_topic);
        let Some(answers) = answers else { return Ok(ExitCode::SUCCESS) };
        self.gather(&admin, &answers, &id)
    }

    /// Prints the answers to an order: the first one if it addresses one worker, otherwise all that arrive within
    /// [`MORE_ANSWERS`] after the first.
    fn gather(&self, admin: &AdminClient, since: &Mark, id: &str) -> Result<ExitCode, AdminClientError> {
        let (deadline, mut first_at, mut refused, mut num_printed) = (self.deadline(), None, false, 0);
        loop {
            let answers: Vec<Answer> =
                admin.since(since)?.iter().filter_map(|record| Answer::to(id, &record.payload)).collect();
            for Answer { source, data, content } in answers.iter().skip(num_printed) {
                refused |= data.event == "RELOAD_REFUSED";
                println!("{source}: {}: {content}", data.event);
            }
            num_printed = answers.len();
            if num_printed > 0 {
                let since_first = first_at.get_or_insert_with(Instant::now).elapsed();
                if self.node.is_some() || since_first >= MORE_ANSWERS {
                    return Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS });
                }
            }
            if num_printed == 0 && Instant::now() >= deadline {
                println!("{}: no answer within {} s; is such a worker running?", self.command, self.timeout);
                return Ok(ExitCode::from(EXIT_NO_OUTCOME));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Ginkgo's topic for data commands: the first command topic that is not the control topic, otherwise the control
/// topic.
pub(super) fn command_topic(kafka: &KafkaSection) -> &str {
    let other = kafka.command_topics.iter().find(|topic| **topic != kafka.control_topic);
    other.map_or(kafka.control_topic.as_str(), String::as_str)
}

/// An event with which a worker answers an order.
#[derive(Deserialize)]
struct Answer {
    source: String,
    data: AnswerData,
    content: String,
}

#[derive(Deserialize)]
struct AnswerData {
    event: String,
    correlation_id: Option<String>,
}

impl Answer {
    fn to(id: &str, payload: &[u8]) -> Option<Self> {
        let answer: Self = serde_json::from_slice(payload).ok()?;
        (answer.data.correlation_id.as_deref() == Some(id)).then_some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_is_text_unless_non_numeric_json() {
        assert_eq!(parameter("start_date=20240102"), Ok(("start_date".to_owned(), json!("20240102"))));
        assert_eq!(parameter("full=true"), Ok(("full".to_owned(), json!(true))));
        assert_eq!(parameter("codes=[\"000001.SZ\"]"), Ok(("codes".to_owned(), json!(["000001.SZ"]))));
        assert!(parameter("full").is_err());
    }

    #[test]
    fn commands_go_to_ginkgo_s_own_topic() {
        assert_eq!(command_topic(&KafkaSection::default()), "ginkgo.data.commands");
        let control = KafkaSection::default().control_topic;
        let only = KafkaSection { command_topics: vec![control.clone()], ..KafkaSection::default() };
        assert_eq!(command_topic(&only), control);
    }
}
