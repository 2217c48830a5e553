// Upstream: cargo
// Downstream: many
// Role: Measures the worker against the real servers and prints one table; it asserts nothing about time.

//! `make bench` runs it. docs/benchmarks.md contains the results and compares them with other figures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod backfill;
mod commands;
mod encrypted;
mod figure;
mod group;
mod latency;
mod write_path;

use figure::Figure;

/// The name of a group of figures, and the function that measures it.
type Measurement = (&'static str, fn() -> Vec<Figure>);

/// Measures all groups, or only the named ones: `cargo bench --bench pipeline -- commands`.
fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let all: [Measurement; 6] = [
        ("write_path", write_path::measure),
        ("commands", commands::measure),
        ("encrypted", encrypted::measure),
        ("latency", latency::measure),
        ("backfill", backfill::measure),
        ("group", group::measure),
    ];
    println!("| figure | measured | goal |\n|---|---|---|");
    for (name, measure) in all {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            for figure in measure() {
                println!("| {} | {} | {} |", figure.name, figure.value, figure.goal);
            }
        }
    }
}
