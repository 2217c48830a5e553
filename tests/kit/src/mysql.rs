// Upstream: kit::scene
// Downstream: kit::services
// Role: Ginkgo's tables in the real MariaDB, created and filled as Ginkgo itself does.

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions, Connection};

use crate::services::required;

/// Ginkgo's table, with the columns its models declare.
const STOCK_INFO: &str = "CREATE TABLE stock_info (
    code VARCHAR(32) NOT NULL, code_name VARCHAR(32) NOT NULL, industry VARCHAR(32) NOT NULL,
    currency TINYINT NOT NULL, market TINYINT NOT NULL, list_date DATETIME NOT NULL, delist_date DATETIME NOT NULL,
    uuid VARCHAR(32) NOT NULL, meta VARCHAR(255) NULL, `desc` VARCHAR(255) NULL,
    create_at DATETIME NOT NULL, update_at DATETIME NOT NULL, is_del BOOL NOT NULL, source TINYINT NOT NULL,
    PRIMARY KEY (uuid))";

/// Creates the database with a `stock_info` of these codes.
pub fn create_stock_list(database: &str, codes: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = connect().await;
        run(&mut connection, &format!("CREATE DATABASE `{database}`")).await;
        run(&mut connection, &format!("USE `{database}`")).await;
        run(&mut connection, STOCK_INFO).await;
        for (n, code) in codes.iter().enumerate() {
            let row = format!(
                "INSERT INTO stock_info VALUES ('{code}', 'name', 'bank', 1, 1, '1991-04-03', '2100-01-01', '{n:032x}', \
                 '{{}}', '', now(), now(), 0, 7)"
            );
            run(&mut connection, &row).await;
        }
        connection.close().await.expect("closed");
    });
}

async fn connect() -> MySqlConnection {
    let options = MySqlConnectOptions::new()
        .host(&required("TEST_MYSQL_HOST"))
        .port(required("TEST_MYSQL_PORT").parse().expect("a port"))
        .username(&required("TEST_MYSQL_USER"))
        .password(&required("TEST_MYSQL_PASSWORD"));
    options.connect().await.expect("MariaDB")
}

async fn run(connection: &mut MySqlConnection, sql: &str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
