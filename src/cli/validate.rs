// Upstream: send
// Downstream: actors
// Role: Checks a command before it is sent, by the worker's own parser, and suggests the nearest known names.

use actors::domain::command_params::{COMMANDS, command_form};
use actors::domain::{CommandError, ControlCommand, Instruction, OrderKind};

/// Maximum number of different letters between a name and the one that is suggested for it.
const MAX_DISTANCE: usize = 3;

/// Checks the text of a message. Names of parameters must be known: in messages of others, unknown ones are not read.
pub(super) fn validate(name: &str, message: &str) -> Result<(), String> {
    let command = match ControlCommand::parse(message.as_bytes()) {
        Ok(command) => command,
        Err(CommandError::Unknown { name }) => return Err(unknown_command(&name)),
        Err(error) => return Err(error.to_string()),
    };
    if let Instruction::NotForTheGroup(name) = &command.instruction {
        return Err(format!("`{name}` is not for the data worker; another component of Ginkgo executes it"));
    }
    let known = command_form(name).map_or(&[][..], |form| form.params);
    match command.ignored.first() {
        None => Ok(()),
        Some(param) if known.is_empty() => Err(format!("{name} has no parameters, and `{param}` is given")),
        Some(param) => Err(format!("{name} has no parameter `{param}`{}", meant(param, known.iter().copied()))),
    }
}

/// The orders that an operator sends.
fn orders() -> impl Iterator<Item = &'static str> + Clone {
    OrderKind::ALL.into_iter().filter(|order| order.is_answered()).map(OrderKind::as_str)
}

/// The text for a command that does not exist.
fn unknown_command(name: &str) -> String {
    let names = COMMANDS.iter().map(|form| form.name).chain(orders());
    format!("unknown command `{name}`{}", meant(name, names))
}

/// The nearest of the known names as a question, or all of them.
fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let distance = |known: &str| strsim::osa_distance(&plain(name), &plain(known));
    match known.clone().min_by_key(|known| distance(known)).filter(|known| distance(known) <= MAX_DISTANCE) {
        Some(nearest) => format!("; is `{nearest}` meant?"),
        None => format!("; there are: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// The list of commands and their parameters for `send --help`.
pub(super) fn commands_help() -> String {
    let mut text = "Commands and their parameters:\n".to_owned();
    for form in COMMANDS {
        text.push_str(&format!("  {:<13} {}\n", form.name, form.about));
        // Without a break the list would be wider than a terminal.
        for line in form.params.chunks(6) {
            text.push_str(&format!("  {:<13}   {}\n", "", line.join(", ")));
        }
    }
    text.push_str(&format!("Orders: {}; --node names one worker.\n\n", orders().collect::<Vec<_>>().join(", ")));
    text.push_str(
        "Dates are YYYYMMDD or YYYY-MM-DD, codes such as 000001.SZ, frequency one of\n1d, 1m, 5m, 15m, 30m, 60m, \
         adjust_type one of none, qfq, hfq;\ndays counts trading days.\n\n\
         Examples:\n  \
         data-worker send --wait bar_snapshot --code 000001.SZ,600000.SH --full\n  \
         data-worker send --wait bar_snapshot --param start_date=20240102\n  \
         data-worker send --wait tick --code 000001.SZ --param days=5\n  \
         data-worker send --wait reload --node data_worker_h1",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(name: &str, params: serde_json::Value) -> String {
        let message = json!({"command": name, "params": params}).to_string();
        validate(name, &message).err().unwrap_or_default()
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest_known_one() {
        let cases = [
            ("bar_snapshot", json!({"startdate": "20240101"}), "no parameter `startdate`; is `start_date` meant?"),
            ("tick", json!({"frequncy": "1m"}), "tick has no parameter `frequncy`; there are: code, codes,"),
            ("bar_snapshot", json!({"frequncy": "1m"}), "is `frequency` meant?"),
            ("stockinfo", json!({"code": "000001.SZ"}), "stockinfo has no parameters, and `code` is given"),
            ("barsnapshot", json!({}), "unknown command `barsnapshot`; is `bar_snapshot` meant?"),
            ("relod", json!({}), "is `reload` meant?"),
            ("nonsense", json!({}), "unknown command `nonsense`; there are: bar_snapshot, "),
            ("paper_trading", json!({}), "`paper_trading` is not for the data worker"),
            ("bar_snapshot", json!({"start_date": "20240230"}), "params.start_date"),
            ("bar_snapshot", json!({"code": "coffee"}), "params.code"),
        ];
        for (name, params, expected) in cases {
            let said = checked(name, params);
            assert!(said.contains(expected), "{said}");
        }
        assert_eq!(checked("bar_snapshot", json!({"code": "000001.SZ", "days": 5, "full": false, "force": false})), "");
    }

    #[test]
    fn every_parameter_of_the_list_is_read_by_the_parser() {
        for form in COMMANDS {
            for param in form.params {
                // A list of lists is a valid value of no parameter.
                let said = checked(form.name, json!({ *param: [["x"]] }));
                assert!(said.contains(&format!("params.{param}")), "{} {param}: {said}", form.name);
            }
            assert!(commands_help().contains(form.name));
        }
        assert!(commands_help().lines().all(|line| line.len() <= 80), "{}", commands_help());
    }
}
