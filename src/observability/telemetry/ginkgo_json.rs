// Upstream: telemetry
// Downstream: repeats
// Role: Formats log lines as JSON in the layout of Ginkgo's log collector.

use std::fmt;

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::observability::telemetry::repeats::RepeatLimit;

/// The event formatter for Ginkgo's log collector.
pub(super) struct GinkgoJson {
    host: String,
    repeats: RepeatLimit,
}

impl GinkgoJson {
    /// A formatter that writes this host name.
    pub(super) fn new(host: String) -> Self {
        Self { host, repeats: RepeatLimit::default() }
    }
}

impl<S, N> FormatEvent<S, N> for GinkgoJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let Some(kept_back) = self.repeats.admit(metadata) else { return Ok(()) };
        let mut fields = Labels::default();
        for span in ctx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let formatted = extensions.get::<FormattedFields<N>>();
            let parsed = formatted.and_then(|fields| serde_json::from_str::<Map<String, Value>>(fields).ok());
            fields.labels.extend(parsed.unwrap_or_default());
        }
        event.record(&mut fields);
        if kept_back > 0 {
            fields.labels.insert("kept_back".to_owned(), kept_back.into());
        }
        let ids =
            [("trace", "trace_id"), ("span", "span_id")].map(|(field, label)| (field, fields.labels.remove(label)));
        let mut line = json!({
            "@timestamp": Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
            "log": {
                "level": level_name(*metadata.level()),
                "logger": metadata.target(),
                "origin": { "file": metadata.file(), "line": metadata.line() },
            },
            "message": fields.message,
            "logger": metadata.target(),
            "labels": fields.labels,
            "process": { "pid": std::process::id(), "name": "data-worker" },
            "host": { "hostname": self.host },
            "ginkgo": { "log_category": "component" },
        });
        if let Some(line) = line.as_object_mut() {
            let known = ids.into_iter().filter_map(|(field, id)| Some((field.to_owned(), json!({ "id": id? }))));
            line.extend(known);
        }
        writeln!(writer, "{line}")
    }
}

/// The level names of Ginkgo's logs.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

#[derive(Default)]
struct Labels {
    message: String,
    labels: Map<String, Value>,
}

impl Labels {
    fn put(&mut self, field: &Field, value: Value) {
        self.labels.insert(field.name().to_owned(), value);
    }
}

impl Visit for Labels {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.put(field, format!("{value:?}").into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            _ => self.put(field, value.into()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
