// Upstream: command_feed, command_router, data_worker, pipeline, ports, supervisor
// Downstream: domain, intake_gate
// Role: A command handed out by the feed: it is settled exactly once and never vanishes silently.

use crate::domain::RawCommand;
use crate::ports::IntakeGate;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use actix::prelude::*;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::IntakePause;
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
        gate.close(IntakePause::Paused);
        gate.close(IntakePause::StoreOutage);
        gate.close(IntakePause::Paused);
        gate.open(IntakePause::Paused);
        assert!(!gate.is_open(), "the store is still away");
        gate.open(IntakePause::StoreOutage);
        assert!(gate.is_open());
    }
}
