// Upstream: many
// Downstream: message
// Role: The ids under which a sender follows a request through several programs.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::domain::message::message_of;

/// The longest id that is passed on, in bytes. W3C trace ids have 32; a longer text is not an id, and log lines and
/// headers repeat it.
const MAX_ID: usize = 128;

/// The ids of a request that a command belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceIds {
    /// The id of the request.
    pub trace: Option<Arc<str>>,
    /// The id of the sender's step.
    pub span: Option<Arc<str>>,
}

impl TraceIds {
    /// These ids. Empty and very long ones are left out.
    pub fn new(trace: Option<&str>, span: Option<&str>) -> Self {
        let id = |id: Option<&str>| id.filter(|id| (1..=MAX_ID).contains(&id.len())).map(Arc::from);
        Self { trace: id(trace), span: id(span) }
    }

    /// The ids of a `traceparent` header, `version-trace-span-flags` in lower-case hexadecimal digits (W3C Trace
    /// Context, section 3.2). `None` if it is not valid.
    pub fn of_traceparent(header: &str) -> Option<Self> {
        let mut fields = header.split('-');
        let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let is_id = |text: &str, length| is_hex(text, length) && text.bytes().any(|byte| byte != b'0');
        let is_version = is_hex(version, 2) && version != "ff" && (version != "00" || fields.next().is_none());
        let is_valid = is_version && is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2);
        is_valid.then(|| Self::new(Some(trace), Some(span)))
    }

    /// The ids in the body of a message, `trace_id` and `span_id`.
    pub fn of_message(message: &Map<String, Value>) -> Self {
        let text = |name| message.get(name).and_then(Value::as_str);
        Self::new(text("trace_id"), text("span_id"))
    }

    /// The ids in the bytes of a message, which may be no command at all.
    pub fn of_payload(payload: &[u8]) -> Self {
        let message = message_of(payload).ok().flatten();
        message.map(|message| Self::of_message(&message)).unwrap_or_default()
    }

    /// These ids; `others` if there is no trace id. A span belongs to the trace beside it.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        if self.trace.is_some() || others.trace.is_none() { self.clone() } else { others.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_valid_traceparent_gives_both_ids() {
        let of = |header: &str| TraceIds::of_traceparent(header);
        let wanted = TraceIds::new(Some(TRACE), Some("00f067aa0ba902b7"));
        assert_eq!(of(&format!("00-{TRACE}-00f067aa0ba902b7-01")), Some(wanted.clone()));
        assert_eq!(of(&format!("01-{TRACE}-00f067aa0ba902b7-01-more")), Some(wanted));
        for wrong in [
            String::new(),
            TRACE.to_owned(),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
        ] {
            assert_eq!(of(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_body_counts_before_the_headers() {
        let body = TraceIds::of_payload(br#"{"trace_id":"t1","span_id":null}"#);
        let headers = TraceIds::new(Some("t2"), Some("s2"));
        assert_eq!(body.or(&headers), TraceIds::new(Some("t1"), None), "a span of another trace is none of this one");
        assert_eq!(TraceIds::of_payload(br#""{\"trace_id\":\"t1\"}""#), body, "an object encoded once more");
        for nothing in ["no JSON", "7", r#"{"trace_id":7}"#, r#"{"trace_id":""}"#, r#"{"span_id":"s1"}"#] {
            assert_eq!(TraceIds::of_payload(nothing.as_bytes()).or(&headers), headers, "{nothing}");
        }
        assert_eq!(TraceIds::new(Some(&"x".repeat(129)), None), TraceIds::default());
    }
}
