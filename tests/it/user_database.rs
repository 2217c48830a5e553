// Upstream: many
// Downstream: data_worker, kit
// Role: Creates and fills a user's own database on each of the real servers and returns its source settings.

use data_worker::config::{MappingSection, SourceName, SourcesSection};
use kit::clickhouse::Database;
use kit::mysql::Tables;
use kit::redis::PrivateRedis;
use kit::services::{host_and_port, required};
use mongodb::bson::{Bson, DateTime, Document};
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use serde_json::Value;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Text,
    /// A number with two decimals.
    Decimal,
    /// A number with six decimals.
    Factor,
    /// A 64-bit integer.
    Whole,
    /// A date with a time of day, such as `2024-01-02 09:35:00`.
    Time,
    /// Like `Time`, but MongoDB stores the wall-clock time as if it were UTC.
    WallClock,
}

/// A column: name and type.
pub type Column<'n> = (&'n str, Type);

/// The Redis key that holds the rows.
pub enum Key<'k> {
    /// A sorted set, with the index of the time column, whose Unix seconds are the scores.
    SortedSet(&'k str, usize),
    List(&'k str),
    /// A hash, with the index of the column that becomes the field.
    Hash(&'k str, usize),
}

pub struct UserDatabase {
    pub vendor: SourceName,
    name: String,
    redis: Option<PrivateRedis>,
}

impl UserDatabase {
    pub fn create(vendor: SourceName, name: &str) -> Self {
        let database =
            Self { vendor, name: name.to_owned(), redis: (vendor == SourceName::Redis).then(PrivateRedis::start) };
        match vendor {
            SourceName::ClickHouse => Database::shared(name).create(),
            SourceName::MySql => drop(Tables::create(name)),
            _ => {}
        }
        database
    }

    /// The connection settings, as keys below `sources`.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        match self.vendor {
            SourceName::ClickHouse => {
                let (host, port) = host_and_port(&required("TEST_CLICKHOUSE_URL"));
                vec![("host", host), ("port", port.to_string()), ("database", self.name.clone())]
            }
            SourceName::MySql => vec![
                ("host", required("TEST_MYSQL_HOST")),
                ("port", required("TEST_MYSQL_PORT")),
                ("user", required("TEST_MYSQL_USER")),
                ("password", required("TEST_MYSQL_PASSWORD")),
                ("database", self.name.clone()),
            ],
            SourceName::MongoDb => vec![
                ("host", required("TEST_MONGODB_HOST")),
                ("port", required("TEST_MONGODB_PORT")),
                ("user", required("TEST_MONGODB_USER")),
                ("password", required("TEST_MONGODB_PASSWORD")),
                ("database", self.name.clone()),
            ],
            _ => {
                let (host, port) = host_and_port(&self.redis_url());
                vec![("host", host), ("port", port.to_string())]
            }
        }
    }

    /// The typed settings with a mapping, and this database as the source of every kind of data.
    pub fn section(&self, mapping: MappingSection) -> SourcesSection {
        let mut section = SourcesSection { bars: vec![self.vendor], ..SourcesSection::default() };
        let settings = self.settings();
        let text =
            |key: &str| settings.iter().find(|(name, _)| *name == key).map_or(String::new(), |(_, text)| text.clone());
        let port = text("port").parse().unwrap();
        match self.vendor {
            SourceName::ClickHouse => {
                let part = &mut section.clickhouse;
                (part.host, part.port, part.database, part.mapping) = (text("host"), port, text("database"), mapping);
            }
            SourceName::MySql => {
                let part = &mut section.mysql;
                (part.host, part.port, part.database, part.mapping) = (text("host"), port, text("database"), mapping);
                (part.user, part.password) = (text("user"), Some(text("password").into()));
            }
            SourceName::MongoDb => {
                let part = &mut section.mongodb;
                (part.host, part.port, part.database, part.mapping) = (text("host"), port, text("database"), mapping);
                (part.user, part.password) = (text("user"), Some(text("password").into()));
            }
            _ => {
                let part = &mut section.redis;
                (part.host, part.port, part.mapping) = (text("host"), port, mapping);
            }
        }
        section
    }

    /// Creates a table and inserts rows; in Redis the rows go into a key.
    pub fn put(&self, table: &str, key: &Key<'_>, columns: &[Column<'_>], rows: &[Vec<Value>]) {
        let types = |type_of: &dyn Fn(Type) -> String| {
            columns.iter().map(|(name, kind)| format!("`{name}` {}", type_of(*kind))).collect::<Vec<_>>().join(", ")
        };
        match self.vendor {
            SourceName::ClickHouse => {
                let types = types(&|kind| format!("Nullable({})", clickhouse_type(kind)));
                let sql = format!("CREATE TABLE `{table}` ({types}) ENGINE = MergeTree ORDER BY tuple()");
                Database::shared(&self.name).query(&sql);
            }
            SourceName::MySql => {
                let types = types(&|kind| mysql_type(kind).to_owned());
                Tables::of(&self.name).run(&format!("CREATE TABLE `{table}` ({types})"));
            }
            _ => {}
        }
        self.add(table, key, columns, rows);
    }

    /// Inserts more rows into a table or key.
    pub fn add(&self, table: &str, key: &Key<'_>, columns: &[Column<'_>], rows: &[Vec<Value>]) {
        for rows in rows.chunks(500) {
            let insert = || format!("INSERT INTO `{table}` VALUES {}", values(rows));
            match self.vendor {
                SourceName::ClickHouse => drop(Database::shared(&self.name).query(&insert())),
                SourceName::MySql => Tables::of(&self.name).run(&insert()),
                SourceName::MongoDb => block_on(async {
                    let collection = mongo().await.database(&self.name).collection::<Document>(table);
                    collection.insert_many(rows.iter().map(|row| document(columns, row))).await.unwrap();
                }),
                _ => self.put_into_redis(key, columns, rows),
            }
        }
    }

    fn put_into_redis(&self, key: &Key<'_>, columns: &[Column<'_>], rows: &[Vec<Value>]) {
        let mut pipe = redis::pipe();
        for row in rows {
            let json = |without: usize| {
                let cells = columns.iter().zip(row).enumerate().filter(|(at, _)| *at != without);
                let object: serde_json::Map<String, Value> =
                    cells.map(|(_, ((name, _), cell))| ((*name).to_owned(), cell.clone())).collect();
                Value::Object(object).to_string()
            };
            match key {
                Key::SortedSet(key, at) => pipe.cmd("ZADD").arg(key).arg(seconds(&row[*at])).arg(json(usize::MAX)),
                Key::List(key) => pipe.cmd("RPUSH").arg(key).arg(json(usize::MAX)),
                Key::Hash(key, at) => pipe.cmd("HSET").arg(key).arg(row[*at].as_str().unwrap()).arg(json(*at)),
            };
        }
        let client = redis::Client::open(self.redis_url()).unwrap();
        pipe.exec(&mut client.get_connection().unwrap()).unwrap();
    }

    /// Runs a command in Redis.
    pub fn redis(&self, words: &[&str]) {
        let client = redis::Client::open(self.redis_url()).unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).exec(&mut client.get_connection().unwrap()).unwrap();
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn redis_url(&self) -> String {
        self.redis.as_ref().unwrap().url()
    }
}

