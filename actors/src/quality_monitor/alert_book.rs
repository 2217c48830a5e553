// Upstream: actor
// Downstream: alert_draft, alert_state, domain, notifications, ports, simulation
// Role: Decides by the common state of the group which alerts a worker publishes, and publishes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::domain::clock::utc_now;
use crate::notifications::publish;
use crate::ports::{AlertStore, AlertStoreError, Outbox, Swappable};
use crate::quality_monitor::alert_draft::AlertDraft;
use crate::quality_monitor::alert_state::{AlertState, AlertTransition, Observation};

/// Attempts to change a state that other workers change, too. A worker changes a state a few times a minute at most.
const TRIES: u32 = 5;

/// How long the store is not asked after a failure, so that no alert waits for it.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The alerts of a group, as one worker reports them. Where the common states cannot be asked, the worker goes on with
/// those it knows: rather two messages than none.
pub struct AlertBook {
    store: Arc<Swappable<dyn AlertStore>>,
    outbox: Arc<dyn Outbox>,
    node_id: Arc<str>,
    /// Fair, so that drafts of one alert are judged in their order.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By alert; there are as many as kinds of alerts times commands, sources or kinds of data.
    states: BTreeMap<String, KnownState>,
    /// Ends of conditions that are not reported yet.
    away: BTreeMap<String, AlertDraft>,
    failed_at: Option<Instant>,
    /// Whether it is logged that the store fails.
    is_logged: bool,
}

#[derive(Default, Clone)]
struct KnownState {
    state: AlertState,
    /// Whether this worker has decided alone since it has read the common state.
    is_alone: bool,
}

impl Known {
    /// Keeps a common state. Returns whether an end is not reported yet.
    fn keep(&mut self, name: &str, state: AlertState) -> bool {
        if std::mem::take(&mut self.is_logged) {
            tracing::info!("alerts are shared with the other workers again");
        }
        self.failed_at = None;
        let is_away = state.is_away();
        self.states.insert(name.to_owned(), KnownState { state, is_alone: false });
        is_away
    }
}

/// How a draft is judged.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// See [`Observation::window`].
    window: Duration,
    /// Only an end that is not reported yet may be reported.
    settles: bool,
}

impl AlertBook {
    /// A book of the states in `store` that publishes through `outbox`.
    pub fn new(store: Arc<Swappable<dyn AlertStore>>, outbox: Arc<dyn Outbox>, node_id: Arc<str>) -> Self {
        Self { store, outbox, node_id, known: Mutex::default() }
    }

    /// Reports what a worker sees of an alert, if it is news for the group. What another worker has seen within `window`
    /// keeps an end from being reported.
    pub async fn tell(&self, draft: AlertDraft, window: Duration) {
        self.judge(draft, Terms { window, settles: false }).await;
    }

    /// Reports the ends that were not reported yet and are due now.
    pub async fn settle(&self, window: Duration) {
        let away: Vec<AlertDraft> = self.known.lock().await.away.values().cloned().collect();
        for draft in away {
            self.judge(draft, Terms { window, settles: true }).await;
        }
    }

    async fn judge(&self, draft: AlertDraft, terms: Terms) {
        let transition = {
            let mut known = self.known.lock().await;
            let judge = |state: &mut AlertState| self.transition(&draft, terms, state);
            let (transition, is_away) = self.change(&mut known, &draft.name, judge).await;
            match is_away {
                true => drop(known.away.insert(draft.name.clone(), draft.clone())),
                false => drop(known.away.remove(&draft.name)),
            }
            transition
        };
        let Some(transition) = transition else { return };
        if publish(self.outbox.as_ref(), &self.node_id, &(draft.words)(transition)).await {
            let mut known = self.known.lock().await;
            self.change(&mut known, &draft.name, |state| state.said(transition)).await;
        }
    }

    fn transition(&self, draft: &AlertDraft, terms: Terms, state: &mut AlertState) -> Option<AlertTransition> {
        if terms.settles && !state.is_away() {
            return None;
        }
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        state.judge(&Observation {
            node_id: &self.node_id,
            level: draft.level,
            now: utc_now().timestamp_millis(),
            cool_down: millis(draft.cool_down.unwrap_or_default()),
            window: millis(terms.window),
            repeats: draft.cool_down.is_some(),
        })
    }

