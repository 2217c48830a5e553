// Upstream: assemble, config, load
// Downstream: many
// Role: Checks settings, alone and in combination, beyond their types.

use actors::ports::DataKind;
use actors::settings::ranges::out_of_range;

use crate::observability::telemetry;
use crate::sources::databases::mapping_problems;

use super::host_names;
use super::sections::{KafkaSection, Settings};
use super::security_checks;
use super::source_name::SourceName;
use super::source_sections::SourcesSection;

/// The path of a setting, and the problem of its value.
pub type Finding = (String, String);

/// Maximum length of a Kafka topic name, in characters (Apache Kafka, `Topic.java`).
const MAX_TOPIC_LENGTH: usize = 249;

/// Maximum length of a node id, in characters; it is part of Redis keys and of Kafka's client id.
const MAX_NODE_ID_LENGTH: usize = 128;

/// All invalid settings, not only the first.
pub fn problems(settings: &Settings) -> Vec<Finding> {
    let mut findings = Findings::default();
    if let Some(reason) = node_id_problem(&settings.worker.node_id) {
        findings.0.push(("worker.node_id".into(), reason));
    }
    servers(settings, &mut findings);
    kafka(&settings.kafka, &mut findings);
    findings.0.extend(security_checks::problems(settings));
    sources(&settings.sources, &mut findings);
    for problem in out_of_range(settings).into_iter().chain(settings.actor_settings().conflicts()) {
        findings.0.push((problem.field, format!("it is {}, but {}", problem.found, problem.must)));
    }
    if let Err(reason) = telemetry::filter(&settings.log.level) {
        findings.0.push(("log.level".into(), reason));
    }
    findings.0
}

/// Warnings about settings that are valid but limit what the worker can do.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.sources.used().contains(&SourceName::Tushare) && settings.sources.tushare.token.is_none() {
        warnings.push(
            "sources.tushare.token is not set, so Tushare will reject every request; set TUSHARE_TOKEN, or choose \
             another source, such as sources.bars: files"
                .to_owned(),
        );
    }
    warnings.extend(security_checks::warnings(settings));
    warnings.extend(own_stores(settings));
    warnings.extend(kinds_without_source(&settings.sources));
    warnings
}

/// Ports of ClickHouse that speak its native protocol, plain and with TLS, also with the prefix of Ginkgo's port rule.
const NATIVE_PORTS: [u16; 4] = [9_000, 9_440, 19_000, 19_440];

/// What is most likely wrong, although it can be right: a worker starts with it.
pub fn doubts(settings: &Settings) -> Vec<Finding> {
    let mut doubts = Vec::new();
    let ports = [
        ("clickhouse.port", settings.clickhouse.port, true),
        (
            "sources.clickhouse.port",
            settings.sources.clickhouse.port,
            settings.sources.used().contains(&SourceName::ClickHouse),
        ),
    ];
    for (path, port, _) in ports.into_iter().filter(|(_, port, is_used)| *is_used && NATIVE_PORTS.contains(port)) {
        let reason = format!(
            "it is {port}, ClickHouse's port for its native protocol, but the worker speaks HTTP; ClickHouse's HTTP \
             port is 8123 by default"
        );
        doubts.push((path.to_owned(), reason));
    }
    let folder = &settings.sources.files.folder;
    let is_used = settings.sources.used().contains(&SourceName::Files);
    if is_used && !folder.as_os_str().is_empty() && !folder.is_dir() {
        let reason = format!("{} is not a folder, but `files` is one of the sources; create it", folder.display());
        doubts.push(("sources.files.folder".to_owned(), reason));
    }
    doubts
}

/// A warning for each kind of data without a source.
fn kinds_without_source(sources: &SourcesSection) -> Vec<String> {
    let lacking = DataKind::ALL.into_iter().filter(|kind| sources.of(*kind).is_empty());
    let warning = |kind: DataKind| {
        format!(
            "no source in sources.bars offers the {kind}, so every command for it becomes a dead letter; set \
             sources.{key} to one or more of: {offering}",
            key = kind.key(),
            offering = offering(kind)
        )
    };
    lacking.map(warning).collect()
}

/// The names of the sources that offer a kind of data, for messages.
fn offering(kind: DataKind) -> String {
    let names: Vec<_> = SourceName::ALL.iter().filter(|name| name.offers(kind)).map(|name| name.as_str()).collect();
    names.join(", ")
}

