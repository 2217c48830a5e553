// Upstream: none
// Downstream: data_worker, databases_worker, kit, main_job, reload_effects, user_database
// Role: Tests reloads to other servers and logins: afterwards the worker uses only the new ones.

use std::collections::BTreeSet;

use data_worker::config::SourceName;
use kit::clickhouse::PrivateClickHouse;
use kit::forwarder::Forwarder;
use kit::mysql::{Tables, create_stock_list};
use kit::redis::PrivateRedis;
use kit::scene::{Scene, TIMEOUT};
use kit::services::{host_and_port, required, unique};
use kit::wait::wait_until;

use crate::databases_worker::{BAR, daily};
use crate::main_job::{Market, PROGRAM, market};
use crate::reload_effects::{assert_nothing_lost, change};
use crate::user_database::{Key, UserDatabase};

#[test]
fn reload_applies_heartbeat_interval_and_redis() {
    let Market { codes, data, .. } = market(3, 2);
    let mut scene = Scene::new("beats", PROGRAM, data);
    // With the old interval the test would see at most two heartbeats.
    scene.set("heartbeat.interval_ms", 60_000).set("heartbeat.ttl_ms", 200_000);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.set("heartbeat.interval_ms", 200).set("heartbeat.ttl_ms", 2_000);
    change(&scene, "interval");
    let mut beats = BTreeSet::new();
    wait_until("ten heartbeats", TIMEOUT, || {
        beats.extend(scene.heartbeat("n1").map(|(value, _)| value.to_string()));
        beats.len() >= 10
    });

    let redis = PrivateRedis::start();
    let (_, port) = host_and_port(&redis.url());
    redis.set_password("redis-pw");
    let old = std::mem::replace(&mut scene.redis_url, format!("redis://:redis-pw@127.0.0.1:{port}/0"));
    scene.set("redis.password", "redis-pw");
    change(&scene, "redis");
    wait_until("a heartbeat in the new Redis", TIMEOUT, || scene.status("n1").as_deref() == Some("running"));
    let new = std::mem::replace(&mut scene.redis_url, old);
    wait_until("no heartbeat in the old Redis", TIMEOUT, || scene.heartbeat("n1").is_none());
    scene.redis_url = new;
    assert_eq!(scene.status("n1").as_deref(), Some("running"));
    scene.send_snapshots(&codes, "");
    assert_nothing_lost(&scene, &codes);
}

#[test]
fn rows_go_to_the_clickhouse_at_the_new_address() {
    let Market { codes, data, .. } = market(20, 5);
    let mut scene = Scene::new("engine", PROGRAM, data);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes[..10], "");
    scene.wait_until_committed();
    scene.assert_exact(&codes[..10]);
    let before = scene.database.clone();
    let server = PrivateClickHouse::start(&scene.folder().join("engine"), 0);
    scene.database.url = format!("http://127.0.0.1:{}", server.port);
    change(&scene, "engine");
    // All rows: the new server has none of the old server's rows.
    scene.send_snapshots(&codes, "");
    assert_nothing_lost(&scene, &codes);
    assert_eq!(before.count(), 50);
}

