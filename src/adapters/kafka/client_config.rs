// Upstream: adapters::kafka::dead_letters, admin_client, clients, parts_publisher, probe, standalone
// Downstream: config
// Role: Builds the configuration that all Kafka clients share: brokers, encryption, login, further properties.

use rdkafka::ClientConfig;
use secrecy::ExposeSecret;

use crate::config::{KafkaSection, kafka_properties};

/// What a producer of commands needs, whose records may be long and must be in the topic once.
pub const COMMAND_PRODUCER: [(&str, &str); 5] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("message.timeout.ms", "10000"),
    ("message.max.bytes", "4000000"),
    ("linger.ms", "5"),
];

/// The configuration of a client with what the client itself needs in `own`. Properties of the user take precedence;
/// those that must not change are refused when the configuration is read.
pub fn client_config(section: &KafkaSection, client_id: &str, own: &[(&str, &str)]) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", section.address()).set("client.id", client_id);
    secure(&mut client, section);
    for (name, value) in own {
        client.set(*name, *value);
    }
    for (name, value) in section.properties.iter().filter_map(|entry| kafka_properties::split(entry)) {
        client.set(name, value);
    }
    client
}

fn secure(client: &mut ClientConfig, section: &KafkaSection) {
    let protocol = section.security.protocol;
    client.set("security.protocol", protocol.as_str());
    if protocol.has_tls() {
        // Without a file, librdkafka searches the places where systems keep their CA certificates.
        let is_named = !section.ca_file.as_os_str().is_empty();
        let ca = if is_named { section.ca_file.to_string_lossy() } else { "probe".into() };
        client.set("ssl.ca.location", ca);
        let files = [("ssl.certificate.location", &section.certificate_file), ("ssl.key.location", &section.key_file)];
        for (name, file) in files.into_iter().filter(|(_, file)| !file.as_os_str().is_empty()) {
            client.set(name, file.to_string_lossy());
        }
        if let Some(password) = &section.key_password {
            client.set("ssl.key.password", password.expose_secret());
        }
    }
    if protocol.has_login() {
        client.set("sasl.mechanism", section.sasl.mechanism.as_str()).set("sasl.username", &section.sasl.user);
        if let Some(password) = &section.sasl.password {
            client.set("sasl.password", password.expose_secret());
        }
    }
}

const NO_TLS: &str = "the broker does not use TLS there: see kafka.security.protocol and the port";
const OTHER_PROTOCOL: &str = "the broker may use TLS or a login there: see kafka.security.protocol and the port";
const REFUSED_CLIENT: &str =
    "the broker refuses the client certificate, or asks for one: see kafka.certificate_file and kafka.key_file";

/// What to change, by the text of an error of librdkafka; `None` if the text has another cause.
pub fn advice(text: &str) -> Option<&'static str> {
    const ADVICE: &[(&str, &str)] = &[
        ("connecting to a PLAINTEXT broker listener", NO_TLS),
        ("connecting to a SSL listener", OTHER_PROTOCOL),
        ("certificate has expired", "the broker's certificate has expired: renew it (its CA is in kafka.ca_file)"),
        ("certificate is not yet valid", "the broker's certificate is not yet valid: see its dates and the clock"),
        ("mismatch", "the broker's certificate is for another name: see kafka.host or kafka.brokers"),
        (
            "certificate verify failed",
            "the broker's certificate cannot be verified: see kafka.ca_file, its name and its dates",
        ),
        (
            "certificate required",
            "the broker asks for a client certificate: see kafka.certificate_file and kafka.key_file",
        ),
        ("bad certificate", REFUSED_CLIENT),
        ("unknown ca", REFUSED_CLIENT),
        ("certificate unknown", REFUSED_CLIENT),
        ("handshake failure", REFUSED_CLIENT),
        ("Unsupported SASL mechanism", "the broker offers other logins: see kafka.sasl.mechanism"),
        (
            "mechanism handshake failed",
            "the broker offers no such login: see kafka.security.protocol and kafka.sasl.mechanism",
        ),
        (
            "authentication",
            "the broker refuses the login: see kafka.sasl.user, kafka.sasl.password, kafka.sasl.mechanism",
        ),
        ("ssl.ca.location", "the CA certificates cannot be used: see kafka.ca_file"),
        ("ssl.certificate.location", "the client certificate cannot be used: see kafka.certificate_file"),
        ("ssl.key.location", "the private key cannot be used: see kafka.key_file and kafka.key_password"),
        ("Connection refused", "nothing listens there: see kafka.host, kafka.port or kafka.brokers"),
        ("Failed to resolve", "there is no such host: see kafka.host or kafka.brokers"),
        ("SSL handshake failed", "see kafka.security.protocol and the port"),
        // After the alerts: this word is also the state in which they arrive.
        ("ApiVersion", OTHER_PROTOCOL),
        // A broker that requires a login closes the connection of a client that does not log in.
        ("BrokerTransportFailure", OTHER_PROTOCOL),
    ];
    let text = text.to_lowercase();
    ADVICE.iter().find(|(part, _)| text.contains(&part.to_lowercase())).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{KafkaSaslSection, KafkaSecuritySection, SaslMechanism, SecurityProtocol};

    fn section(protocol: SecurityProtocol) -> KafkaSection {
        KafkaSection {
            brokers: vec!["a:1".into(), "b:2".into()],
            ca_file: "/ca.pem".into(),
            properties: vec!["linger.ms=7".into(), "client.rack=r1".into()],
            security: KafkaSecuritySection { protocol },
            sasl: KafkaSaslSection {
                mechanism: SaslMechanism::ScramSha512,
                user: "u".into(),
                password: Some("s3cret".to_owned().into()),
            },
            ..KafkaSection::default()
        }
    }

    #[test]
    fn brokers_login_and_properties_reach_the_client() {
        let client = client_config(&section(SecurityProtocol::SaslSsl), "n1", &[("linger.ms", "5"), ("acks", "all")]);
        let expected = [
            ("bootstrap.servers", "a:1,b:2"),
            ("client.id", "n1"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", "/ca.pem"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "u"),
            ("sasl.password", "s3cret"),
            ("acks", "all"),
            ("linger.ms", "7"),
            ("client.rack", "r1"),
        ];
        for (name, value) in expected {
            assert_eq!(client.get(name), Some(value), "{name}");
        }
        assert!(!format!("{client:?}").contains("s3cret"));
    }

    #[test]
    fn an_alert_is_named_before_the_state_it_arrives_in() {
        let alert =
            "Receive failed: tls alert bad certificate: SSL alert number 42 (after 0ms in state APIVERSION_QUERY)";
        assert_eq!(advice(alert), Some(REFUSED_CLIENT));
        assert_eq!(advice("Disconnected while requesting ApiVersion"), Some(OTHER_PROTOCOL));
        assert_eq!(advice("Local: Timed out"), None);
    }

    #[test]
    fn without_tls_and_login_nothing_of_them_is_set() {
        let client = client_config(&section(SecurityProtocol::Plaintext), "n1", &[]);
        for name in ["ssl.ca.location", "sasl.username", "sasl.password", "sasl.mechanism"] {
            assert_eq!(client.get(name), None, "{name}");
        }
        let found = KafkaSection { ca_file: Default::default(), ..section(SecurityProtocol::Ssl) };
        assert_eq!(client_config(&found, "n1", &[]).get("ssl.ca.location"), Some("probe"));
    }
}