    /// Changes the common state of an alert, or the known one where the common one cannot be asked. Returns what the
    /// change returns, and whether an end is not reported yet.
    async fn change<T>(&self, known: &mut Known, name: &str, change: impl Fn(&mut AlertState) -> T) -> (T, bool) {
        if known.failed_at.is_none_or(|at| at.elapsed() >= RETRY_AFTER) {
            match self.try_change(known, name, &change).await {
                Ok(Some(done)) => return done,
                Ok(None) => tracing::warn!(alert = name, "other workers change this alert all the time"),
                Err(error) => self.note_failure(known, &error),
            }
        }
        let own = known.states.entry(name.to_owned()).or_default();
        own.is_alone = true;
        let changed = change(&mut own.state);
        (changed, own.state.is_away())
    }

    /// `None` if other workers were faster each time.
    async fn try_change<T>(
        &self,
        known: &mut Known,
        name: &str,
        change: &impl Fn(&mut AlertState) -> T,
    ) -> Result<Option<(T, bool)>, AlertStoreError> {
        let store = self.store.pin();
        let mut attempt: Option<(String, AlertState, T)> = None;
        for _ in 0..TRIES {
            let found = store.state(name).await?;
            // An attempt may have succeeded although its answer was lost.
            if let Some((_, state, changed)) = attempt.take_if(|(text, ..)| found.as_ref() == Some(text)) {
                return Ok(Some((changed, known.keep(name, state))));
            }
            let mut state = joined(found.as_deref(), known.states.get(name));
            let changed = change(&mut state);
            // A state always has a text.
            let text = serde_json::to_string(&state).unwrap_or_default();
            let is_new = found.as_ref() != Some(&text) && (found.is_some() || state != AlertState::default());
            if !is_new || store.replace(name, found.as_deref(), &text).await? {
                return Ok(Some((changed, known.keep(name, state))));
            }
            attempt = Some((text, state, changed));
        }
        Ok(None)
    }

    fn note_failure(&self, known: &mut Known, error: &AlertStoreError) {
        known.failed_at = Some(Instant::now());
        if !std::mem::replace(&mut known.is_logged, true) {
            tracing::warn!(%error, "alerts are not shared with the other workers: some may be sent twice");
        }
    }
}

