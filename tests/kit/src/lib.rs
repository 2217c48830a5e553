// Upstream: none
// Downstream: none
// Role: Protocol servers and handles on real servers and on the worker's process, for tests and the benchmark.

//! The test kit.
