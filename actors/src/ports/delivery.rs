// Upstream: many
// Downstream: domain, intake_gate
// Role: A command delivered by the feed. It is settled exactly once and cannot get lost silently.

use crate::domain::RawCommand;
use crate::ports::IntakeGate;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use actix::prelude::*;
use tokio::time::Instant;

/// Whether this worker still holds the partition of a command. Shared by all commands of one assignment.
#[derive(Debug, Clone)]
pub struct Assignment {
    state: Arc<AtomicU8>,
    begun: Instant,
}

impl Default for Assignment {
    /// A partition that is assigned now.
    fn default() -> Self {
        Self { state: Arc::default(), begun: Instant::now() }
    }
}

impl Assignment {
    const HELD: u8 = 0;
    const WITHDRAWN: u8 = 1;
    const LOST: u8 = 2;

    /// The partition is being revoked: running work may finish, no new work starts.
    pub fn withdraw(&self) {
        // Keeps LOST: a lost partition never becomes withdrawn.
        let _already_further =
            self.state.compare_exchange(Self::HELD, Self::WITHDRAWN, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Another worker has the partition: no more rows of its commands may be written.
    pub fn lose(&self) {
        self.state.store(Self::LOST, Ordering::Release);
    }

    /// When the partition was assigned. Until then another worker may have executed its commands.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Whether new work may start.
    pub fn is_held(&self) -> bool {
        self.state.load(Ordering::Acquire) == Self::HELD
    }

    /// Whether running work must be discarded.
    pub fn is_lost(&self) -> bool {
        self.state.load(Ordering::Acquire) == Self::LOST
    }
}

/// The outcome of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The command is done; its offset may be committed.
    Resolved,
    /// The command is returned unfinished; the feed delivers it again.
    Returned {
        /// Whether the delivery was dropped during a panic. The command itself may then be the cause.
        suspect: bool,
    },
}

/// Receives every settlement, from any thread. Must not block.
pub trait SettlementSink: Send + Sync {
    /// The delivery of `command` is settled.
    fn settled(&self, command: &RawCommand, settlement: Settlement);
}

/// A command being processed. Dropping the delivery returns the command to the feed, so a crash cannot lose it.
pub struct Delivery {
    command: Arc<RawCommand>,
    assignment: Assignment,
    num_crashes: u32,
    sink: Option<Arc<dyn SettlementSink>>,
}

impl Delivery {
    /// A delivery whose settlement is reported to `sink`. `num_crashes` is the number of panics so far during
    /// processing of this command.
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

    /// The assignment of the command's partition.
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Number of panics so far during processing of this command.
    pub fn num_crashes(&self) -> u32 {
        self.num_crashes
    }

    /// Settles the command as done.
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

/// A command for the CommandRouter. The feed limits the number of unsettled commands and thereby the mailbox.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CommandReceived(pub Delivery);

/// Partitions are being revoked: queued commands of withdrawn assignments must be dropped now.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct PartitionsWithdrawn;

/// Commands were lost, or a position was dropped, because a command topic is not the one that was read.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LogBroken {
    /// Topic, partition and what happened.
    pub reason: String,
}

/// The recipients of a feed's messages.
#[derive(Clone)]
pub struct CommandReceiver {
    /// Receives commands.
    pub commands: Recipient<CommandReceived>,
    /// Receives notices of revoked partitions.
    pub withdrawals: Recipient<PartitionsWithdrawn>,
    /// Receives notices of topics that were created again, truncated or shortened by retention.
    pub breaks: Recipient<LogBroken>,
    /// While the gate is closed, the feed takes no new commands.
    pub gate: IntakeGate,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TraceIds;
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
        let command = RawCommand {
            topic: "t".into(),
            partition: 0,
            offset: 7,
            key: None,
            payload: vec![],
            timestamp_ms: None,
            replay: None,
            trace: TraceIds::default(),
        };
        Delivery::new(Arc::new(command), Assignment::default(), 0, sink.clone())
    }

    #[test]
    fn delivery_is_settled_exactly_once() {
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
    fn resumes_when_every_pause_reason_is_gone() {
        let gate = IntakeGate::default();
        gate.close(IntakePause::Paused);
        gate.close(IntakePause::StoreOutage);
        gate.close(IntakePause::Paused);
        gate.open(IntakePause::Paused);
        assert!(!gate.is_open(), "the store outage still closes the gate");
        gate.open(IntakePause::StoreOutage);
        assert!(gate.is_open());
    }
}
