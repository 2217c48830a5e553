// Upstream: actor
// Downstream: domain, fetcher, links, ports, publisher, work
// Role: Splits a command with many codes into smaller commands, by code or by day, for the whole consumer group.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::command_router::links::RouterLinks;
use crate::command_router::publisher::CommandPublisher;
use crate::command_router::work::Work;
use crate::domain::message::message_of;
use crate::domain::{Code, CommandError, CommandPart, DateRange};
use crate::fetcher::PlanCommand;
use crate::ports::Delivery;

/// Splits commands and publishes the parts.
pub struct CommandSplitter {
    /// The Fetcher, which knows whether a command takes fewer calls by day, and the QualityMonitor.
    pub links: Arc<RouterLinks>,
    /// Publishes the parts.
    pub publisher: CommandPublisher,
    /// Maximum number of codes of a part, unless it is planned by day.
    pub max_codes: usize,
}

impl CommandSplitter {
    /// Splits a command and publishes its parts.
    pub async fn split(self, delivery: Delivery, work: Work, codes: Arc<[Code]>) {
        let days = match work {
            Work::Bars(bars) => {
                let planned = self.links.fetcher.send(PlanCommand { codes: codes.clone(), bars }).await;
                planned.unwrap_or_else(|error| {
                    tracing::debug!(%error, "the Fetcher ended; the command is split by code");
                    None
                })
            }
            _ => None,
        };
        let parent = Parent { payload: &delivery.command().payload, id: delivery.command().to_string() };
        let parts = match days {
            Some(days) => parent.by_day(&codes, &days),
            None => parent.by_code(&codes, self.max_codes),
        };
        match parts {
            Ok(parts) => self.publisher.parts(delivery, parts).await,
            Err(error) => {
                let (quality, reason) = (self.links.quality.clone(), error.to_string());
                self.publisher.refuse(quality, delivery, "bad_command", reason).await;
            }
        }
    }
}

/// The command that is split.
struct Parent<'a> {
    payload: &'a [u8],
    /// The correlation id of the parts, if the message has none.
    id: String,
}

impl Parent<'_> {
    /// Copies of the message, each with at most `max_codes` of the codes.
    fn by_code(&self, codes: &[Code], max_codes: usize) -> Result<Vec<CommandPart>, CommandError> {
        let chunks = codes.chunks(max_codes.max(1));
        self.parts(chunks.map(|codes| (codes, codes.first().map(ToString::to_string).unwrap_or_default(), Map::new())))
    }

    /// Copies of the message, each with all codes and one of the ranges of days.
    fn by_day(&self, codes: &[Code], ranges: &[DateRange]) -> Result<Vec<CommandPart>, CommandError> {
        self.parts(ranges.iter().map(|range| {
            let (start, end) = (range.start.format("%Y%m%d").to_string(), range.end.format("%Y%m%d").to_string());
            let own = [("start_date", json!(start)), ("end_date", json!(end)), ("by_day", json!(true))];
            (codes, start.clone(), own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        }))
    }

    /// The parts with these codes, keys and parameters of their own. Each has the correlation id of the parent command.
    fn parts<'c>(
        &self,
        parts: impl Iterator<Item = (&'c [Code], String, Map<String, Value>)>,
    ) -> Result<Vec<CommandPart>, CommandError> {
        let mut parent = message_of(self.payload)?.unwrap_or_default();
        let correlation_id = ["correlation_id", "request_id", "message_id"]
            .iter()
            .find_map(|field| parent.get(*field).and_then(Value::as_str))
            .unwrap_or(&self.id)
            .to_owned();
        parent.insert("correlation_id".to_owned(), json!(correlation_id));
        let common = match parent.remove("params") {
            Some(Value::Object(params)) => params,
            _ => Map::new(),
        };
        let part = |(codes, key, own): (&[Code], String, Map<String, Value>)| {
            let mut params = common.clone();
            params.remove("code");
            params.insert("codes".to_owned(), codes.iter().map(Code::as_str).collect());
            params.extend(own);
            let mut message = parent.clone();
            message.insert("params".to_owned(), Value::Object(params));
            CommandPart { key, payload: Value::Object(message).to_string() }
        };
        Ok(parts.map(part).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CodeSelection, ControlCommand, Instruction};

    fn of(payload: &str) -> Parent<'_> {
        Parent { payload: payload.as_bytes(), id: "t[0]@7".to_owned() }
    }

    #[test]
    fn parts_by_day_have_all_codes_and_their_own_days() {
        let codes: Vec<Code> = (0..120).map(|n| format!("{n:06}.SZ").parse().unwrap()).collect();
        let day = |text: &str| -> chrono::NaiveDate { text.parse().unwrap() };
        let ranges = [("2024-01-01", "2024-01-31"), ("2024-02-01", "2024-02-29")]
            .map(|(start, end)| DateRange { start: day(start), end: day(end) });
        let parent = r#"{"command":"bar_snapshot","params":{"days":40,"code":"","end_date":"20240229","x":1}}"#;
        let parts = of(parent).by_day(&codes, &ranges).unwrap();
        assert_eq!(parts.iter().map(|part| part.key.as_str()).collect::<Vec<_>>(), ["20240101", "20240201"]);
        for (part, range) in parts.iter().zip(ranges) {
            let command = ControlCommand::parse(part.payload.as_bytes()).unwrap();
            assert_eq!((command.correlation_id.as_deref(), &command.ignored[..]), (Some("t[0]@7"), &["x".into()][..]));
            let Instruction::BarSnapshot(snapshot) = command.instruction else { panic!("{part:?}") };
            assert_eq!(snapshot.codes, CodeSelection::These(codes.clone()));
            assert_eq!((snapshot.bars.range.start, snapshot.bars.range.end), (Some(range.start), Some(range.end)));
            assert!(snapshot.bars.by_day);
        }
    }

    #[test]
    fn the_parts_are_the_whole_and_keep_everything_else() {
        let codes: Vec<Code> = (0..120).map(|n| format!("{n:06}.SZ").parse().unwrap()).collect();
        let parent =
            r#"{"command":"bar_snapshot","timestamp":"2026-08-10T21:10:00","params":{"full":true},"request_id":"r"}"#;
        let parts = of(parent).by_code(&codes, 50).unwrap();
        assert_eq!(parts.len(), 3);
        let mut all = Vec::new();
        for part in &parts {
            let command = ControlCommand::parse(part.payload.as_bytes()).unwrap();
            assert_eq!(command.correlation_id.as_deref(), Some("r"));
            assert!(command.issued_at.is_some());
            let Instruction::BarSnapshot(snapshot) = command.instruction else { panic!("{part:?}") };
            assert_eq!(snapshot.bars.mode, crate::domain::SyncMode::Replace);
            let CodeSelection::These(codes) = snapshot.codes else { panic!("{part:?}") };
            assert!(codes.len() <= 50 && part.key == codes[0].as_str());
            all.extend(codes);
        }
        assert_eq!(all, codes);
        let without_id = of(r#"{"command":"bar_snapshot"}"#).by_code(&codes, 500).unwrap();
        assert!(without_id[0].payload.contains(r#""correlation_id":"t[0]@7""#), "{}", without_id[0].payload);
    }
}
