// Upstream: many
// Downstream: kind, schema
// Role: Lists all settings with paths, kinds and secrecy, and the settings that need a restart.

use std::sync::OnceLock;

use super::kind::Kind;
use super::schema::{self, About};

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Sections and field, such as `sources.tushare.token`.
    pub path: String,
    /// The kind of its value.
    pub kind: Kind,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Description, default and range from the schema of its type.
    pub about: About,
}

impl Key {
    /// Describes the valid values, such as `a whole number, 1 to 65535`.
    pub fn must_be(&self) -> String {
        match (&self.kind, &self.about.range) {
            (Kind::Text, _) => "text".to_owned(),
            (Kind::Number { .. }, Some(range)) => format!("a whole number, {range}"),
            (Kind::Number { max: u64::MAX }, None) => "a whole number".to_owned(),
            (Kind::Number { max }, None) => format!("a whole number, 0 to {max}"),
            (Kind::Real, Some(range)) => format!("a number, {range}"),
            (Kind::Real, None) => "a number".to_owned(),
            (Kind::Flag, _) => "true or false".to_owned(),
            (Kind::Choice(words), _) => format!("one of: {}", words.join(", ")),
            (Kind::Choices(words), _) => format!("one or more of: {}", words.join(", ")),
            (Kind::List, _) => "a list of texts, such as [first, second]".to_owned(),
        }
    }

    /// The reason why a change needs a restart; `None` if a reload applies it.
    pub fn needs_restart(&self) -> Option<&'static str> {
        needs_restart(&self.path)
    }
}

/// Settings and whole sections that a reload cannot change, each with the reason.
pub const NEED_RESTART: &[(&str, &str)] = &[
    ("worker.node_id", "the name is part of the heartbeat key and of the Kafka client id"),
    ("kafka", "the worker is a member of one cluster, one group and its topics for as long as it runs"),
    ("http", "the address is part of the heartbeat, and clients know it"),
    ("log.format", "the log format is chosen once, at the start of the process"),
    ("log.folder", "the folder is opened once, at the start of the process"),
];

/// Settings of these sections that a reload applies nevertheless: the clients use them for their next connection.
const NEED_NO_RESTART: &[&str] = &["kafka.sasl.user", "kafka.sasl.password"];

/// The reason why a change of this setting needs a restart; `None` if a reload applies it.
pub fn needs_restart(path: &str) -> Option<&'static str> {
    let reason = NEED_RESTART.iter().find(|(section, _)| is_within(path, section)).map(|(_, reason)| *reason);
    reason.filter(|_| !NEED_NO_RESTART.contains(&path))
}

/// The settings of a section of [`NEED_RESTART`] that a reload applies nevertheless.
pub fn reloaded_of(section: &str) -> impl Iterator<Item = &'static str> {
    NEED_NO_RESTART.iter().copied().filter(move |path| is_within(path, section))
}

fn is_within(path: &str, section: &str) -> bool {
    path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Every setting of [`super::Settings`], in the order of its fields.
pub fn keys() -> &'static [Key] {
    static KEYS: OnceLock<Vec<Key>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let leaves = schema::leaves().into_iter();
        let keys = leaves.map(|(path, kind)| Key { secret: is_secret(&path), about: schema::about(&path), path, kind });
        keys.collect()
    })
}

/// The setting with this path.
pub fn find(path: &str) -> Option<&'static Key> {
    keys().iter().find(|key| key.path == path)
}

/// Whether the path is a section, that is, a prefix of settings.
pub fn is_section(path: &str) -> bool {
    keys().iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The setting or section most similar to `path`, to suggest a correction; `None` if none is similar.
pub fn nearest(path: &str) -> Option<&'static str> {
    let name = last_segment(path);
    let (distance, nearest) = keys()
        .iter()
        .flat_map(|key| key.path.match_indices('.').filter_map(|(end, _)| key.path.get(..end)).chain([&*key.path]))
        .map(|known| (if last_segment(known) == name { 0 } else { strsim::levenshtein(path, known) }, known))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= (name.chars().count() / 3).max(2)).then_some(nearest)
}

fn is_secret(path: &str) -> bool {
    matches!(last_segment(path), "password" | "key_password" | "token")
}

