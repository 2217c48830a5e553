// Upstream: app
// Downstream: feed, orders, outbox
// Role: Commands in, dead letters and notifications out: everything that knows Kafka.

//! How a command's offset is kept from being committed too early: [`watermark`]; who holds what: [`intake`]; the thread
//! that polls: `consumer_thread`; rebalances: `consumer_context`; the port: [`feed`].

/// Messages from the command line.
pub mod admin_client;
mod consumer_context;
mod consumer_thread;
/// The port through which the actors see the consumer.
pub mod feed;
/// What is out and what came back.
pub mod intake;
/// Operators' orders.
pub mod orders;
/// The producer.
pub mod outbox;
/// Trying the cluster.
pub mod probe;
/// Topics.
pub mod topics;
mod watchdog;
/// The commit position of a partition.
pub mod watermark;

pub use feed::KafkaFeed;
pub use orders::KafkaOrders;
pub use outbox::KafkaOutbox;
