// Upstream: app
// Downstream: advice, files, x509
// Role: Asks a server for its TLS version and certificate, whether or not the certificate can be trusted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::adapters::tls::advice::with_advice;
use crate::adapters::tls::files::TlsFiles;
use crate::adapters::tls::x509::CertificateFacts;

/// A server's certificate, followed by those of its CAs.
type Chain = Vec<CertificateDer<'static>>;

/// How TLS begins on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At once.
    AtOnce,
    /// After MySQL's greeting and the request for TLS.
    AfterMySqlGreeting,
}

/// MySQL's flag of a server or client that can use TLS.
const MYSQL_SSL: u32 = 0x0800;

/// Timeout of one inspection: below that of the connection test that it belongs to.
const DEADLINE: Duration = Duration::from_secs(3);

/// Maximum length of MySQL's greeting.
const MAX_GREETING: usize = 4_096;

/// What a server presents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// The facts for an operator. They contain what is wrong with the dates of the server's and of the client's
    /// certificate, and the warning that one of them ends soon.
    pub facts: Vec<String>,
    /// Why the certificate cannot be verified, with the setting to change. A client that does not verify takes it.
    pub problem: Option<String>,
    /// Whether the server has shown a certificate, so that it uses TLS.
    pub has_tls: bool,
    /// The end of the server's certificate.
    pub server_end: Option<DateTime<Utc>>,
    /// The end of the client's certificate.
    pub client_end: Option<DateTime<Utc>>,
}

/// Asks a server.
pub async fn inspect(host: &str, port: u16, files: &TlsFiles, begin: Begin) -> Inspection {
    let asked = tokio::time::timeout(DEADLINE, ask(host, port, begin)).await;
    let mut found = Inspection::default();
    match asked.unwrap_or_else(|_| Err(format!("no answer within {DEADLINE:?}"))) {
        Ok((version, chain)) => {
            found.has_tls = true;
            found.server_end = chain.first().and_then(CertificateFacts::of).map(|facts| facts.not_after);
            found.facts.extend(chain.first().map(|certificate| describe(&version, certificate)));
            found.problem = verify(host, files, &chain).await.err();
        }
        Err(reason) => found.facts.push(format!("the certificate of {host}:{port} cannot be seen: {reason}")),
    }
    let own = files.own_certificate().await.as_ref().and_then(CertificateFacts::of);
    found.client_end = own.as_ref().map(|own| own.not_after);
    if let Some(own) = own
        && let Some(warning) = own.warning(Utc::now())
    {
        found.facts.push(format!(
            "the client certificate ({}.certificate_file) of {}: {warning}",
            files.section(),
            own.subject
        ));
    }
    found
}

/// Verifies a chain as a client does.
async fn verify(host: &str, files: &TlsFiles, chain: &[CertificateDer<'static>]) -> Result<(), String> {
    let verifier = files.verifier().await.map_err(|error| error.to_string())?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let Some((certificate, intermediates)) = chain.split_first() else { return Ok(()) };
    let verified = verifier.verify_server_cert(certificate, intermediates, &name, &[], UnixTime::now());
    verified.map(drop).map_err(|error| with_advice(files.section(), error.to_string()))
}

fn describe(version: &str, certificate: &CertificateDer<'_>) -> String {
    let Some(found) = CertificateFacts::of(certificate) else {
        return format!("{version}, with a certificate that cannot be read");
    };
    let CertificateFacts { subject, issuer, not_after, .. } = &found;
    let text = format!("{version}, certificate of {subject} by {issuer} until {}", not_after.format("%Y-%m-%d"));
    match found.warning(Utc::now()) {
        Some(warning) => format!("{text}; {warning}"),
        None => text,
    }
}

async fn ask(host: &str, port: u16, begin: Begin) -> Result<(String, Chain), String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let mut stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    if begin == Begin::AfterMySqlGreeting {
        begin_mysql(&mut stream).await?;
    }
    let seen = Arc::new(Seen { chain: Mutex::default(), provider: rustls::crypto::ring::default_provider() });
    let config = ClientConfig::builder_with_provider(Arc::new(seen.provider.clone()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(seen.clone())
        .with_no_client_auth();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let chain = std::mem::take(&mut *seen.chain.lock().unwrap_or_else(PoisonError::into_inner));
    match (connected, chain) {
        (Ok(stream), chain) if !chain.is_empty() => {
            let version = stream.get_ref().1.protocol_version();
            let version = version.and_then(|version| version.as_str()).unwrap_or("TLS").replace('_', ".");
            Ok((version, chain))
        }
        // A server that asks for a client certificate has shown its own before it refuses.
        (Err(_), chain) if !chain.is_empty() => Ok(("TLS".to_owned(), chain)),
        (Err(error), _) => Err(error.to_string()),
        (Ok(_), _) => Err("the server has shown no certificate".to_owned()),
    }
}

/// Reads the greeting and asks for TLS.
async fn begin_mysql(stream: &mut TcpStream) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut head = [0_u8; 4];
    stream.read_exact(&mut head).await.map_err(failed)?;
    let [a, b, c, _] = head;
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    if length > MAX_GREETING {
        return Err("the server does not speak MySQL's protocol".to_owned());
    }
    let mut greeting = vec![0; length];
    stream.read_exact(&mut greeting).await.map_err(failed)?;
    // Protocol, version as text with a zero, thread, eight bytes and a zero, then the lower half of the flags.
    let after_version = greeting.iter().skip(1).position(|byte| *byte == 0).map(|end| end + 2);
    let flags = after_version.and_then(|begin| greeting.get(begin + 13..begin + 15));
    let flags = flags.map_or(0, |bytes| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
    if flags & MYSQL_SSL == 0 {
        return Err("the server offers no TLS".to_owned());
    }
    // Protocol 4.1, TLS, secure passwords.
    let wanted = 0x0200_u32 | MYSQL_SSL | 0x8000;
    let mut request = vec![32, 0, 0, 1];
    request.extend_from_slice(&wanted.to_le_bytes());
    request.extend_from_slice(&(1_u32 << 24).to_le_bytes());
    request.push(45);
    request.extend_from_slice(&[0; 23]);
    stream.write_all(&request).await.map_err(failed)
}

/// Takes any chain and keeps it. Nothing is sent on such a connection.
#[derive(Debug)]
struct Seen {
    chain: Mutex<Chain>,
    provider: CryptoProvider,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = std::iter::once(end_entity).chain(intermediates);
        let mut seen = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = all.map(|certificate| certificate.clone().into_owned()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
