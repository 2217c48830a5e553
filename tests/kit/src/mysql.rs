// Upstream: benches::pipeline, scene, tests::it
// Downstream: services
// Role: Creates and fills Ginkgo's tables in the real MariaDB, as Ginkgo itself does.

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::{ConnectOptions, Connection, Row};

use crate::services::required;

/// Ginkgo's stock list, with the columns of its model.
const STOCK_INFO: &str = "CREATE TABLE IF NOT EXISTS stock_info (
    code VARCHAR(32) NOT NULL, code_name VARCHAR(32) NOT NULL, industry VARCHAR(32) NOT NULL,
    currency TINYINT NOT NULL, market TINYINT NOT NULL, list_date DATETIME NOT NULL, delist_date DATETIME NOT NULL,
    uuid VARCHAR(32) NOT NULL, meta VARCHAR(255) NULL, `desc` VARCHAR(255) NULL,
    create_at DATETIME NOT NULL, update_at DATETIME NOT NULL, is_del BOOL NOT NULL, source TINYINT NOT NULL,
    PRIMARY KEY (uuid))";

/// Creates a database with a `stock_info` table of these codes.
pub fn create_stock_list(database: &str, codes: &[String]) {
    block_on(async {
        let mut connection = connect().await;
        run(&mut connection, &format!("CREATE DATABASE IF NOT EXISTS `{database}`")).await;
        run(&mut connection, &format!("USE `{database}`")).await;
        run(&mut connection, STOCK_INFO).await;
        for (n, code) in codes.iter().enumerate() {
            let row = format!(
                "INSERT INTO stock_info VALUES ('{code}', 'name', 'bank', 1, 1, '1991-04-03', '2100-01-01', '{n:032x}', \
                 '{{}}', '', now(), now(), 0, 7)"
            );
            run(&mut connection, &row).await;
        }
        connection.close().await.expect("the connection closes");
    });
}

/// Ginkgo's trading calendar, with the columns of its model.
const TRADE_DAY: &str = "CREATE TABLE trade_day (
    market TINYINT NOT NULL, is_open BOOL NOT NULL, timestamp DATETIME NOT NULL,
    uuid VARCHAR(32) NOT NULL, meta VARCHAR(255) NULL, `desc` VARCHAR(255) NULL,
    create_at DATETIME NOT NULL, update_at DATETIME NOT NULL, is_del BOOL NOT NULL, source TINYINT NOT NULL,
    PRIMARY KEY (uuid))";

/// A database of one test; cells are read as text.
pub struct Tables {
    database: String,
}

impl Tables {
    /// Creates an empty database; the worker creates the tables.
    pub fn create(database: &str) -> Self {
        let tables = Self::of(database);
        block_on(async {
            let mut connection = connect().await;
            run(&mut connection, &format!("CREATE DATABASE IF NOT EXISTS `{database}`")).await;
        });
        tables
    }

    /// Creates a database with an empty stock list and an empty calendar, as Ginkgo does.
    pub fn create_as_ginkgo(database: &str) -> Self {
        let tables = Self::create(database);
        tables.run(STOCK_INFO);
        tables.run(TRADE_DAY);
        tables
    }

    /// Adds a security; dates have the form `2024-01-02`.
    pub fn add_stock(&self, code: &str, name: &str, listed: &str, delisted: &str) {
        self.run(&format!(
            "INSERT INTO stock_info VALUES ('{code}', '{name}', '', 1, 1, '{listed}', '{delisted}', \
             replace(uuid(), '-', ''), '{{}}', '', now(), now(), 0, 7)"
        ));
    }

    /// Adds a day to the calendar of a market (1 is China) with the creation time `created`.
    pub fn add_trade_day(&self, market: u8, day: &str, is_open: bool, created: &str) {
        self.run(&format!(
            "INSERT INTO trade_day VALUES ({market}, {is_open}, '{day}', replace(uuid(), '-', ''), '{{}}', '', '{created}', \
             '{created}', 0, 7)"
        ));
    }

    /// An existing database.
    pub fn of(database: &str) -> Self {
        Self { database: database.to_owned() }
    }

    /// Runs a statement that must succeed.
    pub fn run(&self, sql: &str) {
        block_on(async {
            let mut connection = self.connect().await;
            run(&mut connection, sql).await;
        });
    }

    /// The rows of a query, each cell as text.
    pub fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        self.try_rows(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Like [`Self::rows`], for a query that may fail.
    pub fn try_rows(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        block_on(async {
            let mut connection = self.connect().await;
            let rows = sqlx::raw_sql(sql).fetch_all(&mut connection).await.map_err(|error| error.to_string())?;
            Ok(rows.iter().map(|row| (0..row.len()).map(|n| cell(row, n)).collect()).collect())
        })
    }

    async fn connect(&self) -> MySqlConnection {
        let mut connection = connect().await;
        run(&mut connection, &format!("USE `{}`", self.database)).await;
        connection
    }
}

/// The text protocol sends every value as text.
fn cell(row: &MySqlRow, n: usize) -> String {
    row.try_get_unchecked::<String, _>(n).unwrap_or_else(|error| panic!("cell {n}: {error}"))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

async fn connect() -> MySqlConnection {
    let options = MySqlConnectOptions::new()
        .host(&required("TEST_MYSQL_HOST"))
        .port(required("TEST_MYSQL_PORT").parse().expect("a port"))
        .username(&required("TEST_MYSQL_USER"))
        .password(&required("TEST_MYSQL_PASSWORD"));
    options.connect().await.expect("a connection to MariaDB")
}

async fn run(connection: &mut MySqlConnection, sql: &str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
