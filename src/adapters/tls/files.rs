// Upstream: adapters::clickhouse, adapters::redis, app, inspect
// Downstream: none
// Role: Reads the certificate files of a server's settings and builds the client's side of TLS from them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretSlice};

/// Maximum size of a PEM file: the system's bundle of all CAs has a quarter of it.
const MAX_PEM_BYTES: u64 = 1_000_000;

/// The certificate files that a section of the settings names. They are read for each new connection, so a renewed
/// certificate needs no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    section: &'static str,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

/// The contents of the files.
pub struct Pem {
    /// The CA certificates; `None`: those of the system.
    pub ca: Option<Vec<u8>>,
    /// The client certificate with its private key.
    pub client: Option<(Vec<u8>, SecretSlice<u8>)>,
}

/// Certificate files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{setting}: {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The setting that names the file.
        setting: String,
        /// The file.
        path: PathBuf,
        /// The reason.
        error: std::io::Error,
    },
    /// A file holds no certificate.
    #[error("{setting}: {} holds no certificate in PEM form", path.display())]
    NoCertificate {
        /// The setting that names the file.
        setting: String,
        /// The file.
        path: PathBuf,
    },
    /// A file holds no private key.
    #[error("{setting}: {} holds no private key in PEM form, or an encrypted one; decrypt it", path.display())]
    NoKey {
        /// The setting that names the file.
        setting: String,
        /// The file.
        path: PathBuf,
    },
    /// The client certificate cannot be used with the key.
    #[error("{section}.certificate_file and {section}.key_file cannot be used together: {error}")]
    Client {
        /// The section of the settings.
        section: &'static str,
        /// The reason.
        error: rustls::Error,
    },
    /// There is no CA to trust.
    #[error("the system has no CA certificates; set {0}.ca_file")]
    NoRoots(&'static str),
    /// The library refuses the configuration.
    #[error("TLS of {0}: {1}")]
    Library(&'static str, String),
}

impl TlsFiles {
    /// The files that the section `section` names; an empty path names none.
    pub fn new(section: &'static str, ca: &Path, certificate: &Path, key: &Path) -> Self {
        Self { section, ca: ca.to_owned(), certificate: certificate.to_owned(), key: key.to_owned() }
    }

    /// The section of the settings.
    pub fn section(&self) -> &'static str {
        self.section
    }

    /// Reads the files.
    pub async fn read(&self) -> Result<Pem, TlsError> {
        let files = self.clone();
        let section = self.section;
        let reading = tokio::task::spawn_blocking(move || files.read_blocking());
        reading.await.unwrap_or_else(|error| Err(TlsError::Library(section, error.to_string())))
    }

    /// Reads the files and builds a client's configuration that verifies the server.
    pub async fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let files = self.clone();
        let section = self.section;
        let building = tokio::task::spawn_blocking(move || files.build().map(Arc::new));
        building.await.unwrap_or_else(|error| Err(TlsError::Library(section, error.to_string())))
    }

    /// What verifies a server's certificate.
    pub async fn verifier(&self) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
        let files = self.clone();
        let section = self.section;
        let building = tokio::task::spawn_blocking(move || files.verifier_of(&files.read_blocking()?));
        building.await.unwrap_or_else(|error| Err(TlsError::Library(section, error.to_string())))
    }

    /// The first client certificate, in DER form.
    pub async fn own_certificate(&self) -> Option<CertificateDer<'static>> {
        let (certificate, _) = self.read().await.ok()?.client?;
        CertificateDer::pem_slice_iter(&certificate).next()?.ok()
    }

    fn read_blocking(&self) -> Result<Pem, TlsError> {
        let client = match (self.file("certificate_file", &self.certificate)?, self.file("key_file", &self.key)?) {
            (Some(certificate), Some(key)) => Some((certificate, key.into())),
            _ => None,
        };
        Ok(Pem { ca: self.file("ca_file", &self.ca)?, client })
    }

    fn file(&self, name: &str, path: &Path) -> Result<Option<Vec<u8>>, TlsError> {
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        let unreadable = |error| TlsError::Unreadable { setting: self.setting(name), path: path.to_owned(), error };
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > MAX_PEM_BYTES {
            let text = format!("it is larger than {MAX_PEM_BYTES} bytes");
            return Err(unreadable(std::io::Error::other(text)));
        }
        std::fs::read(path).map(Some).map_err(unreadable)
    }

    fn setting(&self, name: &str) -> String {
        format!("{}.{name}", self.section)
    }

    fn build(&self) -> Result<ClientConfig, TlsError> {
        let pem = self.read_blocking()?;
        let verifier = self.verifier_of(&pem)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder =
            builder.map_err(|error| TlsError::Library(self.section, error.to_string()))?.with_webpki_verifier(verifier);
        let Some((certificate, key)) = &pem.client else { return Ok(builder.with_no_client_auth()) };
        let chain = self.certificates("certificate_file", &self.certificate, certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret())
            .map_err(|_| TlsError::NoKey { setting: self.setting("key_file"), path: self.key.clone() })?;
        let with_client = builder.with_client_auth_cert(chain, key);
        with_client.map_err(|error| TlsError::Client { section: self.section, error })
    }

    fn verifier_of(&self, pem: &Pem) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
        let roots = match &pem.ca {
            Some(ca) => Arc::new(self.roots(ca)?),
            None => system_roots().filter(|roots| !roots.is_empty()).ok_or(TlsError::NoRoots(self.section))?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        verifier.map_err(|error| TlsError::Library(self.section, error.to_string()))
    }

    fn roots(&self, ca: &[u8]) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(self.certificates("ca_file", &self.ca, ca)?);
        if added == 0 {
            return Err(TlsError::NoCertificate { setting: self.setting("ca_file"), path: self.ca.clone() });
        }
        Ok(roots)
    }

    fn certificates(&self, name: &str, path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
        if found.is_empty() {
            return Err(TlsError::NoCertificate { setting: self.setting(name), path: path.to_owned() });
        }
        Ok(found)
    }
}

/// The CA certificates of the system, read once.
fn system_roots() -> Option<Arc<RootCertStore>> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    Some(roots.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(ca: &str, certificate: &str, key: &str) -> Result<ClientConfig, TlsError> {
        TlsFiles::new("redis", Path::new(ca), Path::new(certificate), Path::new(key)).build()
    }

    #[test]
    fn errors_name_the_setting_and_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("some.pem").display().to_string();
        std::fs::write(&file, "no PEM").unwrap();
        let text = build("/nowhere/ca.pem", "", "").unwrap_err().to_string();
        assert!(text.starts_with("redis.ca_file: /nowhere/ca.pem cannot be read: No such file"), "{text}");
        let text = build(&file, "", "").unwrap_err().to_string();
        assert_eq!(text, format!("redis.ca_file: {file} holds no certificate in PEM form"));
        let text = build("", &file, &file).map(drop).unwrap_err().to_string();
        assert!(text.contains("redis."), "{text}");
        std::fs::write(&file, vec![b'x'; 1_000_001]).unwrap();
        assert!(build(&file, "", "").unwrap_err().to_string().contains("larger than"));
    }
}
