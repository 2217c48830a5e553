// Upstream: app, rights, sources::shared, tests::it
// Downstream: actors, config, server
// Role: Counts the requests to vendors of all workers with the same account, in Redis.

//! One atomic script per request: a vendor allows a few hundred requests per minute, so its cost does not matter. The
//! script takes Redis' own time; the clocks of workers may differ.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::adapters::redis::server::{ConnectError, RedisServer};
use crate::config::RedisSection;

/// Timeout of an answer. A request to a vendor waits for it.
const ANSWER: Duration = Duration::from_secs(1);

/// How long Redis is not asked after a failure, so that not every request waits for the timeout.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long a worker counts as a member after its last question. Workers ask every second, also while they send nothing.
const MEMBER_MS: u64 = 45_000;

/// How long a worker that waits for its turn precedes requests of a backfill.
const PRECEDENCE_MS: u64 = 2_000;

/// Prefix of the keys. Ginkgo's own keys begin with other words.
pub const PREFIX: &str = "ginkgo:data_worker:requests";

/// Takes one request, or tells when to ask again; or only registers a member. Keys: the requests of the last window by their time, the members, the
/// number of requests of the day, the mark of a worker that waits. It returns the wait in milliseconds (0: taken, -1:
/// the day is full), the requests in the window and the members.
const TAKE: &str = r"
local now_parts = redis.call('TIME')
local now = now_parts[1] * 1000 + math.floor(now_parts[2] / 1000)
local window, per_minute, per_day = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local member, id, is_background = ARGV[4], ARGV[5], ARGV[6] == '1'
redis.call('ZADD', KEYS[2], now, member)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[7]))
redis.call('PEXPIRE', KEYS[2], ARGV[7])
local members = redis.call('ZCARD', KEYS[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local sent = redis.call('ZCARD', KEYS[1])
if ARGV[9] == '0' then
  return {1, sent, members}
end
if per_day > 0 and tonumber(redis.call('GET', KEYS[3]) or '0') >= per_day then
  return {-1, sent, members}
end
local limit = per_minute
if is_background then
  limit = math.max(1, per_minute - math.ceil(per_minute / 10))
  if redis.call('EXISTS', KEYS[4]) == 1 then
    return {1000, sent, members}
  end
end
if per_minute > 0 and sent >= limit then
  local place = sent - limit
  local due = redis.call('ZRANGE', KEYS[1], place, place, 'WITHSCORES')
  if not is_background then
    redis.call('SET', KEYS[4], '1', 'PX', ARGV[8])
  end
  return {math.max(1, tonumber(due[2]) + window - now), sent, members}
end
redis.call('ZADD', KEYS[1], now, id)
redis.call('PEXPIRE', KEYS[1], window)
redis.call('INCR', KEYS[3])
redis.call('EXPIRE', KEYS[3], 172800)
return {0, sent + 1, members}
";

/// Whose requests come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// A worker.
    Worker,
    /// A backfill: it leaves a tenth of the limit to the workers, and waits while one of them does.
    Background,
}

/// The counts of a group of workers.
pub struct RequestCounts {
    server: RedisServer,
    member: String,
    priority: Priority,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    failed_at: Option<Instant>,
}

impl std::fmt::Debug for RequestCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RequestCounts({} as {})", self.server, self.member)
    }
}

/// A request that is to be counted.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Source and account. It contains no secret.
    pub account: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// Requests per window; 0: no limit.
    pub per_minute: u32,
    /// Requests per day; 0: no limit.
    pub per_day: u32,
    /// The window.
    pub window: Duration,
    /// The Shanghai day.
    pub day: chrono::NaiveDate,
}

/// Whether a request is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is counted and may be sent.
    Taken,
    /// It may be asked for again after this time.
    Wait(Duration),
    /// The requests of the day are used up.
    DayIsFull,
}

/// The answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whether the request is counted.
    pub verdict: Verdict,
    /// Requests of the whole group in the window.
    pub num_sent: u32,
    /// Workers that use the account.
    pub num_members: u32,
}

/// The counts cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum CountsError {
    /// Redis failed a moment ago and is not asked again yet.
    #[error("Redis failed less than a second ago")]
    AskedJustNow,
    /// No connection, or no answer.
    #[error("{0}")]
    Redis(String),
}

