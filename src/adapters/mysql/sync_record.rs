// Upstream: store
// Downstream: actors, error, model, session
// Role: Creates Ginkgo's table `data_sync_record` and adds records of finished tasks.

use actors::domain::{SourceId, SyncRecord, shanghai_clock};
use sqlx::QueryBuilder;

use crate::adapters::mysql::error::MySqlError;
use crate::adapters::mysql::model::{DESC, META};
use crate::adapters::mysql::session::Session;

/// The table as declared by Ginkgo's models.
pub const CREATE: &str = "CREATE TABLE IF NOT EXISTS data_sync_record (
    sync_type VARCHAR(32) NOT NULL, code VARCHAR(32) NOT NULL, status VARCHAR(16) NOT NULL,
    started_at DATETIME NOT NULL, completed_at DATETIME NULL, duration_ms INT NOT NULL,
    records_processed INT NOT NULL, records_added INT NOT NULL, records_updated INT NOT NULL,
    records_failed INT NOT NULL, error_message TEXT NULL, sync_strategy VARCHAR(32) NOT NULL,
    uuid VARCHAR(32) NOT NULL, meta VARCHAR(255) NULL, `desc` VARCHAR(255) NULL,
    create_at DATETIME NOT NULL, update_at DATETIME NOT NULL, is_del BOOL NOT NULL, source TINYINT NOT NULL,
    PRIMARY KEY (uuid)) DEFAULT CHARSET = utf8mb4";

/// Maximum characters of an error text. They fit into MySQL's TEXT in any encoding.
const MAX_ERROR: usize = 2_000;

/// Adds records.
pub async fn add(session: &mut Session<'_>, records: &[SyncRecord]) -> Result<(), MySqlError> {
    let mut query = QueryBuilder::new(
        "INSERT INTO data_sync_record (sync_type, code, status, started_at, completed_at, duration_ms, \
         records_processed, records_added, records_updated, records_failed, error_message, sync_strategy, uuid, meta, \
         `desc`, create_at, update_at, is_del, source) ",
    );
    query.push_values(records, |mut row, record| {
        let ended = shanghai_clock::wall_clock(record.ended_at);
        let number = |value: u64| i32::try_from(value).unwrap_or(i32::MAX);
        let duration = i32::try_from(record.duration.as_millis()).unwrap_or(i32::MAX);
        let (added, updated) = record.added_and_updated();
        row.push_bind(record.kind).push_bind(record.code().to_owned()).push_bind(record.status());
        row.push_bind(ended - record.duration).push_bind(ended).push_bind(duration);
        row.push_bind(number(record.counts.fetched)).push_bind(number(added)).push_bind(number(updated));
        row.push_bind(number(record.counts.num_skipped()));
        row.push_bind(record.error.as_ref().map(|error| error.chars().take(MAX_ERROR).collect::<String>()));
        row.push_bind(record.strategy()).push_bind(record.id.simple().to_string());
        row.push_bind(META).push_bind(DESC).push_bind(ended).push_bind(ended).push_bind(false);
        row.push_bind(SourceId::OTHER.number());
    });
    // An earlier attempt whose answer was lost may have written the records.
    query.push(" ON DUPLICATE KEY UPDATE uuid = data_sync_record.uuid");
    session.execute(query.build()).await
}
