// Upstream: actor
// Downstream: domain
// Role: Logs the parameters that commands have and the worker does not read, each combination once.

use std::collections::HashSet;

use crate::domain::{ControlCommand, RawCommand};

/// Maximum number of combinations that are remembered. Further ones are not logged.
const MAX_KNOWN: usize = 100;

/// The combinations that were logged.
#[derive(Debug, Default)]
pub struct IgnoredParams(HashSet<Vec<String>>);

impl IgnoredParams {
    /// Logs the unread parameters of a command. Ginkgo's own extra ones are in each of thousands of commands.
    pub fn note(&mut self, command: &ControlCommand, place: &RawCommand) {
        let ControlCommand { ignored, source, .. } = command;
        if !ignored.is_empty() && self.0.len() < MAX_KNOWN && self.0.insert(ignored.clone()) {
            let params = ignored.join(", ");
            tracing::info!(command = %place, source, params, "parameters of a command are not read; said once");
        }
    }
}
