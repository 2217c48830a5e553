// Upstream: demonstration, standalone
// Downstream: none
// Role: Prints text to stdout.

use std::fmt::Display;
use std::io::Write;

/// Prints one or more lines. Ignores write errors: a closed stdout must not stop the worker.
pub fn print_line(text: impl Display) {
    let _unread = writeln!(std::io::stdout(), "{text}");
}
