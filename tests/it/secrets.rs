// Upstream: none
// Downstream: data_worker, http, kit, main_job, reload
// Role: Searches all output of a worker and its commands under faults for every secret of the configuration.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data_worker::config::keys::keys;
use data_worker::config::{Environment, load};
use kit::baostock_server::{self, BaoStockServer};
use kit::clickhouse::PrivateClickHouse;
use kit::mysql::Tables;
use kit::redis::PrivateRedis;
use kit::scene::{Scene, TIMEOUT};
use kit::services::{host_and_port, required, unique};
use kit::tushare_server::{self, Fault, FaultDuration, TushareServer};
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};
use crate::reload::reload;

/// The prefix of every secret of the test; it occurs nowhere else.
const MARK: &str = "Zq9";

/// The settings that hold a secret, from the code's own list, so that the test covers new ones.
fn secret_settings() -> Vec<&'static str> {
    keys().iter().filter(|key| key.secret).map(|key| key.path.as_str()).collect()
}

/// The value of a secret setting. It contains characters that URLs and JSON may escape.
fn secret(path: &str) -> String {
    format!("{MARK}/{}+@", path.replace('.', "-"))
}

/// A secret percent-encoded as in a URL.
fn in_address(secret: &str) -> String {
    secret.bytes().fold(String::new(), |text, byte| match byte {
        b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => text + &char::from(byte).to_string(),
        other => text + &format!("%{other:02X}"),
    })
}

/// The forms a secret may take: plain, truncated, URL-encoded, JSON-escaped, hexadecimal, and base64 at each of the
/// three byte offsets.
fn forms(secret: &str) -> Vec<String> {
    let address = in_address(secret);
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let in_base64 = (0..3_usize).map(|before| {
        let text = STANDARD.encode([&vec![0; before], secret.as_bytes()].concat());
        // Leaves out the letters that contain bits of the bytes before and after.
        let (begin, end) = ((before * 8).div_ceil(6), (before + secret.len()) * 8 / 6);
        text[begin..end].to_owned()
    });
    let mut forms = vec![secret.to_owned(), secret[..secret.len() / 2].to_owned(), address.to_lowercase(), address];
    forms.extend([secret.replace('/', "\\/"), hex.to_uppercase(), hex]);
    forms.extend(in_base64);
    forms
}

/// All collected output, each text with its origin.
#[derive(Default)]
struct Said(Vec<(String, String)>);

impl Said {
    /// Adds an output; an empty one fails the test, as it would prove nothing.
    fn add(&mut self, place: impl Into<String>, text: String) {
        let place = place.into();
        assert!(!text.trim().is_empty(), "no output of {place}");
        self.0.push((place, text));
    }

    /// The lines that contain a secret in any form.
    fn leaks(&self) -> Vec<String> {
        let forms: Vec<String> = secret_settings().iter().flat_map(|path| forms(&secret(path))).collect();
        let holds = |line: &str| line.contains(MARK) || forms.iter().any(|form| line.contains(form));
        let lines = self.0.iter().flat_map(|(place, text)| text.lines().map(move |line| (place, line)));
        lines.filter(|(_, line)| holds(line)).map(|(place, line)| format!("{place}: {line:.2000}")).collect()
    }
}

#[test]
fn search_finds_every_form_of_each_secret() {
    let num_leaks = |text: String| {
        let mut said = Said::default();
        said.add("here", text);
        said.leaks().len()
    };
    for path in secret_settings() {
        let secret = secret(path);
        for before in ["", "u", "us", "user:", "user:x"] {
            assert_eq!(num_leaks(format!("Basic {}", STANDARD.encode(format!("{before}{secret}\n")))), 1, "{before}");
        }
        let cut = &secret[..secret.len() - 3];
        let json = format!("{{\"message\":\"{}\"}}", secret.replace('/', "\\/"));
        for text in [secret.clone(), cut.to_owned(), format!("http://me:{}@host", in_address(&secret)), json] {
            assert_eq!(num_leaks(format!("error: {text} is wrong")), 1, "{text}");
        }
    }
    assert_eq!(num_leaks("redis-password is ***; SQ9mYW5j".to_owned()), 0);
}

/// The servers that require the secrets.
struct Servers {
    scene: Scene,
    user: String,
    redis: PrivateRedis,
    engine: PrivateClickHouse,
    baostock: BaoStockServer,
}

