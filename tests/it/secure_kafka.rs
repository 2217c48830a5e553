// Upstream: rights, secure_failover, secure_servers, secure_sources
// Downstream: kit, main_job
// Role: Tests Kafka with TLS, mutual TLS and SCRAM: the main job on each listener, and each mistake named.

use std::path::Path;
use std::time::Duration;

use kit::certificates::{Authority, Identity, Validity};
use kit::scene::{PARTITIONS, Scene, TIMEOUT, needs_apache_kafka};
use kit::secure_kafka::{PASSWORD, SecureKafka, USER};
use kit::tushare_server::TushareServer;
use kit::wait::wait_until;
use kit::worker::Worker;

use crate::main_job::{Market, PROGRAM, market};

/// The time in which `config check --connect` must have named a mistake.
const CHECK_DEADLINE: Duration = Duration::from_secs(15);

/// Runs `config check --connect` with the settings of a scene; returns its exit code and its output.
pub fn check_servers(scene: &Scene, node: &str) -> (Option<i32>, String) {
    run(scene, node, &["config", "check", "--connect"], None)
}

/// The line of a server in the output of a check.
pub fn line_of<'t>(text: &'t str, server: &str) -> &'t str {
    let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(server));
    line.unwrap_or_else(|| panic!("no line of {server} in:\n{text}"))
}

/// Runs a command with the settings of a scene; `option` comes before the file.
pub fn run(scene: &Scene, node: &str, arguments: &[&str], option: Option<&str>) -> (Option<i32>, String) {
    let config = scene.write_config(node).display().to_string();
    let arguments: Vec<&str> = arguments.iter().copied().chain(option).chain([config.as_str()]).collect();
    let (log, folder) = (scene.folder().join(format!("{node}.check")), scene.folder().display().to_string());
    let _previous = std::fs::remove_file(&log);
    let mut program = Worker::spawn(Path::new(PROGRAM), &arguments, &log, &[("GINKGO_DIR", &folder)]);
    let code = program.wait(CHECK_DEADLINE).code();
    (code, program.log_text())
}

/// Sets the client's side of a TLS listener.
fn use_tls(scene: &mut Scene, protocol: &str, port: u16, ca: &Authority) {
    scene.set("kafka.brokers", format!("[\"127.0.0.1:{port}\"]"));
    scene.set("kafka.security.protocol", protocol).set("kafka.ca_file", ca.ca_file.display());
}

fn use_login(scene: &mut Scene, mechanism: &str, password: &str) {
    scene.set("kafka.sasl.mechanism", mechanism).set("kafka.sasl.user", USER).set("kafka.sasl.password", password);
}

fn use_certificate(scene: &mut Scene, identity: &Identity) {
    scene.set("kafka.certificate_file", identity.certificate.display()).set("kafka.key_file", identity.key.display());
}

