// Upstream: none
// Downstream: kit
// Role: Tests `data-worker standalone` as a process: output, database file and exit code; needs no servers.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use kit::kafka::Broker;
use kit::wait::{wait_for, wait_until};
use kit::worker::Worker;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row};

const PROGRAM: &str = env!("CARGO_BIN_EXE_data-worker");

/// Timeout of waits that normally take seconds; the broker's first rebalance takes three.
const TIMEOUT: Duration = Duration::from_secs(60);

fn standalone(database: &Path) -> Output {
    Command::new(PROGRAM).args(["standalone", "--database"]).arg(database).output().expect("the program")
}

fn output_text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit {:?}\n{out}\n---- error stream\n{err}", output.status.code())
}

/// The rows of a query, columns joined by blanks; empty while the table does not exist.
fn rows(database: &Path, sql: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(database).read_only(true);
        let Ok(mut connection) = SqliteConnection::connect_with(&options).await else { return Vec::new() };
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap_or_default();
        let text = |row: &sqlx::sqlite::SqliteRow| {
            let cells = (0..row.len()).map(|index| row.get_unchecked::<String, _>(index));
            cells.collect::<Vec<_>>().join(" ")
        };
        rows.iter().map(text).collect()
    })
}

/// Whether a line contains all of these words.
fn has_line(text: &str, words: &[&str]) -> bool {
    text.lines().any(|line| words.iter().all(|word| line.split_whitespace().any(|found| found == *word)))
}

fn assert_sample_is_stored(database: &Path) {
    const VALUES: &str = "code, timestamp, open, high, low, close, volume, amount, frequency, source";
    let only = |sql: &str| rows(database, sql).join("|");
    let bar =
        |order: &str| format!("SELECT {VALUES} FROM bar WHERE code = '002032.SZ' ORDER BY timestamp {order} LIMIT 1");
    assert_eq!(only("SELECT count(*) FROM bar WHERE code = '002032.SZ'"), "2813");
    assert_eq!(only(&bar("ASC")), "002032.SZ 2004-08-17 00:00:00 12.21 12.21 11.03 11.20 78779 90923.24 1 0");
    assert_eq!(only(&bar("DESC")), "002032.SZ 2016-08-17 00:00:00 39.66 40.59 39.12 40.45 15676 62536.48 1 0");
    let doubled = "SELECT code, timestamp FROM bar GROUP BY code, frequency, timestamp HAVING count(*) > 1";
    assert_eq!(rows(database, doubled), Vec::<String>::new());
    let made_up = "SELECT date(timestamp) || '=' || close FROM bar WHERE code = '000000.SZ' ORDER BY timestamp";
    let sound = [
        "2004-08-17=11.20",
        "2004-08-19=10.53",
        "2004-08-24=10.25",
        "2004-08-25=9.98",
        "2004-08-26=9.72",
        "2004-08-30=9.81",
    ];
    assert_eq!(rows(database, made_up), sound);
    assert_eq!(only("SELECT count(*) FROM bar"), "2819");
    assert_eq!(rows(database, "SELECT code FROM stock_info ORDER BY code"), ["000000.SZ", "002032.SZ"]);
}

#[test]
fn a_first_run_says_what_it_did_and_leaves_exact_rows() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("bars.sqlite");
    let output = standalone(&database);
    let said = output_text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("not for production"), "{said}");
    assert!(has_line(&said, &["002032.SZ", "2813", "2004-08-17", "2016-08-17"]), "{said}");
    assert!(has_line(&said, &["000000.SZ", "6", "2004-08-17", "2004-08-30"]), "{said}");
    assert!(has_line(&said, &["106", "2919", "trading"]), "{said}");
    for rule in
        ["price_not_positive", "high_below_open_or_close", "missing_value", "duplicate_timestamp", "unreadable_value"]
    {
        assert!(has_line(&said, &[rule, "1"]), "{rule}: {said}");
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let reason = "bad_command (attempts: 1): the message is not JSON: EOF while parsing";
    assert_eq!(printed.matches(reason).count(), 1, "one dead letter: {said}");
    let logged = String::from_utf8_lossy(&output.stderr);
    assert!(logged.lines().all(|line| line.contains(" WARN ")), "the log has warnings only: {said}");
    assert!(said.contains(&database.display().to_string()), "{said}");
    // Listed before the test itself opens the file.
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["bars.sqlite"], "SQLite leaves no journal files");
    assert_sample_is_stored(&database);

    // A second run on the same file adds no duplicates and succeeds as well.
    let again = standalone(&database);
    let said = output_text(&again);
    assert_eq!(again.status.code(), Some(0), "{said}");
    assert!(has_line(&said, &["002032.SZ", "2813", "2004-08-17", "2016-08-17"]), "{said}");
    assert_sample_is_stored(&database);
}

