// Upstream: adapters::kafka, security_checks
// Downstream: none
// Role: Checks `kafka.properties`: what librdkafka knows, and what the worker's guarantees do not forbid.

use rdkafka::ClientConfig;

/// Properties that the worker sets itself, each with the setting or the reason. A name that ends in `.` stands for all
/// that begin with it.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use kafka.brokers, or kafka.host and kafka.port"),
    ("metadata.broker.list", "use kafka.brokers, or kafka.host and kafka.port"),
    ("client.id", "use worker.node_id"),
    ("group.id", "use kafka.group_id"),
    ("group.instance.id", "use kafka.static_membership and worker.node_id"),
    ("session.timeout.ms", "use kafka.session_timeout_ms"),
    ("heartbeat.interval.ms", "use kafka.session_timeout_ms, of which it is a tenth"),
    ("auto.commit.interval.ms", "use kafka.commit_interval_ms"),
    ("transactional.id", "use kafka.parts_in_transaction"),
    ("security.protocol", "use kafka.security.protocol"),
    ("sasl.mechanism", "use kafka.sasl.mechanism"),
    ("sasl.mechanisms", "use kafka.sasl.mechanism"),
    ("sasl.username", "use kafka.sasl.user"),
    ("sasl.password", "use kafka.sasl.password, which is kept secret"),
    ("sasl.oauthbearer.", "this login is not supported; see kafka.sasl.mechanism"),
    ("ssl.ca.location", "use kafka.ca_file"),
    ("ssl.ca.pem", "use kafka.ca_file"),
    ("ssl.certificate.", "use kafka.certificate_file"),
    ("ssl.key.location", "use kafka.key_file"),
    ("ssl.key.pem", "use kafka.key_file"),
    ("ssl.key.password", "use kafka.key_password, which is kept secret"),
    ("ssl.keystore.", "use PEM files: kafka.certificate_file and kafka.key_file"),
    ("enable.auto.commit", "the worker commits what is stored, and nothing else"),
    ("enable.auto.offset.store", "the worker commits what is stored, and nothing else"),
    ("offset.store.", "offsets are in the consumer group"),
    ("auto.offset.reset", "a partition without a commit is read from its first record, so that no command is lost"),
    ("isolation.level", "commands of aborted transactions must not be executed; see kafka.parts_in_transaction"),
    ("enable.partition.eof", "the worker finds the end of a partition by it"),
    ("partition.assignment.strategy", "the worker drains its partitions before each rebalance"),
    ("group.protocol", "the worker drains its partitions before each rebalance"),
    ("max.poll.interval.ms", "the worker's own watch judges a consumer; see kafka.stall_after_ms"),
    ("check.crcs", "librdkafka's default applies"),
    ("acks", "a message is sent when all replicas have it"),
    ("request.required.acks", "a message is sent when all replicas have it"),
    ("enable.idempotence", "the producer must not repeat messages"),
    ("enable.gapless.guarantee", "the producer must not repeat messages"),
    ("max.in.flight", "the idempotent producer bounds it"),
    ("max.in.flight.requests.per.connection", "the idempotent producer bounds it"),
    ("retries", "the idempotent producer tries again until its deadline"),
    ("message.send.max.retries", "the idempotent producer tries again until its deadline"),
    ("message.timeout.ms", "the worker's own deadlines are above it"),
    ("delivery.timeout.ms", "the worker's own deadlines are above it"),
    ("transaction.timeout.ms", "the worker's own deadlines are above it"),
    ("message.max.bytes", "dead letters are cut by the broker's own limit"),
    ("allow.auto.create.topics", "see kafka.create_topics"),
    ("statistics.interval.ms", "lag and positions come from the statistics"),
    ("plugin.library.paths", "the worker loads no foreign code"),
    ("ssl.engine.", "the worker loads no foreign code"),
    ("ssl.providers", "the worker loads no foreign code"),
];

/// Name and value of an entry `name=value`.
pub fn split(entry: &str) -> Option<(&str, &str)> {
    let (name, value) = entry.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then_some((name, value.trim()))
}

/// The problem of an entry; `None` if librdkafka takes it and the worker allows it. It does not show the value, which
/// may be a secret.
pub fn problem(entry: &str) -> Option<String> {
    let Some((name, value)) = split(entry) else {
        return Some("each entry must be a property of librdkafka and its value, such as linger.ms=20".to_owned());
    };
    let is_refused = |refused: &str| name == refused || (refused.ends_with('.') && name.starts_with(refused));
    if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| is_refused(refused)) {
        return Some(format!("{name:.60} cannot be set here: {instead}"));
    }
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => None,
        Err(rdkafka::error::KafkaError::ClientConfig(_, reason, ..)) => {
            // The library's text may contain the value.
            let is_unknown = reason.contains("No such configuration property");
            let reason =
                if is_unknown { "is no property of librdkafka" } else { "has a value that librdkafka refuses" };
            Some(format!("{name:.60} {reason}"))
        }
        Err(_) => Some(format!("{name:.60} has a value that librdkafka refuses")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_any_other_property_of_librdkafka() {
        for entry in ["linger.ms=20", "socket.keepalive.enable = true", "client.rack=eu-1a", "compression.type=zstd"] {
            assert_eq!(problem(entry), None, "{entry}");
        }
    }

    #[test]
    fn refuses_what_breaks_guarantees_by_name() {
        for (name, instead) in REFUSED {
            let name = if name.ends_with('.') { format!("{name}location") } else { (*name).to_owned() };
            let reason = problem(&format!("{name}=true")).unwrap();
            assert!(reason.starts_with(&format!("{name} cannot be set here: {instead}")), "{reason}");
        }
    }

    #[test]
    fn names_unknown_properties_and_wrong_values() {
        assert_eq!(problem("linger.sm=20").unwrap(), "linger.sm is no property of librdkafka");
        assert_eq!(problem("linger.ms=s3cret").unwrap(), "linger.ms has a value that librdkafka refuses");
        assert!(problem("linger.ms").unwrap().starts_with("each entry must be"));
    }
}
