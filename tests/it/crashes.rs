// Upstream: none
// Downstream: kit, main_job
// Role: The worker killed or stopped in mid-run: nothing is lost, nothing doubled, the rest is done after it.

use std::time::{Duration, Instant};

use kit::scene::{Scene, TIMEOUT};
use kit::tushare_server::{Fault, Lasting};
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};

#[test]
fn a_worker_killed_in_mid_run_loses_nothing_and_doubles_nothing() {
    let Market { codes, data, .. } = market(300, 60);
    let mut scene = Scene::new("killed", PROGRAM, data);
    scene.set("batch.max_rows", 1000).set("fetch.max_in_flight", 4);
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    for round in 1..=3 {
        let enough = round * 4000;
        wait_until("some rows", TIMEOUT, || scene.database.count() >= enough);
        worker.kill();
        worker = scene.start("n1");
    }
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert!(worker.is_running());
}

#[test]
fn sigterm_in_mid_run_writes_what_is_begun_and_leaves_the_rest_to_the_next_start() {
    let Market { codes, data, .. } = market(400, 20);
    let mut scene = Scene::new("sigterm", PROGRAM, data);
    scene.set("fetch.max_in_flight", 8).set("batch.max_rows", 500).set("batch.min_rows", 100);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(40)), Lasting::UntilCleared);
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("some rows", TIMEOUT, || scene.database.count() >= 1000);
    let begun = Instant::now();
    worker.terminate();
    let status = worker.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0), "drained after {:?}", begun.elapsed());

    // What was begun is whole: every code has all of its rows or none, and all that has rows is committed.
    let bars = scene.database.bars();
    let mut num_done = 0;
    for code in &codes {
        let rows = bars.iter().filter(|bar| bar.code == *code).count();
        assert!(rows == 0 || rows == 20, "{code} has {rows} rows");
        num_done += i64::from(rows == 20);
    }
    assert!(num_done < 400, "it was stopped in mid-run");
    let num_committed: i64 = scene.committed().iter().sum();
    assert!(num_committed <= num_done, "{num_committed} offsets passed, {num_done} commands done");
    assert!(num_done - num_committed <= 8 * 4, "what was done was committed but for gaps in the order");

    let _next = scene.start("n1");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn a_drain_that_is_too_slow_says_what_was_late_and_loses_nothing() {
    let Market { codes, data, .. } = market(8, 5);
    let mut scene = Scene::new("late", PROGRAM, data);
    scene.set("worker.drain_deadline_ms", 4000);
    scene.source.set_fault(Fault::Hang, Lasting::UntilCleared);
    let mut worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    wait_until("all fetches hang", TIMEOUT, || scene.source.requests() >= 8);
    worker.terminate();
    let status = worker.wait(Duration::from_secs(15));
    assert_eq!(status.code(), Some(2));
    assert!(worker.log_text().contains("8 commands unresolved, 8 fetches under way"), "it says what was late");
    assert_eq!(scene.committed(), [0; 4]);
    scene.source.clear_fault();
    let _next = scene.start("n1");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}
