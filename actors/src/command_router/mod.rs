// Upstream: none
// Downstream: actor
// Role: The CommandRouter: turns commands into tasks and resolves each command when its tasks are done.

//! The CommandRouter: turns commands into tasks and resolves each command when its tasks are done.

/// The actor.
mod actor;
/// Commands and tasks in progress.
mod open_command;
/// Publishes command parts and dead letters.
mod publisher;
/// Splits a command for many codes.
mod split;
/// What a task does.
mod work;

pub use actor::{CommandRouter, RouterLinks};
