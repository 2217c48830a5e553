// Upstream: two_writers
// Downstream: kit, main_job
// Role: Tests repeated and forced syncs: the store ends equal to the source, and readers never see a gap.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kit::clickhouse::Database;
use kit::scene::Scene;
use kit::tushare_data::DailyRow;
use kit::tushare_server::{Fault, FaultDuration, LabelForm};

use crate::main_job::{Market, PROGRAM, market};

#[test]
fn the_same_commands_twice_store_every_row_once() {
    let Market { codes, data, .. } = market(80, 10);
    let mut scene = Scene::new("twice", PROGRAM, data);
    let twice: Vec<String> = codes.iter().chain(&codes).cloned().collect();
    scene.send_snapshots(&twice, "");
    let _worker = scene.start("n1");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    scene.send_snapshots(&codes, "");
    scene.send_snapshots(&codes, r#""full":true"#);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.database.statements()["delete"], 0, "unchanged rows are not rewritten");
}

#[test]
fn other_zone_or_label_makes_the_same_rows() {
    let Market { codes, data, .. } = market(20, 10);
    let mut scene = Scene::new("labels", PROGRAM, data);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let before = scene.database.query("SELECT code, timestamp, uuid FROM bar ORDER BY ALL");
    for form in [LabelForm::Zoned, LabelForm::Number, LabelForm::Dashed, LabelForm::Close, LabelForm::EpochSeconds] {
        scene.source.set_fault(Fault::Labels(form), FaultDuration::UntilCleared);
        scene.send_snapshots(&codes, r#""force":true"#);
        scene.wait_until_committed();
        let after = scene.database.query("SELECT code, timestamp, uuid FROM bar ORDER BY ALL");
        assert!(before == after, "{form:?} changes stored rows");
    }
    scene.assert_exact(&codes);
}

/// Reads the keys of `bar` in a loop until [`Self::end`], to find keys that are missing for a moment.
pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(u64, Vec<String>)>>,
}

impl Watcher {
    pub(crate) fn of(database: &Database) -> Self {
        let (stop, database) = (Arc::new(AtomicBool::new(false)), database.clone());
        let stopped = stop.clone();
        let keys = move || -> BTreeSet<String> {
            let text = database.query("SELECT DISTINCT code, timestamp FROM bar");
            text.lines().map(str::to_owned).collect()
        };
        let wanted = keys();
        let thread = std::thread::spawn(move || {
            let (mut num_looks, mut missing) = (0, Vec::new());
            while !stopped.load(Ordering::Acquire) {
                let found = keys();
                missing.extend(wanted.difference(&found).cloned());
                num_looks += 1;
            }
            (num_looks, missing)
        });
        Self { stop, thread: Some(thread) }
    }

    /// Stops the loop: the number of reads, and the keys that were missing in any of them.
    pub(crate) fn end(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// The same day with other prices.
pub(crate) fn changed(row: &DailyRow) -> DailyRow {
    let [open, high, low, close, before, volume, amount] = row.cells();
    let high = format!("{:.2}", high.parse::<f64>().unwrap() + 1.0);
    DailyRow::new(row.date, [open, &high, low, close, before, volume, amount])
}

fn assert_replacement_without_gap(name: &str, params: &str) {
    let Market { codes, data, .. } = market(40, 30);
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.set("batch.max_rows", 300).set("batch.min_rows", 100);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    for (n, code) in codes.iter().enumerate() {
        let rows = scene.source.rows(code);
        // Every third code keeps its rows.
        let rows = rows.iter().map(|row| if n % 3 == 0 { row.clone() } else { changed(row) }).collect();
        scene.source.set_rows(code, rows);
    }
    let watcher = Watcher::of(&scene.database);
    scene.send_snapshots(&codes, params);
    scene.wait_until_committed();
    let (num_looks, missing) = watcher.end();
    assert!(num_looks > 3, "{num_looks} looks");
    assert!(missing.is_empty(), "{} keys were missing for a moment: {:?}", missing.len(), &missing[..1]);
    scene.assert_exact(&codes);
}

#[test]
fn force_replaces_rows_without_a_gap_for_readers() {
    assert_replacement_without_gap("force", r#""force":true"#);
}

#[test]
fn full_replaces_rows_without_a_gap_for_readers() {
    assert_replacement_without_gap("full", r#""full":true"#);
}

#[test]
fn full_with_one_new_day_keeps_all_the_others() {
    // The Python worker kept only the new row.
    let Market { codes, data, last_day } = market(10, 243);
    let mut scene = Scene::new("newday", PROGRAM, data);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.source.append_day(last_day);
    scene.send_snapshots(&codes, r#""full":true"#);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.database.count(), 2440);
}

#[test]
fn force_replaces_python_rows_and_increment_keeps_them() {
    let Market { codes, data, .. } = market(5, 10);
    let mut scene = Scene::new("python", PROGRAM, data);
    scene.database.create_bar("bar", "MergeTree ORDER BY (code, timestamp)");
    let days: Vec<_> = scene.source.rows(&codes[0]).iter().map(|row| row.date).collect();
    // The same day twice, as two concurrent Python workers leave it.
    for uuid in ["bar_aaaaaaaaaaaa", "bar_bbbbbbbbbbbb"] {
        scene.database.query(&format!(
            "INSERT INTO bar VALUES ('{}', 1, 1, 1, 1, 1, 1, 1, '{uuid}', '{{}}', '', '{} 00:00:00', 7)",
            codes[0], days[3]
        ));
    }
    scene.database.fault("mode=lost_answer", 1);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, r#""start_date":"19901219""#);
    scene.wait_until_committed();
    let old = "SELECT count() FROM bar WHERE uuid IN ('bar_aaaaaaaaaaaa', 'bar_bbbbbbbbbbbb')";
    assert_eq!(scene.database.query(old).trim(), "2", "an increment changes no existing row");
    assert_eq!(scene.database.count(), 5 * 10 + 1, "no duplicates, even without deduplication by the table");
    scene.send_snapshots(&codes, r#""force":true"#);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn stores_returning_values_and_deleted_rows_again() {
    let Market { codes, data, .. } = market(5, 10);
    let mut scene = Scene::new("back", PROGRAM, data);
    let _worker = scene.start("n1");
    let send = |scene: &mut Scene, params: &str| {
        scene.send_snapshots(&codes, params);
        scene.wait_until_committed();
        scene.assert_exact(&codes);
    };
    send(&mut scene, "");
    let first: Vec<_> = codes.iter().map(|code| scene.source.rows(code)).collect();
    // The same batches repeatedly: deduplication must not take a later INSERT for a retry of an earlier one.
    for _ in 0..2 {
        for (code, rows) in codes.iter().zip(&first) {
            scene.source.set_rows(code, rows.iter().map(changed).collect());
        }
        send(&mut scene, r#""force":true"#);
        codes.iter().zip(&first).for_each(|(code, rows)| scene.source.set_rows(code, rows.clone()));
        send(&mut scene, r#""force":true"#);
    }
    scene.database.query("DELETE FROM bar WHERE 1");
    send(&mut scene, r#""full":true"#);
}
