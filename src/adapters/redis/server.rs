// Upstream: alerts, fleet, heartbeat, request_counts, sources::databases
// Downstream: adapters::tls, config
// Role: Connects to Redis: login, TLS, and the master that Sentinels name.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, TlsCertificates,
};
use secrecy::{ExposeSecret, SecretString};

use crate::adapters::tls::advice::with_advice;
use crate::adapters::tls::files::{TlsError, TlsFiles};
use crate::config::{RedisSection, RedisSourceSection, SentinelSection, split_address};

/// A Redis server, alone or watched by Sentinels. Certificates are read, and Sentinels are asked, for each new
/// connection: both may have changed.
pub struct RedisServer {
    section: &'static str,
    host: String,
    port: u16,
    database: u8,
    login: Login,
    tls: Option<TlsFiles>,
    sentinel: Option<Sentinels>,
}

struct Login {
    user: String,
    password: Option<SecretString>,
}

struct Sentinels {
    master: String,
    nodes: Vec<(String, u16)>,
    login: Login,
    /// The one that answered last; it is asked first.
    first: AtomicUsize,
}

/// No connection to Redis.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The certificate files cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The server does not answer, or refuses.
    #[error("{0}")]
    Redis(#[from] RedisError),
    /// No Sentinel names the master.
    #[error(
        "no Sentinel names the master {master} ({}); see {section}.sentinel.master, {section}.sentinel.nodes and \
         {section}.sentinel.password",
        reasons.join("; ")
    )]
    NoMaster {
        /// The section of the settings.
        section: &'static str,
        /// The name of the master.
        master: String,
        /// Each Sentinel with its answer.
        reasons: Vec<String>,
    },
}

impl From<&RedisSection> for RedisServer {
    fn from(section: &RedisSection) -> Self {
        let RedisSection { host, port, database, user, password, .. } = section;
        let files = || TlsFiles::new("redis", &section.ca_file, &section.certificate_file, &section.key_file);
        Self {
            section: "redis",
            host: host.clone(),
            port: *port,
            database: *database,
            login: Login { user: user.clone(), password: password.clone() },
            tls: section.tls.then(files),
            sentinel: Sentinels::of(&section.sentinel),
        }
    }
}

impl From<&RedisSourceSection> for RedisServer {
    fn from(section: &RedisSourceSection) -> Self {
        let RedisSourceSection { host, port, database, user, password, .. } = section;
        let files = || TlsFiles::new("sources.redis", &section.ca_file, &section.certificate_file, &section.key_file);
        Self {
            section: "sources.redis",
            host: host.clone(),
            port: *port,
            database: *database,
            login: Login { user: user.clone(), password: password.clone() },
            tls: section.tls.then(files),
            sentinel: Sentinels::of(&section.sentinel),
        }
    }
}

impl Sentinels {
    fn of(section: &SentinelSection) -> Option<Self> {
        let nodes = section.nodes.iter().filter_map(|node| split_address(node));
        (!section.master.is_empty()).then(|| Self {
            master: section.master.clone(),
            nodes: nodes.map(|(host, port)| (host.to_owned(), port)).collect(),
            login: Login { user: section.user.clone(), password: section.password.clone() },
            first: AtomicUsize::new(0),
        })
    }
}

impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        match &self.sentinel {
            None => write!(f, "{scheme}://{}:{}/{}", self.host, self.port, self.database),
            Some(sentinel) => write!(f, "{scheme}://{} (by Sentinel)/{}", sentinel.master, self.database),
        }
    }
}

impl RedisServer {
    /// The certificate files, if connections use TLS.
    pub fn tls(&self) -> Option<&TlsFiles> {
        self.tls.as_ref()
    }

    /// Opens a connection to the master. `step` bounds each connection attempt and each answer.
    pub async fn connect(&self, step: Duration) -> Result<MultiplexedConnection, ConnectError> {
        let certificates = match &self.tls {
            Some(files) => Some(certificates(files).await?),
            None => None,
        };
        let certificates = certificates.as_ref();
        let (host, port) = match &self.sentinel {
            Some(sentinel) => self.master(sentinel, certificates, step).await?,
            None => (self.host.clone(), self.port),
        };
        Ok(open(&host, port, &self.login, self.database, certificates, step).await?)
    }

