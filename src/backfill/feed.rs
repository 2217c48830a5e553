// Upstream: backfill, progress
// Downstream: actors, journal, pieces
// Role: Feeds the pieces of a backfill to the router in place of the Kafka consumer, and records their outcomes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::domain::{CommandPart, PriceUpdate, RawCommand, TraceIds};
use actors::ports::{
    Assignment, CommandFeed, CommandReceived, CommandReceiver, DeadLetter, Delivery, FeedError, FeedState, OrderFeed,
    OrderReceived, Outbox, OutboxError, PartitionState, PartsOutcome, Settlement, SettlementSink,
};
use async_trait::async_trait;

use super::journal::Journal;
use super::pieces::Piece;

/// Maximum number of pieces in progress: enough to keep 32 fetches busy, few enough that a kill repeats little work.
const MAX_IN_PROGRESS: usize = 64;

/// Interval at which the feed checks whether the intake gate is open again and whether it must stop.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The pieces and their outcomes. Serves as feed, outbox and settlement sink.
pub struct PieceFeed {
    pieces: Vec<Piece>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Pieces to feed, by number, each with the number of crashes during which it was in progress.
    queue: VecDeque<(usize, u32)>,
    crashes: BTreeMap<usize, u32>,
    num_in_progress: usize,
    num_done: usize,
    failures: BTreeMap<usize, String>,
    journal: Journal,
    journal_error: Option<String>,
    stopped: bool,
}

/// Progress of a backfill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackfillProgress {
    /// Pieces that are done, in this run or an earlier one.
    pub num_done: usize,
    /// Pieces that failed permanently.
    pub num_failed: usize,
    /// All pieces.
    pub num_pieces: usize,
}

impl BackfillProgress {
    /// Whether all pieces are done or failed.
    pub fn is_over(&self) -> bool {
        self.num_done + self.num_failed >= self.num_pieces
    }
}

