// Upstream: none
// Downstream: kit, main_job
// Role: Tests price updates about stored bars, which strategies and risk managers consume in their own groups.

use std::collections::BTreeSet;

use kit::kafka::Record;
use kit::scene::{Scene, TIMEOUT};
use serde_json::Value;

use crate::main_job::{Market, PROGRAM, market};

fn updates(scene: &Scene) -> Vec<Record> {
    scene.broker.records(&format!("{}.market", scene.name), 3)
}

fn value(record: &Record) -> Value {
    serde_json::from_slice(&record.value).unwrap()
}

#[test]
fn three_groups_receive_the_newest_bar_of_every_code() {
    let Market { codes, data, last_day } = market(150, 4);
    let mut scene = Scene::new("prices", PROGRAM, data);
    scene.set("events.price_update", true);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let topic = format!("{}.market", scene.name);
    let (name, address) = (scene.name.clone(), scene.broker.address.clone());
    let followers: Vec<_> = ["strategies", "position_ratio_risk", "loss_limit_risk"]
        .map(|group| {
            let (topic, group, address) = (topic.clone(), format!("{name}.{group}"), address.clone());
            // Each group receives the updates of two evenings.
            std::thread::spawn(move || kit::kafka::Broker::connect(&address).follow(&topic, &group, 300, TIMEOUT))
        })
        .into_iter()
        .collect();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.source.append_day(last_day);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let expected: BTreeSet<(String, String, u64)> = codes
        .iter()
        .flat_map(|code| {
            let rows = scene.source.rows(code);
            rows[3..5]
                .iter()
                .map(|row| {
                    let close: f64 = row.cells()[3].parse().unwrap();
                    (code.clone(), format!("{}T00:00:00", row.date), (close * 100.0).round() as u64)
                })
                .collect::<Vec<_>>()
        })
        .collect();
    for follower in followers {
        let records = follower.join().unwrap();
        let heard: BTreeSet<(String, String, u64)> = records
            .iter()
            .map(|record| {
                let update = value(record);
                assert_eq!(record.key.as_deref(), update["symbol"].as_str().map(str::as_bytes));
                let text = |field: &str| update[field].as_str().unwrap().to_owned();
                (text("symbol"), text("timestamp"), (update["price"].as_f64().unwrap() * 100.0).round() as u64)
            })
            .collect();
        assert_eq!(heard, expected, "each group receives every newest bar once");
    }
    assert_eq!(updates(&scene).len(), 300);
}

#[test]
fn only_new_bars_publish_and_only_when_enabled() {
    let Market { codes, data, .. } = market(10, 6);
    let mut scene = Scene::new("nonews", PROGRAM, data);
    let silent = scene.start("n1");
    scene.send_snapshots(&codes[..5], "");
    scene.wait_until_committed();
    assert_eq!(updates(&scene).len(), 0, "off by default");
    drop(silent);

    scene.set("events.price_update", true);
    let worker = scene.start("n2");
    let days = scene.source.rows(&codes[0]);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    assert_eq!(updates(&scene).len(), 5, "only for the new codes");
    scene.send_snapshots(&codes, r#""full":true"#);
    scene.wait_until_committed();
    assert_eq!(updates(&scene).len(), 5, "unchanged rows publish no update");
    // A worker without any state fills a gap in the past: that is no new price.
    drop(worker);
    let _worker = scene.start("n3");
    let hole = days[2].date;
    scene.database.query(&format!("DELETE FROM bar WHERE timestamp = '{hole} 00:00:00'"));
    scene.send_snapshots(&codes, &format!(r#""start_date":"{0}","end_date":"{0}""#, hole.format("%Y%m%d")));
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(updates(&scene).len(), 5);
}
