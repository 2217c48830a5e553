// Upstream: data_worker, ports, simulation, supervisor, tests::simulate
// Downstream: command_feed, domain
// Role: The port to operator orders, which every worker receives.

use actix::prelude::*;

use crate::domain::OperatorOrder;
use crate::ports::FeedError;

/// The source of operator orders. Every instance receives every order, independently of the consumer group.
pub trait OrderFeed: Send + Sync {
    /// Starts delivering orders that are sent from now on to `receiver`. Called once.
    fn start(&self, receiver: Recipient<OrderReceived>) -> Result<(), FeedError>;

    /// Whether the feed receives orders that are sent now.
    fn is_receiving(&self) -> bool;

    /// Stops the feed.
    fn close(&self);
}

/// An order arrived.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct OrderReceived(pub OperatorOrder);
