// Upstream: adapters::clickhouse, adapters::redis, app, check, config
// Downstream: kafka_properties, query_settings, sections, security_sections
// Role: Checks addresses in lists, certificate files, logins and further properties of the servers.

use std::path::Path;

use super::sections::{KafkaSection, Settings};
use super::security_sections::{MySqlTls, SecurityProtocol, SentinelSection};
use super::{kafka_properties, query_settings};

/// The path of a setting, and the problem of its value.
type Finding = (String, String);

/// The invalid settings about addresses, encryption and logins.
pub fn problems(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Settings { kafka, redis, clickhouse, sources, .. } = settings;
    addresses("kafka.brokers", &kafka.brokers, &mut findings);
    addresses("clickhouse.hosts", &clickhouse.hosts, &mut findings);
    sentinels("redis.sentinel", &redis.sentinel, &mut findings);
    sentinels("sources.redis.sentinel", &sources.redis.sentinel, &mut findings);
    for Files { section, certificate, key, .. } in files(settings) {
        for (has, lacks, name) in [(certificate, key, "key_file"), (key, certificate, "certificate_file")] {
            if is_set(has) && !is_set(lacks) {
                let reason = "it must be set too: a client certificate and its private key belong together";
                findings.push((format!("{section}.{name}"), reason.to_owned()));
            }
        }
    }
    login(kafka, &mut findings);
    let refused = kafka.properties.iter().filter_map(|entry| kafka_properties::problem(entry));
    findings.extend(refused.map(|reason| ("kafka.properties".to_owned(), reason)));
    let refused = clickhouse.settings.iter().filter_map(|entry| query_settings::problem(entry));
    findings.extend(refused.map(|reason| ("clickhouse.settings".to_owned(), reason)));
    findings
}

/// Warnings about settings without effect, and about files that cannot be read: the worker waits for those as for a
/// server.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    let kafka = &settings.kafka;
    if kafka.security.protocol == SecurityProtocol::SaslPlaintext {
        warnings.push(
            "kafka.security.protocol is sasl_plaintext: commands travel unencrypted, and with the mechanism plain the \
             password too; use sasl_ssl outside a private network"
                .to_owned(),
        );
    }
    if !kafka.security.protocol.has_login() && !kafka.sasl.user.is_empty() {
        warnings.push(format!(
            "kafka.sasl.user has no effect, because kafka.security.protocol is {}; set it to sasl_ssl",
            kafka.security.protocol.as_str()
        ));
    }
    for Files { section, ca, certificate, key, has_tls } in files(settings) {
        for (name, file) in [("ca_file", ca), ("certificate_file", certificate), ("key_file", key)] {
            if !is_set(file) {
                continue;
            }
            if !has_tls {
                let switch =
                    if section == "kafka" { "kafka.security.protocol".into() } else { format!("{section}.tls") };
                warnings.push(format!("{section}.{name} has no effect, because {switch} does not use TLS"));
            } else if let Err(error) = std::fs::File::open(file) {
                warnings.push(format!("{section}.{name}: {} cannot be read: {error}", file.display()));
            }
        }
    }
    warnings
}

/// The certificate files of one server.
struct Files<'a> {
    section: &'static str,
    ca: &'a Path,
    certificate: &'a Path,
    key: &'a Path,
    has_tls: bool,
}

fn files(settings: &Settings) -> Vec<Files<'_>> {
    macro_rules! files {
        ($section:literal, $of:expr, $has_tls:expr) => {
            Files {
                section: $section,
                ca: &$of.ca_file,
                certificate: &$of.certificate_file,
                key: &$of.key_file,
                has_tls: $has_tls,
            }
        };
    }
    let Settings { kafka, redis, clickhouse, mysql, sources, .. } = settings;
    vec![
        files!("kafka", kafka, kafka.security.protocol.has_tls()),
        files!("redis", redis, redis.tls),
        files!("clickhouse", clickhouse, clickhouse.tls),
        files!("mysql", mysql, mysql.tls != MySqlTls::Off),
        files!("sources.clickhouse", sources.clickhouse, sources.clickhouse.tls),
        files!("sources.mysql", sources.mysql, sources.mysql.tls != MySqlTls::Off),
        // One file has both.
        Files {
            section: "sources.mongodb",
            ca: &sources.mongodb.ca_file,
            certificate: &sources.mongodb.certificate_file,
            key: &sources.mongodb.certificate_file,
            has_tls: sources.mongodb.tls,
        },
        files!("sources.redis", sources.redis, sources.redis.tls),
    ]
}

