// Upstream: app, redis, tests::it
// Downstream: actors, adapters, config, rights, server
// Role: Writes the heartbeat of a worker to Redis, as a key with a time to live.

use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use actors::ports::{HeartbeatError, HeartbeatStore};
use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, InfoDict, Pipeline, RedisError};
use tokio::sync::Mutex;

use crate::adapters::probe::Answer;
use crate::adapters::redis::rights::with_rights;
use crate::adapters::redis::server::{ConnectError, RedisServer};
use crate::config::RedisSection;

/// The oldest supported Redis version. Older versions have received no fixes since 2020.
const OLDEST_VERSION: (u32, u32) = (5, 0);

/// Timeout of one heartbeat, including a new connection: well below the heartbeat interval.
const DEADLINE: Duration = Duration::from_secs(3);

/// Timeout of a connection setup and of one response. An attempt on an old connection and one on a new connection
/// together fit into [`DEADLINE`].
const STEP_DEADLINE: Duration = Duration::from_secs(1);

/// The heartbeat of one worker: a key `<prefix>:<node id>` with a time to live.
///
/// The first heartbeat opens the connection. A failed connection is dropped. A call whose existing connection is
/// broken, for example after a server restart, retries once on a new connection.
pub struct RedisHeartbeats {
    server: RedisServer,
    /// Beginning of the keys of heartbeats.
    prefix: String,
    key: String,
    /// Beginning of the keys of claims. Readers of heartbeats search for `<prefix>:*`, which does not match it.
    claims: String,
    /// Beginning of the keys of notes about stored tasks.
    stored: String,
    store: String,
    connection: Mutex<Option<MultiplexedConnection>>,
    written: std::sync::Mutex<Written>,
}

/// What this process has written last. An attempt may have arrived although its answer did not.
#[derive(Default)]
struct Written {
    acknowledged: Option<String>,
    attempted: Option<String>,
}

impl Written {
    fn is_mine(&self, value: &str) -> bool {
        [&self.acknowledged, &self.attempted].into_iter().flatten().any(|mine| mine == value)
    }
}

impl fmt::Debug for RedisHeartbeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisHeartbeats").field("store", &self.store).finish_non_exhaustive()
    }
}

impl RedisHeartbeats {
    /// The heartbeat of the worker `node_id`.
    pub fn new(section: &RedisSection, node_id: &str) -> Self {
        let key = format!("{}:{node_id}", section.key_prefix);
        let server = RedisServer::from(section);
        let store = format!("{server} key {key}");
        Self {
            server,
            prefix: section.key_prefix.clone(),
            key,
            claims: format!("{}.claim", section.key_prefix),
            stored: format!("{}.stored", section.key_prefix),
            store,
            connection: Mutex::new(None),
            written: std::sync::Mutex::default(),
        }
    }

    /// The address of the server, which a Sentinel names if there are any.
    pub async fn address(&self) -> Result<(String, u16), String> {
        self.server.address(STEP_DEADLINE).await.map_err(|error| self.server.explain(&error))
    }

