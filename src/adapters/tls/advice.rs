// Upstream: adapters::clickhouse, adapters::mysql, adapters::redis, inspect, sources::databases
// Downstream: none
// Role: Finds the setting to change for an error of a TLS connection, by the text of the error.

/// What to change in the section `section`; `None` if the text has another cause.
pub fn advice(section: &str, text: &str) -> Option<String> {
    let found = |part: &str| text.contains(part);
    let refused = ["CertificateRequired", "BadCertificate", "UnknownCA", "CertificateUnknown", "CertificateExpired"];
    let is_refused = found("fatal alert") && refused.iter().any(|alert| found(alert));
    Some(if found("certificate expired") || found("peer certificate: Expired") {
        "the server's certificate has expired: renew it at the server".to_owned()
    } else if found("not valid yet") || found("NotValidYet") {
        "the server's certificate is not yet valid: see its dates and the clock".to_owned()
    } else if found("not valid for name") || found("NotValidForName") {
        let list = match section {
            "kafka" => " and kafka.brokers",
            "clickhouse" => " and clickhouse.hosts",
            _ => "",
        };
        format!("the server's certificate is for another name: see {section}.host{list}")
    } else if found("UnknownIssuer") {
        format!("the server's certificate is of another CA: see {section}.ca_file")
    } else if found("invalid peer certificate") {
        format!("the server's certificate cannot be used: see {section}.ca_file")
    } else if is_refused || found("peer sent no certificates") {
        format!(
            "the server refuses the client certificate, or asks for one: see {section}.certificate_file and \
             {section}.key_file"
        )
    } else if found("InvalidContentType") || found("corrupt message") {
        format!("the server does not use TLS there: see {section}.tls and {section}.port")
    } else if found("handshake eof") || found("HandshakeFailure") {
        format!("the server ends the TLS handshake: see {section}.tls, {section}.port and {section}.certificate_file")
    } else {
        return None;
    })
}

/// The text of an error with the setting to change, if that is known.
pub fn with_advice(section: &str, text: String) -> String {
    match advice(section, &text) {
        Some(advice) => format!("{advice} ({text})"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

    #[test]
    fn errors_of_the_library_lead_to_the_setting() {
        let of = |error: Error| advice("redis", &error.to_string()).unwrap_or_else(|| panic!("{error}"));
        let peer = |error| of(Error::InvalidCertificate(error));
        assert!(peer(CertificateError::Expired).contains("has expired"));
        assert!(peer(CertificateError::NotValidYet).contains("not yet valid"));
        assert!(peer(CertificateError::UnknownIssuer).ends_with("see redis.ca_file"));
        assert!(peer(CertificateError::NotValidForName).ends_with("see redis.host"));
        assert!(peer(CertificateError::BadEncoding).ends_with("see redis.ca_file"));
        assert!(of(Error::AlertReceived(AlertDescription::CertificateRequired)).contains("redis.certificate_file"));
        assert!(of(Error::AlertReceived(AlertDescription::UnknownCA)).contains("redis.certificate_file"));
        assert!(of(Error::InvalidMessage(InvalidMessage::InvalidContentType)).contains("redis.tls"));
        assert_eq!(advice("redis", "Connection refused (os error 111)"), None);
    }
}