/// The common state, with what this worker has decided alone. Where the store has no state (it is new, or has lost its
/// data), the known one counts; so does one whose text cannot be read.
fn joined(found: Option<&str>, own: Option<&KnownState>) -> AlertState {
    let common: Option<AlertState> = found.and_then(|text| serde_json::from_str(text).ok());
    match (common, own) {
        (Some(mut common), Some(KnownState { state, is_alone: true })) => {
            common.join(state);
            common
        }
        (Some(common), _) => common,
        (None, own) => own.map(|own| own.state.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Level, Notification};
    use crate::ports::MemoryAlerts;
    use crate::simulation::ModelOutbox;
    use async_trait::async_trait;
    use serde_json::json;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    const WINDOW: Duration = Duration::from_secs(600);

    /// A store that can be made to fail, and to be changed by another worker between reading and writing.
    #[derive(Default)]
    struct Flaky {
        states: MemoryAlerts,
        fails: AtomicBool,
        num_conflicts: AtomicU32,
    }

    #[async_trait]
    impl AlertStore for Flaky {
        async fn state(&self, name: &str) -> Result<Option<String>, AlertStoreError> {
            if self.fails.load(Ordering::Acquire) {
                return Err(AlertStoreError { store: "s".to_owned(), reason: "r".to_owned() });
            }
            self.states.state(name).await
        }

        async fn replace(&self, name: &str, before: Option<&str>, state: &str) -> Result<bool, AlertStoreError> {
            let is_late = self.num_conflicts.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
            if is_late.is_ok() { Ok(false) } else { self.states.replace(name, before, state).await }
        }
    }

    fn draft(level: Option<Level>) -> AlertDraft {
        AlertDraft::new("a", level, Some(Duration::from_secs(3_600)), move |transition| Notification {
            kind: "data_collection_alert",
            level: level.unwrap_or(Level::Info),
            title: "t".to_owned(),
            content: String::new(),
            fields: Vec::new(),
            data: json!({ "state": transition.as_str() }),
        })
    }

    /// Workers with one store: their books, and what each has published.
    struct Group {
        store: Arc<Flaky>,
        outboxes: Vec<Arc<ModelOutbox>>,
        books: Vec<AlertBook>,
    }

    impl Group {
        fn of(names: &[&str]) -> Self {
            let store = Arc::new(Flaky::default());
            let outboxes: Vec<Arc<ModelOutbox>> = names.iter().map(|_| Arc::default()).collect();
            let book = |(name, outbox): (&&str, &Arc<ModelOutbox>)| {
                let store = Swappable::new(store.clone() as Arc<dyn AlertStore>);
                AlertBook::new(store, outbox.clone(), (*name).into())
            };
            let books = names.iter().zip(&outboxes).map(book).collect();
            Self { store, outboxes, books }
        }

        /// What a worker has published.
        fn said(&self, worker: usize) -> Vec<String> {
            let messages = self.outboxes[worker].notifications();
            messages.iter().map(|message| message["data"]["state"].as_str().unwrap().to_owned()).collect()
        }
    }

    #[tokio::test]
    async fn one_worker_ends_what_another_began() {
        let group = Group::of(&["n1", "n2"]);
        group.books[0].tell(draft(Some(Level::Error)), WINDOW).await;
        group.books[1].tell(draft(Some(Level::Error)), WINDOW).await;
        assert_eq!((group.said(0), group.said(1)), (vec!["raised".to_owned()], vec![]));
        group.books[0].tell(draft(None), WINDOW).await;
        assert_eq!(group.said(0).len(), 1, "the other still sees it");
        group.books[1].tell(draft(None), WINDOW).await;
        assert_eq!(group.said(1), ["resolved"]);
        for book in &group.books {
            book.tell(draft(None), WINDOW).await;
            book.settle(WINDOW).await;
        }
        assert_eq!((group.said(0).len(), group.said(1).len()), (1, 1), "exactly once");
    }

    #[tokio::test]
    async fn an_end_that_waits_is_reported_when_it_is_due() {
        let group = Group::of(&["n1", "n2"]);
        group.books[0].tell(draft(Some(Level::Error)), WINDOW).await;
        group.books[1].tell(draft(None), WINDOW).await;
        group.books[1].settle(WINDOW).await;
        assert_eq!(group.said(1), [""; 0], "n1 has seen it just now");
        group.books[1].settle(Duration::ZERO).await;
        assert_eq!(group.said(1), ["resolved"]);
    }

    #[tokio::test]
    async fn a_worker_that_is_faster_is_no_reason_to_say_less() {
        let group = Group::of(&["n1"]);
        for num_conflicts in [2, TRIES] {
            group.store.num_conflicts.store(num_conflicts, Ordering::Release);
            group.books[0].tell(draft(Some(Level::Error)), WINDOW).await;
            group.books[0].tell(draft(None), WINDOW).await;
        }
        assert_eq!(group.said(0), ["raised", "resolved", "raised", "resolved"]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_store_nothing_is_lost() {
        let group = Group::of(&["n1", "n2"]);
        let [first, second] = [&group.books[0], &group.books[1]];
        group.store.fails.store(true, Ordering::Release);
        first.tell(draft(Some(Level::Error)), WINDOW).await;
        second.tell(draft(Some(Level::Error)), WINDOW).await;
        assert_eq!((group.said(0), group.said(1)), (vec!["raised".to_owned()], vec!["raised".to_owned()]));
        second.tell(draft(None), WINDOW).await;
        assert_eq!(group.said(1), ["raised", "resolved"]);
        group.store.fails.store(false, Ordering::Release);
        tokio::time::sleep(RETRY_AFTER).await;
        first.tell(draft(Some(Level::Error)), WINDOW).await;
        assert_eq!(group.said(0), ["raised"], "what it has said alone is not said again");
        first.tell(draft(None), WINDOW).await;
        assert_eq!(group.said(0), ["raised", "resolved"]);
        second.tell(draft(None), WINDOW).await;
        assert_eq!(group.said(1), ["raised", "resolved"]);
    }
}
