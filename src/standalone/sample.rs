// Upstream: demonstration, outcome, run_folder, steps
// Downstream: actors
// Role: The bars that the program comes with, and what must be stored and skipped of them.

use actors::domain::Rule;

/// A file of bars with what is known of it.
pub struct Sample {
    /// The security, as it is stored.
    pub code: &'static str,
    /// The file.
    pub text: &'static str,
    /// Rows without a fault.
    pub num_sound: i64,
    /// The first and the last day of those.
    pub days: (&'static str, &'static str),
    /// Rows with a fault, by the rule they break.
    pub faults: &'static [(Rule, u64)],
}

/// Real bars.
pub const REAL: Sample = Sample {
    code: "002032.SZ",
    text: include_str!("../../data/sample/002032.SZ.daily.csv"),
    num_sound: 2_813,
    days: ("2004-08-17", "2016-08-17"),
    faults: &[],
};

/// Bars with faults, made up.
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

/// All of them.
pub const SAMPLES: [&Sample; 2] = [&REAL, &MADE_UP];

impl Sample {
    /// The file's name where the source looks for it.
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
