// Upstream: telemetry
// Downstream: repeats
// Role: Formats log lines as text for terminals.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::observability::telemetry::repeats::RepeatLimit;

/// The text format of tracing-subscriber with a limit of repeated lines.
#[derive(Default)]
pub(super) struct Text {
    format: Format,
    repeats: RepeatLimit,
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(kept_back) = self.repeats.admit(event.metadata()) else { return Ok(()) };
        if kept_back > 0 {
            write!(writer, "(after {kept_back} suppressed repetitions) ")?;
        }
        self.format.format_event(ctx, writer, event)
    }
}
