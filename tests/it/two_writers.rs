// Upstream: none
// Downstream: idempotence, kit, main_job
// Role: Tests two workers that replace the same rows at the same moment with different answers of their vendors.

use kit::scene::{PARTITIONS, Scene, TIMEOUT};
use kit::tushare_data::Dataset;
use kit::tushare_server::TushareServer;
use kit::wait::wait_until;
use kit::worker::Worker;

use crate::idempotence::{Watcher, changed};
use crate::main_job::{Market, PROGRAM, market};

/// The rounds of `force`; in each, both workers replace all rows.
const ROUNDS: usize = 8;

/// A worker of another group that reads the same commands from the same topic and asks another vendor.
struct Second {
    worker: Worker,
    group: String,
    vendor: TushareServer,
}

impl Second {
    fn start(scene: &Scene, codes: &[String]) -> Self {
        let mut data = Dataset::empty();
        for code in codes {
            data.set_rows(code, scene.source.rows(code).iter().map(changed).collect());
        }
        let vendor = TushareServer::start(data).unwrap();
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

/// Both workers replace the rows of all codes several times, with different answers, in a table with this engine; without
/// one, in the worker's own table.
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
    let (ours, theirs) = (scene.expected(&codes), Scene::expected_of(&second.vendor, &codes));
    for (n, row) in scene.database.bars().iter().enumerate() {
        assert!(*row == ours[n] || *row == theirs[n], "{row:?} is neither {:?} nor {:?}", ours[n], theirs[n]);
    }

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
