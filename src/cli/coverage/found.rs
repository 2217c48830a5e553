// Upstream: coverage, page, page_data
// Downstream: actors, picture
// Role: A picture with what it is about, and its summary.

use std::process::ExitCode;

use actors::domain::{DateRange, counted, counted_len};

use super::picture::Picture;

/// Exit code for days that are missing; 2 is the exit code for invalid arguments.
const EXIT_GAPS: u8 = 3;

/// The picture with what it is about.
pub struct Found {
    /// The picture.
    pub picture: Picture,
    /// The kind of data.
    pub subject: String,
    /// The searched days.
    pub range: DateRange,
    /// What is not known, as sentences.
    pub doubts: Vec<String>,
}

impl Found {
    /// The share of all days, and what is missing: two lines.
    pub fn summary(&self) -> String {
        let total = self.picture.total();
        let DateRange { start, end } = self.range;
        let lacking = match total.lacking() {
            0 => "no known day is missing".to_owned(),
            number => format!(
                "{} of {} missing or incomplete, of {}",
                counted(number, "day"),
                total.expected,
                counted_len(self.picture.lacking.len(), "security")
            ),
        };
        format!(
            "{}, {start} to {end}: {} in {}\n{lacking}\n",
            self.subject,
            total.share().text(),
            counted_len(self.picture.num_codes, "security")
        )
    }

    /// 0: all expected days are stored; 3: some are missing; 1: something is unknown.
    pub fn exit_code(&self) -> ExitCode {
        if !self.doubts.is_empty() {
            return ExitCode::FAILURE;
        }
        if self.picture.total().lacking() > 0 { ExitCode::from(EXIT_GAPS) } else { ExitCode::SUCCESS }
    }
}