/// A warning for each source that is the table into which the worker itself writes.
fn own_stores(settings: &Settings) -> Vec<String> {
    let Settings { clickhouse, mysql, sources, .. } = settings;
    let source = format!("{}:{}", sources.clickhouse.host, sources.clickhouse.port);
    let is_own_clickhouse = sources.clickhouse.database == clickhouse.database
        && clickhouse.address().split(',').any(|address| address == source);
    let is_own_mysql = (&sources.mysql.host, sources.mysql.port, &sources.mysql.database)
        == (&mysql.host, mysql.port, &mysql.database);
    let mut warnings = Vec::new();
    for kind in DataKind::ALL {
        let is_list = matches!(kind, DataKind::Stocks | DataKind::TradeDays);
        let (name, is_own, mapping) = if is_list {
            (SourceName::MySql, is_own_mysql, &sources.mysql.mapping)
        } else {
            (SourceName::ClickHouse, is_own_clickhouse, &sources.clickhouse.mapping)
        };
        let is_renamed = mapping.tables.iter().any(|table| table.starts_with(kind.key()));
        if is_own && !is_renamed && sources.of(kind).contains(&name) {
            let (source, key) = (name.as_str(), kind.key());
            warnings.push(format!(
                "sources.{source} is the worker's own store of the {kind}: the worker would read its own rows; \
                 configure another server or database there, another table in sources.{source}.shape.tables, or \
                 another source in sources.{key}"
            ));
        }
    }
    warnings
}

/// The problem of a node id; `None` if it is valid.
pub fn node_id_problem(node_id: &str) -> Option<String> {
    let must = if node_id.is_empty() {
        "it must not be empty".to_owned()
    } else if node_id.contains(':') {
        "it must not contain `:`, because readers of heartbeats split keys there".to_owned()
    } else if node_id.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "it must not contain whitespace or control characters".to_owned()
    } else if node_id.chars().count() > MAX_NODE_ID_LENGTH {
        format!("it must have at most {MAX_NODE_ID_LENGTH} characters")
    } else {
        return None;
    };
    Some(format!("it is {node_id:.40?}, but {must}"))
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn text(&mut self, path: &str, found: &str) {
        if found.trim().is_empty() {
            self.0.push((path.to_owned(), "it must not be empty".to_owned()));
        }
    }

    fn topic(&mut self, path: &str, found: &str) {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if found.is_empty()
            || found.len() > MAX_TOPIC_LENGTH
            || matches!(found, "." | "..")
            || !found.chars().all(legal)
        {
            let must = "it must be a topic name of letters, digits, `.`, `_` and `-`";
            self.0.push((path.to_owned(), format!("it is {found:.40?}, but {must}")));
        }
    }
}

fn servers(settings: &Settings, findings: &mut Findings) {
    let (kafka, redis, clickhouse, mysql) = (&settings.kafka, &settings.redis, &settings.clickhouse, &settings.mysql);
    let mut hosts = vec![
        ("kafka.host", &kafka.host),
        ("redis.host", &redis.host),
        ("clickhouse.host", &clickhouse.host),
        ("mysql.host", &mysql.host),
        ("sources.clickhouse.host", &settings.sources.clickhouse.host),
        ("sources.mongodb.host", &settings.sources.mongodb.host),
        ("sources.mysql.host", &settings.sources.mysql.host),
        ("sources.redis.host", &settings.sources.redis.host),
    ];
    if settings.http.enabled {
        hosts.push(("http.host", &settings.http.host));
    }
    for (path, host) in hosts {
        let port = path.replace(".host", ".port");
        // librdkafka takes several brokers, of which the port belongs to the last.
        let mut names = if path == "kafka.host" { host.split(',').collect() } else { vec![host.as_str()] }.into_iter();
        let problem = names.find_map(|name| host_names::problem(name, &port));
        findings.0.extend(problem.map(|reason| (path.to_owned(), reason)));
    }
    findings.text("redis.key_prefix", &redis.key_prefix);
    findings.text("clickhouse.user", &clickhouse.user);
    findings.text("clickhouse.database", &clickhouse.database);
    findings.text("mysql.user", &mysql.user);
    findings.text("mysql.database", &mysql.database);
}