#[test]
fn reload_moves_lists_and_records_to_new_mysql() {
    let Market { codes, data, .. } = market(5, 4);
    let mut scene = Scene::new("mysql", PROGRAM, data);
    let other_name = format!("{}_other", scene.name);
    create_stock_list(&scene.name, &codes[..2]);
    create_stock_list(&other_name, &codes[2..]);
    let (first, other) = (Tables::of(&scene.name), Tables::of(&other_name));
    // A list date in the future, so that all bars lie before the listing.
    other.run("UPDATE stock_info SET list_date = '2099-01-01'");
    let name = unique("u").replace('_', "");
    let user = |database: &str, part: &str| {
        let user = format!("{part}{name}");
        first.run(&format!("CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{part}-pw'"));
        first.run(&format!("GRANT ALL ON `{database}`.* TO {user}@'127.0.0.1'"));
        user
    };
    let (first_user, other_user) = (user(&scene.name, "a"), user(&other_name, "b"));
    scene.set("mysql.user", first_user).set("mysql.password", "a-pw");
    scene.set("quality.report_interval_ms", 1_000);
    let all = |scene: &mut Scene| scene.send(&[br#"{"command":"bar_snapshot","params":{"full":true}}"#.to_vec()]);
    let records = |tables: &Tables| tables.try_rows("SELECT count(*) FROM data_sync_record").ok();
    let early = |scene: &Scene| -> u64 {
        let reports = scene.notifications_with("report_kind", "interval");
        reports.iter().filter_map(|report| report["data"]["warned_by_rule"]["before_listing"].as_u64()).sum()
    };
    let _worker = scene.start("n1");
    all(&mut scene);
    scene.wait_until_committed();
    scene.assert_exact(&codes[..2]);
    wait_until("two records", TIMEOUT, || records(&first) == Some(vec![vec!["2".to_owned()]]));

    let address = Forwarder::to(format!("{}:{}", required("TEST_MYSQL_HOST"), required("TEST_MYSQL_PORT")));
    scene.set("mysql.port", address.address().port()).set("mysql.database", &other_name);
    scene.set("mysql.user", other_user).set("mysql.password", "b-pw");
    change(&scene, "mysql");
    let tried = address.num_connections();
    assert!(tried >= 1);
    all(&mut scene);
    assert_nothing_lost(&scene, &codes);
    wait_until("three records", TIMEOUT, || records(&other) == Some(vec![vec!["3".to_owned()]]));
    assert_eq!(records(&first), Some(vec![vec!["2".to_owned()]]));
    // The rules use the new database's listings immediately.
    wait_until("the rows before the listing", TIMEOUT, || early(&scene) == 12);
}

/// Moves the source to another address and database; the first database is two days behind.
fn bars_come_from_the_new_address_of(vendor: SourceName) {
    let Market { codes, data, .. } = market(4, 5);
    let name = vendor.as_str();
    let mut scene = Scene::new(&format!("moved_{name}"), PROGRAM, data);
    let filled = |suffix: &str, num_days: usize| {
        let database = UserDatabase::create(vendor, &format!("{}_{suffix}", scene.name));
        for code in &codes {
            let key = format!("ginkgo:bars:{code}:1d");
            database.add("bar", &Key::SortedSet(&key, 1), &BAR, &daily(&scene, code)[..num_days]);
        }
        database
    };
    let (first, other) = (filled("first", 3), filled("other", 5));
    let describe = |scene: &mut Scene, database: &UserDatabase| {
        let settings = database.settings();
        let port = settings.iter().find(|(key, _)| *key == "port").map(|(_, port)| port).unwrap();
        let address = Forwarder::to(format!("127.0.0.1:{port}"));
        for (key, value) in &settings {
            scene.set(&format!("sources.{name}.{key}"), format!("\"{value}\""));
        }
        scene.set(&format!("sources.{name}.port"), address.address().port());
        address
    };
    scene.set("sources.bars", format!("[{name}]"));
    let before = describe(&mut scene, &first);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    assert_eq!(scene.database.count(), 12);
    let after = describe(&mut scene, &other);
    change(&scene, "address");
    let num_before = before.num_connections();
    scene.send_snapshots(&codes, "");
    assert_nothing_lost(&scene, &codes);
    assert!(after.num_connections() >= 1);
    assert_eq!(before.num_connections(), num_before, "the old address gets no more connections");
}

#[test]
fn bars_come_from_the_new_address_of_a_mongodb() {
    bars_come_from_the_new_address_of(SourceName::MongoDb);
}

#[test]
fn bars_come_from_the_new_address_of_a_redis() {
    bars_come_from_the_new_address_of(SourceName::Redis);
}
