// Upstream: none
// Downstream: kit, main_job
// Role: The consumer: it pauses when enough is out, is rebuilt when it stands still, and comes back as the same member.

use std::time::{Duration, Instant};

use kit::scene::{Scene, TIMEOUT, has_apache_kafka};
use kit::tushare_server::{Fault, Lasting};
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};

#[test]
fn no_more_commands_are_taken_than_are_allowed_to_be_out() {
    let Market { codes, data, .. } = market(300, 3);
    let mut scene = Scene::new("pause", PROGRAM, data);
    scene.set("kafka.max_unresolved", 40).set("heartbeat.interval_ms", 100).set("heartbeat.ttl_ms", 2000);
    scene.source.set_fault(Fault::Hang, Lasting::UntilCleared);
    let worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    let unresolved = || scene.heartbeat("n1").and_then(|(value, _)| value["stats"]["commands_unresolved"].as_u64());
    wait_until("it pauses", TIMEOUT, || worker.log_text().contains("consumption paused or resumed"));
    wait_until("enough is out", TIMEOUT, || unresolved().is_some_and(|n| n >= 40));
    // What librdkafka had handed over in the same moment may come on top.
    assert!(unresolved().is_some_and(|n| n <= 60), "{:?} commands are out", unresolved());
    scene.source.clear_fault();
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn a_consumer_that_stands_still_with_lag_is_rebuilt_and_loses_nothing() {
    let Market { codes, data, .. } = market(60, 3);
    let mut scene = Scene::new("deaf", PROGRAM, data);
    scene.set("kafka.stall_after_ms", 2000);
    scene.send_snapshots(&codes, "");
    // The first consumer gets everything and nothing of it arrives.
    let worker = scene.start_with("n1", &[("FAILPOINTS", "kafka::deaf=60*return")]);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert!(worker.log_text().contains("it stands still although its partitions hold more"));
}

#[test]
fn a_restart_within_the_session_comes_back_as_the_same_member_at_once() {
    let Market { codes, data, .. } = market(40, 3);
    let mut scene = Scene::new("member", PROGRAM, data);
    scene.set("kafka.session_timeout_ms", 45_000);
    let mut first = scene.start("n1");
    scene.wait_for_status("n1", "running");
    first.terminate();
    assert_eq!(first.wait(Duration::from_secs(20)).code(), Some(0));
    scene.send_snapshots(&codes, "");
    let begun = Instant::now();
    let _again = scene.start("n1");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    // Without static members a member that left in order is not waited for either, but the fallback broker takes half a
    // session for every join.
    let limit = if has_apache_kafka() { 20 } else { 40 };
    assert!(begun.elapsed() < Duration::from_secs(limit), "it did not wait for the old session's end");
}

#[test]
fn dates_beyond_all_time_hold_up_nobody() {
    let Market { codes, data, .. } = market(10, 5);
    let mut scene = Scene::new("dates", PROGRAM, data);
    let _worker = scene.start("n1");
    // The first is what Ginkgo itself sends for "from the beginning".
    scene.send_snapshots(&codes[..2], r#""full":true,"start_date":"19000101","end_date":"21000101""#);
    scene.send_snapshots(&codes[2..4], r#""start_date":"1990-01-01","end_date":"99991231","force":true"#);
    scene.send_snapshots(&codes[4..5], r#""start_date":"19000101","end_date":"19010101","force":true"#);
    scene.send_snapshots(&codes[5..6], r#""start_date":"99990101""#);
    scene.wait_until_committed();
    let done: Vec<String> = codes[..4].to_vec();
    scene.assert_exact(&done);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
}

#[test]
fn a_command_as_long_as_the_broker_takes_becomes_a_dead_letter_and_holds_up_nobody() {
    let Market { codes, data, .. } = market(8, 5);
    let mut scene = Scene::new("long", PROGRAM, data);
    let _worker = scene.start("n1");
    // The second is so long that with a dead letter's headers the broker refuses it.
    let (long, longest) = (vec![b'x'; 1_040_000], vec![b'x'; 1_048_480]);
    scene.send(&[long.clone(), longest.clone()]);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let mut letters = scene.dead_letters();
    letters.sort_by_key(|letter| letter.headers.get("dlq.cut_from").map_or(letter.value.len(), |n| n.parse().unwrap()));
    assert_eq!(letters.len(), 2);
    assert!(letters[0].value == long && !letters[0].headers.contains_key("dlq.cut_from"));
    if has_apache_kafka() {
        assert_eq!(letters[1].headers["dlq.cut_from"], longest.len().to_string());
        assert!(letters[1].value == longest[..65_536]);
    } else {
        assert!(letters[1].value == longest, "the fallback broker takes records of any length");
    }
}