/// Starts the servers. The worker's own servers accept the secrets; the source databases refuse them.
fn servers(data: kit::tushare_data::Dataset) -> Servers {
    let token = secret("sources.tushare.token");
    let options = tushare_server::Options { token, ..tushare_server::Options::default() };
    let baostock = BaoStockServer::start(data.clone()).unwrap();
    let mut scene = Scene::with_source("secrets", PROGRAM, TushareServer::start_with(data, options).unwrap());
    for path in secret_settings() {
        scene.set(path, format!("\"{}\"", secret(path)));
    }
    let redis = PrivateRedis::start();
    redis.set_password(&secret("redis.password"));
    let (_, redis_port) = host_and_port(&redis.url());
    scene.redis_url = format!("redis://:{}@127.0.0.1:{redis_port}/0", in_address(&secret("redis.password")));
    let password = secret("clickhouse.password");
    let engine = PrivateClickHouse::start_as(&scene.folder().join("engine"), 0, Some(("ginkgo", &password)));
    scene.database.url = format!("http://ginkgo:{}@127.0.0.1:{}", in_address(&password), engine.port);
    scene.database.create();
    let tables = Tables::create_as_ginkgo(&scene.name);
    let user = unique("s").replace('_', "");
    tables.run(&format!("CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{}'", secret("mysql.password")));
    tables.run(&format!("GRANT ALL ON `{}`.* TO {user}@'127.0.0.1'", scene.name));
    scene.set("clickhouse.user", "ginkgo").set("mysql.user", &user);
    for (key, value) in [
        ("sources.bars", "[mongodb, mysql, clickhouse, redis, baostock, tushare]".to_owned()),
        ("sources.mongodb.host", required("TEST_MONGODB_HOST")),
        ("sources.mongodb.port", required("TEST_MONGODB_PORT")),
        ("sources.mongodb.user", required("TEST_MONGODB_USER")),
        ("sources.mysql.host", required("TEST_MYSQL_HOST")),
        ("sources.mysql.port", required("TEST_MYSQL_PORT")),
        ("sources.mysql.user", required("TEST_MYSQL_USER")),
        ("sources.clickhouse.host", "127.0.0.1".to_owned()),
        ("sources.clickhouse.port", engine.port.to_string()),
        ("sources.clickhouse.user", "ginkgo".to_owned()),
        ("sources.redis.host", "127.0.0.1".to_owned()),
        ("sources.redis.port", redis_port.to_string()),
        ("sources.baostock.address", baostock.address()),
        ("sources.baostock.user", "me".to_owned()),
    ] {
        scene.set(key, value);
    }
    let logs = scene.folder().join("logs");
    scene.set("log.folder", logs.display());
    scene.set("log.level", "trace").set("quality.report_interval_ms", 1_000).set("quality.job_quiet_ms", 200);
    scene.set("heartbeat.interval_ms", 300).set("events.price_update", true);
    // At the end of the test rows remain that no store accepts.
    scene.set("worker.drain_deadline_ms", 500);
    Servers { scene, user, redis, engine, baostock }
}

