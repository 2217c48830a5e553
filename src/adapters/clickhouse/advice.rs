// Upstream: probe
// Downstream: adapters::tls, config
// Role: Finds the setting to change for an error of a connection to ClickHouse.

use crate::adapters::tls::advice::with_advice;
use crate::config::ClickHouseSection;

/// The text of an error, with the setting to change if that is known.
pub fn explain(section: &ClickHouseSection, text: String) -> String {
    let found = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let is_broken =
        found(&["invalid HTTP", "connection closed before", "Connection reset", "unexpected EOF", "Bad Request"]);
    if found(&["is for clickhouse-client", "You must use port"]) {
        format!(
            "clickhouse.port is the port of ClickHouse's native protocol; use that of HTTP: 8123, or 8443 with TLS ({text})"
        )
    } else if found(&["Code: 516.", "Code: 194.", "Code: 193.", "Code: 192."]) {
        format!("the server refuses the login: see clickhouse.user and clickhouse.password ({text})")
    } else if is_broken && !section.tls {
        format!("if the server uses TLS on this port, set clickhouse.tls; see also clickhouse.port ({text})")
    } else {
        with_advice("clickhouse", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_native_port_and_tls_on_one_side() {
        let plain = ClickHouseSection::default();
        let tls = ClickHouseSection { tls: true, ..ClickHouseSection::default() };
        let native = "bad response: Port 9000 is for clickhouse-client program";
        assert!(explain(&plain, native.to_owned()).starts_with("clickhouse.port is the port of"));
        assert!(explain(&plain, "invalid HTTP version parsed".to_owned()).contains("set clickhouse.tls"));
        let refused = explain(&tls, "received corrupt message of type InvalidContentType".to_owned());
        assert!(refused.contains("see clickhouse.tls and clickhouse.port"), "{refused}");
        assert_eq!(explain(&tls, "Connection refused".to_owned()), "Connection refused");
        assert!(explain(&plain, "Code: 516. DB::Exception".to_owned()).contains("clickhouse.password"));
    }
}
