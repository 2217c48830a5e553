// Upstream: backfill
// Downstream: feed
// Role: Shows how far a backfill is: two bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::feed::Standing;

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// What is shown.
pub enum Progress {
    /// Bars: pieces, and rows.
    Bars {
        /// Keeps both in their places.
        _both: MultiProgress,
        /// Pieces.
        pieces: ProgressBar,
        /// Rows.
        rows: ProgressBar,
    },
    /// Lines on the error stream.
    Lines {
        /// When the last one was written.
        last: Option<Instant>,
    },
}

impl Progress {
    /// Bars on a terminal, else lines.
    pub fn new(num_pieces: usize) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { last: None };
        }
        let both = MultiProgress::new();
        let bar = "{msg:10} {bar:40} {pos}/{len}  {elapsed} elapsed, {eta} left";
        let style = ProgressStyle::with_template(bar).unwrap_or_else(|_| ProgressStyle::default_bar());
        let pieces = both.add(ProgressBar::new(num_pieces as u64).with_style(style).with_message("parts"));
        let counter = "{msg:10} {human_pos} stored, {per_sec}";
        let style = ProgressStyle::with_template(counter).unwrap_or_else(|_| ProgressStyle::default_spinner());
        let rows = both.add(ProgressBar::no_length().with_style(style).with_message("rows"));
        Self::Bars { _both: both, pieces, rows }
    }

    /// Shows a standing.
    pub fn show(&mut self, standing: &Standing, rows_written: u64) {
        match self {
            Self::Bars { pieces, rows, .. } => {
                pieces.set_position((standing.num_done + standing.num_failed) as u64);
                rows.set_position(rows_written);
            }
            Self::Lines { last } => {
                if last.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) {
                    *last = Some(Instant::now());
                    let Standing { num_done, num_failed, num_pieces } = standing;
                    eprintln!("{num_done} of {num_pieces} parts done, {num_failed} failed, {rows_written} rows stored");
                }
            }
        }
    }

    /// Takes the bars away.
    pub fn finish(&self) {
        if let Self::Bars { pieces, rows, .. } = self {
            pieces.finish_and_clear();
            rows.finish_and_clear();
        }
    }
}
