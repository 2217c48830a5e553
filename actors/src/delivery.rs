// Upstream: actors::children, actors::command_handover, actors::command_router, actors::lifecycle, actors::open_command, actors::ports, actors::store_outage, actors::supervision::board, actors::supervisor, actors::ticket, backfill::feed, http::answers, kafka::consumer_context, kafka::consumer_thread, kafka::feed, kafka::intake
// Downstream: none
// Role: A command on its way from the feed to its resolution: it is settled once, and never vanishes silently.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use actix::prelude::*;

/// A command's bytes and the place they came from.
#[derive(Clone, PartialEq, Eq)]
pub struct RawCommand {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// The record's key, if it has one.
    pub key: Option<Vec<u8>>,
    /// The record's value.
    pub payload: Vec<u8>,
    /// When the broker or the producer stamped it, Unix milliseconds.
    pub timestamp_ms: Option<i64>,
}

impl fmt::Display for RawCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

impl fmt::Debug for RawCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({} bytes)", self.payload.len())
    }
}

/// Whether this worker still has the partition a command came from. Shared by all commands of one assignment.
#[derive(Debug, Clone, Default)]
pub struct Assignment(Arc<AtomicU8>);

impl Assignment {
    const HELD: u8 = 0;
    const WITHDRAWN: u8 = 1;
    const LOST: u8 = 2;

    /// The partition is being given back: what is begun may be finished, nothing new begins.
    pub fn withdraw(&self) {
        // Never back from LOST.
        let _already_further =
            self.0.compare_exchange(Self::HELD, Self::WITHDRAWN, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The partition belongs to another worker: nothing of it may be written any more.
    pub fn lose(&self) {
        self.0.store(Self::LOST, Ordering::Release);
    }

    /// New work may begin.
    pub fn is_held(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::HELD
    }

    /// Begun work must be thrown away.
    pub fn is_lost(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::LOST
    }
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Done for good: the offset may pass it.
    Resolved,
    /// Given back unfinished; the feed hands it out again.
    Returned {
        /// Whether a panic was under way while it was in hand: then the command itself may be the cause.
        suspect: bool,
    },
}

/// Told of every settlement, from any thread. Must not block.
pub trait SettlementSink: Send + Sync {
    /// The delivery of `command` ended.
    fn settled(&self, command: &RawCommand, settlement: Settlement);
}

/// A command in hand. Dropping it gives it back to the feed, so that no crash can lose it.
pub struct Delivery {
    command: Arc<RawCommand>,
    assignment: Assignment,
    num_crashes: u32,
    sink: Option<Arc<dyn SettlementSink>>,
}

impl Delivery {
    /// A delivery whose end `sink` will hear of. `num_crashes` counts the panics that happened with this command in hand.
    pub fn new(
        command: Arc<RawCommand>,
        assignment: Assignment,
        num_crashes: u32,
        sink: Arc<dyn SettlementSink>,
    ) -> Self {
        Self { command, assignment, num_crashes, sink: Some(sink) }
    }

    /// The command.
    pub fn command(&self) -> &Arc<RawCommand> {
        &self.command
    }

    /// Whether the partition is still ours.
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Panics so far with this command in hand.
    pub fn num_crashes(&self) -> u32 {
        self.num_crashes
    }

    /// The command is done for good.
    pub fn resolve(mut self) {
        if let Some(sink) = self.sink.take() {
            sink.settled(&self.command, Settlement::Resolved);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            sink.settled(&self.command, Settlement::Returned { suspect: std::thread::panicking() });
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delivery({}, crashes: {})", self.command, self.num_crashes)
    }
}

/// A command for the CommandRouter. The feed bounds how many are out at once, so the mailbox is bounded with it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CommandReceived(pub Delivery);

/// Partitions are being given back: queued commands of withdrawn assignments shall be dropped now.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct PartitionsWithdrawn;

/// Where a feed hands its commands.
#[derive(Clone)]
pub struct CommandReceiver {
    /// For commands.
    pub commands: Recipient<CommandReceived>,
    /// For the news that partitions go.
    pub withdrawals: Recipient<PartitionsWithdrawn>,
    /// While closed, the feed takes nothing new.
    pub gate: IntakeGate,
}

/// Why no new commands are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Closure {
    /// The store does not take rows.
    StoreOutage = 1,
    /// An operator paused the worker.
    Paused = 2,
}

impl Closure {
    /// The reason's name in figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StoreOutage => "store_outage",
            Self::Paused => "paused",
        }
    }
}

/// Whether new commands may be taken: while there is no reason against it.
#[derive(Debug, Clone, Default)]
pub struct IntakeGate(Arc<AtomicU8>);

impl IntakeGate {
    /// Takes no new commands until this reason is gone.
    pub fn close(&self, reason: Closure) {
        self.0.fetch_or(reason as u8, Ordering::AcqRel);
    }

    /// This reason is gone.
    pub fn open(&self, reason: Closure) {
        self.0.fetch_and(!(reason as u8), Ordering::AcqRel);
    }

    /// Whether this reason keeps commands out.
    pub fn is_closed_by(&self, reason: Closure) -> bool {
        self.0.load(Ordering::Acquire) & (reason as u8) != 0
    }

    /// Whether commands may be taken.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Heard(Mutex<Vec<Settlement>>);

    impl SettlementSink for Heard {
        fn settled(&self, _command: &RawCommand, settlement: Settlement) {
            self.0.lock().unwrap().push(settlement);
        }
    }

    fn delivery(sink: &Arc<Heard>) -> Delivery {
        let command =
            RawCommand { topic: "t".into(), partition: 0, offset: 7, key: None, payload: vec![], timestamp_ms: None };
        Delivery::new(Arc::new(command), Assignment::default(), 0, sink.clone())
    }

    #[test]
    fn a_delivery_is_settled_exactly_once_whatever_happens_to_it() {
        let heard = Arc::new(Heard::default());
        delivery(&heard).resolve();
        drop(delivery(&heard));
        let in_hand = delivery(&heard);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _in_hand = in_hand;
            panic!("a handler panics");
        }));
        assert!(outcome.is_err());
        let expected =
            [Settlement::Resolved, Settlement::Returned { suspect: false }, Settlement::Returned { suspect: true }];
        assert_eq!(*heard.0.lock().unwrap(), expected);
    }

    #[test]
    fn a_lost_assignment_does_not_come_back() {
        let assignment = Assignment::default();
        assert!(assignment.is_held());
        assignment.withdraw();
        assert!(!assignment.is_held() && !assignment.is_lost());
        assignment.lose();
        assignment.withdraw();
        assert!(assignment.is_lost());
    }

    #[test]
    fn the_gate_opens_when_every_reason_is_gone() {
        let gate = IntakeGate::default();
        gate.close(Closure::Paused);
        gate.close(Closure::StoreOutage);
        gate.close(Closure::Paused);
        gate.open(Closure::Paused);
        assert!(!gate.is_open(), "the store is still away");
        gate.open(Closure::StoreOutage);
        assert!(gate.is_open());
    }
}
