// Upstream: backfill, progress
// Downstream: actors, journal, pieces, request
// Role: Feeds the pieces of a backfill to the router in place of the Kafka consumer, and records their outcomes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::domain::{CommandPart, PriceUpdate, RawCommand, TraceIds, shanghai_clock};
use actors::fetcher::request_plan::Way;
use actors::ports::{
    Assignment, CommandFeed, CommandReceived, CommandReceiver, DeadLetter, Delivery, FeedError, FeedState, OrderFeed,
    OrderReceived, Outbox, OutboxError, PartitionState, PartsOutcome, Settlement, SettlementSink,
};
use async_trait::async_trait;

use super::journal::Journal;
use super::pieces::Piece;
use super::request::{Kind, Request};

/// Maximum load of the pieces in progress: enough to keep 32 fetches busy, few enough that a kill repeats little work.
const MAX_LOAD: usize = 64;

/// The load of a piece with the days of all securities: the next one may begin while the rows of the last are written.
const LOAD_BY_DAY: usize = 32;

/// Interval at which the feed checks whether the intake gate is open again and whether it must stop.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The pieces and their outcomes. Serves as feed, outbox and settlement sink.
pub struct PieceFeed {
    request: Request,
    pieces: Vec<Piece>,
    /// Nobody else has the pieces.
    assignment: Assignment,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Pieces to feed, by number, each with the number of crashes during which it was in progress.
    queue: VecDeque<(usize, u32)>,
    crashes: BTreeMap<usize, u32>,
    /// The load of the pieces in progress.
    load: usize,
    num_done: usize,
    /// Calls of the pieces that are done or failed.
    num_calls: usize,
    failures: BTreeMap<usize, String>,
    journal: Journal,
    journal_error: Option<String>,
    stopped: bool,
}

/// Progress of a backfill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackfillProgress {
    /// Pieces that are done.
    pub num_done: usize,
    /// Pieces that failed permanently.
    pub num_failed: usize,
    /// All pieces.
    pub num_pieces: usize,
    /// Planned calls of all pieces.
    pub num_calls: usize,
    /// Planned calls of the pieces that are done or failed.
    pub num_calls_ended: usize,
}

impl BackfillProgress {
    /// Whether all pieces are done or failed.
    pub fn is_over(&self) -> bool {
        self.num_done + self.num_failed >= self.num_pieces
    }
}

impl PieceFeed {
    /// Creates a feed of these pieces.
    pub fn new(request: Request, pieces: Vec<Piece>, journal: Journal) -> Arc<Self> {
        let state = State {
            num_done: 0,
            num_calls: 0,
            queue: (0..pieces.len()).map(|n| (n, 0)).collect(),
            crashes: BTreeMap::new(),
            load: 0,
            failures: BTreeMap::new(),
            journal,
            journal_error: None,
            stopped: false,
        };
        let (assignment, changed) = (Assignment::default(), Condvar::new());
        Arc::new(Self { request, pieces, assignment, state: Mutex::new(state), changed })
    }

    /// The current progress.
    pub fn standing(&self) -> BackfillProgress {
        let state = self.lock();
        BackfillProgress {
            num_done: state.num_done,
            num_failed: state.failures.len(),
            num_pieces: self.pieces.len(),
            num_calls: self.pieces.iter().map(|piece| piece.num_calls).sum(),
            num_calls_ended: state.num_calls,
        }
    }

    /// The failed pieces with their reasons.
    pub fn failures(&self) -> Vec<(String, String)> {
        let state = self.lock();
        let name = |n: usize| Some(format!("{} {}", self.request.what(), self.pieces.get(n)?));
        let named = |(n, reason): (&usize, &String)| Some((name(*n)?, reason.clone()));
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
            let next = state.queue.front().and_then(|(n, num_crashes)| Some((*n, *num_crashes, self.pieces.get(*n)?)));
            let next = next.filter(|(_, _, piece)| state.load + load(piece) <= MAX_LOAD && receiver.gate.is_open());
            let Some((n, num_crashes, piece)) = next else {
                drop(self.changed.wait_timeout(state, POLL_INTERVAL));
                continue;
            };
            state.queue.pop_front();
            state.load += load(piece);
            state.crashes.insert(n, num_crashes);
            drop(state);
            let command = RawCommand {
                topic: "backfill".into(),
                partition: 0,
                offset: i64::try_from(n).unwrap_or(i64::MAX),
                key: None,
                payload: piece.payload(&self.request).into_bytes(),
                timestamp_ms: None,
                replay: None,
                trace: TraceIds::default(),
            };
            let delivery = Delivery::new(Arc::new(command), self.assignment.clone(), num_crashes, self.clone());
            receiver.commands.do_send(CommandReceived(delivery));
        }
    }
}

fn load(piece: &Piece) -> usize {
    if piece.way == Way::ByDay { LOAD_BY_DAY } else { piece.codes.len().min(MAX_LOAD) }
}

impl SettlementSink for PieceFeed {
    fn settled(&self, command: &RawCommand, settlement: Settlement) {
        let Ok(n) = usize::try_from(command.offset) else { return };
        let Some(piece) = self.pieces.get(n) else { return };
        let mut state = self.lock();
        state.load = state.load.saturating_sub(load(piece));
        let num_crashes = state.crashes.remove(&n).unwrap_or_default();
        match settlement {
            Settlement::Resolved => {
                state.num_calls += piece.num_calls;
                if !state.failures.contains_key(&n) {
                    state.num_done += 1;
                    // A day that is not over is not done.
                    let is_over = self.request.kind == Kind::Adjustfactor || piece.range.end < shanghai_clock::today();
                    if is_over && let Err(error) = state.journal.note(piece) {
                        // The rows are stored. Without the journal entry the next run only fetches them again.
                        state.journal_error.get_or_insert(error.to_string());
                    }
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
            num_unresolved: self.0.lock().crashes.len(),
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
