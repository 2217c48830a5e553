// Upstream: none
// Downstream: http, kit, main_job
// Role: Tests partitions that end with what no consumer receives: transaction markers and aborted records.

use std::time::Duration;

use kit::http::get;
use kit::scene::{PARTITIONS, Scene, TIMEOUT, needs_apache_kafka};
use kit::wait::wait_until;
use rdkafka::producer::Producer;

use crate::http::address;
use crate::main_job::{Market, PROGRAM, market};

const ANSWER: Duration = Duration::from_secs(20);

fn command(code: &str) -> Vec<u8> {
    format!(r#"{{"command":"bar_snapshot","params":{{"code":"{code}"}}}}"#).into_bytes()
}

fn feed(address: &str) -> serde_json::Value {
    get(address, "/status").json()["feed"].clone()
}

/// Whether all before the end of each partition is committed, and the worker sees it so.
fn is_at_the_end(scene: &Scene, address: &str) -> bool {
    scene.committed() == scene.broker.ends(&scene.topic(), PARTITIONS) && feed(address)["lag"] == 0
}

#[test]
fn aborted_records_at_the_end_are_no_lag_and_no_stall() {
    if !needs_apache_kafka("transactions") {
        return;
    }
    let Market { codes, data, .. } = market(12, 3);
    let mut scene = Scene::new("aborted", PROGRAM, data);
    scene.set("kafka.stall_after_ms", 1000);
    let worker = scene.start("n1");
    let address = address(&scene, "n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes[..8], "");
    scene.wait_until_committed();
    for partition in 0..PARTITIONS {
        let aborted = scene.broker.transaction(&scene.topic(), &[command(&codes[9]), command(&codes[10])], partition);
        aborted.abort_transaction(ANSWER).expect("aborted");
    }
    wait_until("all is committed up to the end", TIMEOUT, || is_at_the_end(&scene, &address));
    scene.assert_exact(&codes[..8]);
    // What comes behind the markers is read.
    scene.broker.send(&scene.topic(), &codes.iter().map(|code| command(code)).collect::<Vec<_>>(), PARTITIONS);
    wait_until("all is committed up to the end", TIMEOUT, || is_at_the_end(&scene, &address));
    scene.assert_exact(&codes);
    assert!(!worker.log_text().contains("rebuilding the consumer"));
}

#[test]
fn commands_of_a_long_open_transaction_are_done() {
    if !needs_apache_kafka("transactions") {
        return;
    }
    let Market { codes, data, .. } = market(6, 3);
    let mut scene = Scene::new("open", PROGRAM, data);
    scene.set("kafka.stall_after_ms", 1000);
    let _worker = scene.start("n1");
    let address = address(&scene, "n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes[..4], "");
    scene.wait_until_committed();
    let open = scene.broker.transaction(&scene.topic(), &[command(&codes[4])], 0);
    // Behind it, in the same partition.
    scene.broker.send(&scene.topic(), &[command(&codes[5])], 1);
    // The statistics come every five seconds, and the worker looks at the end of this partition several times.
    wait_until("both count as lag", TIMEOUT, || feed(&address)["lag"] == 2);
    assert_eq!(scene.committed(), [1; 4], "no command of the open transaction is passed");
    open.commit_transaction(ANSWER).expect("committed");
    wait_until("all is committed up to the end", TIMEOUT, || is_at_the_end(&scene, &address));
    scene.assert_exact(&codes);
    assert_eq!(feed(&address)["rebuilds"], 0);
}
