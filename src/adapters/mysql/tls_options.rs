// Upstream: sources::databases, store
// Downstream: adapters::tls, config
// Role: Applies the TLS settings to the options of a connection to MySQL, and explains errors of it.

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use crate::adapters::tls::advice::with_advice;
use crate::config::{MySqlSection, MySqlSourceSection, MySqlTls};

/// The options with the TLS of the worker's own store.
pub fn protect(options: MySqlConnectOptions, section: &MySqlSection) -> MySqlConnectOptions {
    let MySqlSection { ca_file, certificate_file, key_file, .. } = section;
    let files = [ca_file, certificate_file, key_file].map(|file| file.as_path());
    with_files(options.ssl_mode(mode(section.tls)), files)
}

/// The options with the TLS of a source.
pub fn protect_source(options: MySqlConnectOptions, section: &MySqlSourceSection) -> MySqlConnectOptions {
    let MySqlSourceSection { ca_file, certificate_file, key_file, .. } = section;
    let files = [ca_file, certificate_file, key_file].map(|file| file.as_path());
    with_files(options.ssl_mode(mode(section.tls)), files)
}

fn mode(tls: MySqlTls) -> MySqlSslMode {
    match tls {
        MySqlTls::Off => MySqlSslMode::Disabled,
        MySqlTls::Preferred => MySqlSslMode::Preferred,
        MySqlTls::Required => MySqlSslMode::Required,
        MySqlTls::VerifyCa => MySqlSslMode::VerifyCa,
        MySqlTls::VerifyIdentity => MySqlSslMode::VerifyIdentity,
    }
}

/// The client reads the files for each new connection.
fn with_files(mut options: MySqlConnectOptions, [ca, certificate, key]: [&std::path::Path; 3]) -> MySqlConnectOptions {
    if !ca.as_os_str().is_empty() {
        options = options.ssl_ca(ca);
    }
    if !certificate.as_os_str().is_empty() && !key.as_os_str().is_empty() {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    options
}

/// The text of an error of a connection attempt, with the setting to change if that is known.
pub fn explain(section: &str, error: &sqlx::Error) -> String {
    let text = error.to_string();
    if text.contains("does not support TLS") {
        return format!(
            "the server offers no TLS: set {section}.tls to off or preferred, or switch it on there ({text})"
        );
    }
    if text.contains("insecure transport") {
        return format!("the server requires TLS: set {section}.tls to verify_identity ({text})");
    }
    let number = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>())
        .map(|error| error.number());
    match number {
        Some(1045) => format!(
            "{text}; check {section}.user and {section}.password; if the server or the user requires TLS or a client \
             certificate, set {section}.tls and {section}.certificate_file"
        ),
        Some(1044 | 1049) => format!("{text}; check {section}.database and the rights of {section}.user"),
        _ if matches!(error, sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::NotFound) => {
            format!("a certificate file cannot be read: see {section}.ca_file and {section}.certificate_file ({text})")
        }
        _ => with_advice(section, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_for_tls_on_one_side_alone() {
        let tls = |text: &str| sqlx::Error::Tls(text.to_owned().into());
        assert!(explain("mysql", &tls("server does not support TLS")).contains("set mysql.tls to off"));
        let text = explain("sources.mysql", &tls("invalid peer certificate: UnknownIssuer"));
        assert!(text.contains("see sources.mysql.ca_file"), "{text}");
        let gone = sqlx::Error::Io(std::io::ErrorKind::NotFound.into());
        assert!(explain("mysql", &gone).contains("mysql.ca_file"));
    }
}
