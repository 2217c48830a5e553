// Upstream: app, backfill, config, main, standalone
// Downstream: config, folder, ginkgo_json, text
// Role: Configures logging: JSON or text lines, the level filter, and one line per panic.

//! Logging.
//!
//! JSON lines have the layout that Ginkgo's log collector expects: `@timestamp` in UTC, `log.level`, `message`,
//! `ginkgo.log_category`. Other fields of the event and of the enclosing spans are in `labels`; the trace id of a
//! command is `trace.id`. Both formats limit repeated warnings and errors.

use std::io::{IsTerminal, Write};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

/// Log files in a folder.
mod folder;
/// JSON lines for Ginkgo's log collector.
mod ginkgo_json;
/// Limit of repeated lines.
mod repeats;
/// Text lines.
mod text;

use crate::config::{LogFormat, LogSection};
use ginkgo_json::GinkgoJson;
use text::Text;

/// Logging cannot be started or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("logging: {0}")]
pub struct TelemetryError(String);

/// The logging of the process.
#[derive(Debug, Clone)]
pub struct Telemetry {
    filter: reload::Handle<Targets, Registry>,
    /// Flushes the buffered lines to the folder when it is dropped.
    folder: Arc<Mutex<Option<WorkerGuard>>>,
}

/// The destination of JSON lines. Text lines always go to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonTo {
    /// Standard output, for services.
    Output,
    /// Standard error, for commands whose standard output is their result.
    ErrorStream,
}

/// Starts logging for the whole process, including panics. Call once per process.
pub fn start(section: &LogSection, json_to: JsonTo) -> Result<Telemetry, TelemetryError> {
    let text = match section.format {
        LogFormat::Json => false,
        LogFormat::Text => true,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let (filter, handle) = reload::Layer::new(filter(&section.level).map_err(TelemetryError)?);
    // An unusable folder is not fatal, because all lines also go to the output.
    let (folder, problem) = match folder::open(&section.folder) {
        Ok(folder) => (folder, None),
        Err(problem) => (None, Some(problem)),
    };
    let (folder, guard) = folder.unzip();
    let lines = if text {
        let shown = text_lines(std::io::stderr, std::io::stderr().is_terminal());
        shown.and_then(folder.map(json_lines)).boxed()
    } else {
        let output = match json_to {
            JsonTo::Output => BoxMakeWriter::new(std::io::stdout),
            JsonTo::ErrorStream => BoxMakeWriter::new(std::io::stderr),
        };
        match folder {
            Some(folder) => json_lines(output.and(folder)).boxed(),
            None => json_lines(output).boxed(),
        }
    };
    let lines = lines.with_filter(filter);
    let subscriber = tracing_subscriber::registry().with(lines);
    subscriber.try_init().map_err(|error| TelemetryError(error.to_string()))?;
    log_panics();
    if let Some(problem) = problem {
        tracing::warn!(
            folder = %section.folder.display(),
            problem,
            "log.folder is not writable; lines go to the output only"
        );
    }
    Ok(Telemetry { filter: handle, folder: Arc::new(Mutex::new(guard)) })
}

impl Telemetry {
    /// Writes the buffered lines to the folder; later lines go to the output alone. Called before the process ends: a
    /// clone that is still held somewhere would keep the last lines from being written.
    pub fn close(&self) {
        drop(self.folder.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Sets another level or filter. If it is invalid, the old one stays. The line format cannot change while the
    /// process runs.
    pub fn set_level(&self, level: &str) -> Result<(), TelemetryError> {
        let filter = filter(level).map_err(TelemetryError)?;
        self.filter.reload(filter).map_err(|error| TelemetryError(error.to_string()))
    }
}

/// Parses a level or a filter such as `info,data_worker::adapters::kafka=debug`.
///
/// A single word must be a level. The usual filter syntax takes it for a module, so a mistyped level would hide all
/// lines.
pub fn filter(text: &str) -> Result<Targets, String> {
    let mut targets = Targets::new();
    for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        targets = match directive.split_once('=') {
            None => targets.with_default(level(directive)?),
            Some((module, name)) => targets.with_target(module.trim(), level(name)?),
        };
    }
    if targets.iter().next().is_none() && targets.default_level().is_none() {
        return Err("it is empty; it must be a level such as info".to_owned());
    }
    Ok(targets)
}

/// Parses the level names of Rust and of Python's logging.
fn level(name: &str) -> Result<LevelFilter, String> {
    let name = name.trim();
    match name.to_ascii_lowercase().as_str() {
        "warning" => Ok(LevelFilter::WARN),
        "critical" => Ok(LevelFilter::ERROR),
        lower if !lower.is_empty() && !lower.starts_with(|c: char| c.is_ascii_digit()) => {
            LevelFilter::from_str(lower).map_err(|_| unknown_level(name))
        }
        _ => Err(unknown_level(name)),
    }
}

fn unknown_level(name: &str) -> String {
    let meant =
        meant_level(&name.to_ascii_lowercase()).map_or_else(String::new, |level| format!("; is {level} meant?"));
    format!("{name:.40?} is not a level; use off, error, warn, info, debug or trace{meant}")
}

/// The level that a mistyped one, or the word of another program, most likely means.
fn meant_level(name: &str) -> Option<&'static str> {
    let foreign = match name {
        "verbose" | "all" | "fine" => Some("debug"),
        "notice" | "normal" | "information" => Some("info"),
        "fatal" | "severe" | "emergency" | "alert" => Some("error"),
        "none" | "quiet" | "silent" => Some("off"),
        _ => None,
    };
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let near = || {
        let distances = levels.into_iter().map(|level| (strsim::damerau_levenshtein(name, level), level));
        distances
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, level)| *distance <= (level.len() / 3).max(1))
    };
    foreign.or_else(|| near().map(|(_, level)| level))
}

