// Upstream: none
// Downstream: kit, main_job, reload
// Role: Tests a reload from plain text to TLS and logins, and one that is refused because a CA is wrong.

use kit::certificates::Authority;
use kit::scene::{Scene, needs_apache_kafka};
use kit::secure_stack::SecureStack;
use kit::tushare_server::TushareServer;

use crate::main_job::{Market, PROGRAM, market};
use crate::reload::reload;

#[test]
fn reload_moves_all_stores_to_tls() {
    if !needs_apache_kafka("TLS and SASL listeners") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let stack = SecureStack::start(folder.path());
    let other = Authority::new(folder.path(), "other-ca");
    let Market { codes, data, .. } = market(12, 4);
    let source = TushareServer::start(data).unwrap();
    let mut scene = Scene::on_broker("totls", PROGRAM, source, &stack.kafka.address());
    scene.list_codes(&codes);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes[..4], "");
    scene.wait_until_committed();
    assert_eq!(stack.front.num_sessions(), 0);

    stack.protect_stores(&mut scene);
    let right = stack.ca_file().display().to_string();
    scene.set("clickhouse.ca_file", other.ca_file.display()).set("redis.ca_file", "/nowhere/ca.pem");
    scene.write_config("n1");
    let answer = reload(&scene, "wrong");
    assert_eq!(answer["data"]["event"], "RELOAD_REFUSED", "{answer}");
    let text = answer.to_string();
    assert!(text.contains("redis.ca_file: /nowhere/ca.pem cannot be read"), "{text}");
    assert!(text.contains("UnknownIssuer"), "{text}");

    scene.set("clickhouse.ca_file", &right).set("redis.ca_file", &right);
    scene.write_config("n1");
    let answer = reload(&scene, "right");
    assert_eq!(answer["data"]["event"], "RELOADED", "{answer}");
    assert!(stack.front.num_sessions() > 0);
    scene.send_snapshots(&codes, r#""full":true"#);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0, "{}", worker.log_text());

    // Kafka itself is left as it is until a restart.
    stack.protect_kafka(&mut scene);
    scene.write_config("n1");
    let answer = reload(&scene, "kafka");
    assert!(answer.to_string().contains("kafka.security.protocol"), "{answer}");
}
