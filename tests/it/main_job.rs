// Upstream: many
// Downstream: actors, kit
// Role: Tests the main job end to end: commands of every form on real Kafka become exact rows in the real engine.

use std::time::Duration;

use actors::domain::{FetchedBar, Field};
use chrono::NaiveDate;
use kit::clickhouse::StoredBar;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{Dataset, codes, last_closed_day, last_trading_days};
use kit::wait::{wait_for, wait_until};
use rust_decimal::{Decimal, RoundingStrategy};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_data-worker");

/// Codes with bars of the latest trading days, except the last one, which a test can append.
pub struct Market {
    pub codes: Vec<String>,
    pub data: Dataset,
    pub last_day: NaiveDate,
}

pub fn market(num_codes: usize, num_days: usize) -> Market {
    let codes = codes(num_codes);
    let mut days = last_trading_days(last_closed_day(), num_days + 1);
    let last_day = days.pop().unwrap();
    let data = Dataset::generated(&codes, &days);
    Market { codes, data, last_day }
}

/// The stored form of a daily bar that the adapter returns.
pub fn stored(code: &str, day: NaiveDate, bar: &FetchedBar) -> StoredBar {
    let text = |field: &Field<Decimal>| match field {
        Field::Value(number) => {
            number.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero).normalize().to_string()
        }
        other => panic!("{other:?}"),
    };
    let values = [&bar.open, &bar.high, &bar.low, &bar.close, &bar.volume, &bar.amount].map(text);
    StoredBar { code: code.to_owned(), timestamp: format!("{day} 00:00:00"), values }
}

