// Upstream: app, tests::it
// Downstream: actors, config, server
// Role: Keeps the states of alerts in Redis, common to all workers of a group.

use std::time::Duration;

use actors::ports::{AlertStore, AlertStoreError};
use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};
use tokio::sync::Mutex;

use crate::adapters::redis::server::{ConnectError, RedisServer};
use crate::config::RedisSection;

/// Timeout of a connection and of an answer. An alert waits for it.
const ANSWER: Duration = Duration::from_secs(1);

/// How long the states are kept after the last change: longer than the longest closure of the exchanges (12 days), so
/// that the first job after it ends an alert from before.
const KEPT_MS: u64 = 14 * 86_400_000;

/// The most alerts of a group: a few for each kind of data, command and source, and one for each worker. Beyond this the
/// one that has not changed for the longest time is dropped; where it was raised, it is raised again.
const MAX_ALERTS: u64 = 500;

/// Replaces the state of an alert if it is the expected one (empty: none). Keys: the states of the group. Arguments: the
/// alert, the expected and the new state, the time to live, the most alerts. It returns 1 if it has replaced it.
const REPLACE: &str = r"
local found = redis.call('HGET', KEYS[1], ARGV[1])
if (found or '') ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[5]) then
  local states, oldest, oldest_at = redis.call('HGETALL', KEYS[1]), nil, nil
  for n = 1, #states, 2 do
    local is_read, state = pcall(cjson.decode, states[n + 1])
    local at = is_read and type(state) == 'table' and tonumber(state.at) or 0
    if states[n] ~= ARGV[1] and (oldest == nil or at < oldest_at) then
      oldest, oldest_at = states[n], at
    end
  end
  redis.call('HDEL', KEYS[1], oldest)
end
return 1
";

/// The states of the alerts of a group.
pub struct RedisAlerts {
    server: RedisServer,
    key: String,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl std::fmt::Debug for RedisAlerts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisAlerts({} key {})", self.server, self.key)
    }
}

impl RedisAlerts {
    /// The states of this consumer group. Readers of heartbeats search for `<prefix>:*`, which does not match the key.
    pub fn new(section: &RedisSection, group: &str) -> Self {
        let key = format!("{}.alerts:{group}", section.key_prefix);
        Self { server: RedisServer::from(section), key, connection: Mutex::default() }
    }

    /// A call whose existing connection is broken is made once more on a new one. A repeated script that has worked the
    /// first time finds another state than the expected one; the caller then reads it, and finds its own.
    async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, AlertStoreError> {
        self.try_call(command).await.map_err(|error| AlertStoreError {
            store: format!("{} key {}", self.server, self.key),
            reason: self.server.explain(&error),
        })
    }

    async fn try_call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, ConnectError> {
        let mut kept = self.connection.lock().await;
        // Taken out, so that a connection is not used again after its call failed or was cancelled.
        if let Some(mut connection) = kept.take()
            && let Ok(Ok(answer)) = tokio::time::timeout(ANSWER, command.query_async(&mut connection)).await
        {
            *kept = Some(connection);
            return Ok(answer);
        }
        let mut connection = self.server.connect(ANSWER).await?;
        let late = |_elapsed| redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let answer = tokio::time::timeout(ANSWER, command.query_async(&mut connection)).await.map_err(late)??;
        *kept = Some(connection);
        Ok(answer)
    }
}

#[async_trait]
impl AlertStore for RedisAlerts {
    async fn state(&self, name: &str) -> Result<Option<String>, AlertStoreError> {
        self.call(redis::cmd("HGET").arg(&self.key).arg(name)).await
    }

    async fn replace(&self, name: &str, before: Option<&str>, state: &str) -> Result<bool, AlertStoreError> {
        let mut script = redis::cmd("EVAL");
        script.arg(REPLACE).arg(1).arg(&self.key);
        script.arg(name).arg(before.unwrap_or_default()).arg(state).arg(KEPT_MS).arg(MAX_ALERTS);
        self.call(&script).await
    }
}