impl RequestCounts {
    /// The counts in this Redis. `member` names the process.
    pub fn new(section: &RedisSection, member: &str, priority: Priority) -> Arc<Self> {
        let (server, member) = (RedisServer::from(section), member.to_owned());
        Arc::new(Self { server, member, priority, state: Mutex::default() })
    }

    /// Takes one request from the budget of the group.
    pub async fn take(&self, question: &Question<'_>) -> Result<Answer, CountsError> {
        self.answer(question, true).await
    }

    /// Registers as a member and takes nothing.
    pub async fn look(&self, question: &Question<'_>) -> Result<Answer, CountsError> {
        self.answer(question, false).await
    }

    /// A connection that broke while nobody used it is no outage: the question is asked once more on a new one. If the
    /// first one was counted all the same, the group sends one request less.
    async fn answer(&self, question: &Question<'_>, takes: bool) -> Result<Answer, CountsError> {
        let (connection, is_new) = self.connection().await?;
        let error = match self.ask(connection, question, takes).await {
            Err(error) if !is_new && !error.is_timeout() => error,
            answer => return self.judged(answer).await,
        };
        tracing::debug!(%error, server = %self.server, "connection to Redis is broken, will connect again");
        self.state.lock().await.connection = None;
        let (connection, _) = self.connection().await?;
        let answer = self.ask(connection, question, takes).await;
        self.judged(answer).await
    }

    /// The connection, which carries several questions at once, and whether it is new.
    async fn connection(&self) -> Result<(MultiplexedConnection, bool), CountsError> {
        let mut state = self.state.lock().await;
        if state.failed_at.is_some_and(|failed_at| failed_at.elapsed() < RETRY_AFTER) {
            return Err(CountsError::AskedJustNow);
        }
        if let Some(connection) = state.connection.clone() {
            return Ok((connection, false));
        }
        match self.server.connect(ANSWER).await {
            Ok(connection) => Ok((state.connection.insert(connection).clone(), true)),
            Err(error) => Err(self.failed(&mut state, &error)),
        }
    }

    async fn judged(&self, answer: Result<Answer, redis::RedisError>) -> Result<Answer, CountsError> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.failed(&mut *self.state.lock().await, &ConnectError::from(error))),
        }
    }

    async fn ask(
        &self,
        mut connection: MultiplexedConnection,
        question: &Question<'_>,
        takes: bool,
    ) -> Result<Answer, redis::RedisError> {
        let Question { account, interface, per_minute, per_day, window, day } = question;
        let key = |what: &str| format!("{PREFIX}:{{{account}:{interface}}}:{what}");
        let mut script = redis::cmd("EVAL");
        script.arg(TAKE).arg(4).arg(key("sent")).arg(key("members")).arg(key(&format!("day:{day}"))).arg(key("waits"));
        let id = actors::domain::random_id::random_uuid().to_string();
        script.arg(window.as_millis() as u64).arg(*per_minute).arg(*per_day).arg(&self.member).arg(id);
        script
            .arg(u8::from(self.priority == Priority::Background))
            .arg(MEMBER_MS)
            .arg(PRECEDENCE_MS)
            .arg(u8::from(takes));
        let asked = tokio::time::timeout(ANSWER, script.query_async::<[i64; 3]>(&mut connection)).await;
        let [wait, num_sent, num_members] =
            asked.unwrap_or_else(|_elapsed| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))?;
        let count = |number: i64| u32::try_from(number).unwrap_or(0);
        let verdict = match u64::try_from(wait) {
            Ok(0) => Verdict::Taken,
            Ok(wait) => Verdict::Wait(Duration::from_millis(wait)),
            Err(_negative) => Verdict::DayIsFull,
        };
        Ok(Answer { verdict, num_sent: count(num_sent), num_members: count(num_members).max(1) })
    }

    fn failed(&self, state: &mut State, error: &ConnectError) -> CountsError {
        *state = State { connection: None, failed_at: Some(Instant::now()) };
        CountsError::Redis(format!("{}: {}", self.server, self.server.explain(error)))
    }
}
