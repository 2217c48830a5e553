// Upstream: secure_kafka, secure_mariadb, secure_redis, secure_stack, tests::it, tls_front
// Downstream: none
// Role: A certificate authority of a test: makes PEM files of servers and clients, valid, expired or for other names.

use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// From when to when a certificate is valid, in days from now.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    from_day: i64,
    to_day: i64,
}

impl Validity {
    /// Valid now, and for a year.
    pub const NOW: Self = Self { from_day: -1, to_day: 365 };
    /// It has ended.
    pub const EXPIRED: Self = Self { from_day: -30, to_day: -1 };
    /// It has not begun.
    pub const FUTURE: Self = Self { from_day: 30, to_day: 365 };

    /// Valid now, but for this number of days only.
    pub const fn for_days(days: i64) -> Self {
        Self { from_day: -1, to_day: days }
    }
}

/// The PEM files of a server or client.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// Key and certificate in one file, as Kafka wants them.
    pub both: PathBuf,
}

impl Identity {
    /// A file with the private key, encrypted with a password.
    pub fn encrypted_key(&self, password: &str) -> PathBuf {
        let file = self.key.with_extension("encrypted");
        let made = Command::new("openssl")
            .args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "env:KEY_PASSWORD", "-in"])
            .arg(&self.key)
            .arg("-out")
            .arg(&file)
            .env("KEY_PASSWORD", password)
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        file
    }
}

/// A certificate authority with its files in a folder.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    /// The file with the certificate of the authority.
    pub ca_file: PathBuf,
}

impl Authority {
    /// Makes an authority. Its files are in `folder` and begin with `name`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = parameters(&[], name, Validity::NOW);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let ca_file = folder.join(format!("{name}.pem"));
        std::fs::write(&ca_file, issuer.pem()).expect("the certificate of the authority");
        Self { issuer, folder: folder.to_owned(), ca_file }
    }

    /// A server on 127.0.0.1 and localhost.
    pub fn server(&self, name: &str, validity: Validity) -> Identity {
        self.identity(name, &["127.0.0.1", "localhost"], validity)
    }

    /// A server with other names.
    pub fn server_for(&self, name: &str, names: &[&str]) -> Identity {
        self.identity(name, names, Validity::NOW)
    }

    /// A client.
    pub fn client(&self, name: &str, validity: Validity) -> Identity {
        self.identity(name, &[name], validity)
    }

    fn identity(&self, name: &str, names: &[&str], validity: Validity) -> Identity {
        let mut params = parameters(names, name, validity);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = |ending: &str, text: String| {
            let path = self.folder.join(format!("{name}{ending}"));
            std::fs::write(&path, text).expect("a PEM file");
            path
        };
        Identity {
            certificate: file(".pem", certificate.pem()),
            key: file(".key", key.serialize_pem()),
            both: file(".both", key.serialize_pem() + &certificate.pem() + &self.issuer.pem()),
        }
    }
}

fn parameters(names: &[&str], common_name: &str, validity: Validity) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    params.not_before = now + Duration::days(validity.from_day);
    params.not_after = now + Duration::days(validity.to_day);
    params
}
