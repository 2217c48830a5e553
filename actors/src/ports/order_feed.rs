// Upstream: data_worker, ports, supervisor
// Downstream: command_feed, domain
// Role: The port to operator orders, which every worker receives.

use actix::prelude::*;

use crate::domain::OperatorOrder;
use crate::ports::FeedError;

/// Where operators' orders come from that every instance hears, beside the commands of the group.
pub trait OrderFeed: Send + Sync {
    /// Begins to hand orders to `receiver`, those sent from now on. Called once.
    fn start(&self, receiver: Recipient<OrderReceived>) -> Result<(), FeedError>;

    /// Whether an order that is sent now is heard.
    fn hears(&self) -> bool;

    /// Ends it.
    fn close(&self);
}

/// An order arrived.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct OrderReceived(pub OperatorOrder);