fn text_lines<S, W>(writer: W, colours: bool) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Internal errors are disabled: the library would report them on standard error and panic if it is closed.
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours).log_internal_errors(false);
    layer.event_format(Text::default())
}

fn json_lines<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let format = GinkgoJson::new(gethostname::gethostname().to_string_lossy().into_owned());
    tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .log_internal_errors(false)
        .fmt_fields(JsonFields::new())
        .event_format(format)
}

/// Logs each panic as one line with location, thread and message, instead of the default output on standard error.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(|s| s.as_str()));
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(target: "panic", place, thread, "panicked: {}", text.unwrap_or("no message"));
        // The process may end now, and buffered lines would be lost.
        let _ = std::io::stdout().flush();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines logged by `body`, as JSON.
    fn logged(level: &str, body: impl FnOnce()) -> Vec<Value> {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let lines = json_lines(move || writer.clone()).with_filter(filter(level).unwrap());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), body);
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_has_ginkgo_s_shape_and_stays_one_line() {
        let lines = logged("info", || {
            let _span = tracing::info_span!("command", code = "000001.SZ").entered();
            tracing::warn!(rows = 7, share = 0.5, "two\nlines of \"{}\"", "text");
            tracing::debug!("not shown");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert_eq!(line["log"]["level"], "warning");
        assert_eq!(line["message"], "two\nlines of \"text\"");
        assert_eq!(line["labels"], json!({"code": "000001.SZ", "rows": 7, "share": 0.5}));
        assert_eq!(line["ginkgo"]["log_category"], "component");
        assert_eq!(line["process"]["pid"], std::process::id());
        assert!(line["logger"].as_str().unwrap().starts_with("data_worker::observability::telemetry"));
        let timestamp = line["@timestamp"].as_str().unwrap();
        assert!(timestamp.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(timestamp).is_ok(), "{timestamp}");
    }

    #[test]
    fn a_commands_ids_are_on_every_line_in_its_span() {
        let lines = logged("error", || {
            let command = tracing::error_span!("command", command_id = "c1", trace_id = "t1", span_id = "s1");
            let _entered = command.entered();
            tracing::error!("failed");
        });
        assert_eq!((&lines[0]["trace"], &lines[0]["labels"]), (&json!({"id": "t1"}), &json!({"command_id": "c1"})));
        assert_eq!(lines[0]["span"], json!({"id": "s1"}));
        assert!(logged("error", || tracing::error!("alone"))[0].get("trace").is_none());
    }

    #[test]
    fn limits_equal_errors_and_passes_other_lines() {
        let lines = logged("info", || {
            for n in 0..100 {
                tracing::warn!(n, "again");
                tracing::info!(n, "news");
            }
            tracing::warn!("another place");
        });
        let shown = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
        assert_eq!((shown("again"), shown("news"), shown("another place")), (20, 100, 1));
    }

    #[test]
    fn a_filter_names_levels_and_modules() {
        let lines = logged("warn,data_worker::observability::telemetry=debug", || {
            tracing::debug!("shown");
            tracing::info!(target: "other", "not shown");
        });
        assert_eq!(lines.len(), 1);
        for text in ["info", "INFO", "WARNING", "off", "info, actors=trace"] {
            assert!(filter(text).is_ok(), "{text}");
        }
        for text in ["", ",", "inof", "info,data_worker", "a=b", "7", "a="] {
            assert!(filter(text).is_err(), "{text}");
        }
        assert!(filter("inof").unwrap_err().contains("\"inof\" is not a level"));
        for (text, meant) in [("inof", "info"), ("verbose", "debug"), ("info,actors=dbug", "debug")] {
            assert!(filter(text).unwrap_err().ends_with(&format!("; is {meant} meant?")), "{text}");
        }
        assert!(!filter("loudest").unwrap_err().contains("meant"));
    }

    #[test]
    fn the_level_can_change_while_logging() {
        let (layer, handle) = reload::Layer::new(filter("warn").unwrap());
        let telemetry = Telemetry { filter: handle, folder: Arc::default() };
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::registry().with(json_lines(move || writer.clone()).with_filter(layer));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("too early");
            assert!(telemetry.set_level("nonsense").is_err());
            telemetry.set_level("info").unwrap();
            tracing::info!("in time");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("too early") && text.contains("in time"), "{text}");
    }
}
