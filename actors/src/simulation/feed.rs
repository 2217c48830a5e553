// Upstream: simulation, world
// Downstream: domain, ports
// Role: A model of the consumer group's member: one partition of commands, which come again until they are resolved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use async_trait::async_trait;

use crate::domain::{OperatorOrder, RawCommand};
use crate::ports::{
    Assignment, CommandFeed, CommandReceived, CommandReceiver, Delivery, FeedError, FeedState, OrderFeed,
    OrderReceived, PartitionState, PartitionsWithdrawn, Settlement, SettlementSink,
};

/// Commands and orders that a test sends.
#[derive(Default)]
pub struct ModelFeed {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    receiver: Option<CommandReceiver>,
    orders: Option<Recipient<OrderReceived>>,
    assignment: Assignment,
    next_offset: i64,
    /// Commands handed out and not settled.
    open: BTreeMap<i64, Arc<RawCommand>>,
    /// Panics with a command in hand.
    crashes: BTreeMap<i64, u32>,
    resolved: Vec<i64>,
    returned: Vec<i64>,
    stopped: bool,
    closed: bool,
}

/// Receives the settlements.
struct Sink(Arc<Mutex<State>>);

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ModelFeed {
    /// Hands out a command and returns its offset.
    pub fn send(&self, payload: &str) -> i64 {
        let mut state = lock(&self.state);
        let offset = state.next_offset;
        state.next_offset += 1;
        let command = Arc::new(RawCommand {
            topic: "commands".into(),
            partition: 0,
            offset,
            key: None,
            payload: payload.as_bytes().to_vec(),
            timestamp_ms: None,
        });
        self.hand_out(&mut state, command);
        offset
    }

    fn hand_out(&self, state: &mut State, command: Arc<RawCommand>) {
        let offset = command.offset;
        let num_crashes = state.crashes.get(&offset).copied().unwrap_or_default();
        state.open.insert(offset, command.clone());
        let sink = Arc::new(Sink(self.state.clone()));
        let delivery = Delivery::new(command, state.assignment.clone(), num_crashes, sink);
        if let Some(receiver) = &state.receiver {
            receiver.commands.do_send(CommandReceived(delivery));
        }
    }

    /// Sends an operator's order.
    pub fn order(&self, order: OperatorOrder) {
        if let Some(orders) = &lock(&self.state).orders {
            orders.do_send(OrderReceived(order));
        }
    }

    /// The partition is withdrawn, as at the beginning of a rebalance.
    pub fn withdraw(&self) {
        let state = lock(&self.state);
        state.assignment.withdraw();
        if let Some(receiver) = &state.receiver {
            receiver.withdrawals.do_send(PartitionsWithdrawn);
        }
    }

    /// The partition belongs to another worker now.
    pub fn lose(&self) {
        lock(&self.state).assignment.lose();
    }

    /// Offsets of resolved commands, in the order they were resolved.
    pub fn resolved(&self) -> Vec<i64> {
        lock(&self.state).resolved.clone()
    }

    /// Offsets of commands that came back unresolved.
    pub fn returned(&self) -> Vec<i64> {
        lock(&self.state).returned.clone()
    }

    /// Whether new commands are taken.
    pub fn is_open(&self) -> bool {
        lock(&self.state).receiver.as_ref().is_some_and(|receiver| receiver.gate.is_open())
    }

    /// Whether the worker has left the group.
    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }
}

impl SettlementSink for Sink {
    fn settled(&self, command: &RawCommand, settlement: Settlement) {
        let mut state = lock(&self.0);
        let offset = command.offset;
        let Some(command) = state.open.remove(&offset) else { return };
        match settlement {
            Settlement::Resolved => state.resolved.push(offset),
            Settlement::Returned { suspect } => {
                state.returned.push(offset);
                *state.crashes.entry(offset).or_default() += u32::from(suspect);
                if state.stopped || !state.assignment.is_held() {
                    return;
                }
                let feed = ModelFeed { state: self.0.clone() };
                feed.hand_out(&mut state, command);
            }
        }
    }
}

#[async_trait]
impl CommandFeed for ModelFeed {
    fn start(&self, receiver: CommandReceiver) -> Result<(), FeedError> {
        lock(&self.state).receiver = Some(receiver);
        Ok(())
    }

    fn stop_intake(&self) {
        lock(&self.state).stopped = true;
    }

    async fn close(&self, _deadline: Duration) -> Result<(), FeedError> {
        lock(&self.state).closed = true;
        Ok(())
    }

    fn state(&self) -> FeedState {
        let state = lock(&self.state);
        FeedState {
            joined: state.receiver.is_some(),
            num_partitions: 1,
            num_unresolved: state.open.len(),
            ..FeedState::default()
        }
    }

    fn partitions(&self) -> Vec<PartitionState> {
        Vec::new()
    }
}

impl OrderFeed for ModelFeed {
    fn start(&self, receiver: Recipient<OrderReceived>) -> Result<(), FeedError> {
        lock(&self.state).orders = Some(receiver);
        Ok(())
    }

    fn is_receiving(&self) -> bool {
        lock(&self.state).orders.is_some()
    }

    fn close(&self) {
        lock(&self.state).orders = None;
    }
}
