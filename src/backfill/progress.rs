// Upstream: backfill, estimate
// Downstream: feed
// Role: Shows the progress of a backfill: two bars on a terminal, otherwise plain lines.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::feed::BackfillProgress;

/// Interval of the lines if there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The progress output of a backfill.
pub struct Progress {
    form: Form,
    /// The limit of the source, in calls per minute; 0 if there is none.
    calls_per_minute: u32,
}

/// The form of the progress output.
enum Form {
    /// Bars for pieces and for rows.
    Bars {
        /// Keeps both bars in place.
        _both: MultiProgress,
        /// The bar of the pieces.
        pieces: ProgressBar,
        /// The counter of the rows.
        rows: ProgressBar,
    },
    /// Lines on stderr.
    Lines {
        /// When the last line was written.
        last: Option<Instant>,
    },
}

impl Progress {
    /// Chooses bars if stderr is a terminal, otherwise lines.
    pub fn new(num_pieces: usize, calls_per_minute: u32) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { form: Form::Lines { last: None }, calls_per_minute };
        }
        let both = MultiProgress::new();
        let bar = "{msg:10} {bar:40} {pos}/{len}  {elapsed} elapsed, {eta} left";
        let style = ProgressStyle::with_template(bar).unwrap_or_else(|_| ProgressStyle::default_bar());
        let pieces = both.add(ProgressBar::new(num_pieces as u64).with_style(style).with_message("parts"));
        let counter = "{human_pos:>10} rows stored, {per_sec}; {msg}";
        let style = ProgressStyle::with_template(counter).unwrap_or_else(|_| ProgressStyle::default_spinner());
        let rows = both.add(ProgressBar::no_length().with_style(style));
        Self { form: Form::Bars { _both: both, pieces, rows }, calls_per_minute }
    }

    /// Shows the current progress.
    pub fn show(&mut self, standing: &BackfillProgress, rows_written: u64) {
        let calls = calls(standing, self.calls_per_minute);
        match &mut self.form {
            Form::Bars { pieces, rows, .. } => {
                pieces.set_position((standing.num_done + standing.num_failed) as u64);
                rows.set_position(rows_written);
                rows.set_message(calls);
            }
            Form::Lines { last } => {
                if last.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) {
                    *last = Some(Instant::now());
                    let BackfillProgress { num_done, num_failed, num_pieces, .. } = standing;
                    eprintln!(
                        "{num_done} of {num_pieces} parts done, {num_failed} failed, {rows_written} rows stored; {calls}"
                    );
                }
            }
        }
    }

    /// Removes the bars.
    pub fn finish(&self) {
        if let Form::Bars { pieces, rows, .. } = &self.form {
            pieces.finish_and_clear();
            rows.finish_and_clear();
        }
    }
}

/// The calls that were made of those that were planned, and the time of the rest under the limit.
fn calls(standing: &BackfillProgress, calls_per_minute: u32) -> String {
    let BackfillProgress { num_calls, num_calls_ended, .. } = standing;
    let left = num_calls.saturating_sub(*num_calls_ended);
    let calls = format!("{num_calls_ended} of {num_calls} calls");
    match minutes_of(left, calls_per_minute) {
        Some(minutes) => format!("{calls}, {minutes} left under the limit"),
        None => calls,
    }
}

/// The time that so many calls take under a limit per minute; `None` without a limit.
pub fn minutes_of(num_calls: usize, calls_per_minute: u32) -> Option<String> {
    let per_minute = usize::try_from(calls_per_minute).ok().filter(|limit| *limit > 0)?;
    // The calls of the first minute may be sent at once.
    let minutes = num_calls.saturating_sub(1) / per_minute;
    Some(if minutes == 0 { "less than 1 min".to_owned() } else { format!("{minutes} min") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_calls_and_the_time_of_the_rest() {
        let standing = BackfillProgress { num_calls: 1_281, num_calls_ended: 21, ..BackfillProgress::default() };
        assert_eq!(calls(&standing, 500), "21 of 1281 calls, 2 min left under the limit");
        assert_eq!(calls(&standing, 5_000), "21 of 1281 calls, less than 1 min left under the limit");
        assert_eq!(calls(&standing, 0), "21 of 1281 calls");
    }
}