fn kafka(kafka: &KafkaSection, findings: &mut Findings) {
    findings.text("kafka.group_id", &kafka.group_id);
    if kafka.command_topics.is_empty() {
        findings.0.push(("kafka.command_topics".into(), "it must name at least one topic".into()));
    }
    for topic in &kafka.command_topics {
        findings.topic("kafka.command_topics", topic);
    }
    findings.topic("kafka.control_topic", &kafka.control_topic);
    if !kafka.parts_topic.is_empty() && !kafka.command_topics.contains(&kafka.parts_topic) {
        let reason = format!("it is {:.40?}, but it must be one of kafka.command_topics", kafka.parts_topic);
        findings.0.push(("kafka.parts_topic".into(), reason));
    }
    for (path, topic) in [
        ("kafka.dead_letter_topic", &kafka.dead_letter_topic),
        ("kafka.notification_topic", &kafka.notification_topic),
        ("kafka.market_data_topic", &kafka.market_data_topic),
    ] {
        findings.topic(path, topic);
        if kafka.command_topics.contains(topic) {
            let reason =
                format!("it is {topic:.40?}, which is a command topic: the worker would read its own messages");
            findings.0.push((path.to_owned(), reason));
        }
    }
    if kafka.rebalance_drain_ms >= kafka.session_timeout_ms {
        let (drain, session) = (kafka.rebalance_drain_ms, kafka.session_timeout_ms);
        let reason = format!("it is {drain}, but it must be below kafka.session_timeout_ms ({session})");
        findings.0.push(("kafka.rebalance_drain_ms".into(), reason));
    }
}

fn sources(sources: &SourcesSection, findings: &mut Findings) {
    for (path, url) in sources.urls() {
        if let Err(reason) = check_url(url) {
            findings.0.push((path.into(), reason));
        }
    }
    if !sources.tdx.names_servers() {
        let hosts = sources.tdx.hosts.join(", ");
        let reason = format!("it is {hosts:.80?}, but it must list servers as host:port");
        findings.0.push(("sources.tdx.hosts".into(), reason));
    }
    let is_address = |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
    let baostock = &sources.baostock;
    if !baostock.address.rsplit_once(':').is_some_and(is_address) {
        let reason = format!("it is {:.60?}, but it must be a host and a port such as `host:10030`", baostock.address);
        findings.0.push(("sources.baostock.address".into(), reason));
    }
    for (path, text) in sources.texts() {
        findings.text(path, text);
    }
    for (section, reason) in mapping_problems(sources) {
        findings.0.push((format!("sources.{section}.shape"), reason));
    }
    if sources.bars.is_empty() {
        findings.0.push(("sources.bars".into(), "it must name at least one source".into()));
    }
    for kind in DataKind::ALL {
        for (place, names) in [("sources", sources.named(kind)), ("sources.cross_check", sources.cross_check.of(kind))]
        {
            for name in names.iter().filter(|name| !name.offers(kind)) {
                let reason =
                    format!("{} does not offer the {kind}; sources that do: {}", name.as_str(), offering(kind));
                findings.0.push((format!("{place}.{}", kind.key()), reason));
            }
        }
    }
    if sources.used().contains(&SourceName::Files) && sources.files.folder.as_os_str().is_empty() {
        let reason = "it must name a folder, because `files` is one of the sources";
        findings.0.push(("sources.files.folder".into(), reason.into()));
    }
}

