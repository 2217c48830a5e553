// Upstream: secure_stack, tests::it
// Downstream: certificates, own_thread
// Role: Ends TLS in front of a plain server, and asks for client certificates if wanted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, Identity};
use crate::own_thread::ServerThread;

/// A running front. Dropping it stops it and closes its connections.
pub struct TlsFront {
    num_sessions: Arc<AtomicU64>,
    server: ServerThread,
}

impl TlsFront {
    /// Listens on a free port as `identity` and forwards what clients send to `target`, a `host:port`. With `clients`,
    /// it takes only clients with a certificate of that authority.
    pub fn start(target: String, identity: &Identity, clients: Option<&Authority>) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(configuration(identity, clients)));
        let num_sessions = Arc::new(AtomicU64::new(0));
        let counter = num_sessions.clone();
        let serve = async move |listener: TcpListener| {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, target, counter) = (acceptor.clone(), target.clone(), counter.clone());
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    counter.fetch_add(1, Ordering::SeqCst);
                    let Ok(mut server) = TcpStream::connect(target).await else { return };
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        };
        Self { num_sessions, server: ServerThread::serve("tls-front", 0, serve).expect("a free port") }
    }

    /// The listening address.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Number of TLS sessions that began.
    pub fn num_sessions(&self) -> u64 {
        self.num_sessions.load(Ordering::SeqCst)
    }
}

fn configuration(identity: &Identity, clients: Option<&Authority>) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.expect("protocol versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(&authority.ca_file) {
                roots.add(certificate).expect("a CA certificate");
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let key = PrivateKeyDer::from_pem_file(&identity.key).expect("a private key");
    builder.with_single_cert(certificates(&identity.certificate), key).expect("a server's certificate")
}

fn certificates(file: &std::path::Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file).expect("a PEM file").map(|found| found.expect("a certificate")).collect()
}
