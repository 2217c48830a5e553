// Upstream: many
// Downstream: schema, sections
// Role: The list of all settings: paths, kinds, secrets, and which of them need a restart.

use std::sync::OnceLock;

use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::Settings;
use super::schema::{self, About};

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Sections and field, such as `sources.tushare.token`.
    pub path: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// What its type says of it beside its kind.
    pub about: About,
}

impl Key {
    /// What its value must be, such as `a whole number, 1 to 65535`.
    pub fn must_be(&self) -> String {
        match (self.kind, &self.about.range) {
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

    /// Why a change of it does nothing until the worker is started anew; `None`: it applies at a reload.
    pub fn needs_restart(&self) -> Option<&'static str> {
        needs_restart(&self.path)
    }
}

/// Settings, and whole sections, that a reload cannot change, and why.
pub const NEED_RESTART: &[(&str, &str)] = &[
    ("worker.node_id", "the name is part of the heartbeat's key and of Kafka's client id"),
    ("kafka", "the worker is a member of one cluster, one group and its topics for as long as it runs"),
    ("http", "the address is part of the heartbeat, and those who ask there know it"),
    ("log.format", "the form of log lines is chosen once for a process"),
    ("log.folder", "the folder is opened once for a process"),
];

/// Why a change of this setting does nothing until the worker is started anew; `None`: it applies at a reload.
pub fn needs_restart(path: &str) -> Option<&'static str> {
    let is_below =
        |section: &str| path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    NEED_RESTART.iter().find(|(section, _)| is_below(section)).map(|(_, reason)| *reason)
}

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number, 0 to `max`.
    Number {
        /// The largest that its type holds.
        max: u64,
    },
    /// A number with a fraction.
    Real,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, in an order.
    Choices(&'static [&'static str]),
    /// Several texts.
    List,
}

/// Every setting of [`Settings`], in the order of its fields.
pub fn keys() -> &'static [Key] {
    static KEYS: OnceLock<Vec<Key>> = OnceLock::new();
    // The types are known at compile time; the tests prove that they can be read.
    KEYS.get_or_init(|| {
        let mut keys = keys_of::<Settings>().unwrap_or_default();
        keys.iter_mut().for_each(|key| key.about = schema::about(&key.path));
        keys
    })
}

/// The setting of this path.
pub fn find(path: &str) -> Option<&'static Key> {
    keys().iter().find(|key| key.path == path)
}

/// Whether the path is a section, that is: settings lie below it.
pub fn is_section(path: &str) -> bool {
    keys().iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The setting or section the writer of `path` most likely meant, if any comes near.
pub fn nearest(path: &str) -> Option<&'static str> {
    let name = last_segment(path);
    let (distance, nearest) = keys()
        .iter()
        .flat_map(|key| key.path.match_indices('.').filter_map(|(end, _)| key.path.get(..end)).chain([&*key.path]))
        .map(|known| (if last_segment(known) == name { 0 } else { edit_distance(path, known) }, known))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= (name.chars().count() / 3).max(2)).then_some(nearest)
}

fn last_segment(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// How many letters must be put in, taken out or changed to make one text of the other.
fn edit_distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (index, a) in left.chars().enumerate() {
        let (mut diagonal, mut before) = (index, index + 1);
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(right.chars()) {
            let above = *cell;
            *cell = (diagonal + usize::from(a != b)).min(above + 1).min(before + 1);
            (diagonal, before) = (above, *cell);
        }
    }
    row.last().copied().unwrap_or(0)
}

fn keys_of<T: for<'de> Deserialize<'de>>() -> Result<Vec<Key>, Error> {
    let mut keys = Vec::new();
    T::deserialize(Explorer { path: String::new(), keys: &mut keys })?;
    Ok(keys)
}

/// Hands every field of a type something of its kind and notes which kind it asked for.
struct Explorer<'a> {
    path: String,
    keys: &'a mut Vec<Key>,
}

impl Explorer<'_> {
    fn note(self, kind: Kind) {
        let secret = matches!(last_segment(&self.path), "password" | "token");
        self.keys.push(Key { path: self.path, kind, secret, about: About::default() });
    }
}

macro_rules! number {
    ($($method:ident $visit:ident $type:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.note(Kind::Number { max: u64::from($type::MAX) });
            visitor.$visit(0)
        }
    )*};
}

