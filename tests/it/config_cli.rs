// Upstream: none
// Downstream: kit, main_job
// Role: Tests the configuration for operators: `config` check, show and default, and how a worker applies a file.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kit::clickhouse::PrivateClickHouse;
use kit::scene::{Scene, TIMEOUT};
use kit::services::{free_port, required};
use kit::tushare_data::{Dataset, codes, last_closed_day, last_trading_days};
use kit::wait::wait_until;
use kit::worker::Worker;

use crate::main_job::PROGRAM;

/// The result of a command.
struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the program in a folder with only these environment variables and HOME.
fn data_worker(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .envs(variables.iter().copied())
        .output()
        .expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Outcome { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// The line of `config show` for a setting, with single blanks.
fn shown(text: &str, path: &str) -> String {
    let line = text.lines().find(|line| line.split(' ').next() == Some(path));
    let line = line.unwrap_or_else(|| panic!("{path} is not in:\n{text}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn check_lists_all_problems_and_exits_1() {
    let bad = "kafka:\n  prot: 9092\n  port: many\nbatch:\n  max_rows: 0\nheartbeat:\n  ttl_ms: 5000\n\
               mysql:\n  password: 4711\n";
    let secure = "database:\n  redis:\n    port: [1]\n";
    let folder =
        folder_with(&[("bad.yml", bad), (".ginkgo/secure.yml", secure), ("good.yml", "log:\n  level: debug\n")]);
    let variables = [("GINKGO_DATA_WORKER__FETCH__MAX_ATTEMPT", "3"), ("CLICKHOUSE_PORT", "x")];
    let found = data_worker(folder.path(), &["config", "check", "bad.yml"], &variables);
    assert_eq!(found.code, Some(1));
    for part in [
        "bad.yml, line 2: kafka.prot: unknown setting; did you mean kafka.port?",
        "bad.yml, line 3: kafka.port: it must be a whole number, 1 to 65535, but is \"many\"",
        "bad.yml, line 5: batch.max_rows: it is 0, but it must be 1 to 1000000",
        "default: batch.min_rows: it is 1000, but it must not exceed batch.max_rows",
        "bad.yml, line 7: heartbeat.ttl_ms: it is 5000, but it must be at least twice heartbeat.interval_ms",
        "bad.yml, line 9: mysql.password: it must be text (the value is secret and is not shown); put it in quotes",
        ".ginkgo/secure.yml, line 3: database.redis.port: it must be a whole number",
        "GINKGO_DATA_WORKER__FETCH__MAX_ATTEMPT: fetch.max_attempt: unknown setting; did you mean fetch.max_attempts?",
        "environment variable CLICKHOUSE_PORT: clickhouse.port: it must be a whole number, 1 to 65535, but is \"x\"",
    ] {
        assert!(found.err.contains(part), "{part} is not in:\n{}", found.err);
    }
    assert_eq!(found.err.lines().count(), 9, "{}", found.err);
    assert!(!found.err.contains("4711") && found.out.is_empty());

    let broken = data_worker(folder.path(), &["config", "check", "--connect", "bad.yml"], &[]);
    assert_eq!(broken.code, Some(1));
    assert!(broken.err.contains("the servers are not tried"), "{}", broken.err);

    std::fs::remove_file(folder.path().join(".ginkgo/secure.yml")).unwrap();
    let good = data_worker(folder.path(), &["config", "check", "good.yml"], &[]);
    assert_eq!((good.code, good.out.as_str()), (Some(0), "the configuration is valid (good.yml)\n"));
}

#[test]
fn check_requires_only_a_named_file() {
    let folder = folder_with(&[]);
    for (arguments, variables) in [
        (vec!["config", "check", "gone.yml"], vec![]),
        (vec!["config", "check"], vec![("GINKGO_DATA_WORKER_CONFIG", "gone.yml")]),
    ] {
        let missing = data_worker(folder.path(), &arguments, &variables);
        assert_eq!(missing.code, Some(1), "{}", missing.err);
        assert!(missing.err.contains("gone.yml: file not found"), "{}", missing.err);
    }
    let none = data_worker(folder.path(), &["config", "check"], &[]);
    assert_eq!((none.code, none.out.as_str()), (Some(0), "the configuration is valid (no file)\n"));
    assert!(none.err.contains("warning: no configuration file: ./data_worker.yml"), "{}", none.err);
}

#[test]
fn default_file_is_current_valid_and_changes_nothing() {
    let folder = folder_with(&[]);
    let printed = data_worker(folder.path(), &["config", "default"], &[]);
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = std::fs::read_to_string(repository.join("docker/data_worker.yml")).unwrap();
    assert_eq!((printed.code, printed.out == kept), (Some(0), true), "run `make docs`");
    let page = data_worker(folder.path(), &["config", "reference"], &[]);
    let kept_page = std::fs::read_to_string(repository.join("docs/configuration.md")).unwrap();
    assert!(page.out == kept_page, "run `make docs`");

    let before = data_worker(folder.path(), &["config", "show"], &[]);
    std::fs::write(folder.path().join("data_worker.yml"), &printed.out).unwrap();
    let checked = data_worker(folder.path(), &["config", "check"], &[]);
    assert_eq!((checked.code, checked.out.as_str()), (Some(0), "the configuration is valid (./data_worker.yml)\n"));
    let after = data_worker(folder.path(), &["config", "show"], &[]);
    assert_eq!((after.code, after.out), (Some(0), before.out), "no value has changed");

    let edited = printed.out.replace("  #max_rows: 50000", "  max_rows: 4321");
    std::fs::write(folder.path().join("data_worker.yml"), edited).unwrap();
    let edited = data_worker(folder.path(), &["config", "show"], &[]);
    assert!(
        shown(&edited.out, "batch.max_rows").starts_with("batch.max_rows 4321 ./data_worker.yml, line "),
        "{}",
        edited.out
    );
}

#[test]
fn show_lists_places_without_secrets() {
    let own = "kafka:\n  host: of-file\nmysql:\n  user: of-file\nredis:\n  password: s3cret-1\n";
    let secure = "database:\n  clickhouse:\n    host: of-ginkgo\n    port: 8124\n    password: czNjcmV0LTI=\n\
                  tushare:\n  token: s3cret-3\n";
    let folder =
        folder_with(&[("own.yml", own), (".ginkgo/secure.yml", secure), (".ginkgo/config.yml", "debug: true\n")]);
    std::fs::write(folder.path().join("password"), "s3cret-4\n").unwrap();
    let variables =
        [("GINKGO_KAFKA_PORT", "9095"), ("MYSQL_PASSWORD_FILE", "password"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    let found = data_worker(folder.path(), &["config", "show", "--config", "own.yml"], &variables);
    assert_eq!(found.code, Some(0), "{}", found.err);
    let ginkgo = folder.path().join(".ginkgo/secure.yml").display().to_string();
    for (path, rest) in [
        ("kafka.host", "of-file own.yml, line 2".to_owned()),
        ("kafka.port", "9095 environment variable GINKGO_KAFKA_PORT".to_owned()),
        ("mysql.user", "of-file own.yml, line 4".to_owned()),
        ("mysql.password", "*** environment variable MYSQL_PASSWORD_FILE".to_owned()),
        ("redis.password", "*** own.yml, line 6".to_owned()),
        ("clickhouse.host", format!("of-ginkgo {ginkgo}, line 3")),
        // In a container the port does not get the prefix 1.
        ("clickhouse.port", format!("8124 {ginkgo}, line 4")),
        ("clickhouse.password", format!("*** {ginkgo}, line 5")),
        ("sources.tushare.token", format!("*** {ginkgo}, line 7")),
        ("batch.max_rows", "50000 default".to_owned()),
    ] {
        assert_eq!(shown(&found.out, path), format!("{path} {rest}"));
    }
    let unset = data_worker(folder.path(), &["config", "show"], &[("GINKGO_DIR", "/nowhere")]);
    assert_eq!(shown(&unset.out, "mysql.password"), "mysql.password (unset) default");
    for text in [&found.out, &found.err, &unset.out] {
        assert!(!text.contains("s3cret") && !text.contains("czNj"), "{text}");
    }

    let wrong = data_worker(folder.path(), &["config", "show", "--config", "own.yml"], &[("REDIS_PORT", "x")]);
    assert_eq!(wrong.code, Some(1));
    assert_eq!(shown(&wrong.out, "redis.port"), "redis.port 6379 default", "the value that a worker would use");
    assert!(wrong.err.contains("environment variable REDIS_PORT: redis.port: "), "{}", wrong.err);
}

/// A scene with one bar; tests observe the worker through its heartbeat and its log.
fn small_scene(name: &str) -> Scene {
    let days = last_trading_days(last_closed_day(), 1);
    Scene::new(name, PROGRAM, Dataset::generated(&codes(1), &days))
}

/// Creates a MySQL database with a reduced `stock_info` table.
fn create_stock_info(name: &str) {
    use sqlx::{ConnectOptions, Connection, Executor};
    let options = sqlx::mysql::MySqlConnectOptions::new()
        .host(&required("TEST_MYSQL_HOST"))
        .port(required("TEST_MYSQL_PORT").parse().unwrap())
        .username(&required("TEST_MYSQL_USER"))
        .password(&required("TEST_MYSQL_PASSWORD"));
    let statements = format!(
        "CREATE DATABASE `{name}`; CREATE TABLE `{name}`.stock_info (code VARCHAR(32), is_del TINYINT NOT NULL DEFAULT 0)"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = options.connect().await.unwrap();
        connection.execute(sqlx::raw_sql(&statements)).await.unwrap();
        connection.close().await.unwrap();
    });
}

fn connect_scene(name: &str) -> Scene {
    let scene = small_scene(name);
    create_stock_info(&scene.name);
    scene
}

#[test]
fn connect_reports_version_and_latency_of_servers() {
    let scene = connect_scene("connect_good");
    let file = scene.write_config("n1");
    let check = ["config", "check", "--connect", file.to_str().unwrap()];
    let found = data_worker(scene.folder(), &check, &[]);
    assert_eq!(found.code, Some(0), "{}\n{}", found.out, found.err);
    let reports: Vec<&str> = found.out.lines().skip(1).collect();
    assert_eq!(reports.len(), 5, "{}", found.out);
    for (report, begin, part) in [
        (reports[0], "ok     Kafka ", "all topics exist"),
        (reports[1], "ok     Redis ", " is supported (5.0 or newer)"),
        (reports[2], "ok     ClickHouse ", " is supported (23.3 or newer)"),
        (reports[3], "ok     MySQL ", "-MariaDB"),
        (reports[3], "ok     MySQL ", "the trading calendar end"),
        (reports[4], "ok     Tushare ", "the token is accepted"),
    ] {
        assert!(report.starts_with(begin) && report.contains(part), "{report}");
        let latency = report.split(" ms: ").next().unwrap().rsplit(' ').next().unwrap();
        assert!(latency.parse::<u64>().is_ok_and(|ms| ms < 5_000), "{report}");
    }
    assert!(reports[2].contains("does not exist yet; the worker creates it"), "it creates nothing: {}", reports[2]);
    assert!(reports[3].contains("is supported (10.3 or newer); table stock_info exists"), "{}", reports[3]);

    // A table with a wrong column is a failure although the server answers.
    scene.database.query("CREATE TABLE bar (code String, open Float64) ENGINE = MergeTree ORDER BY code");
    let found = data_worker(scene.folder(), &check, &[]);
    assert_eq!(found.code, Some(1));
    let report = found.out.lines().find(|line| line.contains("ClickHouse")).unwrap();
    assert!(
        report.starts_with("FAILED") && report.contains("column open: expected Decimal(16, 2), found Float64"),
        "{report}"
    );
}

#[test]
fn connect_reports_failures_without_passwords() {
    let mut scene = connect_scene("connect_bad");
    let own_engine = PrivateClickHouse::start_as(&scene.folder().join("clickhouse"), 0, Some(("reader", "right-pw")));
    let redis_port = free_port();
    scene
        .set("redis.port", redis_port)
        .set("clickhouse.port", own_engine.port)
        .set("clickhouse.user", "reader")
        .set("clickhouse.password", "wrong-pw-1")
        .set("mysql.password", "wrong-pw-2")
        .set("sources.tushare.token", "wrong-pw-3");
    let file = scene.write_config("n1");
    let found = data_worker(scene.folder(), &["config", "check", "--connect", file.to_str().unwrap()], &[]);
    assert_eq!(found.code, Some(1), "{}", found.out);
    let report = |name: &str| {
        let line = found.out.lines().find(|line| line.contains(name));
        line.unwrap_or_else(|| panic!("{name} is not in:\n{}", found.out))
    };
    assert!(report("Kafka").starts_with("ok "), "a failing server does not affect the others: {}", found.out);
    for (name, reason) in [
        ("Redis", "Connection refused"),
        ("ClickHouse", "Code: 516. DB::Exception: reader: Authentication failed"),
        ("MySQL", "Access denied for user"),
        ("Tushare", "login refused"),
    ] {
        assert!(report(name).starts_with("FAILED") && report(name).contains(reason), "{}", report(name));
    }
    assert!(!found.out.contains("-pw") && !found.err.contains("-pw"), "{}{}", found.out, found.err);

    scene.set("clickhouse.password", "right-pw");
    let file = scene.write_config("n1");
    let found = data_worker(scene.folder(), &["config", "check", "--connect", file.to_str().unwrap()], &[]);
    let report = found.out.lines().find(|line| line.contains("ClickHouse")).unwrap();
    assert!(report.starts_with("ok "), "{report}");
}

#[test]
fn servers_that_say_nothing_are_given_up_together() {
    let silent: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<String> = silent.iter().map(|listener| listener.local_addr().unwrap().port().to_string()).collect();
    let url = format!("http://127.0.0.1:{}/", ports[3]);
    let variables = [
        ("KAFKA_PORT", ports[0].as_str()),
        ("CLICKHOUSE_PORT", ports[1].as_str()),
        ("MYSQL_PORT", ports[2].as_str()),
        ("TUSHARE_TOKEN", "t"),
        ("GINKGO_DATA_WORKER__SOURCES__TUSHARE__URL", url.as_str()),
    ];
    let folder = folder_with(&[]);
    let begin = Instant::now();
    let found = data_worker(folder.path(), &["config", "check", "--connect"], &variables);
    let elapsed = begin.elapsed();
    assert_eq!(found.code, Some(1));
    for name in ["ClickHouse", "MySQL", "Tushare"] {
        let report = found.out.lines().find(|line| line.contains(name)).unwrap();
        assert!(report.starts_with("FAILED") && report.ends_with("no answer within 5s"), "{report}");
    }
    assert!(found.out.lines().any(|line| line.starts_with("FAILED Kafka")), "{}", found.out);
    // Sequential checks would take 20 s.
    assert!((Duration::from_secs(5)..Duration::from_secs(12)).contains(&elapsed), "{elapsed:?}");
}

/// Starts the worker `n1` with this file and writes its log next to it.
fn start_worker(scene: &Scene, file: &Path, variables: &[(String, String)]) -> Worker {
    let folder = scene.folder().display().to_string();
    let mut environment = vec![("GINKGO_NODE_ID", "n1"), ("GINKGO_DIR", folder.as_str())];
    environment.extend(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Worker::start(Path::new(PROGRAM), file, &file.with_extension("again.log"), &environment)
}

/// Waits for a heartbeat whose remaining TTL lies in the range; just after a beat it is close to the full TTL.
fn wait_for_ttl(scene: &Scene, node: &str, seconds: std::ops::RangeInclusive<i64>) {
    wait_until(&format!("a heartbeat of {node} with a TTL of {seconds:?} s"), TIMEOUT, || {
        scene.heartbeat(node).is_some_and(|(_, ttl)| seconds.contains(&ttl))
    });
}

#[test]
fn uses_file_value_and_default_for_deleted_key() {
    let mut scene = small_scene("config_values");
    scene.set("heartbeat.ttl_ms", 7_000).set("heartbeat.interval_ms", 500).set("log.level", "debug");
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let (_, ttl) = scene.heartbeat("n1").unwrap();
    assert!((1..=7).contains(&ttl), "the file sets 7 s, the default is 30 s: {ttl}");
    assert!(worker.log_text().contains("\"level\":\"debug\""), "the log level of the file applies");
    worker.terminate();
    assert_eq!(worker.wait(TIMEOUT).code(), Some(0));

    let file = scene.write_config("n1");
    let text = std::fs::read_to_string(&file).unwrap();
    let kept: String = text.lines().filter(|line| !line.contains("ttl_ms:")).map(|line| format!("{line}\n")).collect();
    assert_eq!(text.lines().count(), kept.lines().count() + 1);
    std::fs::write(&file, kept).unwrap();
    let worker = start_worker(&scene, &file, &[]);
    wait_for_ttl(&scene, "n1", 25..=30);
    assert!(worker.log_text().contains("configuration loaded"), "{}", worker.log_text());
}

#[test]
fn missing_file_warns_and_worker_starts() {
    let scene = small_scene("config_missing");
    let variables = scene.variables();
    let file = scene.folder().join("gone.yml");
    let mut worker = start_worker(&scene, &file, &variables);
    scene.wait_for_status("n1", "running");
    wait_for_ttl(&scene, "n1", 25..=30);
    let log = worker.log_text();
    let warning = log.lines().find(|line| line.contains("gone.yml not found; the defaults apply"));
    assert!(warning.is_some_and(|line| line.contains("\"level\":\"warning\"")), "{log}");
    assert!(worker.is_running());
}

#[test]
fn broken_file_is_logged_and_defaults_apply() {
    let scene = small_scene("config_broken");
    let variables = scene.variables();
    for (name, text, ttl, problem) in [
        // Nothing of a file that is no YAML counts: the default is 30 s.
        ("syntax", "heartbeat:\n  ttl_ms: 7000\n interval_ms: 500\n", 25..=30, "syntax.yml, line 3: invalid YAML: "),
        // One wrong value falls back alone: the 60 s of the file apply.
        (
            "value",
            "heartbeat:\n  ttl_ms: 60000\n  interval_ms: often\n",
            45..=60,
            "value.yml, line 3: heartbeat.interval_ms: it must be a whole number, at least 100, but is \\\"often\\\"",
        ),
    ] {
        let file = scene.folder().join(format!("{name}.yml"));
        std::fs::write(&file, text).unwrap();
        let mut worker = start_worker(&scene, &file, &variables);
        scene.wait_for_status("n1", "running");
        wait_for_ttl(&scene, "n1", ttl);
        let log = worker.log_text();
        let line = log.lines().find(|line| line.contains(problem));
        assert!(line.is_some_and(|line| line.contains("\"level\":\"error\"")), "{problem} is not in:\n{log}");
        worker.terminate();
        assert_eq!(worker.wait(TIMEOUT).code(), Some(0));
    }
}

#[test]
fn strict_run_refuses_what_is_wrong() {
    let folder = folder_with(&[
        ("wrong.yml", "kafka:\n  host: kafka.internal\n  prot: 9092\n"),
        ("broken.yml", "kafka:\n  host: a\nkafka:\n  port: 1\n"),
    ]);
    let run = |file: &str| data_worker(folder.path(), &["run", "--strict", "--config", file], &[]);
    for (file, reason) in [
        ("wrong.yml", "wrong.yml, line 3: kafka.prot: unknown setting; did you mean kafka.port?"),
        ("broken.yml", "broken.yml, line 3: kafka: it is set in line 1 already"),
        ("gone.yml", "gone.yml: file not found"),
    ] {
        let refused = run(file);
        assert_eq!(refused.code, Some(1), "{}", refused.out);
        assert!(refused.out.contains(reason), "{reason} is not in {}", refused.out);
        assert!(refused.out.contains("--strict refuses it"), "{}", refused.out);
        assert!(!refused.out.contains("configuration loaded"), "{}", refused.out);
    }
    let shown = data_worker(folder.path(), &["config", "show", "--config", "wrong.yml", "kafka.host"], &[]);
    assert_eq!(shown.out.split_whitespace().take(2).collect::<Vec<_>>(), ["kafka.host", "kafka.internal"]);
    assert_eq!(shown.out.lines().count(), 1, "the filter selects one setting");
    let ignored = data_worker(folder.path(), &["config", "show", "--config", "broken.yml", "--changed"], &[]);
    assert!(ignored.err.contains("; the whole file is ignored") && ignored.out.is_empty(), "{}", ignored.err);
}

#[test]
fn images_and_compose_files_start_strictly() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |file: &str| std::fs::read_to_string(repository.join(file)).unwrap();
    assert!(text("docker/Dockerfile").contains(r#"CMD ["run", "--strict"]"#));
    for file in ["compose.yaml", "compose.ginkgo.yaml"] {
        assert!(text(file).contains("command: [run, --strict]"), "{file}");
    }
    for file in ["README.md", "README.zh-CN.md"] {
        assert!(text(file).contains("data-worker run --strict"), "{file}");
    }
}

#[test]
fn check_finds_addresses_and_words_that_cannot_work() {
    let wrong = "kafka:\n  host: localhost:9092\nclickhouse:\n  host: http://clickhouse\nsources:\n  bars: [tushar]\n  \
                 tushare:\n    token: ${TUSHARE_TOKEN}\nlog:\n  level: verbose\n";
    let doubtful = "clickhouse:\n  port: 9000\nsources:\n  bars: files\n  files:\n    folder: nowhere/bars\n";
    let folder = folder_with(&[("wrong.yml", wrong), ("doubtful.yml", doubtful)]);
    for (file, parts) in [
        (
            "wrong.yml",
            vec![
                "line 2: kafka.host: it is \"localhost:9092\", but it must be the host alone, \"localhost\"",
                "line 4: clickhouse.host: it is \"http://clickhouse\", but it must be the host alone, \"clickhouse\"",
                "line 6: sources.bars: it must be one or more of: ",
                "is \"tushar\"; is tushare meant?",
                "line 8: sources.tushare.token: it is the literal text ${TUSHARE_TOKEN}",
                "line 10: log.level: \"verbose\" is not a level",
                "; is debug meant?",
            ],
        ),
        (
            "doubtful.yml",
            vec![
                "line 2: clickhouse.port: it is 9000, ClickHouse's port for its native protocol",
                "line 6: sources.files.folder: nowhere/bars is not a folder",
            ],
        ),
    ] {
        let found = data_worker(folder.path(), &["config", "check", file], &[]);
        assert_eq!(found.code, Some(1), "{}", found.err);
        for part in parts {
            assert!(found.err.contains(part), "{part} is not in:\n{}", found.err);
        }
    }
}

#[test]
fn a_host_of_the_other_environment_ends_the_start() {
    let folder = folder_with(&[(".ginkgo/secure.yml", "database:\n  mysql:\n    host: mysql-test\n")]);
    let production = ("GINKGO_ENV", "PRODUCTION");
    let refused = data_worker(folder.path(), &["run"], &[production]);
    assert_eq!(refused.code, Some(1));
    let reason = "secure.yml, line 3: mysql.host: it is \\\"mysql-test\\\", but Ginkgo's environment is PRODUCTION";
    assert!(refused.out.contains(reason), "{}", refused.out);
    assert!(!refused.out.contains("configuration loaded"), "{}", refused.out);

    let checked = data_worker(folder.path(), &["config", "check"], &[production]);
    assert_eq!(checked.code, Some(1));
    let skipped = data_worker(folder.path(), &["config", "check"], &[production, ("GINKGO_SKIP_CLUSTER_GUARD", "1")]);
    assert_eq!(skipped.code, Some(0), "{}", skipped.err);
}

#[test]
fn completions_and_manual_pages_name_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, part) in
        [("bash", "_data__worker()"), ("zsh", "#compdef data-worker"), ("fish", "complete -c data-worker")]
    {
        let found = data_worker(folder.path(), &["completions", shell], &[]);
        assert_eq!(found.code, Some(0), "{}", found.err);
        assert!(found.out.contains(part) && found.out.contains("standalone"), "{shell}: {}", found.out);
    }
    let page = data_worker(folder.path(), &["man"], &[]);
    assert!(page.code == Some(0) && page.out.contains(".TH data-worker 1"), "{}", page.out);
    let pages = folder.path().join("man1");
    assert_eq!(data_worker(folder.path(), &["man", "--folder", pages.to_str().unwrap()], &[]).code, Some(0));
    let send = std::fs::read_to_string(pages.join("data-worker-send.1")).unwrap();
    assert!(send.contains("bar_snapshot") && send.contains("start_date"), "{send}");
}
