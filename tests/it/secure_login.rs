// Upstream: none
// Downstream: http, kit, main_job, reload
// Role: Tests a new Kafka login in a running worker: a reload applies it to all clients, or refuses it.

use std::path::{Path, PathBuf};

use kit::certificates::Authority;
use kit::exposition::Page;
use kit::http::get;
use kit::scene::{PARTITIONS, Scene, TIMEOUT, needs_apache_kafka};
use kit::secure_kafka::{PASSWORD, SecureKafka, USER};
use kit::tushare_server::TushareServer;
use kit::wait::wait_until;
use kit::worker::Worker;

use crate::http::address;
use crate::main_job::{Market, PROGRAM, market};
use crate::reload::reload;

const WRONG: &str = "Kf-secret-wrong";
const NEW: &str = "Kf-secret-2";
const OTHER_USER: &str = "worker2";
const OTHER: &str = "Kf-secret-3";

/// A worker whose Kafka password is in a file, on a private broker.
struct Login {
    worker: Worker,
    broker: SecureKafka,
    scene: Scene,
    codes: Vec<String>,
    password: PathBuf,
}

impl Login {
    fn start(name: &str, folder: &Path) -> Self {
        let authority = Authority::new(folder, "ca");
        let broker = SecureKafka::start(folder, &authority);
        let Market { codes, data, .. } = market(12, 4);
        let source = TushareServer::start(data).unwrap();
        let mut scene = Scene::on_broker(name, PROGRAM, source, &broker.address());
        scene.set("kafka.brokers", format!("[\"127.0.0.1:{}\"]", broker.sasl_ssl));
        scene.set("kafka.security.protocol", "sasl_ssl").set("kafka.ca_file", authority.ca_file.display());
        scene.set("kafka.sasl.mechanism", "SCRAM-SHA-512").set("kafka.sasl.user", USER);
        scene.set("fetch.max_codes_per_command", 4).set("heartbeat.interval_ms", 200);
        scene.list_codes(&codes);
        let password = folder.join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let variable = ("GINKGO_DATA_WORKER__KAFKA__SASL__PASSWORD_FILE", password.to_str().unwrap());
        let worker = scene.start_with("n1", &[variable]);
        scene.wait_for_status("n1", "running");
        Self { worker, broker, scene, codes, password }
    }

    /// Writes a password and reloads. Returns the event of the answer and its text.
    fn reload(&self, password: &str, id: &str) -> (String, String) {
        std::fs::write(&self.password, password).unwrap();
        let answer = reload(&self.scene, id);
        (answer["data"]["event"].as_str().unwrap_or_default().to_owned(), answer.to_string())
    }

    /// Commands for single codes, and one for all whose parts new clients publish.
    fn assert_works(&mut self) {
        self.scene.send_snapshots(&self.codes, r#""full":true"#);
        self.scene.send(&[br#"{"command":"bar_snapshot","params":{"full":true}}"#.to_vec()]);
        self.scene.wait_until_all_is_committed();
        self.scene.assert_exact(&self.codes);
    }

    /// Ends all connections, as each must log in again.
    fn break_connections(&mut self) {
        self.broker.restart();
        self.scene.broker.wait_until_readable(&self.scene.topic(), PARTITIONS);
    }

    /// Whether the worker finds a change of its topics: a deleted one is created again, added partitions are counted.
    fn assert_watches_topics(&self) {
        let (scene, total) = (&self.scene, PARTITIONS + 1);
        scene.broker.delete_topics(&[&scene.dead_letter_topic()]);
        wait_until("the topic of dead letters is created again", TIMEOUT, || {
            self.worker.log_text().contains(r#""message":"topic created""#)
        });
        scene.broker.add_partitions(&scene.topic(), total);
        let page = address(scene, "n1");
        wait_until("the added partition is counted", TIMEOUT, || {
            Page::parse(&get(&page, "/metrics").body).value("data_worker_topic_partitions", &[]) == f64::from(total)
        });
    }

    fn assert_no_secrets(&self) {
        let messages = self.scene.notifications().iter().map(ToString::to_string).collect::<String>();
        for secret in [PASSWORD, WRONG, NEW, OTHER] {
            assert!(!self.worker.log_text().contains(secret) && !messages.contains(secret), "{secret} is shown");
        }
    }
}

#[test]
fn reload_applies_a_new_password_to_all_clients() {
    if !needs_apache_kafka("TLS and SASL listeners") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut login = Login::start("newlogin", folder.path());
    login.assert_works();

    let (event, text) = login.reload(WRONG, "wrong");
    assert_eq!(event, "RELOAD_REFUSED", "{text}");
    assert!(text.contains("kafka: the broker refuses the login: see kafka.sasl.user, kafka.sasl.password"), "{text}");
    login.assert_works();

    // Connections stay, those of the old password too.
    login.broker.set_password(USER, NEW);
    let (event, text) = login.reload(NEW, "right");
    assert_eq!(event, "RELOADED", "{text}");
    assert!(text.contains(r#""changed":["kafka.sasl.password"]"#), "{text}");
    login.break_connections();
    login.assert_works();
    login.scene.send(&[b"no command".to_vec()]);
    wait_until("the dead letter", TIMEOUT, || login.scene.dead_letters().len() == 1);
    assert_eq!(reload(&login.scene, "heard")["data"]["event"], "RELOAD_UNCHANGED");
    login.assert_watches_topics();
    login.scene.wait_for_status("n1", "running");
    let page = address(&login.scene, "n1");
    wait_until("the worker is ready", TIMEOUT, || get(&page, "/readyz").status == 200);
    login.assert_no_secrets();
}

#[test]
fn reload_changes_the_user_but_not_the_mechanism() {
    if !needs_apache_kafka("TLS and SASL listeners") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut login = Login::start("newuser", folder.path());
    login.broker.set_password(OTHER_USER, OTHER);
    login.scene.set("kafka.sasl.mechanism", "SCRAM-SHA-256");
    login.scene.write_config("n1");
    let (event, text) = login.reload(PASSWORD, "mechanism");
    assert_eq!(event, "RELOAD_REFUSED", "{text}");
    assert!(text.contains("kafka.sasl.mechanism: a change needs a restart"), "{text}");

    login.scene.set("kafka.sasl.mechanism", "SCRAM-SHA-512").set("kafka.sasl.user", OTHER_USER);
    std::fs::write(&login.password, OTHER).unwrap();
    login.scene.write_config("n1");
    wait_until("the reload", TIMEOUT, || {
        let applied = login.scene.notifications_with("event", "RELOADED").pop();
        applied.is_some_and(|applied| {
            applied["data"]["changed"] == serde_json::json!(["kafka.sasl.user", "kafka.sasl.password"])
        })
    });
    login.broker.set_password(USER, NEW);
    login.break_connections();
    login.assert_works();
    login.assert_no_secrets();
}
