// Upstream: consumer_loop
// Downstream: group_client, intake, log_identity, topic_ids
// Role: Finds out where the reading of newly assigned partitions begins.

use std::collections::{BTreeSet, HashMap};

use crate::adapters::kafka::group_client::{CommittedOffset, GroupClient, StartAt};
use crate::adapters::kafka::intake::{PartitionKey, ReadFrom};
use crate::adapters::kafka::log_identity::{Committed, Log, Start, start};
use crate::adapters::kafka::topic_ids::TopicIds;

/// Where the reading of assigned partitions begins.
#[derive(Debug, Default)]
pub struct LogStarts {
    /// What is known of each partition.
    known: HashMap<PartitionKey, ReadFrom>,
    /// The partitions whose committed offset belongs to another log.
    other_logs: BTreeSet<PartitionKey>,
    /// The ids of the topics.
    pub topic_ids: TopicIds,
    /// What was lost or dropped, as texts for operators.
    pub breaks: Vec<String>,
}

impl LogStarts {
    /// Asks the broker. A question that it does not answer changes nothing.
    pub async fn find<C: GroupClient>(client: &mut C, keys: &[PartitionKey]) -> Self {
        let mut starts = Self::default();
        if keys.is_empty() {
            return starts;
        }
        let topics: BTreeSet<&str> = keys.iter().map(|(topic, _)| topic.as_ref()).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        starts.topic_ids = client.topic_ids(&topics).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the broker reports no topic ids");
            TopicIds::new()
        });
        match client.committed(keys).await {
            Ok(committed) => starts.compare_logs(client, committed).await,
            Err(error) => tracing::warn!(%error, "cannot compare the committed offsets with the topics"),
        }
        starts
    }

    async fn compare_logs<C: GroupClient>(&mut self, client: &mut C, committed: Vec<CommittedOffset>) {
        let mut is_answered = true;
        for CommittedOffset { key, offset, metadata } in committed {
            let Some(offset) = offset else {
                self.known.insert(key, ReadFrom::Beginning);
                continue;
            };
            // After one question without an answer the others are not asked: each would hold up the rebalance.
            let bounds = if is_answered { client.bounds(&key).await.ok() } else { None };
            is_answered = bounds.is_some();
            let log = Log { topic_id: self.topic_ids.get(&key.0).map(String::as_str), bounds };
            let (topic, partition) = &key;
            let from = match start(Committed { offset, metadata: &metadata }, log) {
                Start::Committed => ReadFrom::Offset(offset),
                Start::AfterLoss(reason) => {
                    self.breaks.push(format!("{topic}[{partition}]: {reason}"));
                    ReadFrom::Offset(bounds.map_or(offset, |(first, _)| first))
                }
                Start::Beginning(reason) => {
                    self.breaks.push(format!("{topic}[{partition}]: {reason}; reading from the beginning"));
                    self.other_logs.insert(key.clone());
                    ReadFrom::Beginning
                }
            };
            self.known.insert(key, from);
        }
    }

    /// What is known of the start of a partition.
    pub fn of(&self, key: &PartitionKey) -> ReadFrom {
        self.known.get(key).copied().unwrap_or(ReadFrom::Unknown)
    }

    /// The starts for the client.
    pub fn for_client(&self, keys: &[PartitionKey]) -> Vec<StartAt> {
        let start = |key: &PartitionKey| StartAt { key: key.clone(), is_beginning: self.other_logs.contains(key) };
        keys.iter().map(start).collect()
    }
}
