// Upstream: command, data_worker
// Downstream: none
// Role: The commands of the worker with their parameters: for messages, the command line and its help.

use serde_json::{Map, Value};

/// A command that the worker executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandForm {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// The parameters that it reads.
    pub params: &'static [&'static str],
}

const BAR_PARAMS: [&str; 10] =
    ["code", "codes", "full", "force", "frequency", "start_date", "end_date", "days", "adjust_type", "by_day"];

/// All commands.
pub const COMMANDS: [CommandForm; 6] = [
    CommandForm { name: "bar_snapshot", about: "bars of the codes, or of all listed ones", params: &BAR_PARAMS },
    CommandForm { name: "update_data", about: "the same", params: &BAR_PARAMS },
    CommandForm {
        name: "adjustfactor",
        about: "adjustment factors of the codes, or of all listed ones",
        params: &["code", "codes", "full", "force"],
    },
    CommandForm {
        name: "tick",
        about: "ticks of the codes, or of all listed ones",
        params: &["code", "codes", "full", "force", "overwrite", "start_date", "end_date", "days"],
    },
    CommandForm { name: "stockinfo", about: "the list of securities", params: &[] },
    CommandForm { name: "trade_day", about: "the trading calendar", params: &[] },
];

/// The form of a command.
pub fn command_form(name: &str) -> Option<&'static CommandForm> {
    COMMANDS.iter().find(|form| form.name == name)
}

/// The parameters of a message that its command does not read.
pub fn ignored_params(name: &str, params: &Map<String, Value>) -> Vec<String> {
    let known = command_form(name).map_or(&[][..], |form| form.params);
    params.keys().filter(|param| !known.contains(&param.as_str())).cloned().collect()
}