/// Errors do not show the URL, because it may contain credentials.
fn check_url(url: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(url).map_err(|error| format!("it is not a valid URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not contain credentials; the token has its own setting".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Settings {
        let mut settings = Settings::default();
        settings.worker.node_id = "data_worker_h1".into();
        settings
    }

    /// The only finding after a change.
    fn complaint(change: fn(&mut Settings)) -> Finding {
        let mut settings = sound();
        change(&mut settings);
        let mut findings = problems(&settings);
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.remove(0)
    }

    #[test]
    fn the_defaults_are_sound_but_for_the_token() {
        assert_eq!(problems(&sound()), []);
        let found = warnings(&sound());
        assert!(found.len() == 1 && found[0].contains("TUSHARE_TOKEN"), "{found:?}");
    }

    #[test]
    fn warns_about_data_kinds_without_source() {
        let mut sources = SourcesSection::default();
        assert!(DataKind::ALL.into_iter().all(|kind| !sources.of(kind).is_empty()));
        assert_eq!(sources.of(DataKind::Ticks), [SourceName::Tdx], "Tushare has no ticks");
        assert_eq!(sources.required(), [SourceName::Tushare]);
        sources.bars = vec![SourceName::Files];
        assert_eq!(sources.of(DataKind::Ticks), [SourceName::Files]);
        sources.bars = vec![SourceName::Yahoo];
        let found = kinds_without_source(&sources);
        assert_eq!(found.len(), 3, "factors, stocks, calendar: {found:?}");
        assert!(found[0].contains("sources.factors to one or more of: baostock"), "{found:?}");
    }

    #[test]
    fn warns_about_own_store_as_source() {
        let mut settings = sound();
        settings.sources.bars = vec![SourceName::ClickHouse];
        settings.sources.stocks = vec![SourceName::MySql];
        let found = warnings(&settings);
        assert_eq!(found.len(), 5, "bars, minutes, ticks, factors, stocks: {found:?}");
        settings.sources.clickhouse.mapping.tables = vec!["bars=quotes".into()];
        settings.sources.mysql.host = "archive".into();
        let found = warnings(&settings);
        assert!(!found.iter().any(|text| text.contains("of the daily bars") || text.contains("mysql")), "{found:?}");
        settings.sources.clickhouse.database = "other".into();
        assert_eq!(warnings(&settings), [""; 0]);
    }

    #[test]
    fn what_cannot_work_is_named() {
        type Case = (fn(&mut Settings), &'static str, &'static str);
        let cases: [Case; 22] = [
            (|s| s.worker.node_id = "a:b".into(), "worker.node_id", "not contain `:`"),
            (|s| s.worker.node_id = "a b".into(), "worker.node_id", "whitespace"),
            (|s| s.kafka.port = 0, "kafka.port", "1 to 65535"),
            (|s| s.mysql.host = " ".into(), "mysql.host", "not be empty"),
            (|s| s.kafka.host = "localhost:9092".into(), "kafka.host", "the port is kafka.port"),
            (|s| s.clickhouse.host = "http://ch".into(), "clickhouse.host", "without a scheme"),
            (|s| s.sources.mysql.host = "m:3306".into(), "sources.mysql.host", "the port is sources.mysql.port"),
            (|s| s.kafka.command_topics.clear(), "kafka.command_topics", "at least one"),
            (|s| s.kafka.command_topics.push("a b".into()), "kafka.command_topics", "\"a b\""),
            (|s| s.kafka.parts_topic = "elsewhere".into(), "kafka.parts_topic", "one of kafka.command_topics"),
            (|s| s.kafka.dead_letter_topic = "ginkgo.data.commands".into(), "kafka.dead_letter_topic", "command topic"),
            (|s| s.kafka.rebalance_drain_ms = 30_000, "kafka.rebalance_drain_ms", "below kafka.session_timeout_ms"),
            (|s| s.sources.tushare.url = "ftp://a".into(), "sources.tushare.url", "http://"),
            (|s| s.sources.tdx.hosts = vec!["host".into()], "sources.tdx.hosts", "host:port"),
            (|s| s.sources.bars = vec![SourceName::Files], "sources.files.folder", "folder"),
            (|s| s.sources.baostock.address = "a:0".into(), "sources.baostock.address", "host and a port"),
            (|s| s.sources.yahoo.url = "ftp://a".into(), "sources.yahoo.url", "http://"),
            (
                |s| s.sources.stocks = vec![SourceName::Yahoo],
                "sources.stocks",
                "yahoo does not offer the list of securities",
            ),
            (|s| s.sources.mongodb.host.clear(), "sources.mongodb.host", "not be empty"),
            (|s| s.sources.redis.mapping.tables = vec!["x".into()], "sources.redis.shape", "shape.tables holds `x`"),
            (|s| s.log.level = "loud".into(), "log.level", "loud"),
            (|s| s.fetch.max_attempts = 4, "fetch.max_attempts", "1 to 3"),
        ];
        for (change, path, part) in cases {
            let (found, reason) = complaint(change);
            assert_eq!(found, path);
            assert!(reason.contains(part), "{path}: {reason}");
        }
    }

    #[test]
    fn kafka_may_have_several_brokers() {
        let mut settings = sound();
        settings.kafka.host = "kafka1,kafka2".into();
        assert_eq!(problems(&settings), []);
        let (path, reason) = complaint(|s| s.kafka.host = "kafka1:9092,kafka2".into());
        assert!(path == "kafka.host" && reason.contains("\"kafka1\"; the port is kafka.port"), "{reason}");
    }

    #[test]
    fn doubts_a_native_port_and_a_missing_folder() {
        assert_eq!(doubts(&sound()), []);
        let mut settings = sound();
        settings.clickhouse.port = 9_000;
        settings.sources.bars = vec![SourceName::Files];
        settings.sources.files.folder = "/nowhere/bars".into();
        let found = doubts(&settings);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].0 == "clickhouse.port" && found[0].1.contains("8123"), "{found:?}");
        assert!(found[1].0 == "sources.files.folder" && found[1].1.contains("/nowhere/bars is not a folder"));
        settings.sources.clickhouse.port = 9_440;
        assert_eq!(doubts(&settings).len(), 2, "a source that is not used");
    }

    #[test]
    fn rejects_url_credentials_without_showing_them() {
        let (_, reason) = complaint(|s| s.sources.tushare.url = "http://me:s3cret@host/".into());
        assert!(!reason.contains("s3cret"), "{reason}");
    }
}
