// Upstream: main
// Downstream: actors, app, cli, fold, reports
// Role: Implements `data-worker quality CODE`, which prints the data quality problems of a code as a table or JSON.

use std::path::PathBuf;
use std::process::ExitCode;

use actors::domain::{Code, CodeIssue, counted, counted_len};
use actors::ports::CodeHistory;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::fold::print_folded;
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
        if self.json {
            return Ok(print(&lines(&history)));
        }
        Ok(print_folded(&table(self.code, &history)))
    }
}

fn lines(history: &CodeHistory) -> String {
    let line = |kept: &actors::domain::StoredIssue| {
        let issue = &kept.issue;
        let line = json!({
            "at": kept.at.format("%Y-%m-%dT%H:%M:%S+08:00").to_string(),
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
    let CodeHistory { num_reports, kept_since, issues } = history;
    let Some(kept_since) = kept_since else {
        return format!(
            "{code}: no quality report is kept yet, so nothing is known; a running worker keeps one every \
             quality.report_interval_ms in which it worked\n"
        );
    };
    let reports = counted(*num_reports, "report");
    let kept = format!("reports are kept since {} (Shanghai)", kept_since.format("%Y-%m-%d %H:%M"));
    if issues.is_empty() {
        return format!("{code}: no problems in {reports}; {kept}\n");
    }
    let mut text = format!("{:<16}  {:<7}  {:>6}  about\n", "time (Shanghai)", "what", "rows");
    for stored in issues {
        let issue = &stored.issue;
        let number = match issue.what.as_str() {
            "late" => format!("{} s", issue.number),
            "failed" => String::new(),
            _ => issue.number.to_string(),
        };
        let row = format!(
            "{}  {:<7}  {number:>6}  {} ({})",
            stored.at.format("%Y-%m-%d %H:%M"),
            issue.what,
            about(issue),
            stored.node_id
        );
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text + &format!("{code}: {} in {reports}; {kept}\n", counted_len(issues.len(), "problem"))
}

/// The rule, and the reason or the first findings: day, field and value. One line: a vendor's text may contain control
/// characters.
fn about(issue: &CodeIssue) -> String {
    let text = match (issue.what.as_str(), issue.rule.as_str(), issue.detail.as_str()) {
        ("missing", "", "") => {
            format!("trading days without a row; `data-worker gaps --codes {}` names them", issue.code)
        }
        ("late", "", "") => "from the command to readable rows".to_owned(),
        (_, "", detail) => detail.to_owned(),
        (_, rule, "") => rule.to_owned(),
        (_, rule, findings) => {
            let named = findings.split("; ").count() as u64;
            let more = issue.number.saturating_sub(named);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            format!("{rule}: {findings}{more}")
        }
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::StoredIssue;

    #[test]
    fn a_history_is_a_row_a_trouble() {
        let code: Code = "000001.SZ".parse().unwrap();
        let none = table(code, &CodeHistory::default());
        assert!(none.contains("no quality report is kept yet") && !none.contains("no problems"), "{none}");
        let stored = |what: &str, rule: &str, number, detail: &str| StoredIssue {
            at: "2024-01-31T20:00:01".parse().unwrap(),
            node_id: "n1".into(),
            issue: CodeIssue {
                code: code.to_string(),
                what: what.into(),
                rule: rule.into(),
                number,
                detail: detail.into(),
            },
        };
        let issues = vec![
            stored("skipped", "price_not_positive", 5, "2024-01-13 open -1; 2024-01-14 low 0"),
            stored("failed", "", 1, "no\nanswer"),
            stored("late", "", 2, ""),
            stored("missing", "", 3, ""),
        ];
        let kept_since = Some("2024-01-01T09:30:00".parse().unwrap());
        let history = CodeHistory { num_reports: 1, kept_since, issues };
        let text = table(code, &history);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 6, "{text}");
        assert_eq!(
            rows[1],
            "2024-01-31 20:00  skipped       5  price_not_positive: 2024-01-13 open -1; 2024-01-14 low 0; and 3 more (n1)"
        );
        assert!(rows[2].ends_with("no answer (n1)") && rows[3].contains(" 2 s  "), "{text}");
        assert!(rows[4].contains("gaps --codes 000001.SZ"), "{text}");
        assert_eq!(rows[5], "000001.SZ: 4 problems in 1 report; reports are kept since 2024-01-01 09:30 (Shanghai)");
        assert_eq!(lines(&history).lines().count(), 4);
        assert!(lines(&history).contains("\"at\":\"2024-01-31T20:00:01+08:00\""), "a time has its zone");
        let clean = CodeHistory { issues: Vec::new(), ..history };
        assert!(table(code, &clean).contains("no problems in 1 report; reports are kept since 2024-01-01"));
    }
}