    async fn call<T: FromRedisValue>(&self, commands: Pipeline) -> Result<T, HeartbeatError> {
        let reason = match tokio::time::timeout(DEADLINE, self.try_call(&commands)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => self.server.explain(&error),
            Err(_) => format!("no answer within {DEADLINE:?}"),
        };
        Err(HeartbeatError { store: self.store.clone(), reason })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the stored heartbeat is that of another process.
    async fn is_anothers(&self) -> Result<bool, HeartbeatError> {
        let (stored,): (Option<String>,) = self.call(redis::pipe().get(&self.key).clone()).await?;
        Ok(stored.is_some_and(|stored| !self.written().is_mine(&stored)))
    }

    /// Tests the server: logs in, sends PING and reads the version.
    pub async fn probe(&self) -> Result<Answer, String> {
        let explain = |error: ConnectError| self.server.explain(&error);
        let mut connection = self.server.connect(STEP_DEADLINE).await.map_err(explain)?;
        redis::cmd("PING").exec_async(&mut connection).await.map_err(|error| explain(error.into()))?;
        let info: Result<InfoDict, RedisError> = redis::cmd("INFO").arg("server").query_async(&mut connection).await;
        let answer = match info.map(|info| info.get::<String>("redis_version")) {
            Ok(Some(version)) => Answer::default().with_version("Redis", &version, OLDEST_VERSION),
            Ok(None) => Answer::of("the server does not report its version"),
            // The account may have rights for the heartbeat key only.
            Err(error) => Answer::of(format!("cannot read the version: {error}")),
        };
        Ok(with_rights(answer, &self.prefix, &mut connection).await)
    }

    async fn try_call<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, ConnectError> {
        let mut kept = self.connection.lock().await;
        // Taken out, so that a connection is not reused after its call failed or was cancelled.
        if let Some(mut connection) = kept.take()
            && let Ok(answer) = commands.query_async(&mut connection).await
        {
            *kept = Some(connection);
            return Ok(answer);
        }
        let mut connection = self.server.connect(STEP_DEADLINE).await?;
        let answer = commands.query_async(&mut connection).await?;
        *kept = Some(connection);
        Ok(answer)
    }
}

#[async_trait]
impl HeartbeatStore for RedisHeartbeats {
    async fn beat(&self, value: &str, ttl: Duration) -> Result<Option<String>, HeartbeatError> {
        let before = self.written().attempted.replace(value.to_owned());
        // Redis rejects a time to live of zero.
        let ttl_ms = ttl.as_millis().max(1) as u64;
        let mut commands = redis::pipe();
        commands.get(&self.key).cmd("SET").arg(&self.key).arg(value).arg("PX").arg(ttl_ms).ignore();
        let (stored,): (Option<String>,) = self.call(commands).await?;
        let mut written = self.written();
        // Before its own first heartbeat a worker may find that of the process that it replaces.
        let is_first = written.acknowledged.is_none();
        let is_known = |stored: &String| written.is_mine(stored) || before.as_ref() == Some(stored);
        let others = stored.filter(|stored| !is_first && !is_known(stored));
        written.acknowledged = Some(value.to_owned());
        Ok(others)
    }

    async fn remove(&self) -> Result<(), HeartbeatError> {
        // Between the two requests another process may write; its next heartbeat follows soon.
        if self.is_anothers().await? {
            tracing::warn!(key = self.key, "the heartbeat of another worker with the same worker.node_id is kept");
            return Ok(());
        }
        self.call(redis::pipe().del(&self.key).ignore().clone()).await
    }

    async fn claim(&self, work: &str, ttl: Duration) -> Result<bool, HeartbeatError> {
        let key = format!("{}:{work}", self.claims);
        let ttl_ms = ttl.as_millis().max(1) as u64;
        let mut claim = redis::pipe();
        claim.cmd("SET").arg(&key).arg(&self.key).arg("NX").arg("PX").arg(ttl_ms);
        // The answer is OK, or nil if the key exists.
        let (answer,): (Option<String>,) = self.call(claim).await?;
        Ok(answer.is_some())
    }

    /// A key for each task. The limits of the vendors and the time to live bound their number.
    async fn note_stored(&self, tasks: &[(Arc<str>, u64)], ttl: Duration) -> Result<(), HeartbeatError> {
        let ttl_ms = ttl.as_millis().max(1) as u64;
        let mut notes = redis::pipe();
        for (task, rows) in tasks {
            notes.cmd("SET").arg(format!("{}:{task}", self.stored)).arg(*rows).arg("PX").arg(ttl_ms).ignore();
        }
        self.call(notes).await
    }

    async fn noted_rows(&self, task: &str) -> Result<Option<u64>, HeartbeatError> {
        let (rows,): (Option<u64>,) = self.call(redis::pipe().get(format!("{}:{task}", self.stored)).clone()).await?;
        Ok(rows)
    }
}