impl PieceFeed {
    /// Creates a feed of the pieces that are not done yet.
    pub fn new(pieces: Vec<Piece>, journal: Journal, is_done: impl Fn(&Piece) -> bool) -> Arc<Self> {
        let left = pieces.iter().enumerate().filter(|(_, piece)| !is_done(piece)).map(|(n, _)| (n, 0));
        let queue: VecDeque<_> = left.collect();
        let state = State {
            num_done: pieces.len() - queue.len(),
            queue,
            crashes: BTreeMap::new(),
            num_in_progress: 0,
            failures: BTreeMap::new(),
            journal,
            journal_error: None,
            stopped: false,
        };
        Arc::new(Self { pieces, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// The current progress.
    pub fn standing(&self) -> BackfillProgress {
        let state = self.lock();
        BackfillProgress { num_done: state.num_done, num_failed: state.failures.len(), num_pieces: self.pieces.len() }
    }

    /// The failed pieces with their reasons.
    pub fn failures(&self) -> Vec<(String, String)> {
        let state = self.lock();
        let named = |(n, reason): (&usize, &String)| Some((self.pieces.get(*n)?.id.clone(), reason.clone()));
        state.failures.iter().filter_map(named).collect()
    }

    /// The first error of writing the journal, if there is one.
    pub fn journal_error(&self) -> Option<String> {
        self.lock().journal_error.clone()
    }

    /// Removes the journal after all pieces are done.
    pub fn forget_journal(&self) -> std::io::Result<()> {
        self.lock().journal.remove()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop of the feed's thread: feeds pieces until the feed is stopped.
    fn pump(self: &Arc<Self>, receiver: &CommandReceiver) {
        loop {
            let mut state = self.lock();
            if state.stopped {
                return;
            }
            let next = (state.num_in_progress < MAX_IN_PROGRESS && receiver.gate.is_open())
                .then(|| state.queue.pop_front())
                .flatten();
            let Some((n, num_crashes)) = next else {
                drop(self.changed.wait_timeout(state, POLL_INTERVAL));
                continue;
            };
            state.num_in_progress += 1;
            state.crashes.insert(n, num_crashes);
            drop(state);
            let Some(piece) = self.pieces.get(n) else { continue };
            let command = RawCommand {
                topic: "backfill".into(),
                partition: 0,
                offset: i64::try_from(n).unwrap_or(i64::MAX),
                key: None,
                payload: piece.payload.clone().into_bytes(),
                timestamp_ms: None,
                replay: None,
                trace: TraceIds::default(),
            };
            let delivery = Delivery::new(Arc::new(command), Assignment::default(), num_crashes, self.clone());
            receiver.commands.do_send(CommandReceived(delivery));
        }
    }
}

impl SettlementSink for PieceFeed {
    fn settled(&self, command: &RawCommand, settlement: Settlement) {
        let Ok(n) = usize::try_from(command.offset) else { return };
        let mut state = self.lock();
        state.num_in_progress = state.num_in_progress.saturating_sub(1);
        let num_crashes = state.crashes.remove(&n).unwrap_or_default();
        match settlement {
            Settlement::Resolved if state.failures.contains_key(&n) => {}
            Settlement::Resolved => {
                state.num_done += 1;
                if let Some(piece) = self.pieces.get(n)
                    && let Err(error) = state.journal.note(piece)
                {
                    // The rows are stored. Without the journal entry the next run only fetches them again.
                    state.journal_error.get_or_insert(error.to_string());
                }
            }
            Settlement::Returned { suspect } => state.queue.push_front((n, num_crashes + u32::from(suspect))),
        }
        drop(state);
        self.changed.notify_all();
    }
}

/// Implements the worker's ports. A wrapper, because the feed's thread needs the `Arc` itself.
pub struct FeedPort(pub Arc<PieceFeed>);

#[async_trait]
impl CommandFeed for FeedPort {
    fn start(&self, receiver: CommandReceiver) -> Result<(), FeedError> {
        let feed = self.0.clone();
        let spawned = std::thread::Builder::new().name("backfill-feed".to_owned()).spawn(move || feed.pump(&receiver));
        let failed =
            |error: std::io::Error| FeedError { feed: "backfill".to_owned(), what: "start", reason: error.to_string() };
        spawned.map(drop).map_err(failed)
    }

    fn stop_intake(&self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
    }

    async fn close(&self, _deadline: Duration) -> Result<(), FeedError> {
        self.stop_intake();
        Ok(())
    }

    fn partitions(&self) -> Vec<PartitionState> {
        Vec::new()
    }

    fn state(&self) -> FeedState {
        FeedState {
            joined: true,
            num_partitions: 1,
            num_unresolved: self.0.lock().num_in_progress,
            ..FeedState::default()
        }
    }
}

#[async_trait]
impl Outbox for FeedPort {
    async fn notify(&self, message: &str) -> Result<(), OutboxError> {
        tracing::debug!(notification = message, "notification suppressed during a backfill");
        Ok(())
    }

    async fn price_updates(&self, _updates: &[PriceUpdate]) -> Result<(), OutboxError> {
        Ok(())
    }

    async fn command(&self, command: &CommandPart) -> Result<(), OutboxError> {
        let reason = format!("a backfill sends no commands: {}", command.payload);
        Err(OutboxError { topic: "backfill".to_owned(), reason })
    }

    async fn parts(&self, command: &Arc<RawCommand>, _: &Arc<[CommandPart]>) -> Result<PartsOutcome, OutboxError> {
        Err(OutboxError { topic: "backfill".to_owned(), reason: format!("the piece {command} cannot be split") })
    }

    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), OutboxError> {
        if let Ok(n) = usize::try_from(letter.command.offset) {
            self.0.lock().failures.insert(n, letter.reason.clone());
        }
        Ok(())
    }
}

/// An order feed without orders: only signals control a backfill.
pub struct NoOrders;

impl OrderFeed for NoOrders {
    fn start(&self, _receiver: actix::Recipient<OrderReceived>) -> Result<(), FeedError> {
        Ok(())
    }

    fn is_receiving(&self) -> bool {
        true
    }

    fn close(&self) {}
}
