// Upstream: app, sources::databases
// Downstream: config
// Role: Formats a source's name and address for display.

use crate::config::{SourceName, SourcesSection};

/// Formats a source's name and address for display.
pub fn place(section: &SourcesSection, name: SourceName) -> String {
    match name {
        SourceName::BaoStock => format!("BaoStock {}", section.baostock.address),
        SourceName::Tushare => format!("Tushare {}", section.tushare.url),
        SourceName::Files => format!("files in {}", section.files.folder.display()),
        SourceName::Yahoo => format!("Yahoo {}", section.yahoo.url),
        SourceName::EastMoney => format!("EastMoney {}", section.eastmoney.url),
        SourceName::Tdx => format!("TDX {}", section.tdx.hosts.join(", ")),
        SourceName::ClickHouse => {
            let section = &section.clickhouse;
            format!("source ClickHouse {}:{} database {}", section.host, section.port, section.database)
        }
        SourceName::MongoDb => {
            let section = &section.mongodb;
            format!("source MongoDB {}:{} database {}", section.host, section.port, section.database)
        }
        SourceName::MySql => {
            let section = &section.mysql;
            format!("source MySQL {}:{} database {}", section.host, section.port, section.database)
        }
        SourceName::Redis => {
            let section = &section.redis;
            format!("source Redis {}:{}/{}", section.host, section.port, section.database)
        }
    }
}
