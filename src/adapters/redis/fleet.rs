// Upstream: cli
// Downstream: config, server
// Role: Reads the heartbeats of all workers from Redis.

use std::time::Duration;

use crate::adapters::redis::server::{ConnectError, RedisServer};
use crate::config::RedisSection;

/// Maximum number of workers read; far more than one set of topics can serve.
const MAX_WORKERS: usize = 1_000;

/// Timeout of a connection attempt and of one answer.
const STEP_DEADLINE: Duration = Duration::from_secs(1);

/// Timeout for reading all heartbeats.
const DEADLINE: Duration = Duration::from_secs(5);

/// The stored heartbeat of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundHeartbeat {
    /// The node id of the worker.
    pub node_id: String,
    /// The heartbeat as JSON text.
    pub value: String,
    /// The remaining time to live.
    pub ttl: Duration,
}

/// All heartbeats, ordered by node id. The error contains the address and the reason.
pub async fn heartbeats(section: &RedisSection) -> Result<Vec<FoundHeartbeat>, String> {
    let server = RedisServer::from(section);
    let at = server.to_string();
    let reading = tokio::time::timeout(DEADLINE, read(&server, section)).await;
    match reading {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(format!("{at}: {}", server.explain(&error))),
        Err(_) => Err(format!("{at}: no answer within {DEADLINE:?}")),
    }
}

async fn read(server: &RedisServer, section: &RedisSection) -> Result<Vec<FoundHeartbeat>, ConnectError> {
    let mut connection = server.connect(STEP_DEADLINE).await?;
    let prefix = format!("{}:", section.key_prefix);
    let (mut cursor, mut keys) = (0_u64, Vec::new());
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{}*", literal(&prefix))).arg("COUNT").arg(1_000);
        let (next, found): (u64, Vec<String>) = scan.query_async(&mut connection).await?;
        keys.extend(found);
        cursor = next;
        if cursor == 0 || keys.len() >= MAX_WORKERS {
            break;
        }
    }
    // SCAN may return a key twice.
    keys.sort();
    keys.dedup();
    let mut heartbeats = Vec::with_capacity(keys.len());
    for key in &keys {
        let mut both = redis::pipe();
        both.get(key).pttl(key);
        let (value, ttl_ms): (Option<String>, i64) = both.query_async(&mut connection).await?;
        let (Some(value), Some(node_id)) = (value, key.strip_prefix(&prefix)) else { continue };
        let ttl = Duration::from_millis(u64::try_from(ttl_ms).unwrap_or(0));
        heartbeats.push(FoundHeartbeat { node_id: node_id.to_owned(), value, ttl });
    }
    Ok(heartbeats)
}

/// Escapes a text so that a Redis pattern matches it literally.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_patterns_in_a_prefix_mean_themselves() {
        assert_eq!(literal("heartbeat:a[1]*:"), "heartbeat:a\\[1\\]\\*:");
    }
}
