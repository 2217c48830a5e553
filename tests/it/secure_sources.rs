// Upstream: none
// Downstream: data_worker, databases_worker, kit, main_job, secure_kafka, user_database
// Role: Tests databases as sources through TLS: ClickHouse, MongoDB and Redis with a client certificate, MySQL.

use data_worker::config::SourceName;
use kit::certificates::{Authority, Validity};
use kit::scene::Scene;
use kit::secure_mariadb::{self, SecureMariaDb};
use kit::tls_front::TlsFront;

use crate::databases_worker::{BAR, daily};
use crate::main_job::{Market, PROGRAM, market};
use crate::secure_kafka::{check_servers, line_of};
use crate::user_database::{Key, UserDatabase};

/// Runs the worker with one database behind TLS as its only source.
fn bars_are_exact_through_tls(vendor: SourceName) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let client = authority.client("worker", Validity::NOW);
    let Market { codes, data, .. } = market(6, 8);
    let name = vendor.as_str();
    let mut scene = Scene::new(&format!("tls_{name}"), PROGRAM, data);
    let database = UserDatabase::create(vendor, &format!("{}_other", scene.name));
    let mut all = Vec::new();
    for code in &codes {
        let rows = daily(&scene, code);
        if vendor == SourceName::Redis {
            database.put("", &Key::SortedSet(&format!("ginkgo:bars:{code}:1d"), 1), &BAR, &rows);
        }
        all.extend(rows);
    }
    if vendor != SourceName::Redis {
        database.put("bar", &Key::List(""), &BAR, &all);
    }
    scene.set("sources.bars", format!("[{name}]"));
    let settings = database.settings();
    for (key, value) in &settings {
        scene.set(&format!("sources.{name}.{key}"), format!("\"{value}\""));
    }
    let text = |key: &str| settings.iter().find(|(name, _)| *name == key).unwrap().1.clone();
    let identity = authority.server("good", Validity::NOW);
    let front = TlsFront::start(format!("{}:{}", text("host"), text("port")), &identity, Some(&authority));
    let set = |scene: &mut Scene, key: &str, value: String| {
        scene.set(&format!("sources.{name}.{key}"), value);
    };
    set(&mut scene, "port", front.address().port().to_string());
    set(&mut scene, "tls", "true".to_owned());
    set(&mut scene, "ca_file", authority.ca_file.display().to_string());
    if vendor == SourceName::MongoDb {
        set(&mut scene, "certificate_file", client.both.display().to_string());
    } else {
        set(&mut scene, "certificate_file", client.certificate.display().to_string());
        set(&mut scene, "key_file", client.key.display().to_string());
    }
    let worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    assert_eq!(scene.dead_letters().len(), 0, "{}", worker.log_text());
    scene.assert_exact(&codes);
    assert!(front.num_sessions() > 0);
}

#[test]
fn bars_are_exact_from_clickhouse_through_tls() {
    bars_are_exact_through_tls(SourceName::ClickHouse);
}

#[test]
fn bars_are_exact_from_mongodb_through_tls() {
    bars_are_exact_through_tls(SourceName::MongoDb);
}

#[test]
fn bars_are_exact_from_redis_through_tls() {
    bars_are_exact_through_tls(SourceName::Redis);
}

#[test]
fn mysql_source_verifies_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let other = Authority::new(folder.path(), "other-ca");
    let server = SecureMariaDb::start(folder.path(), &authority, &authority.server("good", Validity::NOW));
    let mut scene = Scene::new("tls_mysql", PROGRAM, market(1, 2).data);
    scene.list_codes(&[]);
    server.create(&scene.name, &authority);
    let database = scene.name.clone();
    scene.set("sources.bars", "[mysql]").set("sources.mysql.database", database);
    scene.set("sources.mysql.host", "127.0.0.1").set("sources.mysql.port", server.port);
    scene.set("sources.mysql.user", secure_mariadb::USER).set("sources.mysql.password", secure_mariadb::PASSWORD);
    scene.set("sources.mysql.tls", "verify_identity").set("sources.mysql.ca_file", authority.ca_file.display());
    let (_, text) = check_servers(&scene, "good");
    // The database is empty, which the server says after the login.
    let line = line_of(&text, "source");
    assert!(line.contains("certificate of CN=good") && !line.contains("sources.mysql.ca_file"), "{line}");
    scene.set("sources.mysql.ca_file", other.ca_file.display());
    let (code, text) = check_servers(&scene, "bad");
    assert!(code == Some(1) && line_of(&text, "source").contains("sources.mysql.ca_file"), "{text}");
}
