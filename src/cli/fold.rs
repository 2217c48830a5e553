// Upstream: many
// Downstream: cli
// Role: Folds long lines of tables at the width of a terminal; a pipe gets them as they are.

use std::io::IsTerminal;
use std::process::ExitCode;

/// Width of a terminal, in characters.
pub const WIDTH: usize = 80;

/// Indent of the lines that continue one.
const INDENT: usize = 4;

/// Prints lines. On a terminal lines that are too long are folded; a pipe gets one line per row.
pub fn print_folded(text: &str) -> ExitCode {
    if !std::io::stdout().is_terminal() {
        return super::print(text);
    }
    super::print(&text.lines().map(|line| fold(line, WIDTH, INDENT)).collect::<String>())
}

/// The text in lines of at most `width` characters, broken at blanks; further lines are indented. A word that is longer
/// than a line is broken.
pub fn fold(text: &str, width: usize, indent: usize) -> String {
    let mut folded = String::new();
    let mut rest = text.trim_end();
    let mut room = width;
    loop {
        let Some((limit, _)) = rest.char_indices().nth(room) else {
            folded.push_str(rest);
            folded.push('\n');
            return folded;
        };
        // A blank that stands just behind the limit ends the line, too.
        let reach = rest.get(..=limit).unwrap_or_else(|| rest.get(..limit).unwrap_or(rest));
        let end =
            reach.rfind(' ').filter(|end| !rest.get(..*end).unwrap_or_default().trim().is_empty()).unwrap_or(limit);
        let (line, left) = rest.split_at(end);
        folded.push_str(line.trim_end());
        folded.push('\n');
        folded.push_str(&" ".repeat(indent));
        rest = left.trim_start();
        room = width.saturating_sub(indent).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_the_width_and_lose_no_word() {
        let text = "the worker waits for ClickHouse localhost:8123: Connection refused (os error 111)";
        for width in 12..=100 {
            let folded = fold(text, width, 4);
            assert!(folded.lines().all(|line| line.chars().count() <= width), "{folded}");
            let words = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(words(&folded), words(text));
        }
        assert_eq!(fold(text, 100, 4), format!("{text}\n"));
        assert_eq!(fold("one two three", 7, 2), "one two\n  three\n");
        let long = fold(&"长".repeat(100), 30, 2);
        assert!(long.lines().count() == 4 && long.lines().all(|line| line.chars().count() <= 30), "{long}");
        assert_eq!(fold("", 10, 2), "\n");
    }
}