impl<'de> Deserializer<'de> for Explorer<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields { path: self.path, left: fields.iter(), current: "", keys: self.keys })
    }

    number!(deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64);

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note(Kind::Real);
        visitor.visit_f64(0.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note(Kind::Flag);
        visitor.visit_bool(false)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note(Kind::Text);
        visitor.visit_str("")
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // The list gets one item, whose type tells its kind.
        let mut items = Vec::new();
        let value = visitor.visit_seq(OneItem { path: self.path.clone(), items: &mut items })?;
        self.note(match items.first().map(|item| item.kind) {
            Some(Kind::Choice(words)) => Kind::Choices(words),
            _ => Kind::List,
        });
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let first = variants.first().ok_or_else(|| Error::custom(format!("{name} has no variants")))?;
        self.note(Kind::Choice(variants));
        visitor.visit_enum(StrDeserializer::<Error>::new(first))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom(format!("{} is of a kind that a setting cannot have", self.path)))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 char str bytes byte_buf unit unit_struct newtype_struct tuple tuple_struct map
        identifier ignored_any
    }
}

struct OneItem<'a> {
    path: String,
    items: &'a mut Vec<Key>,
}

impl<'de> SeqAccess<'de> for OneItem<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.items.is_empty() {
            return Ok(None);
        }
        seed.deserialize(Explorer { path: self.path.clone(), keys: self.items }).map(Some)
    }
}

struct Fields<'a> {
    path: String,
    left: std::slice::Iter<'static, &'static str>,
    current: &'static str,
    keys: &'a mut Vec<Key>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(field) = self.left.next() else { return Ok(None) };
        self.current = field;
        seed.deserialize(field.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let path =
            if self.path.is_empty() { self.current.to_owned() } else { format!("{}.{}", self.path, self.current) };
        seed.deserialize(Explorer { path, keys: self.keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_setting_is_found() {
        let kind = |path: &str| find(path).unwrap_or_else(|| panic!("{path} is not found")).kind;
        assert_eq!(kind("kafka.port"), Kind::Number { max: 65_535 });
        assert_eq!(kind("kafka.command_topics"), Kind::List);
        assert_eq!(kind("batch.max_rows"), Kind::Number { max: u64::MAX });
        assert_eq!(kind("redis.database"), Kind::Number { max: 255 });
        assert!(matches!(kind("sources.bars"), Kind::Choices(words) if words.contains(&"tushare")));
        assert_eq!(kind("log.format"), Kind::Choice(&["json", "text", "auto"]));
        assert_eq!(kind("sources.files.folder"), Kind::Text);
        assert!(keys().len() > 40, "{}", keys().len());
        assert!(is_section("sources.tushare") && !is_section("sources.tushare.url") && !is_section("source"));
    }

    #[test]
    fn flags_and_fractions_are_kinds_too_and_a_kind_that_cannot_be_is_named() {
        #[derive(Deserialize)]
        struct Good {
            _share: f64,
            _on: bool,
        }
        let kinds: Vec<Kind> = keys_of::<Good>().unwrap().into_iter().map(|key| key.kind).collect();
        assert_eq!(kinds, [Kind::Real, Kind::Flag]);
        #[derive(Debug, Deserialize)]
        struct Bad {
            _letter: char,
        }
        assert!(keys_of::<Bad>().unwrap_err().to_string().contains("_letter"));
    }

    #[test]
    fn a_secret_is_known_by_its_name() {
        let secrets: Vec<&str> = keys().iter().filter(|key| key.secret).map(|key| key.path.as_str()).collect();
        let expected = [
            "redis.password",
            "clickhouse.password",
            "mysql.password",
            "sources.baostock.password",
            "sources.clickhouse.password",
            "sources.mongodb.password",
            "sources.mysql.password",
            "sources.redis.password",
            "sources.tushare.token",
        ];
        assert_eq!(secrets, expected);
    }

    #[test]
    fn every_setting_and_every_section_is_described_and_has_a_default_or_is_a_secret() {
        for key in keys() {
            assert!(key.about.description.ends_with('.'), "{}: {:?}", key.path, key.about.description);
            assert_eq!(key.about.default.is_none(), key.secret, "{}: {:?}", key.path, key.about.default);
            if let Kind::Choice(words) | Kind::Choices(words) = key.kind {
                let described: Vec<&str> = key.about.words.iter().map(|(word, _)| word.as_str()).collect();
                assert_eq!(described, words, "{}", key.path);
            }
            for (end, _) in key.path.match_indices('.') {
                assert!(schema::section_description(&key.path[..end]).ends_with('.'), "{}", &key.path[..end]);
            }
        }
    }

    #[test]
    fn what_needs_a_restart_is_known_with_its_reason_and_names_settings_that_exist() {
        for (path, reason) in NEED_RESTART {
            assert!(find(path).is_some() || is_section(path), "{path}");
            assert_eq!(needs_restart(path), Some(*reason));
        }
        for path in ["kafka.host", "kafka.command_topics", "kafka.group_id", "worker.node_id", "log.format"] {
            assert!(find(path).unwrap().needs_restart().is_some(), "{path}");
        }
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