#[test]
fn two_hundred_commands_need_few_inserts() {
    let Market { codes, data, last_day } = market(200, 3);
    let mut scene = Scene::new("exact", PROGRAM, data);
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);

    // The increment: one new row per code.
    scene.source.append_day(last_day);
    let before = scene.database.statements();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let after = scene.database.statements();
    let inserts = after["insert"] - before["insert"];
    assert!((1..=12).contains(&inserts), "{inserts} INSERTs for 200 one-row increments");
    assert_eq!(after["delete"], 0, "an increment deletes nothing");

    let (heartbeat, ttl) = scene.heartbeat("n1").expect("a heartbeat");
    assert!((1..=30).contains(&ttl), "TTL {ttl}");
    assert_eq!(heartbeat["node_id"], "n1");
    assert_eq!(scene.dead_letters().len(), 0);

    worker.terminate();
    let status = worker.wait(Duration::from_secs(25));
    assert_eq!(status.code(), Some(0));
    assert!(scene.heartbeat("n1").is_none(), "the heartbeat is removed at a graceful stop");
    let events: Vec<String> = scene
        .notifications()
        .iter()
        .filter_map(|message| message["data"]["event"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(events, ["STARTED", "STOPPED"]);
    let report = scene.notifications().into_iter().find(|message| message["type"] == "data_quality_report");
    let report = report.expect("one summary");
    assert_eq!(report["data"]["records_written"], 800);
    assert_eq!(report["message_type"], "custom_fields");
}

#[test]
fn every_written_form_of_a_command_is_understood() {
    let Market { codes, data, .. } = market(8, 10);
    let mut scene = Scene::new("forms", PROGRAM, data);
    let _worker = scene.start("n1");
    let days: Vec<NaiveDate> = scene.source.rows(&codes[0]).iter().map(|row| row.date).collect();
    let (first, last) = (days[2].format("%Y%m%d"), days[5].format("%Y%m%d"));
    let prefixed = format!("{}{}", &codes[1][7..], &codes[1][..6]);
    let bare = &codes[2][..6];
    let object = |params: &str| {
        format!(r#"{{"command":"bar_snapshot","timestamp":"2026-01-23T15:30:00Z","params":{params},"source":null}}"#)
    };
    let inner = object(&format!(r#"{{"code":"{}","full":true}}"#, codes[3]));
    let named = format!(
        r#"{{"codes":["{}","sh.{}"],"start_date":"{first}","end_date":"{last}","frequency":"1d","adjust_type":"qfq"}}"#,
        codes[4],
        &codes[5][..6]
    );
    scene.send(&[
        object(&format!(r#"{{"code":"{}","full":false,"force":false}}"#, codes[0])).into_bytes(),
        object(&format!(r#"{{"code":"{prefixed}"}}"#)).into_bytes(),
        object(&format!(r#"{{"code":"{bare}"}}"#)).into_bytes(),
        serde_json::to_vec(&inner).unwrap(),
        object(&named).into_bytes(),
        br#"{"command":"deploy","params":{"portfolio_id":"p"},"timestamp":"2026-01-23T15:30:00"}"#.to_vec(),
        br#"{"command":"update_selector","params":{}}"#.to_vec(),
    ]);
    scene.wait_until_committed();
    let expected: Vec<_> = scene
        .expected(&codes[..6])
        .into_iter()
        .filter(|bar| {
            let day: NaiveDate = bar.timestamp[..10].parse().unwrap();
            codes[..4].contains(&bar.code) || (days[2]..=days[5]).contains(&day)
        })
        .collect();
    assert_eq!(scene.database.bars(), expected);
    assert_eq!(scene.dead_letters().len(), 0, "commands for other components are ignored silently");
}

#[test]
fn invalid_commands_become_dead_letters_with_reason() {
    let Market { codes, data, .. } = market(3, 5);
    let mut scene = Scene::new("letters", PROGRAM, data);
    let poison: Vec<Vec<u8>> = vec![
        b"\xff\xfe not json \x00".to_vec(),
        br#"[1,2,3]"#.to_vec(),
        br#"{"command":"make_coffee","params":{}}"#.to_vec(),
        br#"{"command":"bar_snapshot","params":{"code":"not a code"}}"#.to_vec(),
        br#"{"command":"bar_snapshot","params":{"code":"000001.SZ","start_date":"20240230"}}"#.to_vec(),
        br#"{"command":"bar_snapshot","params":{"code":"000001.SZ","frequency":"7m"}}"#.to_vec(),
        br#"{"command":"bar_snapshot","timestamp":null,"params":{"code":"000001.SZ"}}"#.to_vec(),
    ];
    scene.send(&poison);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let letters = scene.dead_letters();
    let mut found: Vec<&[u8]> = letters.iter().map(|letter| letter.value.as_slice()).collect();
    let mut expected: Vec<&[u8]> = poison.iter().map(Vec::as_slice).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "every dead letter holds the original bytes, once");
    for letter in &letters {
        assert_eq!(letter.headers["dlq.class"], "bad_command");
        assert_eq!(letter.headers["dlq.topic"], scene.topic());
        assert!(letter.headers["dlq.reason"].len() > 10, "{:?}", letter.headers);
        assert!(letter.headers["dlq.offset"].parse::<i64>().is_ok());
    }
    let reason_of = |part: &[u8]| {
        let letter = letters.iter().find(|letter| letter.value.windows(part.len()).any(|window| window == part));
        letter.unwrap().headers["dlq.reason"].clone()
    };
    assert_eq!(reason_of(b"make_coffee"), "unknown command `make_coffee`");
    assert!(reason_of(b"not json").contains("not JSON"));
    assert!(reason_of(b"20240230").contains("params.start_date"));
    wait_until("one alert for all refusals", TIMEOUT, || {
        let alerts = scene.notifications_with("alert_type", "command_error");
        alerts.iter().filter_map(|alert| alert["data"]["refused"].as_u64()).sum::<u64>() == 7
    });
}

#[test]
fn command_without_codes_covers_the_stock_list() {
    let Market { codes, data, .. } = market(60, 4);
    let mut scene = Scene::new("all", PROGRAM, data);
    scene.list_codes(&codes);
    let _worker = scene.start("n1");
    scene.send(&[br#"{"command":"bar_snapshot","params":{}}"#.to_vec()]);
    scene.wait_until_all_is_committed();
    scene.assert_exact(&codes);
}

#[test]
fn empty_stock_list_raises_an_alert() {
    let Market { data, .. } = market(1, 1);
    let scene = Scene::new("none", PROGRAM, data);
    scene.list_codes(&[]);
    assert_no_codes_alert(scene);
}

#[test]
fn a_database_without_a_stock_list_is_the_same() {
    let Market { data, .. } = market(1, 1);
    let scene = Scene::new("no_list", PROGRAM, data);
    kit::mysql::Tables::create(&scene.name);
    assert_no_codes_alert(scene);
}

fn assert_no_codes_alert(mut scene: Scene) {
    let _worker = scene.start("n1");
    scene.send(&[br#"{"command":"bar_snapshot","params":{}}"#.to_vec()]);
    scene.wait_until_committed();
    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].headers["dlq.class"], "no_codes");
    let alert = wait_for("the alert", TIMEOUT, || scene.notifications_with("alert_type", "command_error").pop());
    assert_eq!(alert["level"], "ERROR");
    assert!(alert["content"].as_str().unwrap().contains("stock_info"), "{alert}");
}
