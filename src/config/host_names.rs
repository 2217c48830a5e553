// Upstream: check
// Downstream: none
// Role: Checks that the host of a server is a host: no URL, no port, no list.

/// Why this text is no host; `port` is the setting of the port.
pub fn problem(host: &str, port: &str) -> Option<String> {
    if host.trim().is_empty() {
        return Some("it must not be empty".to_owned());
    }
    let alone = host_of(host);
    let reason = if host.contains("://") {
        format!("it must be the host alone, {alone:.60?}, without a scheme; the port is {port}")
    } else if alone != host {
        format!("it must be the host alone, {alone:.60?}; the port is {port}")
    } else if host.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ',' | '@' | '"')) {
        "it must be one host name or address".to_owned()
    } else {
        return None;
    };
    // A URL may hold a password.
    let shown = if host.contains('@') { "a text with a user".to_owned() } else { format!("{host:.60?}") };
    Some(format!("it is {shown}, but {reason}"))
}

/// The host in a URL or in `host:port`. An IPv6 address has more than one colon.
fn host_of(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split(['/', '?']).next().unwrap_or(rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit());
    match rest.rsplit_once(':') {
        Some((host, port)) if is_port(port) && (!host.contains(':') || host.ends_with(']')) => host,
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_no_url_and_has_no_port() {
        for host in ["localhost", "kafka-1.internal", "10.0.0.1", "::1", "fe80::1", "[::1]"] {
            assert_eq!(problem(host, "kafka.port"), None, "{host}");
        }
        for (host, part) in [
            (
                "localhost:9092",
                "\"localhost:9092\", but it must be the host alone, \"localhost\"; the port is kafka.port",
            ),
            ("http://ch", "the host alone, \"ch\", without a scheme"),
            ("http://ch:8123/", "the host alone, \"ch\", without a scheme"),
            ("[::1]:9092", "the host alone, \"[::1]\""),
            ("a:9092,b:9092", "but it must be"),
            ("a b", "one host name"),
            (" ", "not be empty"),
        ] {
            let reason = problem(host, "kafka.port").unwrap_or_default();
            assert!(reason.contains(part), "{host}: {reason}");
        }
        let hidden = problem("http://me:s3cret@ch", "clickhouse.port").unwrap_or_default();
        assert!(!hidden.contains("s3cret") && hidden.contains("\"ch\""), "{hidden}");
    }
}