fn is_set(file: &Path) -> bool {
    !file.as_os_str().is_empty()
}

fn addresses(path: &str, addresses: &[String], findings: &mut Vec<Finding>) {
    for address in addresses {
        if split_address(address).is_none() {
            let reason =
                format!("it holds {address:.80?}, but each entry must be a host and a port, such as host:1234");
            findings.push((path.to_owned(), reason));
        }
    }
}

/// Host and port of `host:port`, or of `[::1]:port`.
pub fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/' || c == ',');
    is_host.then_some((host, port))
}

fn sentinels(section: &str, sentinel: &SentinelSection, findings: &mut Vec<Finding>) {
    addresses(&format!("{section}.nodes"), &sentinel.nodes, findings);
    match (sentinel.master.is_empty(), sentinel.nodes.is_empty()) {
        (true, false) => {
            let reason = "it must name the master that the Sentinels in nodes watch, such as mymaster";
            findings.push((format!("{section}.master"), reason.to_owned()));
        }
        (false, true) => {
            let reason = "it must list the Sentinels that watch the master, as host:port";
            findings.push((format!("{section}.nodes"), reason.to_owned()));
        }
        _ => {}
    }
}

fn login(kafka: &KafkaSection, findings: &mut Vec<Finding>) {
    let protocol = kafka.security.protocol;
    if !protocol.has_login() {
        return;
    }
    let mut lacks = |name: &str| {
        let reason = format!("it must be set, because kafka.security.protocol is {}", protocol.as_str());
        findings.push((format!("kafka.sasl.{name}"), reason));
    };
    if kafka.sasl.user.is_empty() {
        lacks("user");
    }
    if kafka.sasl.password.is_none() {
        lacks("password");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(change: fn(&mut Settings)) -> Vec<String> {
        let mut settings = Settings::default();
        change(&mut settings);
        problems(&settings).into_iter().map(|(path, reason)| format!("{path}: {reason}")).collect()
    }

    #[test]
    fn names_the_setting_that_is_missing_or_refused() {
        assert_eq!(found(|_| {}), [""; 0]);
        type Case = (fn(&mut Settings), &'static str, &'static str);
        let cases: [Case; 9] = [
            (|s| s.kafka.brokers = vec!["a:1".into(), "b".into()], "kafka.brokers: ", "\"b\""),
            (|s| s.clickhouse.hosts = vec!["https://a:8443".into()], "clickhouse.hosts: ", "host and a port"),
            (|s| s.redis.sentinel.master = "m".into(), "redis.sentinel.nodes: ", "list the Sentinels"),
            (|s| s.redis.sentinel.nodes = vec!["a:1".into()], "redis.sentinel.master: ", "name the master"),
            (|s| s.mysql.certificate_file = "c".into(), "mysql.key_file: ", "belong together"),
            (|s| s.redis.key_file = "k".into(), "redis.certificate_file: ", "belong together"),
            (|s| s.kafka.properties = vec!["acks=1".into()], "kafka.properties: ", "acks cannot be set here"),
            (
                |s| {
                    s.kafka.security.protocol = SecurityProtocol::SaslSsl;
                    s.kafka.sasl.user = "u".into();
                },
                "kafka.sasl.password: ",
                "kafka.security.protocol is sasl_ssl",
            ),
            (|s| s.clickhouse.settings = vec!["final=1".into()], "clickhouse.settings: ", "final cannot be set here"),
        ];
        for (change, path, part) in cases {
            let found = found(change);
            assert!(found.len() == 1 && found[0].starts_with(path) && found[0].contains(part), "{found:?}");
        }
    }

    #[test]
    fn warns_about_settings_without_effect_and_files() {
        let mut settings = Settings::default();
        assert_eq!(warnings(&settings), [""; 0]);
        settings.redis.ca_file = "/nowhere/ca.pem".into();
        settings.kafka.sasl.user = "u".into();
        let found = warnings(&settings).join("\n");
        assert!(found.contains("redis.ca_file has no effect, because redis.tls does not use TLS"), "{found}");
        assert!(found.contains("kafka.sasl.user has no effect"), "{found}");
        settings.redis.tls = true;
        assert!(warnings(&settings).join("\n").contains("redis.ca_file: /nowhere/ca.pem cannot be read: No such file"));
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(split_address("a.example:9092"), Some(("a.example", 9092)));
        assert_eq!(split_address("[::1]:9092"), Some(("::1", 9092)));
        for wrong in ["a", "a:0", ":1", "a:x", "http://a:1", "a:1,b:2"] {
            assert_eq!(split_address(wrong), None, "{wrong}");
        }
    }
}
