// Upstream: app, fleet, redis
// Downstream: actors, adapters, config
// Role: Heartbeats in Redis, as keys that vanish unless they are set again.

use std::fmt;
use std::time::Duration;

use actors::ports::{HeartbeatError, HeartbeatStore};
use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, InfoDict, IntoConnectionInfo, RedisConnectionInfo, RedisError,
};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;

use crate::adapters::probe::Answer;
use crate::config::RedisSection;

/// The oldest Redis the worker is meant for; before it, none has had repairs since 2020.
const OLDEST_VERSION: (u32, u32) = (5, 0);

/// The longest a beat may take, a new connection included: well below the interval between beats.
const DEADLINE: Duration = Duration::from_secs(3);

/// The longest wait for a connection, and for one answer; one try of each on an old and on a new connection fits into
/// [`DEADLINE`].
const STEP_DEADLINE: Duration = Duration::from_secs(1);

/// One worker's heartbeat: a key `<prefix>:<node id>` with a time to live.
///
/// Nothing is connected until the first beat. A connection that failed is dropped, and a call that finds its old
/// connection broken (the server was restarted) tries once more on a new one.
pub struct RedisHeartbeats {
    client: Client,
    key: String,
    store: String,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl fmt::Debug for RedisHeartbeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisHeartbeats").field("store", &self.store).finish_non_exhaustive()
    }
}

impl RedisHeartbeats {
    /// The heartbeat of the worker `node_id`.
    pub fn new(section: &RedisSection, node_id: &str) -> Result<Self, HeartbeatError> {
        let key = format!("{}:{node_id}", section.key_prefix);
        let store = format!("redis://{}:{}/{} key {key}", section.host, section.port, section.database);
        let client = open(section).map_err(|error| HeartbeatError { store: store.clone(), reason: explain(&error) })?;
        Ok(Self { client, key, store, connection: Mutex::new(None) })
    }

    async fn call(&self, command: Cmd) -> Result<(), HeartbeatError> {
        let reason = match tokio::time::timeout(DEADLINE, self.try_call(&command)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => explain(&error),
            Err(_) => format!("no answer within {DEADLINE:?}"),
        };
        Err(HeartbeatError { store: self.store.clone(), reason })
    }

    /// Tries the server: logs in, pings it and asks for its version.
    pub async fn probe(&self) -> Result<Answer, String> {
        let mut connection = connect(&self.client).await.map_err(|error| explain(&error))?;
        redis::cmd("PING").exec_async(&mut connection).await.map_err(|error| explain(&error))?;
        let info: Result<InfoDict, RedisError> = redis::cmd("INFO").arg("server").query_async(&mut connection).await;
        Ok(match info.map(|info| info.get::<String>("redis_version")) {
            Ok(Some(version)) => Answer::default().with_version("Redis", &version, OLDEST_VERSION),
            Ok(None) => Answer::of("the version is not told"),
            // An account may be allowed to keep a heartbeat and nothing else.
            Err(error) => Answer::of(format!("the version is not told: {error}")),
        })
    }

    async fn try_call(&self, command: &Cmd) -> Result<(), RedisError> {
        let mut kept = self.connection.lock().await;
        // Taken out, so that a connection whose call fails or is given up is not used again.
        if let Some(mut connection) = kept.take()
            && command.exec_async(&mut connection).await.is_ok()
        {
            *kept = Some(connection);
            return Ok(());
        }
        let mut connection = connect(&self.client).await?;
        command.exec_async(&mut connection).await?;
        *kept = Some(connection);
        Ok(())
    }
}

#[async_trait]
impl HeartbeatStore for RedisHeartbeats {
    async fn beat(&self, value: &str, ttl: Duration) -> Result<(), HeartbeatError> {
        // Redis refuses a time to live of nothing.
        let ttl_ms = ttl.as_millis().max(1) as u64;
        self.call(redis::cmd("SET").arg(&self.key).arg(value).arg("PX").arg(ttl_ms).take()).await
    }

    async fn remove(&self) -> Result<(), HeartbeatError> {
        self.call(redis::cmd("DEL").arg(&self.key).take()).await
    }
}

/// A client of the server that the settings name; it is not connected yet.
pub(super) fn open(section: &RedisSection) -> Result<Client, RedisError> {
    let mut login = RedisConnectionInfo::default().set_db(section.database.into());
    if let Some(password) = &section.password {
        login = login.set_password(password.expose_secret());
    }
    let address = ConnectionAddr::Tcp(section.host.clone(), section.port).into_connection_info()?;
    Client::open(address.set_redis_settings(login))
}

/// A connection whose every step is bounded in time.
pub(super) async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(STEP_DEADLINE))
        .set_response_timeout(Some(STEP_DEADLINE));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// The server's or the client's words, with what to do about them.
pub(super) fn explain(error: &RedisError) -> String {
    match error.code() {
        Some("WRONGPASS" | "NOAUTH" | "NOPERM") => format!("{error}; check redis.password in the configuration"),
        _ if error.kind() == redis::ErrorKind::AuthenticationFailed => {
            format!("{error}; check redis.password in the configuration")
        }
        _ => error.to_string(),
    }
}
