// Upstream: many
// Downstream: none
// Role: Declares one row of the table of measurements.

/// A row of the table: name, measured value and goal.
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

/// The median, so that a single slow run does not distort the result.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
