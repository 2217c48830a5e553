// Upstream: many
// Downstream: masked
// Role: Declares how connections to servers are protected: protocols, logins and the kinds of TLS.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::config::masked::masked;

/// Encryption and login of the connections to Kafka.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSecuritySection {
    /// Protocol of the broker's listener.
    pub protocol: SecurityProtocol,
}

/// Protocol of a Kafka listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// Neither encryption nor login.
    #[default]
    Plaintext,
    /// TLS; the login, if any, is the client certificate.
    Ssl,
    /// Login without encryption.
    SaslPlaintext,
    /// TLS and login.
    SaslSsl,
}

impl SecurityProtocol {
    /// Its name in librdkafka.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    /// Whether connections are encrypted.
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether a connection begins with a login.
    pub fn has_login(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// Login to Kafka, for the protocols `sasl_plaintext` and `sasl_ssl`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSaslSection {
    /// Mechanism of the login.
    pub mechanism: SaslMechanism,
    /// User.
    pub user: String,
    /// Password of the user.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
}

/// Mechanism of a login to Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum SaslMechanism {
    /// The password travels as it is; only with `sasl_ssl`.
    #[default]
    #[serde(rename = "plain")]
    Plain,
    /// SCRAM-SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM-SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

impl SaslMechanism {
    /// Its name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Sentinels that name the current Redis master.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SentinelSection {
    /// Name of the master. Empty: `host` and `port` are the master.
    pub master: String,
    /// Sentinels, as `host:port`. The first one that answers is asked, and asked again after an error.
    pub nodes: Vec<String>,
    /// User of the Sentinels, if they have users.
    pub user: String,
    /// Password of the Sentinels, if they require one; the password of Redis does not apply to them.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
}

/// TLS of a connection to MySQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MySqlTls {
    /// No TLS.
    #[default]
    Off,
    /// TLS if the server offers it; its certificate is not verified.
    Preferred,
    /// TLS, without a verified certificate.
    Required,
    /// TLS, with a certificate of a trusted CA for any name.
    VerifyCa,
    /// TLS, with a certificate of a trusted CA for the name in `host`.
    VerifyIdentity,
}
