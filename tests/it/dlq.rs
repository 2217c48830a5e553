// Upstream: none
// Downstream: kit, main_job
// Role: Tests `data-worker dlq`: dead letters are listed, shown and counted, and their commands are sent again once.

use std::process::{Command, Output, Stdio};

use kit::kafka::Record;
use kit::scene::{PARTITIONS, Scene, TIMEOUT, needs_apache_kafka};
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::wait_until;
use kit::worker::peak_memory_kib;
use serde_json::{Value, json};

use crate::main_job::{Market, PROGRAM, market};

/// The most memory of the program in KiB: the client's own and a batch.
const MAX_MEMORY: u64 = 96 * 1024;

fn program(scene: &Scene, arguments: &[&str]) -> Command {
    let config = scene.write_config("operator");
    let mut program = Command::new(PROGRAM);
    program.args(arguments).arg("--config").arg(config).env("GINKGO_DIR", scene.folder());
    program
}

/// Runs `data-worker dlq` and returns its exit code and its texts.
fn dlq(scene: &Scene, arguments: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["dlq"], arguments].concat();
    let Output { status, stdout, stderr } = program(scene, &arguments).output().expect("the program runs");
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// The lines of `data-worker dlq list --json`.
fn listed(scene: &Scene, arguments: &[&str]) -> Vec<Value> {
    let (code, text) = dlq(scene, &[&["list", "--json"], arguments].concat());
    assert_eq!(code, Some(0), "{text}");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// All commands in the topic of the scene.
fn commands(scene: &Scene) -> Vec<Record> {
    scene.broker.records(&scene.topic(), PARTITIONS)
}

/// A dead letter of a command for this code, as a worker writes it.
fn letter(scene: &Scene, offset: i64, code: &str, class: &str, job: &str) -> Record {
    let payload =
        json!({"command": "bar_snapshot", "params": {"code": code}, "source": "night", "correlation_id": job});
    let headers = [
        ("dlq.reason", "the source does not answer".to_owned()),
        ("dlq.class", class.to_owned()),
        ("dlq.attempts", "3".to_owned()),
        ("dlq.topic", scene.topic()),
        ("dlq.partition", "0".to_owned()),
        ("dlq.offset", offset.to_string()),
        ("dlq.node", "n1".to_owned()),
        ("dlq.time", chrono::Utc::now().to_rfc3339()),
    ];
    Record {
        value: payload.to_string().into_bytes(),
        key: Some(format!("key of {code}").into_bytes()),
        headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
    }
}

/// A scene without a worker, with a dead letter of each code.
fn with_letters(name: &str, num_codes: usize) -> (Scene, Vec<String>) {
    let Market { codes, data, .. } = market(num_codes, 3);
    let scene = Scene::new(name, PROGRAM, data);
    for (offset, code) in (0..).zip(&codes) {
        scene.broker.send_record(&scene.dead_letter_topic(), &letter(&scene, offset, code, "source_error", "evening"));
    }
    (scene, codes)
}

fn refuse_all(scene: &Scene) {
    scene.source.set_fault(Fault::Refused(40001, "no such thing".to_owned()), FaultDuration::UntilCleared);
}

#[test]
fn replay_sends_key_and_bytes_once() {
    if !needs_apache_kafka("transactions") {
        return;
    }
    let (scene, codes) = with_letters("dlqonce", 3);
    let (code, text) = dlq(&scene, &["replay", "--all", "--dry-run"]);
    assert_eq!((code, text.matches("would be sent to").count()), (Some(0), 3), "{text}");
    assert_eq!(commands(&scene).len(), 0);
    let (code, text) = dlq(&scene, &["replay", "0:1"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("bar_snapshot {}, job evening", codes[1])), "{text}");
    let (sent, letters) = (commands(&scene), scene.dead_letters());
    assert_eq!((sent.len(), letters.len()), (1, 3), "the record of a replay is no dead letter");
    assert_eq!((&sent[0].key, &sent[0].value), (&letters[1].key, &letters[1].value));
    assert_eq!((sent[0].headers["replay.letter"].as_str(), sent[0].headers["replay.number"].as_str()), ("0:1", "1"));
    // A letter that was replayed is refused by name and passed over by a filter.
    let (code, text) = dlq(&scene, &["replay", "0:1"]);
    assert_eq!((code, text.contains("its command was replayed at")), (Some(1), true), "{text}");
    let (code, text) = dlq(&scene, &["replay", "--all"]);
    assert_eq!((code, text.contains("2 replayed, 1 passed over")), (Some(0), true), "{text}");
    let (code, text) = dlq(&scene, &["replay", "--all"]);
    assert_eq!((code, text.contains("0 replayed, 3 passed over")), (Some(0), true), "{text}");
    assert_eq!(commands(&scene).len(), 3);
    let (code, text) = dlq(&scene, &["replay", "0:1", "--again"]);
    assert_eq!((code, text.contains("replay 2")), (Some(0), true), "{text}");
    assert_eq!(commands(&scene).len(), 4);
}

#[test]
fn two_letters_of_a_command_send_it_once() {
    let (scene, codes) = with_letters("dlqtwice", 1);
    // A worker that is killed before it commits the command records a second letter.
    let again = letter(&scene, 0, &codes[0], "source_error", "evening");
    scene.broker.send_record(&scene.dead_letter_topic(), &again);
    let (code, text) = dlq(&scene, &["replay", "--all"]);
    assert_eq!((code, text.contains("1 replayed, 1 passed over")), (Some(0), true), "{text}");
    assert_eq!(commands(&scene).len(), 1);
    let (code, text) = dlq(&scene, &["replay", "0:1"]);
    assert_eq!((code, commands(&scene).len()), (Some(1), 1), "{text}");
}

#[test]
fn letters_are_selected_and_counted() {
    let (scene, codes) = with_letters("dlqselect", 3);
    let mut foreign = letter(&scene, 9, &codes[0], "bad_command", "night");
    foreign.headers.insert("dlq.topic".to_owned(), "elsewhere".to_owned());
    foreign.headers.insert("dlq.time".to_owned(), "2024-01-31T12:00:00Z".to_owned());
    scene.broker.send_record(&scene.dead_letter_topic(), &foreign);
    let names = |arguments: &[&str]| -> Vec<String> {
        listed(&scene, arguments).iter().map(|line| line["letter"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&[]), ["0:0", "0:1", "0:2", "0:3"]);
    assert_eq!(names(&["--class", "bad_command"]), ["0:3"]);
    assert_eq!(names(&["--code", &codes[0], "--since", "1h"]), ["0:0"]);
    assert_eq!(names(&["--older-than", "1d", "--sender", "night"]), ["0:3"]);
    assert_eq!(names(&["--sender", "nobody"]), Vec::<String>::new());
    let first = &listed(&scene, &[])[0];
    for (field, value) in [("state", json!("open")), ("job", json!("evening")), ("codes", json!([codes[0]]))] {
        assert_eq!(first[field], value, "{first}");
    }
    let (_, text) = dlq(&scene, &["list"]);
    assert!(text.contains("the source does not answer") && text.ends_with("4 dead letters\n"), "{text}");
    let (code, text) = dlq(&scene, &["show", "0:1", "7:7"]);
    assert_eq!((code, text.contains("7:7: there is no such dead letter")), (Some(1), true), "{text}");
    assert!(text.contains(&format!("\"code\": \"{}\"", codes[1])), "{text}");
    // A command goes only where workers read.
    let (code, text) = dlq(&scene, &["replay", "--class", "bad_command"]);
    assert_eq!((code, text.contains("no worker reads its topic elsewhere")), (Some(1), true), "{text}");
    let (code, text) = dlq(&scene, &["replay"]);
    assert_eq!((code, text.contains("or --all")), (Some(1), true), "{text}");
    let (code, text) = dlq(&scene, &["replay", "--code", &codes[2]]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(names(&[]), ["0:0", "0:1", "0:3"]);
    assert_eq!(names(&["--all"]), ["0:0", "0:1", "0:2", "0:3"]);
    let (_, text) = dlq(&scene, &["stats", "--json"]);
    let stats: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(stats["by"]["state"], json!({"open": 3, "replayed": 1}));
    assert_eq!(stats["by"]["class"], json!({"bad_command": 1, "source_error": 3}));
}

#[test]
fn second_failure_is_seen_and_job_is_reported() {
    let Market { codes, data, .. } = market(6, 3);
    let mut scene = Scene::new("dlqagain", PROGRAM, data);
    scene.set("fetch.max_codes_per_command", 2).set("quality.job_quiet_ms", 1_000);
    scene.list_codes(&[]);
    let _worker = scene.start("n1");
    // The list of codes is empty, then the source refuses, then both are in order.
    let whole = json!({"command": "bar_snapshot", "params": {"full": true}, "correlation_id": "evening"});
    let one = json!({"command": "bar_snapshot", "params": {"code": codes[0]}, "correlation_id": "lone"});
    refuse_all(&scene);
    scene.send(&[whole.to_string().into_bytes(), one.to_string().into_bytes()]);
    wait_until("two dead letters", TIMEOUT, || scene.dead_letters().len() == 2);
    scene.list_codes(&codes);
    let (code, text) = dlq(&scene, &["replay", "--all"]);
    assert_eq!((code, text.contains("2 replayed")), (Some(0), true), "{text}");
    wait_until("each part and the other command failed again", TIMEOUT, || scene.dead_letters().len() == 6);
    let failed = listed(&scene, &[]);
    assert_eq!(failed.len(), 4);
    for line in &failed {
        assert_eq!((&line["state"], &line["replays"]), (&json!("failed_again"), &json!(1)), "{line}");
    }
    scene.source.clear_fault();
    let (code, text) = dlq(&scene, &["replay", "--all"]);
    assert_eq!((code, text.matches(", replay 2").count()), (Some(0), 4), "{text}");
    wait_until("all is stored", TIMEOUT, || scene.database.bars().len() == 18);
    scene.assert_exact(&codes);
    assert_eq!(listed(&scene, &[]), Vec::<Value>::new());
    // A command that was sent alone is found by its job, too.
    let reports = |job: &str| {
        let output = program(&scene, &["reports", "--job", job]).output().expect("the program runs");
        String::from_utf8(output.stdout).unwrap()
    };
    for job in ["evening", "lone"] {
        wait_until("the report of the replay", TIMEOUT, || {
            // Both replays are one report if the second comes soon.
            let is_done =
                |line: &str| line.contains(" replayed from dead letters") && !line.contains("finished: 0 tasks done");
            reports(job).lines().any(is_done)
        });
    }
}

/// Begins a replay of everything that waits before its end, and returns when its command is in the topic.
fn paused_replay(scene: &Scene) -> std::process::Child {
    let before = scene.broker.written(&scene.topic(), PARTITIONS);
    let child = program(scene, &["dlq", "replay", "--all"])
        .env("FAILPOINTS", "kafka::replay=1*sleep(15000)")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    wait_until("the command is written", TIMEOUT, || scene.broker.written(&scene.topic(), PARTITIONS) > before);
    child
}

#[test]
fn a_killed_replay_leaves_all_or_nothing() {
    if !needs_apache_kafka("transactions") {
        return;
    }
    let (scene, _) = with_letters("dlqkill", 2);
    let mut child = paused_replay(&scene);
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(listed(&scene, &[]).len(), 2, "neither is replayed");
    let (code, text) = dlq(&scene, &["replay", "--all"]);
    assert_eq!((code, text.contains("2 replayed")), (Some(0), true), "{text}");
    assert_eq!((commands(&scene).len(), listed(&scene, &[]).len()), (2, 0));
}

#[test]
fn of_two_replays_at_once_one_sends() {
    if !needs_apache_kafka("transactions") {
        return;
    }
    let (scene, _) = with_letters("dlqrace", 2);
    let first = paused_replay(&scene);
    let (code, text) = dlq(&scene, &["replay", "--all"]);
    assert_eq!((code, text.contains("2 replayed")), (Some(0), true), "{text}");
    let first = first.wait_with_output().expect("ended");
    assert_eq!(first.status.code(), Some(1), "{first:?}");
    assert_eq!((commands(&scene).len(), listed(&scene, &[]).len()), (2, 0));
}

#[test]
fn memory_does_not_grow_with_the_topic() {
    if !needs_apache_kafka("transactions") {
        return;
    }
    let (scene, codes) = with_letters("dlqlarge", 1);
    let mut large = letter(&scene, 1, &codes[0], "bad_command", "evening");
    for offset in 1..=200 {
        large.value = vec![b'a' + u8::try_from(offset % 20).unwrap(); 900_000];
        large.headers.insert("dlq.offset".to_owned(), offset.to_string());
        scene.broker.send_record(&scene.dead_letter_topic(), &large);
    }
    // By then the 180 MB are read once and a batch is on its way.
    let mut child = paused_replay(&scene);
    let peak = peak_memory_kib(child.id());
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!((1..MAX_MEMORY).contains(&peak), "peak memory {peak} KiB");
    eprintln!("peak memory {} MiB", peak / 1024);
}

#[test]
fn interrupted_replay_without_transactions_is_unsure() {
    let (mut scene, _) = with_letters("dlqunsure", 2);
    scene.set("kafka.parts_in_transaction", false);
    // The program ends after the first record and before the command.
    let ended = program(&scene, &["dlq", "replay", "--all"]).env("FAILPOINTS", "kafka::replay=panic").output();
    assert!(!ended.expect("the program runs").status.success());
    let states: Vec<Value> = listed(&scene, &[]).iter().map(|line| line["state"].clone()).collect();
    assert_eq!(states, ["unsure", "open"]);
    let (code, text) = dlq(&scene, &["replay", "--all"]);
    assert_eq!((code, text.contains("was interrupted")), (Some(1), true), "{text}");
    assert!(text.contains("1 replayed, 1 not replayed"), "{text}");
    let (code, text) = dlq(&scene, &["replay", "0:0", "--again"]);
    assert_eq!((code, commands(&scene).len(), listed(&scene, &[]).len()), (Some(0), 2, 0), "{text}");
}

#[test]
fn a_cut_letter_is_read_from_its_own_place() {
    if !needs_apache_kafka("a limit for the length of records") {
        return;
    }
    let Market { data, .. } = market(1, 1);
    let mut scene = Scene::new("dlqcut", PROGRAM, data);
    let _worker = scene.start("n1");
    let longest = vec![b'x'; 1_048_480];
    scene.send(std::slice::from_ref(&longest));
    wait_until("the dead letter", TIMEOUT, || scene.dead_letters().len() == 1);
    assert!(scene.dead_letters()[0].value.len() < longest.len());
    let (code, text) = dlq(&scene, &["replay", "--all"]);
    assert_eq!(code, Some(0), "{text}");
    let sent = commands(&scene);
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|record| record.value == longest));
    wait_until("the second dead letter", TIMEOUT, || scene.dead_letters().len() == 2);
    // Retention deletes the originals.
    for (partition, end) in (0..).zip(scene.broker.ends(&scene.topic(), PARTITIONS)) {
        scene.broker.delete_records(&scene.topic(), partition, end);
    }
    let (code, text) = dlq(&scene, &["replay", "--all"]);
    assert_eq!((code, text.contains("the original record")), (Some(1), true), "{text}");
    assert!(text.contains("is no longer there"), "{text}");
}
