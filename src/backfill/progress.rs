// Upstream: backfill
// Downstream: feed
// Role: Shows the progress of a backfill: two bars on a terminal, otherwise plain lines.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::feed::BackfillProgress;

/// Interval of the lines if there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The form of the progress output.
pub enum Progress {
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

    /// Shows the current progress.
    pub fn show(&mut self, standing: &BackfillProgress, rows_written: u64) {
        match self {
            Self::Bars { pieces, rows, .. } => {
                pieces.set_position((standing.num_done + standing.num_failed) as u64);
                rows.set_position(rows_written);
            }
            Self::Lines { last } => {
                if last.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) {
                    *last = Some(Instant::now());
                    let BackfillProgress { num_done, num_failed, num_pieces } = standing;
                    eprintln!("{num_done} of {num_pieces} parts done, {num_failed} failed, {rows_written} rows stored");
                }
            }
        }
    }

    /// Removes the bars.
    pub fn finish(&self) {
        if let Self::Bars { pieces, rows, .. } = self {
            pieces.finish_and_clear();
            rows.finish_and_clear();
        }
    }
}
