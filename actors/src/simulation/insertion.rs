// Upstream: store
// Downstream: ports
// Role: INSERTs as a ClickHouse table takes them: partition by partition, each with its own deduplication.

use std::collections::{HashMap, HashSet};

use chrono::{Datelike, NaiveDateTime};

use crate::ports::Batch;

/// Number of days in a partition of a model table.
const DAYS_PER_PARTITION: i32 = 2;

/// What the tables know of earlier INSERTs, and the faults of the next one.
#[derive(Debug, Default)]
pub struct Insertions {
    /// The partitions of each batch that were stored.
    stored: HashSet<(String, i32)>,
    /// Number of rows that the next INSERT loses although it succeeds.
    pub rows_to_lose: usize,
    /// Whether the next INSERT stores one partition alone: a server stores them in the order in which they appear.
    pub in_part: bool,
}

impl Insertions {
    /// The rows of a batch that a table stores. With `deduplicates` it drops the partitions that it stored already.
    pub fn accept<R: Clone>(
        &mut self,
        batch: &Batch<R>,
        deduplicates: bool,
        time: impl Fn(&R) -> NaiveDateTime,
    ) -> Vec<R> {
        let rows = batch.rows.iter().skip(std::mem::take(&mut self.rows_to_lose));
        let partition = |row: &R| time(row).date().num_days_from_ce() / DAYS_PER_PARTITION;
        let first = rows.clone().next().map(partition);
        let in_part = std::mem::take(&mut self.in_part);
        let mut is_taken: HashMap<i32, bool> = HashMap::new();
        rows.filter(|row| {
            let partition = partition(row);
            let is_reached = !in_part || Some(partition) == first;
            let mut take = || self.stored.insert((batch.token.clone(), partition)) || !deduplicates;
            is_reached && *is_taken.entry(partition).or_insert_with(&mut take)
        })
        .cloned()
        .collect()
    }

    /// Whether a batch without partitions is new.
    pub fn is_new(&mut self, token: &str) -> bool {
        self.stored.insert((token.to_owned(), 0))
    }
}