/// Runs a command with the worker's file and returns its output, errors included.
fn output_of(scene: &Scene, said: &mut Said, arguments: &[&str]) -> String {
    let file = scene.folder().join("n1.yml").display().to_string();
    let arguments: Vec<&str> = arguments.iter().map(|word| if *word == "FILE" { &file } else { *word }).collect();
    let output = Command::new(PROGRAM).args(&arguments).env("GINKGO_DIR", scene.folder()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    said.add(arguments.join(" "), text.clone());
    text
}

const COMMANDS: [&[&str]; 8] = [
    &["config", "show", "--config", "FILE"],
    &["config", "check", "FILE"],
    &["config", "check", "--connect", "FILE"],
    &["status", "--config", "FILE"],
    &["status", "--json", "--config", "FILE"],
    &["reports", "--json", "--config", "FILE"],
    &["quality", "600000.SH", "--config", "FILE"],
    &["send", "--wait", "heartbeat_test", "--config", "FILE"],
];

/// Ways in which an operator may break a line with a secret.
fn broken_lines(name: &str, secret: &str) -> Vec<String> {
    vec![
        format!("{name}: [{secret}]"),
        format!("{name}: {{{secret}: 1}}"),
        format!("{name}: \"{secret}"),
        format!("{name}:{secret}"),
        format!("{name}s: {secret}"),
        format!("{secret}: {name}"),
        format!("{name}: x\n\t{secret}"),
        format!("{name}: {secret}: {secret}"),
        format!("- {secret}"),
        secret.to_owned(),
        format!("{name}: {secret}\n{name}: {secret}"),
        format!("{name}: !{secret} x"),
        format!("{name}: *{secret}"),
    ]
}

/// Breaks each secret's line in each way and loads every file; `config check` and the worker load each kind once.
fn break_files(scene: &Scene, said: &mut Said) {
    for (n, path) in secret_settings().into_iter().enumerate() {
        let (sections, name) = path.rsplit_once('.').unwrap();
        for (m, line) in broken_lines(name, &secret(path)).into_iter().enumerate() {
            let mut text = String::new();
            for (depth, section) in sections.split('.').enumerate() {
                text.push_str(&format!("{}{section}:\n", "  ".repeat(depth)));
            }
            let indent = "  ".repeat(sections.split('.').count());
            text.push_str(&format!("{indent}{}\n", line.replace('\n', &format!("\n{indent}"))));
            scene.write_raw_config("n1", &text);
            let file = scene.folder().join("n1.yml");
            // Some of the broken lines are still valid YAML.
            let outcome = load(Some(&file), &Environment::from_iter([("HOME", "/nowhere")]));
            said.add(
                format!("{path} {m}"),
                outcome.as_ref().map_or_else(ToString::to_string, |read| format!("{read:?}")),
            );
            if outcome.is_err() && (n + m) % secret_settings().len() == 0 {
                output_of(scene, said, &["config", "check", "FILE"]);
                let answer = reload(scene, &format!("broken {path} {m}"));
                assert_eq!(answer["data"]["event"], "RELOAD_REFUSED", "{line}: {answer}");
            }
        }
    }
    scene.write_config("n1");
}

/// Collects the worker's HTTP answers and the contents of its stores and topics.
fn collect_outputs(servers: &Servers, address: &str, said: &mut Said) {
    let scene = &servers.scene;
    for path in ["/healthz", "/readyz", "/status", "/metrics", "/none"] {
        let answer = kit::http::get(address, path);
        said.add(path, answer.head + &answer.body);
    }
    let tables = Tables::of(&scene.name);
    let records = tables.rows("SELECT code, status, coalesce(error_message, ''), coalesce(meta, ''), coalesce(`desc`, '') FROM data_sync_record");
    said.add("data_sync_record", format!("{records:?}"));
    said.add("data_quality_report", scene.database.query("SELECT * FROM data_quality_report FORMAT JSONEachRow"));
    let mut redis = redis::Client::open(scene.redis_url.as_str()).unwrap().get_connection().unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis).unwrap();
    for key in keys {
        // Heartbeats are texts; requests to vendors are counted in sorted sets; the states of alerts are a hash.
        let kind: String = redis::cmd("TYPE").arg(&key).query(&mut redis).unwrap();
        let values: Vec<String> = match kind.as_str() {
            "string" => vec![redis::cmd("GET").arg(&key).query(&mut redis).unwrap()],
            "zset" => redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).query(&mut redis).unwrap(),
            "hash" => redis::cmd("HGETALL").arg(&key).query(&mut redis).unwrap(),
            other => panic!("{key} is a {other}"),
        };
        said.add("Redis", format!("{key} {values:?}"));
    }
    for (topic, partitions) in [("dlq", 1), ("notifications", 1), ("market", 3), ("control", 2)] {
        let records = scene.broker.records(&format!("{}.{topic}", scene.name), partitions);
        let text =
            |record: &kit::kafka::Record| format!("{:?} {}", record.headers, String::from_utf8_lossy(&record.value));
        said.add(topic, records.iter().map(text).collect::<Vec<_>>().join("\n"));
    }
}

/// Every source refuses its login; vendors echo the secret in different formats. Between two refusals the sources answer:
/// after three in a row they would not be asked.
fn refuse_logins(servers: &mut Servers, codes: &[String]) {
    let echo = format!("wrong password {}?", secret("sources.baostock.password"));
    let token = secret("sources.tushare.token");
    let scene = &mut servers.scene;
    for (code, fault) in codes.iter().zip([
        Fault::Body(format!("<html>no token {token}</html>")),
        Fault::Refused(40101, format!("token {token} 不对")),
        Fault::Body(format!("{{\"code\":40101,\"msg\":\"token {} is wrong\"}}", token.replace('/', "\\/"))),
        Fault::Body(format!("{{\"code\":40101,\"msg\":\"token=%5B{}\"}}", in_address(&token))),
    ]) {
        let refusal = baostock_server::Fault::LoginRefused("10001002".to_owned(), echo.clone());
        servers.baostock.set_fault(refusal, FaultDuration::UntilCleared);
        scene.source.set_fault(fault, FaultDuration::UntilCleared);
        scene.send_snapshots(std::slice::from_ref(code), "");
        scene.wait_until_committed();
        scene.source.clear_fault();
        servers.baostock.clear_fault();
        scene.send_snapshots(std::slice::from_ref(code), "");
        scene.wait_until_committed();
    }
    assert_eq!(scene.dead_letters().len(), 4);
}

