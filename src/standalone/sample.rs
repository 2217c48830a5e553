// Upstream: demonstration, news, outcome, run_folder, steps
// Downstream: actors
// Role: Contains the sample bars, and how many of their rows must be stored and skipped.

use actors::domain::Rule;

/// A file of bars, with its expected results.
pub struct Sample {
    /// The security.
    pub code: &'static str,
    /// The content of the file.
    pub text: &'static str,
    /// Number of valid rows.
    pub num_sound: i64,
    /// The first and the last day of the valid rows.
    pub days: (&'static str, &'static str),
    /// Number of invalid rows by violated rule.
    pub faults: &'static [(Rule, u64)],
}

/// The sender of the demonstration's commands.
pub const SENDER: &str = "standalone";

/// Real bars.
pub const REAL: Sample = Sample {
    code: "002032.SZ",
    text: include_str!("../../data/sample/002032.SZ.daily.csv"),
    num_sound: 2_813,
    days: ("2004-08-17", "2016-08-17"),
    faults: &[],
};

/// Made-up bars, some of them invalid.
pub const MADE_UP: Sample = Sample {
    code: "000000.SZ",
    text: include_str!("../../data/sample/000000.SZ.daily.csv"),
    num_sound: 6,
    days: ("2004-08-17", "2004-08-30"),
    faults: &[
        (Rule::MissingValue, 1),
        (Rule::UnreadableValue, 1),
        (Rule::PriceNotPositive, 1),
        (Rule::HighBelowOpenOrClose, 1),
        (Rule::DuplicateTimestamp, 1),
    ],
};

/// All samples.
pub const SAMPLES: [&Sample; 2] = [&REAL, &MADE_UP];

impl Sample {
    /// The file name that the source expects.
    pub fn file_name(&self) -> String {
        format!("{}.daily.csv", self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_a_file_is_sound_or_has_a_known_fault() {
        for sample in SAMPLES {
            let num_rows = sample.text.lines().skip(1).count() as u64;
            let num_faults: u64 = sample.faults.iter().map(|(_, count)| count).sum();
            assert_eq!(num_rows, sample.num_sound as u64 + num_faults, "{}", sample.code);
            assert!(sample.code.parse::<actors::domain::Code>().is_ok());
        }
    }
}
