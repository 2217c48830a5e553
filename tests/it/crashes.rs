// Upstream: none
// Downstream: kit, main_job
// Role: Tests kills and stops during a run: no rows are lost or duplicated, and the next start finishes the work.

use std::time::{Duration, Instant};

use kit::scene::{Scene, TIMEOUT};
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};

#[test]
fn redelivers_after_kill_without_loss_or_duplicates() {
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
fn sigterm_drains_and_next_start_finishes() {
    let Market { codes, data, .. } = market(400, 20);
    let mut scene = Scene::new("sigterm", PROGRAM, data);
    scene.set("fetch.max_in_flight", 8).set("batch.max_rows", 500).set("batch.min_rows", 100);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(40)), FaultDuration::UntilCleared);
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("some rows", TIMEOUT, || scene.database.count() >= 1000);
    let begun = Instant::now();
    worker.terminate();
    let status = worker.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0), "drained after {:?}", begun.elapsed());

    // Started commands are complete: every code has all of its rows or none. Commits never exceed the completed
    // commands.
    let bars = scene.database.bars();
    let mut num_done = 0;
    for code in &codes {
        let rows = bars.iter().filter(|bar| bar.code == *code).count();
        assert!(rows == 0 || rows == 20, "{code} has {rows} rows");
        num_done += i64::from(rows == 20);
    }
    assert!(num_done < 400, "the worker stops before the end of the run");
    let num_committed: i64 = scene.committed().iter().sum();
    assert!(num_committed <= num_done, "{num_committed} offsets committed, {num_done} commands done");
    assert!(num_done - num_committed <= 8 * 4, "completed commands are committed, but for gaps in the order");

    let _next = scene.start("n1");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn slow_drain_logs_unresolved_work_and_loses_nothing() {
    let Market { codes, data, .. } = market(8, 5);
    let mut scene = Scene::new("late", PROGRAM, data);
    scene.set("worker.drain_deadline_ms", 4000);
    scene.source.set_fault(Fault::Hang, FaultDuration::UntilCleared);
    let mut worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    wait_until("all fetches hang", TIMEOUT, || scene.source.requests() >= 8);
    worker.terminate();
    let status = worker.wait(Duration::from_secs(15));
    assert_eq!(status.code(), Some(2));
    assert!(worker.log_text().contains("8 commands unresolved, 8 being fetched"), "the unfinished work is logged");
    assert_eq!(scene.committed(), [0; 4]);
    scene.source.clear_fault();
    let _next = scene.start("n1");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}
