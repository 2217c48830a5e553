// Upstream: none
// Downstream: kit, main_job
// Role: Tests the consumer: it pauses at the limit, is rebuilt when it stalls, and rejoins as the same member.

use std::time::{Duration, Instant};

use kit::scene::{Scene, TIMEOUT, has_apache_kafka};
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};

#[test]
fn takes_no_more_commands_than_allowed() {
    let Market { codes, data, .. } = market(300, 3);
    let mut scene = Scene::new("pause", PROGRAM, data);
    scene.set("kafka.max_unresolved", 40).set("heartbeat.interval_ms", 100).set("heartbeat.ttl_ms", 2000);
    scene.source.set_fault(Fault::Hang, FaultDuration::UntilCleared);
    let worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    let unresolved = || scene.heartbeat("n1").and_then(|(value, _)| value["stats"]["commands_unresolved"].as_u64());
    wait_until("the consumer pauses", TIMEOUT, || worker.log_text().contains("consumption paused or resumed"));
    wait_until("40 unresolved commands", TIMEOUT, || unresolved().is_some_and(|n| n >= 40));
    // Records that librdkafka delivered before the pause may come on top.
    assert!(unresolved().is_some_and(|n| n <= 60), "{:?} unresolved commands", unresolved());
    scene.source.clear_fault();
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn reads_every_codec() {
    let Market { codes, data, .. } = market(160, 2);
    let mut scene = Scene::new("codecs", PROGRAM, data);
    let worker = scene.start("n1");
    for (codec, codes) in ["gzip", "snappy", "lz4", "zstd"].into_iter().zip(codes.chunks(40)) {
        scene.compress(codec);
        scene.send_snapshots(codes, "");
    }
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert!(!worker.log_text().contains("poll failed"), "no batch is unreadable");
}

#[test]
fn rebuilds_stalled_consumer_without_loss() {
    let Market { codes, data, .. } = market(60, 3);
    let mut scene = Scene::new("deaf", PROGRAM, data);
    scene.set("kafka.stall_after_ms", 2000);
    scene.send_snapshots(&codes, "");
    // The first consumer receives all records, but the fail point discards them.
    let worker = scene.start_with("n1", &[("FAILPOINTS", "kafka::deaf=60*return")]);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert!(worker.log_text().contains("the consumer is stalled although its partitions hold more records"));
}

#[test]
fn restart_within_session_resumes_quickly() {
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
    // Without static membership the group does not wait for a member that left either, but the fallback broker takes
    // half a session timeout for every join.
    let limit = if has_apache_kafka() { 20 } else { 40 };
    assert!(begun.elapsed() < Duration::from_secs(limit), "the restart does not wait for the old session to expire");
}

#[test]
fn dates_beyond_all_time_hold_up_nobody() {
    let Market { codes, data, .. } = market(10, 5);
    let mut scene = Scene::new("dates", PROGRAM, data);
    let _worker = scene.start("n1");
    // The first range is the one that Ginkgo sends for "from the beginning".
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
fn longest_command_becomes_dead_letter() {
    let Market { codes, data, .. } = market(8, 5);
    let mut scene = Scene::new("long", PROGRAM, data);
    let _worker = scene.start("n1");
    // With the headers of a dead letter the second command exceeds the broker's message limit.
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
