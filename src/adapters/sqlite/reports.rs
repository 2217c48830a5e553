// Upstream: none
// Downstream: actors, store
// Role: Implements the report port on SQLite: each report as JSON, the issues of its codes as rows.

use actors::domain::{Code, CodeIssue, QualityReport, StoredIssue, shanghai_clock};
use actors::ports::{CodeHistory, ReportBatch, ReportStore, StoreError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::adapters::sqlite::store::{SqliteStore, TIME, time_of};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS data_quality_report (
        report_id TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, node_id TEXT NOT NULL, timestamp TEXT NOT NULL,
        body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS data_quality_trouble (
        report_id TEXT NOT NULL, code TEXT NOT NULL, what TEXT NOT NULL, rule TEXT NOT NULL, number INTEGER NOT NULL,
        detail TEXT NOT NULL, PRIMARY KEY (report_id, code, what, rule)) WITHOUT ROWID;";

/// Maximum number of codes and examples in the JSON of a report. All codes are also stored as rows.
const MAX_SHOWN: usize = 20;

async fn keep(report: &QualityReport, transaction: &mut sqlx::SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO data_quality_report VALUES (?, ?, ?, ?, ?)")
        .bind(&report.id)
        .bind(report.kind())
        .bind(&report.node_id)
        .bind(shanghai_clock::wall_clock(report.until).format(TIME).to_string())
        .bind(report.body(MAX_SHOWN).to_string())
        .execute(&mut *transaction)
        .await?;
    for issue in report.issues() {
        sqlx::query("INSERT OR IGNORE INTO data_quality_trouble VALUES (?, ?, ?, ?, ?, ?)")
            .bind(&report.id)
            .bind(issue.code)
            .bind(issue.what)
            .bind(issue.rule)
            .bind(i64::try_from(issue.number).unwrap_or(i64::MAX))
            .bind(issue.detail)
            .execute(&mut *transaction)
            .await?;
    }
    Ok(())
}

#[async_trait]
impl ReportStore for SqliteStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        sqlx::raw_sql(SCHEMA).execute(&self.pool).await.map_err(|error| self.error("create the tables", &error))?;
        Ok(())
    }

    async fn keep(&self, batch: &ReportBatch) -> Result<(), StoreError> {
        let failed = |error: sqlx::Error| self.error("keep quality reports", &error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        for report in batch.reports.iter() {
            keep(report, &mut transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn history(&self, code: Code, since: DateTime<Utc>) -> Result<CodeHistory, StoreError> {
        let failed = |error: sqlx::Error| self.error("read a quality history", &error);
        let since = shanghai_clock::wall_clock(since).format(TIME).to_string();
        let count = "SELECT count(*) FROM data_quality_report WHERE kind = 'interval' AND timestamp >= ?";
        let num_reports: i64 = sqlx::query_scalar(count).bind(&since).fetch_one(&self.pool).await.map_err(failed)?;
        let oldest = "SELECT min(timestamp) FROM data_quality_report WHERE kind = 'interval'";
        let oldest: Option<String> = sqlx::query_scalar(oldest).fetch_one(&self.pool).await.map_err(failed)?;
        let rows: Vec<(String, String, String, String, i64, String)> = sqlx::query_as(
            "SELECT timestamp, node_id, what, rule, number, detail FROM data_quality_report JOIN data_quality_trouble \
             USING (report_id) WHERE kind = 'interval' AND timestamp >= ? AND code = ? ORDER BY timestamp, what, rule",
        )
        .bind(&since)
        .bind(code.as_str())
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        let kept = |(at, node_id, what, rule, number, detail): (String, String, String, String, i64, String)| {
            let number = u64::try_from(number).unwrap_or_default();
            let issue = CodeIssue { code: code.to_string(), what, rule, number, detail };
            Some(StoredIssue { at: time_of(&at)?, node_id, issue })
        };
        let num_reports = u64::try_from(num_reports).unwrap_or_default();
        let kept_since = oldest.as_deref().and_then(time_of);
        Ok(CodeHistory { num_reports, kept_since, issues: rows.into_iter().filter_map(kept).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::{QualitySummary, Subject};

    #[tokio::test]
    async fn a_report_is_kept_once_and_its_codes_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("store.db")).await.unwrap();
        ReportStore::prepare(&store).await.unwrap();
        let code: Code = "000001.SZ".parse().unwrap();
        let mut summary = QualitySummary::default();
        summary.add_failed(Subject::Code(code), "no answer");
        let now = Utc::now();
        let since = now - chrono::Duration::hours(1);
        let batch = ReportBatch::of(&[QualityReport::new("n1", None, now, now, summary)]);
        store.keep(&batch).await.unwrap();
        store.keep(&batch).await.unwrap();
        let history = store.history(code, since).await.unwrap();
        assert_eq!((history.num_reports, history.issues.len(), history.kept_since.is_some()), (1, 1, true));
        assert_eq!(history.issues[0].issue.detail, "no answer");
        assert_eq!(store.history("600000.SH".parse().unwrap(), since).await.unwrap().issues, []);
    }
}