/// The score of a cell: Unix seconds of a Shanghai time, or a number, converted to seconds if needed.
fn seconds(cell: &Value) -> i64 {
    match cell {
        Value::Number(number) => {
            let number = number.as_i64().unwrap();
            if number > 100_000_000_000 { number / 1_000 } else { number }
        }
        text => {
            let text = text.as_str().unwrap();
            let text = if text.len() == 10 { format!("{text} 00:00:00") } else { text.to_owned() };
            chrono::NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp() - 8 * 3_600
        }
    }
}

fn clickhouse_type(kind: Type) -> &'static str {
    match kind {
        Type::Text => "String",
        Type::Decimal => "Decimal(18, 2)",
        Type::Factor => "Decimal(16, 6)",
        Type::Whole => "Int64",
        Type::Time | Type::WallClock => "DateTime",
    }
}

fn mysql_type(kind: Type) -> &'static str {
    match kind {
        Type::Text => "TEXT CHARACTER SET utf8mb4",
        Type::Decimal => "DECIMAL(18, 2)",
        Type::Factor => "DECIMAL(16, 6)",
        Type::Whole => "BIGINT",
        Type::Time | Type::WallClock => "DATETIME",
    }
}

/// The rows as SQL values.
fn values(rows: &[Vec<Value>]) -> String {
    let cell = |cell: &Value| match cell {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    };
    let row = |row: &Vec<Value>| format!("({})", row.iter().map(cell).collect::<Vec<_>>().join(", "));
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

/// A row as a MongoDB document; times become BSON dates.
fn document(columns: &[Column<'_>], row: &[Value]) -> Document {
    let cell = |kind: Type, cell: &Value| match (kind, cell) {
        (Type::Time, Value::String(_)) => Bson::DateTime(DateTime::from_millis(seconds(cell) * 1_000)),
        (Type::WallClock, Value::String(_)) => {
            Bson::DateTime(DateTime::from_millis((seconds(cell) + 8 * 3_600) * 1_000))
        }
        (_, Value::Null) => Bson::Null,
        (_, Value::Bool(is_so)) => Bson::Boolean(*is_so),
        (_, Value::Number(number)) => {
            number.as_i64().map_or_else(|| Bson::Double(number.as_f64().unwrap()), Bson::Int64)
        }
        (_, Value::String(text)) => Bson::String(text.clone()),
        (_, other) => Bson::Array(vec![Bson::String(other.to_string())]),
    };
    columns.iter().zip(row).map(|((name, kind), value)| ((*name).to_owned(), cell(*kind, value))).collect()
}

async fn mongo() -> mongodb::Client {
    let mut options = ClientOptions::default();
    let port = required("TEST_MONGODB_PORT").parse().unwrap();
    options.hosts = vec![ServerAddress::Tcp { host: required("TEST_MONGODB_HOST"), port: Some(port) }];
    let mut login = Credential::default();
    login.username = Some(required("TEST_MONGODB_USER"));
    login.password = Some(required("TEST_MONGODB_PASSWORD"));
    login.source = Some("admin".to_owned());
    options.credential = Some(login);
    mongodb::Client::with_options(options).unwrap()
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
