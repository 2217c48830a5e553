// Upstream: demonstration, standalone
// Downstream: none
// Role: Prints to the user.

use std::fmt::Display;
use std::io::Write;

/// One line or more for the user. That nobody reads them any more is no reason to break off the worker.
pub fn say(text: impl Display) {
    let _unread = writeln!(std::io::stdout(), "{text}");
}
