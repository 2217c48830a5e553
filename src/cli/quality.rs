// Upstream: main
// Downstream: actors, app, cli, reports
// Role: Implements `data-worker quality CODE`, which prints the data quality problems of a code as a table or JSON.

use std::path::PathBuf;
use std::process::ExitCode;

use actors::domain::Code;
use actors::ports::CodeHistory;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::reports::since;
use super::{block_on, load, print};
use crate::app::service_hub::ServiceHub;

/// Options of `data-worker quality`.
#[derive(Debug, Args)]
pub struct QualityOptions {
    /// Configuration file; default: the file that a worker would use, see docs/configuration.md.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Security, such as 000001.SZ.
    code: Code,
    /// Start of the period: `30m`, `12h` or `7d` before now, or a calendar day in Shanghai such as 2024-01-31.
    #[arg(long, value_parser = since, default_value = "30d")]
    since: DateTime<Utc>,
    /// Prints one JSON object per problem and line.
    #[arg(long)]
    json: bool,
}

impl QualityOptions {
    /// Prints the problems, oldest first. Exit code 1 if they cannot be read.
    pub fn run(self) -> ExitCode {
        self.show().unwrap_or_else(|code| code)
    }

    fn show(&self) -> Result<ExitCode, ExitCode> {
        let loaded = load(self.config.as_deref())?;
        let reports = ServiceHub::reports(&loaded.settings);
        let history = block_on(reports.history(self.code, self.since))?.map_err(|error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        })?;
        Ok(print(&if self.json { lines(&history) } else { table(self.code, &history) }))
    }
}

fn lines(history: &CodeHistory) -> String {
    let line = |kept: &actors::domain::StoredIssue| {
        let issue = &kept.issue;
        let line = json!({
            "at": kept.at.format("%Y-%m-%dT%H:%M:%S").to_string(),
            "node_id": kept.node_id,
            "code": issue.code,
            "what": issue.what,
            "rule": issue.rule,
            "number": issue.number,
            "detail": issue.detail,
        });
        format!("{line}\n")
    };
    history.issues.iter().map(line).collect()
}

fn table(code: Code, history: &CodeHistory) -> String {
    let CodeHistory { num_reports, issues } = history;
    if issues.is_empty() {
        return format!("{code}: no problems in {num_reports} reports\n");
    }
    let mut text = format!("{:<19}  {:<20}  {:<7}  {:>8}  about\n", "time (Shanghai)", "worker", "what", "rows");
    for kept in issues {
        let issue = &kept.issue;
        let number = match issue.what.as_str() {
            "late" => format!("{} s", issue.number),
            "failed" => String::new(),
            _ => issue.number.to_string(),
        };
        // One line per row: a vendor's text may contain control characters.
        let about: String = [issue.rule.as_str(), issue.detail.as_str()].concat();
        let about: String = about.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let at = kept.at.format("%Y-%m-%d %H:%M:%S");
        let row = format!("{at}  {:<20}  {:<7}  {number:>8}  {about}", kept.node_id, issue.what);
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text + &format!("{code}: {} problems in {num_reports} reports\n", issues.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::{CodeIssue, StoredIssue};

    #[test]
    fn a_history_is_a_row_a_trouble() {
        let code: Code = "000001.SZ".parse().unwrap();
        assert!(table(code, &CodeHistory::default()).contains("no problems in 0 reports"));
        let kept = |what: &str, rule: &str, detail: &str| StoredIssue {
            at: "2024-01-31T20:00:01".parse().unwrap(),
            node_id: "n1".into(),
            issue: CodeIssue {
                code: code.to_string(),
                what: what.into(),
                rule: rule.into(),
                number: 2,
                detail: detail.into(),
            },
        };
        let issues = vec![kept("skipped", "missing_value", ""), kept("failed", "", "no\nanswer"), kept("late", "", "")];
        let history = CodeHistory { num_reports: 7, issues };
        let text = table(code, &history);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 5, "{text}");
        assert!(rows[1].starts_with("2024-01-31 20:00:01  n1 ") && rows[1].ends_with("2  missing_value"), "{text}");
        assert!(rows[2].ends_with("no answer") && rows[3].ends_with("2 s"), "{text}");
        assert_eq!(rows[4], "000001.SZ: 3 problems in 7 reports");
        assert_eq!(lines(&history).lines().count(), 3);
    }
}
