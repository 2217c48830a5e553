// Upstream: none
// Downstream: backfill, idempotence, kit, main_job, reference
// Role: Tests two workers that replace the same rows at the same moment with different answers of their vendors.

use kit::mysql::Tables;
use kit::scene::{PARTITIONS, Scene, TIMEOUT};
use kit::tushare_data::Dataset;
use kit::tushare_server::{FaultDuration, TushareServer};
use kit::wait::wait_until;
use kit::worker::Worker;

use crate::backfill::{end_of, spawn};
use crate::idempotence::{Watcher, changed};
use crate::main_job::{Market, PROGRAM, market};
use crate::reference::{command, stock_list};

/// The rounds of `force`; in each, both workers replace all rows.
const ROUNDS: usize = 8;

/// A worker of another group that reads the same commands from the same topic and asks another vendor.
struct Second {
    worker: Worker,
    group: String,
    vendor: TushareServer,
}

/// A vendor with other values on the same days.
fn other_vendor(scene: &Scene, codes: &[String]) -> TushareServer {
    let mut data = Dataset::empty();
    for code in codes {
        data.set_rows(code, scene.source.rows(code).iter().map(changed).collect());
    }
    TushareServer::start(data).unwrap()
}

fn assert_each_row_is_an_answer(scene: &Scene, other: &TushareServer, codes: &[String]) {
    let (ours, theirs) = (scene.expected(codes), Scene::expected_of(other, codes));
    for (n, row) in scene.database.bars().iter().enumerate() {
        assert!(*row == ours[n] || *row == theirs[n], "{row:?} is neither {:?} nor {:?}", ours[n], theirs[n]);
    }
}

impl Second {
    fn start(scene: &Scene, codes: &[String]) -> Self {
        let vendor = other_vendor(scene, codes);
        let group = format!("{}.second", scene.name);
        let url = vendor.url();
        let environment = [
            ("GINKGO_DATA_WORKER__KAFKA__GROUP_ID", group.as_str()),
            ("GINKGO_DATA_WORKER__SOURCES__TUSHARE__URL", url.as_str()),
        ];
        let worker = scene.start_with("n2", &environment);
        Self { worker, group, vendor }
    }

    fn wait_until_committed(&self, scene: &Scene) {
        wait_until("the second group has committed every command", TIMEOUT, || {
            scene.broker.committed(&self.group, &scene.topic(), PARTITIONS) == scene.sent()
        });
    }
}

/// Both workers replace the rows of all codes several times, with different answers, in a table with this engine;
/// without one, in the worker's own table.
fn assert_one_row_a_key(name: &str, engine: Option<&str>) {
    let Market { codes, data, .. } = market(50, 40);
    let mut scene = Scene::new(name, PROGRAM, data);
    if let Some(engine) = engine {
        scene.database.create_bar("bar", engine);
    }
    let _first = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);

    let second = Second::start(&scene, &codes);
    second.wait_until_committed(&scene);
    let watcher = Watcher::of(&scene.database);
    for _ in 0..ROUNDS {
        scene.send_snapshots(&codes, r#""force":true"#);
        scene.wait_until_committed();
        second.wait_until_committed(&scene);
        let copies = "SELECT count(), uniqExact(code, timestamp) FROM bar";
        assert_eq!(scene.database.query(copies).trim(), "2000\t2000", "rows and keys");
    }
    let (num_looks, missing) = watcher.end();
    assert!(num_looks > 3 && missing.is_empty(), "{} keys were missing for a moment", missing.len());
    assert_each_row_is_an_answer(&scene, &second.vendor, &codes);

    // The last command of a range wins.
    drop(second.worker);
    scene.send_snapshots(&codes, r#""force":true"#);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn workers_that_replace_the_same_rows_lose_and_double_none() {
    assert_one_row_a_key("twowriters", None);
}

#[test]
fn workers_agree_in_a_plain_table_of_ginkgo_too() {
    assert_one_row_a_key("twoplain", Some("MergeTree ORDER BY (code, timestamp)"));
}

#[test]
fn a_backfill_beside_a_worker_loses_and_doubles_none() {
    let Market { codes, data, .. } = market(50, 40);
    let mut scene = Scene::new("twobackfill", PROGRAM, data);
    scene.set("sources.tushare.requests_per_minute", 0);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();

    let vendor = other_vendor(&scene, &codes);
    scene.set("sources.tushare.url", vendor.url());
    let watcher = Watcher::of(&scene.database);
    let (list, log) = (codes.join(","), scene.folder().join("backfill.log"));
    for _ in 0..ROUNDS / 2 {
        let requests = vendor.requests();
        let backfill =
            spawn(&scene, PROGRAM, &["backfill", "--codes", &list, "--start", "2010-01-01", "--force"], &log);
        wait_until("the backfill fetches", TIMEOUT, || vendor.requests() > requests);
        scene.send_snapshots(&codes, r#""force":true"#);
        scene.wait_until_committed();
        let ended = end_of(backfill);
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        let copies = "SELECT count(), uniqExact(code, timestamp) FROM bar";
        assert_eq!(scene.database.query(copies).trim(), "2000\t2000", "rows and keys");
    }
    let (num_looks, missing) = watcher.end();
    assert!(num_looks > 3 && missing.is_empty(), "{} keys were missing for a moment", missing.len());
    assert_each_row_is_an_answer(&scene, &vendor, &codes);
    scene.send_snapshots(&codes, r#""force":true"#);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn stock_lists_of_two_vendors_leave_one_row_a_code() {
    let Market { codes, data, .. } = market(300, 1);
    let mut scene = Scene::new("twolists", PROGRAM, data);
    let tables = Tables::create(&scene.name);
    let list = |name| stock_list(&codes.iter().map(|code| (code.as_str(), name, "20100104")).collect::<Vec<_>>());
    let _first = scene.start("n1");
    let second = Second::start(&scene, &codes);
    scene.source.set_fault(list("甲"), FaultDuration::UntilCleared);
    second.vendor.set_fault(list("乙"), FaultDuration::UntilCleared);
    scene.send(&vec![command("stockinfo"); 8]);
    scene.wait_until_committed();
    second.wait_until_committed(&scene);
    assert_eq!(tables.rows("SELECT count(*), count(DISTINCT code) FROM stock_info"), [["300", "300"]]);
    let names = tables.rows("SELECT DISTINCT code_name FROM stock_info");
    assert!(names == [["甲"]] || names == [["乙"]], "a merge is one transaction: {names:?}");

    drop(second.worker);
    scene.send(&[command("stockinfo")]);
    scene.wait_until_committed();
    assert_eq!(tables.rows("SELECT DISTINCT code_name FROM stock_info"), [["甲"]]);
}
