// Upstream: app
// Downstream: clients, feed, orders, outbox
// Role: The Kafka client: consumes commands and operator orders, publishes dead letters and notifications.

//! Kafka.
//!
//! [`feed`] implements the command port, [`consumer_loop`] takes commands by a client of the consumer group
//! ([`group_client`]; `consumer_client` is the one on librdkafka). [`intake`] tracks the commands of each partition, and
//! [`watermark`] computes the offset that is safe to commit.

/// The client of the command-line tools.
pub mod admin_client;
/// The configuration that all clients share.
pub mod client_config;
/// Makes the clients of one process, which share a login.
pub mod clients;
#[cfg(test)]
mod clients_tests;
mod consumer_client;
/// The consumer's loop.
pub mod consumer_loop;
#[cfg(test)]
mod consumer_tests;
/// The dead-letter topic.
pub mod dead_letters;
/// The consumer behind the port of the actors.
pub mod feed;
/// Figures of the consumer's loop.
pub mod feed_figures;
/// State that the consumer's loop shares.
pub mod feed_shared;
/// What the consumer's loop needs of a client.
pub mod group_client;
/// Commands in process, by partition.
pub mod intake;
#[cfg(test)]
mod intake_tests;
/// The log that a committed offset belongs to.
pub mod log_identity;
mod log_probe;
mod log_start;
mod membership;
mod membership_watch;
/// Operator orders from the control topic.
pub mod orders;
/// The producer.
pub mod outbox;
/// Publishes the parts of a split command.
pub mod parts_publisher;
/// The connection test.
pub mod probe;
mod reading_watch;
/// The ids of topics.
pub mod topic_ids;
mod topics;
mod watchdog;
/// The commit position of one partition.
pub mod watermark;

pub use clients::KafkaClients;
pub use feed::KafkaFeed;
pub use orders::KafkaOrders;
pub use outbox::KafkaOutbox;
