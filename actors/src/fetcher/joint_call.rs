// Upstream: parts, several_codes
// Downstream: domain, ports
// Role: Lets tasks with the same range of days join one call for several securities.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OnceCell};

use crate::domain::{Code, DateRange};
use crate::ports::SourceError;

/// Time that a call waits for further tasks. It is short beside the answer of a vendor.
const GATHERING: Duration = Duration::from_millis(100);

/// Maximum number of waits, while more and more tasks join.
const MAX_GATHERINGS: u32 = 10;

/// The source and the days of a call.
type Key = (&'static str, DateRange);

type Forming<T> = HashMap<Key, Arc<JointCall<T>>>;

/// The calls that tasks can still join, by source and range. A call is forgotten when it is sent or nobody waits for it,
/// so there are at most as many as fetches.
pub struct JointCalls<T> {
    forming: Mutex<Forming<T>>,
}

impl<T> Default for JointCalls<T> {
    fn default() -> Self {
        Self { forming: Mutex::default() }
    }
}

/// One call for several securities.
struct JointCall<T> {
    members: Mutex<Members>,
    /// Notified when no further task can join.
    full: Notify,
    /// The answer; `None` if only one security joined.
    answer: OnceCell<Answer<T>>,
}

type Answer<T> = Result<Option<Arc<T>>, SourceError>;

#[derive(Default)]
struct Members {
    codes: Vec<Code>,
    num_rows: usize,
}

/// The rows that a task requests.
#[derive(Clone, Copy)]
pub struct CodeRequest {
    /// The security.
    pub code: Code,
    /// The days.
    pub range: DateRange,
    /// Maximum number of its rows in an answer.
    pub num_rows: usize,
}

/// What one call can carry.
#[derive(Clone, Copy)]
pub struct Capacity {
    /// Maximum number of securities.
    pub num_codes: usize,
    /// Maximum number of rows.
    pub num_rows: usize,
}

impl<T> JointCalls<T> {
    /// The answer of a call for this security and others that join it. All tasks of a call share its outcome. `None` if
    /// no other security joined; nothing was sent then.
    pub async fn answer(
        &self,
        source: &'static str,
        request: CodeRequest,
        capacity: Capacity,
        ask: impl AsyncFnOnce(&[Code]) -> Result<T, SourceError>,
    ) -> Answer<T> {
        let key = (source, request.range);
        let call = self.join(key, &request, capacity);
        // If the task that sends the call is cancelled, the next one sends it.
        let send = async || {
            call.gather().await;
            self.close(key, &call);
            let codes = call.members().codes.clone();
            match codes.len() {
                0 | 1 => Ok(None),
                _ => Ok(Some(Arc::new(ask(&codes).await?))),
            }
        };
        call.answer.get_or_init(send).await.clone()
    }

    fn join(&self, key: Key, request: &CodeRequest, capacity: Capacity) -> Arc<JointCall<T>> {
        let mut forming = self.forming();
        // Calls whose tasks all ended.
        forming.retain(|_, call| Arc::strong_count(call) > 1);
        let has_room = |call: &&Arc<JointCall<T>>| {
            let members = call.members();
            members.codes.len() < capacity.num_codes && members.num_rows + request.num_rows <= capacity.num_rows
        };
        let call = match forming.get(&key).filter(has_room) {
            Some(call) => call.clone(),
            None => {
                let new =
                    Arc::new(JointCall { members: Mutex::default(), full: Notify::new(), answer: OnceCell::new() });
                // Its predecessor is full, and is sent without waiting.
                if let Some(full) = forming.insert(key, new.clone()) {
                    full.full.notify_one();
                }
                new
            }
        };
        let mut members = call.members();
        if !members.codes.contains(&request.code) {
            members.codes.push(request.code);
            members.num_rows += request.num_rows;
        }
        drop(members);
        call
    }

    fn close(&self, key: Key, call: &Arc<JointCall<T>>) {
        let mut forming = self.forming();
        if forming.get(&key).is_some_and(|current| Arc::ptr_eq(current, call)) {
            forming.remove(&key);
        }
    }

    fn forming(&self) -> MutexGuard<'_, Forming<T>> {
        self.forming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> JointCall<T> {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while further tasks join and there is room.
    async fn gather(&self) {
        for _ in 0..MAX_GATHERINGS {
            let before = self.members().codes.len();
            let is_full = tokio::time::timeout(GATHERING, self.full.notified()).await.is_ok();
            if is_full || self.members().codes.len() <= before {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::SourceErrorKind;
    use futures_util::future::join_all;
    use std::sync::atomic::{AtomicU32, Ordering};

    const ROOM_FOR_FOUR: Capacity = Capacity { num_codes: 100, num_rows: 5_999 };

    fn code(n: u32) -> Code {
        format!("{n:06}.SZ").parse().unwrap()
    }

    fn request(n: u32, num_rows: usize) -> CodeRequest {
        let range = DateRange { start: "2020-07-01".parse().unwrap(), end: "2025-06-30".parse().unwrap() };
        CodeRequest { code: code(n), range, num_rows }
    }

    async fn ask(sent: &AtomicU32, codes: &[Code]) -> Result<Vec<Code>, SourceError> {
        sent.fetch_add(1, Ordering::SeqCst);
        Ok(codes.to_vec())
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_fill_calls_and_each_finds_itself() {
        let (calls, sent) = (JointCalls::default(), AtomicU32::new(0));
        let tasks = (0..33).map(|n| {
            let (calls, sent) = (&calls, &sent);
            async move {
                let asked = async |codes: &[Code]| ask(sent, codes).await;
                (n, calls.answer("vendor", request(n, 1_212), ROOM_FOR_FOUR, asked).await)
            }
        });
        let mut alone = Vec::new();
        for (n, answer) in join_all(tasks).await {
            match answer.unwrap() {
                Some(codes) => assert!(codes.len() == 4 && codes.contains(&code(n)), "{n}: {codes:?}"),
                None => alone.push(n),
            }
        }
        assert_eq!((sent.load(Ordering::SeqCst), &alone[..]), (8, &[32][..]), "nobody joined the last one");
        assert!(calls.forming().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn other_days_and_sources_are_other_calls() {
        let (calls, sent) = (JointCalls::default(), AtomicU32::new(0));
        let asked = async |codes: &[Code]| ask(&sent, codes).await;
        let mut longer = request(2, 10);
        longer.range.start = longer.range.start.pred_opt().unwrap();
        let answers = tokio::join!(
            calls.answer("vendor", request(1, 10), ROOM_FOR_FOUR, asked),
            calls.answer("vendor", longer, ROOM_FOR_FOUR, asked),
            calls.answer("other", request(1, 10), ROOM_FOR_FOUR, asked),
            calls.answer("vendor", request(1, 10), ROOM_FOR_FOUR, asked),
        );
        let nothing = Ok(None);
        assert_eq!(answers, (nothing.clone(), nothing.clone(), nothing.clone(), nothing), "a security twice is alone");
        assert_eq!(sent.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn all_tasks_of_a_call_share_its_error() {
        let (calls, sent) = (JointCalls::<u8>::default(), AtomicU32::new(0));
        let fail = async |_: &[Code]| {
            sent.fetch_add(1, Ordering::SeqCst);
            let kind = SourceErrorKind::Server("busy".to_owned());
            Err(SourceError { source_name: "vendor", request: "daily".to_owned(), kind })
        };
        let tasks = (0..3).map(|n| calls.answer("vendor", request(n, 10), ROOM_FOR_FOUR, fail));
        assert!(join_all(tasks).await.iter().all(Result::is_err));
        assert_eq!(sent.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_task_stops_no_other() {
        let (calls, sent) = (JointCalls::default(), AtomicU32::new(0));
        let asked = async |codes: &[Code]| ask(&sent, codes).await;
        let mut first = Box::pin(calls.answer("vendor", request(1, 10), ROOM_FOR_FOUR, asked));
        assert!(futures_util::poll!(&mut first).is_pending());
        let others = async {
            drop(first);
            tokio::join!(
                calls.answer("vendor", request(2, 10), ROOM_FOR_FOUR, asked),
                calls.answer("vendor", request(3, 10), ROOM_FOR_FOUR, asked),
            )
        };
        let (second, third) = others.await;
        assert_eq!(
            (second, third),
            (Ok(Some(Arc::new(vec![code(2), code(3)]))), Ok(Some(Arc::new(vec![code(2), code(3)]))))
        );
        assert_eq!(sent.load(Ordering::SeqCst), 1);
    }
}
