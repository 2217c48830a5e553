// Upstream: none
// Downstream: actors, data_worker, kit, main_job
// Role: Tests the sync record of every ended task in the real MariaDB, written without blocking the tasks.

use std::time::Duration;

use actors::domain::{Subject, SyncMode, SyncRecord, TaskCounts};
use actors::ports::ReferenceStore;
use kit::mysql::Tables;
use kit::scene::{Scene, TIMEOUT};
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};

fn command(name: &str, params: &str) -> Vec<u8> {
    format!(r#"{{"command":"{name}","params":{{{params}}},"source":"task_timer"}}"#).into_bytes()
}

fn wait_for_rows(tables: &Tables, num_rows: usize) {
    wait_until(&format!("{num_rows} sync records"), TIMEOUT, || {
        tables.try_rows("SELECT count(*) FROM data_sync_record").is_ok_and(|rows| rows == [[num_rows.to_string()]])
    });
}

#[test]
fn every_ended_task_has_a_row_with_what_came_of_it() {
    let Market { codes, data, .. } = market(30, 6);
    let mut scene = Scene::new("records", PROGRAM, data);
    let tables = Tables::create(&scene.name);
    // One code has a row that the rules reject.
    let mut rows = scene.source.rows(&codes[3]);
    let date = rows[2].date;
    rows[2] = kit::tushare_data::DailyRow::new(date, ["-1", "2", "1", "1", "1", "100", "100"]);
    scene.source.set_rows(&codes[3], rows);
    let mut worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    wait_for_rows(&tables, 30);
    let shape = "SELECT DISTINCT sync_type, status, records_processed, records_added, records_updated, records_failed, \
                 sync_strategy, length(uuid), is_del, error_message IS NULL FROM data_sync_record ORDER BY status";
    assert_eq!(
        tables.rows(shape),
        [
            ["bars", "partial", "6", "5", "0", "1", "incremental", "32", "0", "1"],
            ["bars", "success", "6", "6", "0", "0", "incremental", "32", "0", "1"],
        ]
    );
    let partial = tables.rows("SELECT code FROM data_sync_record WHERE status = 'partial'");
    assert_eq!(partial, [[codes[3].clone()]]);

    // Every kind of task, and one that fails; a graceful stop writes the pending records.
    scene.send(&[
        command("stockinfo", ""),
        command("trade_day", ""),
        command("adjustfactor", &format!(r#""code":"{}""#, codes[0])),
        command("bar_snapshot", &format!(r#""code":"{}","full":true"#, codes[0])),
    ]);
    scene.wait_until_committed();
    scene
        .source
        .set_fault(kit::tushare_server::Fault::Status(500, None), kit::tushare_server::FaultDuration::UntilCleared);
    scene.send(&[command("bar_snapshot", &format!(r#""code":"{}","days":3"#, codes[0]))]);
    scene.wait_until_committed();
    worker.terminate();
    assert_eq!(worker.wait(Duration::from_secs(25)).code(), Some(0));
    let last = "SELECT sync_type, code, status, sync_strategy FROM data_sync_record ORDER BY completed_at DESC, sync_type, \
                status LIMIT 100";
    let mut found: Vec<String> =
        tables.rows(last).iter().map(|row| row.join(" ")).filter(|row| !row.contains("incremental")).collect();
    found.sort();
    let expected = [
        format!("adjustfactor {} success incremental", codes[0]),
        format!("bars {} success full", codes[0]),
        "stockinfo ALL success full".to_owned(),
        "trade_day ALL success full".to_owned(),
    ];
    assert_eq!(found, expected[1..]);
    assert_eq!(tables.rows("SELECT count(*) FROM data_sync_record WHERE sync_type = 'adjustfactor'"), [["1"]]);
    let failed = tables.rows("SELECT code, error_message FROM data_sync_record WHERE status = 'failed'");
    assert_eq!(failed.len(), 1);
    assert!(failed[0][0] == codes[0] && failed[0][1].contains("source tushare"), "{failed:?}");
    let times = "SELECT count(*) FROM data_sync_record WHERE started_at > completed_at OR duration_ms < 0 OR \
                 completed_at < DATE_SUB(DATE_ADD(UTC_TIMESTAMP(), INTERVAL 8 HOUR), INTERVAL 10 MINUTE)";
    assert_eq!(tables.rows(times), [["0"]]);
}

#[test]
fn unreachable_mysql_holds_no_command() {
    let Market { codes, data, .. } = market(20, 3);
    let mut scene = Scene::new("norecords", PROGRAM, data);
    let tables = Tables::create(&scene.name);
    scene.set("mysql.port", kit::services::free_port());
    let away = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    drop(away);

    scene.set("mysql.port", kit::services::required("TEST_MYSQL_PORT")).set("events.sync_records", false);
    let mut silent = scene.start("n2");
    scene.send_snapshots(&codes, r#""full":true"#);
    scene.wait_until_committed();
    silent.terminate();
    silent.wait(Duration::from_secs(25));
    assert!(tables.try_rows("SELECT count(*) FROM data_sync_record").is_err(), "the table is not created either");
}

#[test]
fn a_record_that_is_written_again_is_one_record() {
    let name = "records_again";
    let tables = Tables::create(name);
    let section = data_worker::config::MySqlSection {
        host: "127.0.0.1".to_owned(),
        port: kit::services::required("TEST_MYSQL_PORT").parse().unwrap(),
        user: kit::services::required("TEST_MYSQL_USER"),
        password: Some(kit::services::required("TEST_MYSQL_PASSWORD").into()),
        database: name.to_owned(),
        ..data_worker::config::MySqlSection::default()
    };
    let record = |n: u32| SyncRecord {
        id: uuid::Uuid::new_v4(),
        kind: "bars",
        subject: Subject::Code(format!("{n:06}.SZ").parse().unwrap()),
        mode: SyncMode::Incremental,
        ended_at: chrono::Utc::now(),
        duration: Duration::from_millis(5),
        counts: TaskCounts::default(),
        error: None,
    };
    let records = [record(1), record(2)];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = data_worker::adapters::mysql::store::MySqlReference::new(&section);
        // As after a lost answer: the same records again.
        store.record_syncs(&records).await.unwrap();
        store.record_syncs(&records).await.unwrap();
    });
    assert_eq!(tables.rows("SELECT count(*) FROM data_sync_record"), [["2"]]);
}
