// Upstream: none
// Downstream: kit, main_job
// Role: The same work twice, or anew: the stored set is what the source has, and no reader ever finds a gap.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kit::clickhouse::Database;
use kit::scene::Scene;
use kit::tushare_data::DailyRow;
use kit::tushare_server::{Fault, LabelForm, Lasting};

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
    assert_eq!(scene.database.statements()["delete"], 0, "unchanged rows are recognised and stay");
}

#[test]
fn the_same_bars_in_another_zone_or_label_are_the_same_rows() {
    let Market { codes, data, .. } = market(20, 10);
    let mut scene = Scene::new("labels", PROGRAM, data);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let before = scene.database.query("SELECT code, timestamp, uuid FROM bar ORDER BY ALL");
    for form in [LabelForm::Zoned, LabelForm::Number, LabelForm::Dashed, LabelForm::Close, LabelForm::EpochSeconds] {
        scene.source.set_fault(Fault::Labels(form), Lasting::UntilCleared);
        scene.send_snapshots(&codes, r#""force":true"#);
        scene.wait_until_committed();
        let after = scene.database.query("SELECT code, timestamp, uuid FROM bar ORDER BY ALL");
        assert!(before == after, "{form:?} changed what is stored");
    }
    scene.assert_exact(&codes);
}

/// Reads the keys of the table again and again until it is dropped; each must be there at every moment.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(u64, Vec<String>)>>,
}

impl Watcher {
    fn of(database: &Database) -> Self {
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

    /// Looks made, and keys that were missing in one of them.
    fn end(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// The same day with other prices.
fn changed(row: &DailyRow) -> DailyRow {
    let [open, high, low, close, before, volume, amount] = row.cells();
    let high = format!("{:.2}", high.parse::<f64>().unwrap() + 1.0);
    DailyRow::new(row.date, [open, &high, low, close, before, volume, amount])
}

fn replaced_under_a_readers_eyes(name: &str, params: &str) {
    let Market { codes, data, .. } = market(40, 30);
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.set("batch.max_rows", 300).set("batch.min_rows", 100);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    for (n, code) in codes.iter().enumerate() {
        let rows = scene.source.rows(code);
        // Every third code stays as it is.
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
fn force_over_changed_rows_leaves_what_the_source_has_and_no_moment_without() {
    replaced_under_a_readers_eyes("force", r#""force":true"#);
}

#[test]
fn full_on_a_filled_table_leaves_what_the_source_has_and_no_moment_without() {
    replaced_under_a_readers_eyes("full", r#""full":true"#);
}

#[test]
fn full_with_one_new_day_keeps_all_the_others() {
    // The Python worker kept the one new row alone.
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
fn rows_the_python_worker_stored_are_replaced_by_force_and_kept_by_an_increment() {
    let Market { codes, data, .. } = market(5, 10);
    let mut scene = Scene::new("python", PROGRAM, data);
    scene.database.query(
        "CREATE TABLE bar (code String, open Decimal(16,2), high Decimal(16,2), low Decimal(16,2), close Decimal(16,2), \
         volume Int32, amount Decimal(16,2), frequency Int8, uuid String, meta String, `desc` String, \
         timestamp DateTime, source Int8) ENGINE = MergeTree ORDER BY (code, timestamp)",
    );
    let days: Vec<_> = scene.source.rows(&codes[0]).iter().map(|row| row.date).collect();
    // Twice the same day, as two Python workers at once left it.
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
    assert_eq!(scene.database.query(old).trim(), "2", "an increment touches nothing that is there");
    assert_eq!(scene.database.count(), 5 * 10 + 1, "nothing is doubled in a table that takes a repeated INSERT twice");
    scene.send_snapshots(&codes, r#""force":true"#);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn values_that_come_back_and_rows_that_were_deleted_are_stored_again() {
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
    // The same batches again and again: what was inserted once must not be taken for its own retry.
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
