// Upstream: operator
// Downstream: none
// Role: The program `data-worker`.

//! The program `data-worker`.

fn main() {}