#[test]
fn unusable_database_is_named_with_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("no such folder/bars.sqlite");
    let output = standalone(&database);
    let said = output_text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no such folder/bars.sqlite") && said.contains("unable to open"), "{said}");
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "these are notes and no database, and they must stay as they are\n".repeat(20)).unwrap();
    let output = standalone(&text);
    let said = output_text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("notes.txt") && said.contains("not a database"), "{said}");
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("these are notes"));
}

/// Runs the commands that the hint names.
fn assert_commands_work_against(worker: &Worker) {
    let log = worker.log_text();
    let hint = |mark: &str| log.lines().find_map(|line| line.trim().strip_prefix(mark)).map(str::to_owned).unwrap();
    let kafka = hint("export ");
    let variables: Vec<(&str, &str)> = kafka.split(' ').filter_map(|pair| pair.split_once('=')).collect();
    let status_of = hint("data-worker status --address ");
    let http = status_of.split(' ').next().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        let output =
            command.args(arguments).envs(variables.iter().copied()).env("GINKGO_DIR", "/nowhere").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let sent = run(&["send", "--wait", "--timeout", "60", "bar_snapshot", "--code", "002032.SZ", "--full"]);
    assert!(sent.contains("done: 2813 fetched, 0 written, 2813 unchanged"), "{sent}");
    let table = run(&["status", "--address", http]);
    assert!(has_line(&table, &["data_worker_standalone"]) && has_line(&table, &["running"]), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    // A job is reported when it has been quiet for a while.
    wait_until("the report of the job", TIMEOUT, || run(&["reports"]).contains("job standalone bar_snapshot finished"));
}

#[test]
fn stays_and_serves_commands_until_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("bars.sqlite");
    let log = folder.path().join("standalone.log");
    let database_text = database.display().to_string();
    let mut worker =
        Worker::spawn(Path::new(PROGRAM), &["standalone", "--stay", "--database", &database_text], &log, &[]);
    let after = |text: &str, mark: &str| {
        let rest = text.split_once(mark)?.1;
        rest.split_once('\n').map(|(line, _)| line.trim().to_owned())
    };
    let command_line = wait_for("the kcat command line", TIMEOUT, || after(&worker.log_text(), "| kcat "));
    let words: Vec<&str> = command_line.split_whitespace().collect();
    let ["-P", "-b", address, "-t", topic] = words[..] else { panic!("{command_line}") };
    assert!(worker.log_text().contains(&format!("Broker: {address}")), "{}", worker.log_text());
    // The alarm about the message that the demonstration cut off is expected, and says so.
    let alarm =
        || worker.log_text().lines().find(|line| line.contains("data_collection_alert: 1 command")).map(str::to_owned);
    let alarm = wait_for("the alarm about the demonstration's message", TIMEOUT, alarm);
    assert!(alarm.starts_with("(intended: the demonstration causes it) ERROR"), "{alarm}");
    assert_commands_work_against(&worker);
    assert_sample_is_stored(&database);

    let bars = wait_for("the folder for new bars", TIMEOUT, || after(&worker.log_text(), "daily.csv into "));
    let file = "date,open,high,low,close,volume,amount\n20240102,7.5,7.75,7.25,7.5,123400,925500.0\n";
    std::fs::write(Path::new(&bars).join("600000.SH.daily.csv"), file).unwrap();
    let command = br#"{"command":"bar_snapshot","params":{"code":"SH600000"}}"#;
    Broker::connect(address).send(topic, &[command.to_vec()], 1);
    let stored = "SELECT timestamp, open, high, low, close, volume, amount FROM bar WHERE code = '600000.SH'";
    let expected = "2024-01-02 00:00:00 7.50 7.75 7.25 7.50 1234 925.50";
    wait_until("the new row", TIMEOUT, || rows(&database, stored) == [expected]);
    let line = "1 task done, 0 failed, 0 commands refused; 1 row fetched, 1 written, 0 unchanged, 0 skipped";
    wait_until("the summary line", TIMEOUT, || worker.log_text().contains(line));

    assert!(worker.is_running());
    worker.terminate();
    assert_eq!(worker.wait(TIMEOUT).code(), Some(0), "{}", worker.log_text());
    assert!(!Path::new(&bars).exists(), "the run's temporary folder is removed, the database outside it stays");
    assert_eq!(rows(&database, stored), [expected]);
}

#[test]
fn default_database_is_in_the_temporary_directory() {
    let temporary = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM).arg("standalone").env("TMPDIR", temporary.path()).output().expect("the program");
    let said = output_text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let is_database = |word: &&str| word.ends_with(".sqlite") && Path::new(word).starts_with(temporary.path());
    let database = said.split_whitespace().map(|word| word.trim_end_matches(['.', ',', ':'])).find(is_database);
    assert_sample_is_stored(Path::new(database.unwrap_or_else(|| panic!("{said}"))));
}
