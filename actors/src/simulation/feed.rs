// Upstream: simulation, world
// Downstream: domain, ports
// Role: A model of the Kafka consumer: one partition whose commands are delivered again until they are resolved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use async_trait::async_trait;

use crate::domain::{OperatorOrder, RawCommand, TraceIds};
use crate::ports::{
    Assignment, CommandFeed, CommandReceived, CommandReceiver, Delivery, FeedError, FeedState, OrderFeed,
    OrderReceived, PartitionState, PartitionsWithdrawn, Settlement, SettlementSink,
};

/// Delay before returned commands are delivered again, as in the consumer.
const REDELIVERY_PAUSE: Duration = Duration::from_millis(100);

/// Delivers the commands and orders that a test sends.
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
    /// Delivered commands that are not settled.
    open: BTreeMap<i64, Arc<RawCommand>>,
    /// Number of panics during the processing of each command.
    crashes: BTreeMap<i64, u32>,
    /// Returned commands that are delivered again.
    redelivery: Vec<Arc<RawCommand>>,
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
    /// Delivers a command and returns its offset.
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
            replay: None,
            trace: TraceIds::default(),
        });
        drop(state);
        Self::deliver(&self.state, command);
        offset
    }

    /// Sends without the lock: a closed mailbox drops the delivery, which settles it.
    fn deliver(state: &Arc<Mutex<State>>, command: Arc<RawCommand>) {
        let offset = command.offset;
        let (delivery, receiver) = {
            let mut open = lock(state);
            let num_crashes = open.crashes.get(&offset).copied().unwrap_or_default();
            open.open.insert(offset, command.clone());
            let sink = Arc::new(Sink(state.clone()));
            (Delivery::new(command, open.assignment.clone(), num_crashes, sink), open.receiver.clone())
        };
        if let Some(receiver) = receiver {
            receiver.commands.do_send(CommandReceived(delivery));
        }
    }

    /// Delivers an operator order.
    pub fn order(&self, order: OperatorOrder) {
        if let Some(orders) = &lock(&self.state).orders {
            orders.do_send(OrderReceived(order));
        }
    }

    /// Withdraws the partition, as at the start of a rebalance.
    pub fn withdraw(&self) {
        let state = lock(&self.state);
        state.assignment.withdraw();
        if let Some(receiver) = &state.receiver {
            receiver.withdrawals.do_send(PartitionsWithdrawn);
        }
    }

    /// Assigns the partition to another worker.
    pub fn lose(&self) {
        lock(&self.state).assignment.lose();
    }

    /// Offsets of resolved commands, in the order of their resolution.
    pub fn resolved(&self) -> Vec<i64> {
        lock(&self.state).resolved.clone()
    }

    /// Offsets of commands that were returned unresolved.
    pub fn returned(&self) -> Vec<i64> {
        lock(&self.state).returned.clone()
    }

    /// Whether the intake of commands is open.
    pub fn is_open(&self) -> bool {
        lock(&self.state).receiver.as_ref().is_some_and(|receiver| receiver.gate.is_open())
    }

    /// Whether the worker closed the feed.
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
                if !state.stopped && state.assignment.is_held() {
                    state.redelivery.push(command);
                }
            }
        }
    }
}

#[async_trait]
impl CommandFeed for ModelFeed {
    fn start(&self, receiver: CommandReceiver) -> Result<(), FeedError> {
        lock(&self.state).receiver = Some(receiver);
        let state = self.state.clone();
        actix_rt::spawn(async move {
            loop {
                tokio::time::sleep(REDELIVERY_PAUSE).await;
                let returned = std::mem::take(&mut lock(&state).redelivery);
                returned.into_iter().for_each(|command| Self::deliver(&state, command));
            }
        });
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