fn last_segment(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_setting_is_found() {
        let kind = |path: &str| find(path).unwrap_or_else(|| panic!("{path} is not found")).kind.clone();
        assert_eq!(kind("kafka.port"), Kind::Number { max: 65_535 });
        assert_eq!(kind("kafka.command_topics"), Kind::List);
        assert_eq!(kind("batch.max_rows"), Kind::Number { max: u64::MAX });
        assert_eq!(kind("redis.database"), Kind::Number { max: 255 });
        assert!(matches!(kind("sources.bars"), Kind::Choices(words) if words.contains(&"tushare")));
        assert_eq!(kind("log.format"), Kind::Choice(vec!["json", "text", "auto"]));
        assert_eq!(kind("sources.files.folder"), Kind::Text);
        assert!(keys().len() > 40, "{}", keys().len());
        assert!(is_section("sources.tushare") && !is_section("sources.tushare.url") && !is_section("source"));
    }

    #[test]
    fn a_secret_is_known_by_its_name() {
        let secrets: Vec<&str> = keys().iter().filter(|key| key.secret).map(|key| key.path.as_str()).collect();
        let expected = [
            "kafka.key_password",
            "kafka.sasl.password",
            "redis.password",
            "redis.sentinel.password",
            "clickhouse.password",
            "mysql.password",
            "sources.baostock.password",
            "sources.clickhouse.password",
            "sources.mongodb.password",
            "sources.mysql.password",
            "sources.redis.password",
            "sources.redis.sentinel.password",
            "sources.tushare.token",
        ];
        assert_eq!(secrets, expected);
    }

    #[test]
    fn every_key_has_description_and_default_or_is_secret() {
        for key in keys() {
            assert!(key.about.description.ends_with('.'), "{}: {:?}", key.path, key.about.description);
            assert_eq!(key.about.default.is_none(), key.secret, "{}: {:?}", key.path, key.about.default);
            if let Kind::Choice(words) | Kind::Choices(words) = &key.kind {
                let described: Vec<&str> = key.about.words.iter().map(|(word, _)| word.as_str()).collect();
                assert_eq!(&described, words, "{}", key.path);
            }
            for (end, _) in key.path.match_indices('.') {
                assert!(schema::section_description(&key.path[..end]).ends_with('.'), "{}", &key.path[..end]);
            }
        }
    }

    #[test]
    fn restart_list_names_existing_settings() {
        for (path, reason) in NEED_RESTART {
            assert!(find(path).is_some() || is_section(path), "{path}");
            assert_eq!(needs_restart(path), Some(*reason));
        }
        let after_restart = [
            "kafka.host",
            "kafka.command_topics",
            "kafka.group_id",
            "kafka.key_password",
            "kafka.security.protocol",
            "kafka.sasl.mechanism",
            "worker.node_id",
            "log.format",
        ];
        for path in after_restart {
            assert!(find(path).unwrap().needs_restart().is_some(), "{path}");
        }
        assert!(reloaded_of("kafka").eq(["kafka.sasl.user", "kafka.sasl.password"]) && reloaded_of("log").eq([""; 0]));
        let at_once = [
            "log.level",
            "batch.max_rows",
            "batch.flush_interval_ms",
            "fetch.max_in_flight",
            "fetch.max_attempts",
            "sources.bars",
            "sources.tushare.token",
            "sources.tushare.url",
            "sources.tushare.timeout_ms",
            "quality.report_interval_ms",
            "heartbeat.interval_ms",
            "heartbeat.ttl_ms",
            "clickhouse.host",
            "clickhouse.password",
            "mysql.port",
            "mysql.user",
            "redis.host",
            "redis.password",
            "worker.drain_deadline_ms",
            "kafka.sasl.user",
            "kafka.sasl.password",
        ];
        for path in at_once {
            assert_eq!(find(path).unwrap().needs_restart(), None, "{path}");
        }
    }

    #[test]
    fn the_nearest_name_is_found_and_nothing_far() {
        assert_eq!(nearest("kafka.prot"), Some("kafka.port"));
        assert_eq!(nearest("kafak"), Some("kafka"));
        assert_eq!(nearest("kafka.max_rows"), Some("batch.max_rows"));
        assert_eq!(nearest("sources.tushare.tokn"), Some("sources.tushare.token"));
        assert_eq!(nearest("weather"), None);
    }
}