/// Changes the passwords of the worker's servers and stops one of them.
fn revoke_access(servers: Servers, codes: &[String]) -> (Scene, PrivateClickHouse) {
    let Servers { mut scene, user, engine, redis, .. } = servers;
    let mut admin = redis::Client::open(scene.redis_url.as_str()).unwrap().get_connection().unwrap();
    redis::cmd("CONFIG").arg(&["SET", "requirepass", "another"]).exec(&mut admin).unwrap();
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]).exec(&mut admin).unwrap();
    let tables = Tables::of(&scene.name);
    tables.run(&format!("ALTER USER {user}@'127.0.0.1' IDENTIFIED BY 'another'"));
    tables.run(&format!("KILL USER {user}@'127.0.0.1'"));
    let port = engine.port;
    engine.kill();
    scene.send_snapshots(codes, r#""full":true"#);
    wait_until("rows that cannot be written", TIMEOUT, || {
        !scene.notifications_with("alert_type", "write_error").is_empty()
    });
    let engine = PrivateClickHouse::start_as(&scene.folder().join("engine"), port, Some(("ginkgo", "another")));
    wait_until("the alert of the login", TIMEOUT, || !scene.notifications_with("class", "access").is_empty());
    drop(redis);
    (scene, engine)
}

#[test]
fn no_secret_is_anywhere_while_everything_goes_wrong() {
    let Market { codes, data, .. } = market(8, 3);
    let mut servers = servers(data);
    let mut said = Said::default();
    let mut worker = servers.scene.start("n1");
    servers.scene.wait_for_status("n1", "running");
    let address = crate::http::address(&servers.scene, "n1");
    refuse_logins(&mut servers, &codes[..4]);
    servers.scene.send_snapshots(&codes, "");
    servers.scene.wait_until_committed();
    servers.scene.assert_exact(&codes);
    wait_until("records of tasks", TIMEOUT, || {
        let count = Tables::of(&servers.scene.name).try_rows("SELECT count(*) FROM data_sync_record");
        count.is_ok_and(|rows| rows[0][0] == "16")
    });
    wait_until("a kept report", TIMEOUT, || {
        let count = servers.scene.database.try_query("SELECT count() FROM data_quality_report");
        count.is_ok_and(|count| count.trim() != "0")
    });
    for command in COMMANDS {
        output_of(&servers.scene, &mut said, command);
    }
    break_files(&servers.scene, &mut said);
    // A change of those of Kafka needs a restart, before which no other is tried.
    for path in secret_settings().into_iter().filter(|path| !path.starts_with("kafka.")) {
        servers.scene.set(path, format!("\"{}-wrong\"", secret(path)));
    }
    servers.scene.write_config("n1");
    let answer = reload(&servers.scene, "wrong");
    let problems = answer["data"]["problems"].to_string();
    for section in ["redis: ", "clickhouse: ", "mysql: ", "sources: "] {
        assert!(problems.contains(section), "{problems}");
    }
    collect_outputs(&servers, &address, &mut said);

    let (scene, _engine) = revoke_access(servers, &codes[..2]);
    for command in COMMANDS {
        output_of(&scene, &mut said, command);
    }
    for path in ["/readyz", "/status", "/metrics"] {
        said.add(path, kit::http::get(&address, path).body);
    }
    wait_until("the refusal of MySQL", TIMEOUT, || worker.log_text().contains("Access denied for user 's"));
    worker.terminate();
    worker.wait(TIMEOUT);
    said.add("notifications", format!("{:?}", scene.notifications()));
    let log = worker.log_text();
    for source in ["mongodb", "mysql", "clickhouse", "redis", "baostock", "tushare"] {
        assert!(log.contains(&format!("source {source}: ")), "{source} has refused no login");
    }
    said.add("the log", log);
    for file in std::fs::read_dir(scene.folder().join("logs")).unwrap() {
        said.add("the folder of logs", std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    let leaks = said.leaks();
    assert!(leaks.is_empty(), "{} lines, such as:\n{}", leaks.len(), leaks[..leaks.len().min(20)].join("\n"));
}