#[test]
fn main_job_is_exact_on_every_protected_listener() {
    if !needs_apache_kafka("TLS and SASL listeners") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let client = authority.client("worker", Validity::NOW);
    let mut broker = SecureKafka::start(folder.path(), &authority);
    type Case<'a> = (&'a str, Box<dyn Fn(&mut Scene) + 'a>);
    let (ssl, mutual, sasl_ssl, sasl_plain) = (broker.ssl, broker.mutual, broker.sasl_ssl, broker.sasl_plain);
    let cases: [Case<'_>; 5] = [
        ("ssl", Box::new(|scene| use_tls(scene, "ssl", ssl, &authority))),
        (
            "mutual",
            Box::new(|scene| {
                use_tls(scene, "ssl", mutual, &authority);
                use_certificate(scene, &client);
                scene.set("kafka.key_file", client.encrypted_key(PASSWORD).display());
                scene.set("kafka.key_password", PASSWORD);
            }),
        ),
        (
            "scram512",
            Box::new(|scene| {
                use_tls(scene, "sasl_ssl", sasl_ssl, &authority);
                use_login(scene, "SCRAM-SHA-512", PASSWORD);
            }),
        ),
        (
            "scramplain",
            Box::new(|scene| {
                use_tls(scene, "sasl_plaintext", sasl_plain, &authority);
                use_login(scene, "SCRAM-SHA-256", PASSWORD);
            }),
        ),
        (
            "plain",
            Box::new(|scene| {
                use_tls(scene, "sasl_ssl", sasl_ssl, &authority);
                use_login(scene, "PLAIN", PASSWORD);
            }),
        ),
    ];
    let mut running = Vec::new();
    for (name, protect) in &cases {
        let Market { codes, data, .. } = market(12, 4);
        let source = TushareServer::start(data).unwrap();
        let mut scene = Scene::on_broker(&format!("secure{name}"), PROGRAM, source, &broker.address());
        protect(&mut scene);
        scene.set("fetch.max_codes_per_command", 4).set("kafka.properties", "[client.rack=r1]");
        scene.list_codes(&codes);
        let worker = scene.start("n1");
        scene.wait_for_status("n1", "running");
        scene.send_snapshots(&codes, "");
        // One for all codes, whose parts leave in a transaction.
        scene.send(&[br#"{"command":"bar_snapshot","params":{"full":true}}"#.to_vec()]);
        scene.wait_until_all_is_committed();
        scene.assert_exact(&codes);
        for order in ["pause", "resume"] {
            scene.order(order, None, order);
            let line = format!(r#""order":"{order}""#);
            wait_until("the order is received", TIMEOUT, || worker.log_text().contains(&line));
        }
        running.push((scene, worker, codes));
    }
    // Tools use the same settings.
    let (scene, ..) = &mut running[2];
    scene.send(&[b"no command".to_vec()]);
    wait_until("the dead letter", TIMEOUT, || scene.dead_letters().len() == 1);
    let (code, listed) = run(scene, "tool", &["dlq", "list"], Some("--config"));
    assert!(code == Some(0) && listed.contains("1 dead letter"), "{listed}");
    let (code, sent) = run(scene, "tool", &["send", "bar_snapshot", "--code", "000001.SZ"], Some("--config"));
    assert_eq!(code, Some(0), "{sent}");

    broker.restart();
    for (scene, worker, codes) in &mut running {
        scene.broker.wait_until_readable(&scene.topic(), PARTITIONS);
        scene.send_snapshots(codes, r#""full":true"#);
        scene.wait_until_all_is_committed();
        scene.assert_exact(codes);
        let log = worker.log_text();
        assert!(!log.contains(PASSWORD) && !log.contains("PRIVATE KEY"), "a secret is in the log");
    }
}

#[test]
fn check_names_each_kafka_mistake_and_its_setting() {
    if !needs_apache_kafka("TLS and SASL listeners") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let other = Authority::new(folder.path(), "other-ca");
    let (client, stranger) = (authority.client("worker", Validity::NOW), other.client("stranger", Validity::NOW));
    let old = authority.client("old", Validity::EXPIRED);
    let broker = SecureKafka::start(folder.path(), &authority);
    let fresh = |name: &str| {
        let source = TushareServer::start(market(1, 2).data).unwrap();
        let scene = Scene::on_broker(&format!("mistake{name}"), PROGRAM, source, &broker.address());
        scene.list_codes(&[]);
        scene
    };
    let mut good = fresh("none");
    use_tls(&mut good, "ssl", broker.mutual, &authority);
    use_certificate(&mut good, &client);
    let (code, text) = check_servers(&good, "none");
    assert!(code == Some(0) && line_of(&text, "Kafka").starts_with("ok"), "{text}");

    type Case<'a> = (&'a str, Box<dyn Fn(&mut Scene) + 'a>, &'a [&'a str]);
    let cases: [Case<'_>; 14] = [
        (
            "keypassword",
            Box::new(|s| {
                use_tls(s, "ssl", broker.mutual, &authority);
                use_certificate(s, &client);
                s.set("kafka.key_file", client.encrypted_key(PASSWORD).display());
                s.set("kafka.key_password", "wrong");
            }),
            &["kafka.key_password"],
        ),
        (
            "systemca",
            Box::new(|s| {
                use_tls(s, "ssl", broker.ssl, &authority);
                s.set("kafka.ca_file", "\"\"");
            }),
            &["kafka.ca_file"],
        ),
        ("ca", Box::new(|s| use_tls(s, "ssl", broker.ssl, &other)), &["kafka.ca_file"]),
        ("expired", Box::new(|s| use_tls(s, "ssl", broker.expired, &authority)), &["expired"]),
        ("name", Box::new(|s| use_tls(s, "ssl", broker.other_name, &authority)), &["another name", "kafka.brokers"]),
        (
            "password",
            Box::new(|s| {
                use_tls(s, "sasl_ssl", broker.sasl_ssl, &authority);
                use_login(s, "SCRAM-SHA-512", "wrong");
            }),
            &["kafka.sasl.password"],
        ),
        (
            "plainpassword",
            Box::new(|s| {
                use_tls(s, "sasl_ssl", broker.sasl_ssl, &authority);
                use_login(s, "PLAIN", "wrong");
            }),
            &["kafka.sasl.password"],
        ),
        ("serverhastls", Box::new(|s| use_tls(s, "plaintext", broker.ssl, &authority)), &["kafka.security.protocol"]),
        ("clienthastls", Box::new(|s| use_tls(s, "ssl", broker.plain, &authority)), &["kafka.security.protocol"]),
        ("nologin", Box::new(|s| use_tls(s, "ssl", broker.sasl_ssl, &authority)), &["kafka.security.protocol"]),
        ("nocert", Box::new(|s| use_tls(s, "ssl", broker.mutual, &authority)), &["kafka.certificate_file"]),
        (
            "stranger",
            Box::new(|s| {
                use_tls(s, "ssl", broker.mutual, &authority);
                use_certificate(s, &stranger);
            }),
            &["kafka.certificate_file"],
        ),
        (
            "oldcert",
            Box::new(|s| {
                use_tls(s, "ssl", broker.mutual, &authority);
                use_certificate(s, &old);
            }),
            &["kafka.certificate_file"],
        ),
        (
            "cafile",
            Box::new(|s| {
                use_tls(s, "ssl", broker.ssl, &authority);
                s.set("kafka.ca_file", "/nowhere/ca.pem");
            }),
            &["kafka.ca_file", "/nowhere/ca.pem"],
        ),
    ];
    for (name, mistake, parts) in cases {
        let mut scene = fresh(name);
        mistake(&mut scene);
        let (code, text) = check_servers(&scene, name);
        let line = line_of(&text, "Kafka");
        assert!(code == Some(1) && line.starts_with("FAILED"), "{name}: {text}");
        for part in parts {
            assert!(line.contains(part), "{name}: {part} is not in {line}");
        }
        assert!(!text.contains(PASSWORD), "{name}: the password is shown");
    }
}
