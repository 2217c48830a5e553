// Upstream: adapters::kafka, cli, letter, replay_record, replayer, standalone
// Downstream: actors
// Role: The headers of dead letters and replayed commands.

use actors::domain::{ReplayMark, TraceIds};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

/// The topic of the failed command. Every dead letter has it, and no other record of the topic.
pub const TOPIC: &str = "dlq.topic";
/// The partition of the failed command.
pub const PARTITION: &str = "dlq.partition";
/// The offset of the failed command.
pub const OFFSET: &str = "dlq.offset";
/// Why the command failed.
pub const REASON: &str = "dlq.reason";
/// The class of the reason.
pub const CLASS: &str = "dlq.class";
/// The number of attempts.
pub const ATTEMPTS: &str = "dlq.attempts";
/// The worker that gave the command up.
pub const NODE: &str = "dlq.node";
/// When it gave the command up.
pub const TIME: &str = "dlq.time";
/// The original length of a payload that was cut.
pub const CUT_FROM: &str = "dlq.cut_from";

/// The dead letter that a replayed command is from.
const MARK_LETTER: &str = "replay.letter";
/// How often the command was replayed.
const MARK_NUMBER: &str = "replay.number";

/// The ids of a request, as Ginkgo names them.
const TRACE_ID: &str = "trace_id";
/// The id of the sender's step.
const SPAN_ID: &str = "span_id";
/// Both ids, as W3C Trace Context names them.
const TRACEPARENT: &str = "traceparent";

/// The longest name of a letter that is read: other clients may write anything.
const MAX_NAME: usize = 64;

/// A header of a message, as text.
pub fn text(message: &impl Message, name: &str) -> Option<String> {
    let header = message.headers()?.iter().find(|header| header.key == name)?;
    Some(String::from_utf8_lossy(header.value?).into_owned())
}

/// A header of a message, parsed.
pub fn parsed<T: std::str::FromStr>(message: &impl Message, name: &str) -> Option<T> {
    text(message, name)?.parse().ok()
}

/// The mark of a replayed command, or of the dead letter of one.
pub fn mark_of(message: &impl Message) -> Option<ReplayMark> {
    let letter = text(message, MARK_LETTER).filter(|letter| letter.len() <= MAX_NAME)?;
    Some(ReplayMark { letter, number: parsed(message, MARK_NUMBER)? })
}

/// The trace ids of a message.
pub fn trace_of(message: &impl Message) -> TraceIds {
    let named = TraceIds::new(text(message, TRACE_ID).as_deref(), text(message, SPAN_ID).as_deref());
    let parent = text(message, TRACEPARENT).and_then(|header| TraceIds::of_traceparent(&header));
    named.or(&parent.unwrap_or_default())
}

/// The headers with these trace ids, if there are some.
pub fn with_trace(headers: OwnedHeaders, ids: &TraceIds) -> OwnedHeaders {
    let ids = [(TRACE_ID, &ids.trace), (SPAN_ID, &ids.span)];
    ids.into_iter().fold(headers, |headers, (key, id)| match id {
        Some(id) => with(headers, key, id),
        None => headers,
    })
}

/// The headers with this mark, if there is one.
pub fn with_mark(headers: OwnedHeaders, mark: Option<&ReplayMark>) -> OwnedHeaders {
    match mark {
        None => headers,
        Some(ReplayMark { letter, number }) => {
            with(with(headers, MARK_LETTER, letter), MARK_NUMBER, &number.to_string())
        }
    }
}

/// The headers with one more.
pub fn with(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}
