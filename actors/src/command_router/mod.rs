// Upstream: none
// Downstream: actor, links
// Role: The CommandRouter: turns commands into tasks and resolves each command when its tasks are done.

//! The CommandRouter: turns commands into tasks and resolves each command when its tasks are done.

/// The actor.
mod actor;
#[cfg(test)]
mod actor_tests;
/// Parameters that the worker does not read.
mod ignored_params;
/// What the actor uses.
mod links;
/// Commands and tasks in progress.
mod open_command;
/// Publishes command parts and dead letters.
mod publisher;
/// Tasks that wait for a fetch slot.
mod queue;
/// Splits a command with many codes.
mod split;
/// The kind of work of a task.
mod work;

pub use actor::CommandRouter;
pub use links::RouterLinks;
