// Upstream: none
// Downstream: none
// Role: The dead-letter topic: its records, what they say, and the replay of commands from it.

//! The dead-letter topic.
//!
//! It holds two kinds of records, which their headers tell apart: *dead letters* ([`letter`]) and *replay records*
//! ([`replay_record`]), one for each dead letter whose command was sent again.

/// The names of the headers, and the mark of a replayed command.
pub mod headers;
/// A dead letter.
pub mod letter;
/// Reads the topic.
pub mod log;
/// The record that a dead letter was replayed.
pub mod replay_record;
/// Sends commands again.
pub mod replayer;
