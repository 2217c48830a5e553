// Upstream: list, replay, run, stats
// Downstream: actors, cli, view
// Role: Selects dead letters by class, code, sender and age.

use actors::domain::Code;
use chrono::{DateTime, Utc};
use clap::Args;

use super::view::LetterView;
use crate::cli::reports::since;

/// What dead letters must have in common; without options all are selected.
#[derive(Debug, Clone, Default, Args)]
pub struct LetterFilter {
    /// Only this class: bad_command, source_error, write_error, no_codes or crashed; may be repeated.
    #[arg(long)]
    class: Vec<String>,
    /// Only commands that name this security, such as 000001.SZ; may be repeated.
    #[arg(long, visible_alias = "codes", value_delimiter = ',')]
    code: Vec<Code>,
    /// Only commands of this sender (`source` in the message); may be repeated.
    #[arg(long)]
    sender: Vec<String>,
    /// Only letters since `30m`, `12h` or `7d` before now, or since a calendar day in Shanghai such as 2024-01-31.
    #[arg(long, value_parser = since)]
    since: Option<DateTime<Utc>>,
    /// Only letters that are older than `30m`, `12h` or `7d`, or from before a calendar day in Shanghai.
    #[arg(long, value_parser = since)]
    older_than: Option<DateTime<Utc>>,
}

impl LetterFilter {
    /// Whether it selects all letters.
    pub fn is_empty(&self) -> bool {
        let Self { class, code, sender, since, older_than } = self;
        class.is_empty() && code.is_empty() && sender.is_empty() && since.is_none() && older_than.is_none()
    }

    /// Whether it selects this letter. A letter without a time is of no age.
    pub fn selects(&self, view: &LetterView) -> bool {
        let (letter, command) = (&view.letter, &view.command);
        let is_one_of = |wanted: &[String], found: &str| wanted.is_empty() || wanted.iter().any(|one| one == found);
        is_one_of(&self.class, &letter.class)
            && is_one_of(&self.sender, &command.sender)
            && (self.code.is_empty() || self.code.iter().any(|code| command.names(*code)))
            && self.since.is_none_or(|since| letter.time.is_some_and(|time| time >= since))
            && self.older_than.is_none_or(|until| letter.time.is_some_and(|time| time < until))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::view::tests::view;
    use super::*;

    #[test]
    fn a_letter_must_satisfy_every_option() {
        let now = Utc::now();
        let mut of_one = view(r#"{"command":"tick","params":{"code":"000001.SZ"},"source":"timer"}"#);
        of_one.letter.time = Some(now - TimeDelta::hours(2));
        let all = LetterFilter::default();
        assert!(all.is_empty() && all.selects(&of_one));
        let of = |class: &str, code: &str, sender: &str| LetterFilter {
            class: vec![class.to_owned()],
            code: vec![code.parse().unwrap()],
            sender: vec!["other".to_owned(), sender.to_owned()],
            ..LetterFilter::default()
        };
        assert!(of("source_error", "000001.SZ", "timer").selects(&of_one));
        for wrong in [
            of("crashed", "000001.SZ", "timer"),
            of("source_error", "000002.SZ", "timer"),
            of("source_error", "000001.SZ", "nobody"),
        ] {
            assert!(!wrong.is_empty() && !wrong.selects(&of_one), "{wrong:?}");
        }
        let at = |hours| Some(now - TimeDelta::hours(hours));
        for (since, older_than, expected) in
            [(at(3), at(1), true), (at(1), None, false), (None, at(3), false), (at(3), None, true)]
        {
            let filter = LetterFilter { since, older_than, ..LetterFilter::default() };
            assert_eq!(filter.selects(&of_one), expected, "{filter:?}");
        }
        of_one.letter.time = None;
        assert!(!LetterFilter { since: at(3), ..LetterFilter::default() }.selects(&of_one));
    }
}
