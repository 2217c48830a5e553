// Upstream: none
// Downstream: kit, main_job, secure_kafka
// Role: Tests TLS and logins on all servers at once: the main job is exact, and the check reports on each server.

use kit::certificates::{Authority, Identity, Validity};
use kit::exposition::Page;
use kit::http::get;
use kit::scene::{Scene, TIMEOUT, needs_apache_kafka};
use kit::secure_mariadb::{self, SecureMariaDb};
use kit::secure_redis::{self, SecureRedis};
use kit::secure_stack::{SECRETS, SecureStack, clickhouse_address};
use kit::services::free_port;
use kit::tls_front::TlsFront;
use kit::tushare_server::TushareServer;
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};
use crate::secure_kafka::{check_servers, line_of, run};

#[test]
fn main_job_is_exact_with_tls_on_all_servers() {
    if !needs_apache_kafka("TLS and SASL listeners") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let stack = SecureStack::start(folder.path());
    let Market { codes, data, .. } = market(30, 5);
    let source = TushareServer::start(data).unwrap();
    let mut scene = Scene::on_broker("securall", PROGRAM, source, &stack.kafka.address());
    stack.protect(&mut scene);

    let (code, text) = check_servers(&scene, "check");
    assert_eq!(code, Some(0), "{text}");
    for server in ["Kafka", "Redis", "ClickHouse", "MySQL"] {
        let line = line_of(&text, server);
        assert!(line.starts_with("ok") && line.contains("TLSv1.3, certificate of CN="), "{line}");
        assert_eq!(line.contains("warning: it expires in 4 days"), server == "Redis", "{line}");
    }

    let port = free_port();
    scene.set("http.port", port);
    let worker = scene.start("n1");
    let beats = || run(&scene, "tool", &["status"], Some("--config"));
    wait_until("a heartbeat in Redis", TIMEOUT, || beats().1.contains("running"));
    assert_certificates_are_watched(&format!("http://127.0.0.1:{port}"));
    scene.send(&[br#"{"command":"stockinfo","timestamp":"2026-08-10T21:00:00","params":{}}"#.to_vec()]);
    scene.wait_until_committed();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
    assert!(stack.front.num_sessions() > 0);
    let log = worker.log_text() + &text;
    for secret in SECRETS {
        assert!(!log.contains(secret), "a secret is shown");
    }
}

/// The metrics name the days left of each server's certificate.
fn assert_certificates_are_watched(address: &str) {
    let days = |section: &str| {
        let page = Page::parse(&get(address, "/metrics").body);
        let labels = [format!("section=\"{section}\""), "owner=\"server\"".to_owned()];
        page.value("data_worker_certificate_days_left", &labels.each_ref().map(String::as_str))
    };
    wait_until("the certificate of Redis is seen", TIMEOUT, || !days("redis").is_nan());
    assert!((4.0..=5.0).contains(&days("redis")), "{}", days("redis"));
    for section in ["kafka", "clickhouse", "mysql"] {
        assert!(days(section) > 14.0, "{section}: {}", days(section));
    }
}

/// Starts a scene with a stock list, so that a check finds nothing else to complain of.
fn fresh(name: &str) -> Scene {
    let scene = Scene::new(name, PROGRAM, market(1, 2).data);
    scene.list_codes(&[]);
    scene
}

type Mistake<'a> = (&'a str, Box<dyn Fn(&mut Scene) + 'a>, &'a [&'a str]);

fn assert_named(server: &str, mistakes: Vec<Mistake<'_>>) {
    for (name, mistake, parts) in mistakes {
        let mut scene = fresh(&format!("wrong{name}"));
        mistake(&mut scene);
        let (code, text) = check_servers(&scene, name);
        let line = line_of(&text, server);
        assert!(code == Some(1) && line.starts_with("FAILED"), "{name}: {text}");
        for part in parts {
            assert!(line.contains(part), "{name}: {part} is not in {line}");
        }
        assert!(!text.contains("-secret-"), "{name}: a password is shown");
    }
}

#[test]
fn check_names_each_redis_mistake_and_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let other = Authority::new(folder.path(), "other-ca");
    let start = |identity: &Identity, asks| SecureRedis::start(folder.path(), &authority, identity, asks);
    let good = start(&authority.server("good", Validity::NOW), true);
    let expired = start(&authority.server("expired", Validity::EXPIRED), false);
    let future = start(&authority.server("future", Validity::FUTURE), false);
    let elsewhere = start(&authority.server_for("elsewhere", &["elsewhere.example"]), false);
    let client = authority.client("worker", Validity::NOW);
    let tls = |scene: &mut Scene, server: &SecureRedis| {
        scene.set("redis.port", server.port()).set("redis.tls", true).set("redis.ca_file", authority.ca_file.display());
        scene.set("redis.user", secure_redis::USER).set("redis.password", secure_redis::PASSWORD);
        scene.set("redis.certificate_file", client.certificate.display()).set("redis.key_file", client.key.display());
    };
    assert_named(
        "Redis",
        vec![
            (
                "ca",
                Box::new(|s| {
                    tls(s, &good);
                    s.set("redis.ca_file", other.ca_file.display());
                }),
                &["redis.ca_file"],
            ),
            ("expired", Box::new(|s| tls(s, &expired)), &["has expired"]),
            ("future", Box::new(|s| tls(s, &future)), &["not yet valid"]),
            ("name", Box::new(|s| tls(s, &elsewhere)), &["another name", "redis.host"]),
            (
                "password",
                Box::new(|s| {
                    tls(s, &good);
                    s.set("redis.password", "wrong");
                }),
                &["redis.password", "redis.user"],
            ),
            (
                "plainclient",
                Box::new(|s| {
                    tls(s, &good);
                    s.set("redis.tls", false);
                }),
                &["set redis.tls"],
            ),
            (
                "plainserver",
                Box::new(|s| {
                    s.set("redis.tls", true).set("redis.ca_file", authority.ca_file.display());
                }),
                &["redis.tls"],
            ),
            (
                "nocert",
                Box::new(|s| {
                    tls(s, &good);
                    s.set("redis.certificate_file", "\"\"").set("redis.key_file", "\"\"");
                }),
                &["redis.certificate_file"],
            ),
            (
                "cafile",
                Box::new(|s| {
                    tls(s, &good);
                    s.set("redis.ca_file", "/nowhere/ca.pem");
                }),
                &["redis.ca_file", "/nowhere/ca.pem"],
            ),
        ],
    );
}

#[test]
fn check_names_each_mysql_mistake_and_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let other = Authority::new(folder.path(), "other-ca");
    let server = SecureMariaDb::start(folder.path(), &authority, &authority.server_for("good", &["localhost"]));
    let tls = |scene: &mut Scene, mode: &str| {
        server.create(&scene.name, &authority);
        scene.set("mysql.port", server.port).set("mysql.tls", mode).set("mysql.ca_file", authority.ca_file.display());
        scene.set("mysql.user", secure_mariadb::USER).set("mysql.password", secure_mariadb::PASSWORD);
    };
    for mode in ["preferred", "required", "verify_ca", "verify_identity"] {
        let mut scene = fresh(&format!("right{mode}"));
        tls(&mut scene, mode);
        scene.set("mysql.host", "localhost");
        let (code, text) = check_servers(&scene, mode);
        assert_eq!(code, Some(0), "{mode}: {text}");
        assert!(line_of(&text, "MySQL").contains("certificate of CN=good"), "{text}");
    }
    assert_named(
        "MySQL",
        vec![
            (
                "ca",
                Box::new(|s| {
                    tls(s, "verify_ca");
                    s.set("mysql.ca_file", other.ca_file.display());
                }),
                &["mysql.ca_file"],
            ),
            (
                "name",
                // By its address, which the certificate does not name.
                Box::new(|s| tls(s, "verify_identity")),
                &["another name", "mysql.host"],
            ),
            ("plainclient", Box::new(|s| tls(s, "off")), &["set mysql.tls"]),
            (
                "plainserver",
                Box::new(|s| {
                    s.set("mysql.tls", "required");
                }),
                &["set mysql.tls to off"],
            ),
            (
                "password",
                Box::new(|s| {
                    tls(s, "required");
                    s.set("mysql.password", "wrong");
                }),
                &["mysql.password"],
            ),
            (
                "nocert",
                Box::new(|s| {
                    tls(s, "required");
                    s.set("mysql.user", secure_mariadb::CERTIFIED_USER);
                }),
                &["mysql.certificate_file"],
            ),
        ],
    );
}

#[test]
fn check_names_each_clickhouse_mistake_and_setting() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let other = Authority::new(folder.path(), "other-ca");
    let front = |identity: &Identity, clients| TlsFront::start(clickhouse_address(), identity, clients);
    let good = front(&authority.server("good", Validity::NOW), None);
    let mutual = front(&authority.server("mutual", Validity::NOW), Some(&authority));
    let expired = front(&authority.server("expired", Validity::EXPIRED), None);
    let elsewhere = front(&authority.server_for("elsewhere", &["elsewhere.example"]), None);
    let tls = |scene: &mut Scene, front: &TlsFront| {
        scene.set("clickhouse.port", front.address().port()).set("clickhouse.tls", true);
        scene.set("clickhouse.ca_file", authority.ca_file.display());
    };
    assert_named(
        "ClickHouse",
        vec![
            (
                "ca",
                Box::new(|s| {
                    tls(s, &good);
                    s.set("clickhouse.ca_file", other.ca_file.display());
                }),
                &["clickhouse.ca_file"],
            ),
            ("expired", Box::new(|s| tls(s, &expired)), &["has expired"]),
            ("name", Box::new(|s| tls(s, &elsewhere)), &["another name", "clickhouse.host"]),
            ("nocert", Box::new(|s| tls(s, &mutual)), &["clickhouse.certificate_file"]),
            (
                "plainclient",
                Box::new(|s| {
                    tls(s, &good);
                    s.set("clickhouse.tls", false);
                }),
                &["set clickhouse.tls"],
            ),
            (
                "plainserver",
                Box::new(|s| {
                    s.set("clickhouse.tls", true).set("clickhouse.ca_file", authority.ca_file.display());
                }),
                &["clickhouse.tls"],
            ),
        ],
    );
}