    /// The address of the master, or of the one server if there are no Sentinels.
    pub async fn address(&self, step: Duration) -> Result<(String, u16), ConnectError> {
        let Some(sentinel) = &self.sentinel else { return Ok((self.host.clone(), self.port)) };
        let certificates = match &self.tls {
            Some(files) => Some(certificates(files).await?),
            None => None,
        };
        self.master(sentinel, certificates.as_ref(), step).await
    }

    async fn master(
        &self,
        sentinel: &Sentinels,
        certificates: Option<&TlsCertificates>,
        step: Duration,
    ) -> Result<(String, u16), ConnectError> {
        let (count, first) = (sentinel.nodes.len(), sentinel.first.load(Ordering::Relaxed));
        let mut reasons = Vec::new();
        for at in (0..count).map(|n| (first + n) % count) {
            let Some((host, port)) = sentinel.nodes.get(at) else { continue };
            match ask(host, *port, sentinel, certificates, step).await {
                Ok(Some(master)) => {
                    sentinel.first.store(at, Ordering::Relaxed);
                    return Ok(master);
                }
                Ok(None) => reasons.push(format!("{host}:{port} does not know it")),
                Err(error) => reasons.push(format!("{host}:{port}: {error}")),
            }
        }
        Err(ConnectError::NoMaster { section: self.section, master: sentinel.master.clone(), reasons })
    }

    /// The error text, with the setting to change if that is known.
    pub fn explain(&self, error: &ConnectError) -> String {
        let ConnectError::Redis(error) = error else { return error.to_string() };
        let section = self.section;
        let is_login = matches!(error.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM"))
            || error.kind() == redis::ErrorKind::AuthenticationFailed;
        let text = text_of(error);
        if is_login {
            return format!("{text}; check {section}.user and {section}.password in the configuration");
        }
        if error.is_connection_refusal() {
            return format!("{text}; check {section}.host and {section}.port in the configuration");
        }
        // A server that expects TLS takes the first bytes for a broken message and closes the connection.
        if self.tls.is_none() && (error.is_connection_dropped() || text.contains("unexpected end of file")) {
            return format!("{text}; if the server uses TLS on this port, set {section}.tls");
        }
        if self.tls.is_some() && error.is_timeout() {
            return format!(
                "{text}; if the server does not use TLS on this port, see {section}.tls and {section}.port"
            );
        }
        with_advice(section, text)
    }
}

/// The text of an error with that of its cause, which the library leaves out for TLS.
fn text_of(error: &RedisError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        let more = found.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = found.source();
    }
    text
}

async fn certificates(files: &TlsFiles) -> Result<TlsCertificates, TlsError> {
    let pem = files.read().await?;
    let client_tls = pem.client.map(|(certificate, key)| ClientTlsConfig {
        client_cert: certificate,
        client_key: key.expose_secret().to_vec(),
    });
    Ok(TlsCertificates { client_tls, root_cert: pem.ca })
}

async fn ask(
    host: &str,
    port: u16,
    sentinel: &Sentinels,
    certificates: Option<&TlsCertificates>,
    step: Duration,
) -> Result<Option<(String, u16)>, RedisError> {
    let mut connection = open(host, port, &sentinel.login, 0, certificates, step).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(&sentinel.master);
    question.query_async(&mut connection).await
}

async fn open(
    host: &str,
    port: u16,
    login: &Login,
    database: u8,
    certificates: Option<&TlsCertificates>,
    step: Duration,
) -> Result<MultiplexedConnection, RedisError> {
    let mut settings = RedisConnectionInfo::default().set_db(database.into());
    if !login.user.is_empty() {
        settings = settings.set_username(&login.user);
    }
    if let Some(password) = &login.password {
        settings = settings.set_password(password.expose_secret());
    }
    let client = match certificates {
        None => {
            let address = ConnectionAddr::Tcp(host.to_owned(), port).into_connection_info()?;
            Client::open(address.set_redis_settings(settings))?
        }
        Some(certificates) => {
            let address = ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None };
            let address = address.into_connection_info()?.set_redis_settings(settings);
            Client::build_with_tls(address, certificates.clone())?
        }
    };
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(step)).set_response_timeout(Some(step));
    client.get_multiplexed_async_connection_with_config(&config).await
}
