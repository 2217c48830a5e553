// Upstream: commands, latency, main, write_path
// Downstream: none
// Role: One line of the table of measurements.

/// A line of the table: what, how much, what it should be.
pub struct Figure {
    pub name: String,
    pub value: String,
    pub goal: &'static str,
}

impl Figure {
    pub fn new(name: impl Into<String>, value: impl Into<String>, goal: &'static str) -> Self {
        Self { name: name.into(), value: value.into(), goal }
    }
}

/// The middle one, so that a single slow run does not speak for all.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
