// Upstream: main
// Downstream: actors, app, cli, reports
// Role: `data-worker quality CODE`: what was wrong with a code, as a table for people or as JSON.

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

/// Whose history, and how far back.
#[derive(Debug, Args)]
pub struct QualityOptions {
    /// The configuration file; otherwise it is looked for as a worker does, see docs/configuration.md.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The security, such as 000001.SZ.
    code: Code,
    /// How far back: `30m`, `12h`, `7d`, or a day of Shanghai's calendar such as 2024-01-31.
    #[arg(long, value_parser = since, default_value = "30d")]
    since: DateTime<Utc>,
    /// Prints one JSON object a trouble, a line each.
    #[arg(long)]
    json: bool,
}

impl QualityOptions {
    /// Shows it, oldest first. Exit code 1 if it cannot be read.
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
    let line = |kept: &actors::domain::KeptTrouble| {
        let trouble = &kept.trouble;
        let line = json!({
            "at": kept.at.format("%Y-%m-%dT%H:%M:%S").to_string(),
            "node_id": kept.node_id,
            "code": trouble.code,
            "what": trouble.what,
            "rule": trouble.rule,
            "number": trouble.number,
            "detail": trouble.detail,
        });
        format!("{line}\n")
    };
    history.troubles.iter().map(line).collect()
}

fn table(code: Code, history: &CodeHistory) -> String {
    let CodeHistory { num_reports, troubles } = history;
    if troubles.is_empty() {
        return format!("{code}: nothing was wrong in {num_reports} reports\n");
    }
    let mut text = format!("{:<19}  {:<20}  {:<7}  {:>8}  about\n", "time (Shanghai)", "worker", "what", "rows");
    for kept in troubles {
        let trouble = &kept.trouble;
        let number = match trouble.what.as_str() {
            "late" => format!("{} s", trouble.number),
            "failed" => String::new(),
            _ => trouble.number.to_string(),
        };
        // A row is of one line here; what a vendor says is not trusted to be.
        let about: String = [trouble.rule.as_str(), trouble.detail.as_str()].concat();
        let about: String = about.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let at = kept.at.format("%Y-%m-%d %H:%M:%S");
        let row = format!("{at}  {:<20}  {:<7}  {number:>8}  {about}", kept.node_id, trouble.what);
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text + &format!("{code}: {} troubles in {num_reports} reports\n", troubles.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::{CodeTrouble, KeptTrouble};

    #[test]
    fn a_history_is_a_row_a_trouble() {
        let code: Code = "000001.SZ".parse().unwrap();
        assert!(table(code, &CodeHistory::default()).contains("nothing was wrong in 0 reports"));
        let kept = |what: &str, rule: &str, detail: &str| KeptTrouble {
            at: "2024-01-31T20:00:01".parse().unwrap(),
            node_id: "n1".into(),
            trouble: CodeTrouble {
                code: code.to_string(),
                what: what.into(),
                rule: rule.into(),
                number: 2,
                detail: detail.into(),
            },
        };
        let troubles =
            vec![kept("skipped", "missing_value", ""), kept("failed", "", "no\nanswer"), kept("late", "", "")];
        let history = CodeHistory { num_reports: 7, troubles };
        let text = table(code, &history);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 5, "{text}");
        assert!(rows[1].starts_with("2024-01-31 20:00:01  n1 ") && rows[1].ends_with("2  missing_value"), "{text}");
        assert!(rows[2].ends_with("no answer") && rows[3].ends_with("2 s"), "{text}");
        assert_eq!(rows[4], "000001.SZ: 3 troubles in 7 reports");
        assert_eq!(lines(&history).lines().count(), 3);
    }
}
