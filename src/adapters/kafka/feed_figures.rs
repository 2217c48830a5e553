// Upstream: consumer_loop, consumer_tests, feed, membership_watch, tests::simulate
// Downstream: feed_shared
// Role: Figures of the consumer's loop that other threads read.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::adapters::kafka::feed_shared::lock;

/// Figures that other threads read.
#[derive(Debug)]
pub struct FeedFigures {
    born: Instant,
    last_poll_ms: AtomicU64,
    /// Whether this member has joined the group and received its assignment.
    pub joined: AtomicBool,
    /// Number of assigned partitions.
    pub num_partitions: AtomicUsize,
    /// Number of partitions of the command topics on the broker; 0 while it is unknown.
    pub num_topic_partitions: AtomicUsize,
    /// Commands delivered and not settled.
    pub num_unresolved: AtomicUsize,
    /// Number of rebuilt consumers.
    pub num_rebuilds: AtomicU64,
    membership: Mutex<Membership>,
}

/// What the broker says about the membership of this worker.
#[derive(Debug, Clone, Default)]
pub struct Membership {
    /// Why the worker does not have its share of the partitions.
    pub fault: Option<String>,
    /// Why this is not known.
    pub unknown: Option<String>,
}

impl Default for FeedFigures {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            last_poll_ms: AtomicU64::default(),
            joined: AtomicBool::default(),
            num_partitions: AtomicUsize::default(),
            num_topic_partitions: AtomicUsize::default(),
            num_unresolved: AtomicUsize::default(),
            num_rebuilds: AtomicU64::default(),
            membership: Mutex::default(),
        }
    }
}

impl FeedFigures {
    /// Records an iteration of the loop.
    pub fn polled(&self) {
        self.last_poll_ms.store(self.born.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether this member has received an assignment since it subscribed.
    pub fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Acquire)
    }

    /// The last answer of the broker.
    pub fn membership(&self) -> Membership {
        lock(&self.membership).clone()
    }

    /// Sets the answer of the broker.
    pub fn set_membership(&self, fault: Option<String>, unknown: Option<String>) {
        *lock(&self.membership) = Membership { fault, unknown };
    }

    /// Time since the last iteration of the loop.
    pub fn since_last_poll(&self) -> Duration {
        let last = Duration::from_millis(self.last_poll_ms.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(last)
    }
}
