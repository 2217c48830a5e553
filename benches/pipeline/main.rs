// Upstream: cargo
// Downstream: benches::pipeline::commands, benches::pipeline::latency, benches::pipeline::write_path
// Role: Measures the worker against the real servers and prints one table; it asserts nothing about time.

//! Run by `make bench`. The figures beside which these stand are in docs/benchmarks.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod commands;
mod latency;
mod write_path;

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

/// A group of figures and what measures it.
type Measurement = (&'static str, fn() -> Vec<Figure>);

/// Measures everything, or what is named: `cargo bench --bench pipeline -- commands`.
fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let all: [Measurement; 3] =
        [("write_path", write_path::measure), ("commands", commands::measure), ("latency", latency::measure)];
    println!("| figure | measured | goal |\n|---|---|---|");
    for (name, measure) in all {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            for figure in measure() {
                println!("| {} | {} | {} |", figure.name, figure.value, figure.goal);
            }
        }
    }
}
