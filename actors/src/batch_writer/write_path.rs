// Upstream: batch_writer::bars, batch_writer::factors, batch_writer::lists, batch_writer::ticks
// Downstream: looks, ports, settings, store_retry
// Role: The way of rows into a store, the same for all kinds: plan, insert, remove, confirm; retries until done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{Datelike, NaiveDateTime};

use crate::batch_writer::looks::{Looks, Verdict};
use crate::ports::{Batch, Pinned, StoreError, StoreErrorClass, Swappable};
use crate::settings::ActorSettings;
use crate::store_retry::{StoreOperation, StoreOutage, StoreTries, insert_token};

/// The rows of some tasks on their way into a store. The kinds of rows differ in what they read and plan, and in how
/// they find what another worker wrote at the same moment.
pub(super) trait WriteJob {
    /// The store.
    type Stores: ?Sized;
    /// What to change.
    type Plan;
    /// One statement of a plan.
    type Change;

    /// The operation, by which outages are kept apart.
    fn operation(&self) -> StoreOperation;

    /// Drops the tasks that must not be written to the store of this generation: those that another worker writes, and
    /// those that were fetched for what another store lacked. Returns whether any is left.
    fn retain(&mut self, generation: u64) -> bool;

    /// Whether another worker writes one of the tasks now.
    fn is_lost(&self) -> bool;

    /// Reads what is stored and plans the changes.
    async fn plan(&mut self, stores: &Self::Stores) -> Result<Self::Plan, StoreError>;

    /// The statements of a plan, in their order.
    fn changes(&self, plan: &Self::Plan) -> Vec<Self::Change>;

    /// Executes a statement.
    async fn apply(&mut self, change: &Self::Change, stores: &Self::Stores) -> Result<(), StoreError>;

    /// Whether a statement may be sent once more after an error, without a new plan: it has no effect if it had one
    /// already.
    async fn may_repeat(&self, change: &Self::Change, stores: &Self::Stores) -> bool;

    /// Splits an INSERT that touches too many partitions. Returns it whole where it cannot be split.
    fn split(&self, change: Self::Change) -> Vec<Self::Change> {
        vec![change]
    }

    /// Looks at what is stored now. With `take_over` the job also acts in the place of another worker.
    async fn look(&mut self, stores: &Self::Stores, take_over: bool) -> Result<Verdict<Self::Plan>, StoreError>;
}

/// A job of many tasks.
pub(super) trait BatchJob: WriteJob + Sized {
    /// Number of its tasks.
    fn num_tasks(&self) -> usize;

    /// Takes the tasks from this place on out.
    fn split_off(&mut self, place: usize) -> Self;

    /// Ends the tasks, whose rows are stored.
    async fn settle(self, plan: Self::Plan, generation: u64);
}

/// Maximum number of rows that a look-up of a batch may hold. They are beside the row budget: if they were part of it,
/// rows that wait for their look-up could use it up. The stored rows of a single task are held whole.
pub(super) fn max_looked_up(num_tasks: usize, settings: &ActorSettings) -> usize {
    if num_tasks > 1 { settings.batch.max_rows } else { usize::MAX }
}

/// A statement on rows of type `R`, whose stored form is `S`.
#[derive(Debug)]
pub(super) enum RowChange<R, S> {
    /// Insert these rows.
    Insert(Batch<R>),
    /// Remove these rows.
    Remove(Arc<Vec<S>>),
}

impl<R, S> RowChange<R, S> {
    /// An INSERT with a token of its own; `None` without rows.
    pub fn insert(rows: Arc<Vec<R>>) -> Option<Self> {
        (!rows.is_empty()).then(|| Self::Insert(Batch { token: insert_token(), rows }))
    }

    /// A removal; `None` without rows.
    pub fn remove(rows: impl Into<Arc<Vec<S>>>) -> Option<Self> {
        let rows = rows.into();
        (!rows.is_empty()).then_some(Self::Remove(rows))
    }

    /// Whether it may be sent once more: an INSERT if `may_insert` says so. Replaced rows are removed in any case, also
    /// where a task is lost, because their new rows are stored.
    pub async fn may_repeat(&self, may_insert: impl AsyncFnOnce() -> bool) -> bool {
        match self {
            Self::Insert(_) => may_insert().await,
            Self::Remove(_) => true,
        }
    }
}

impl<R: Clone, S> RowChange<R, S> {
    /// Splits an INSERT by year. The oldest years come first, because a later increment starts at the newest stored
    /// day.
    pub fn by_year(self, time: impl Fn(&R) -> NaiveDateTime) -> Vec<Self> {
        let Self::Insert(batch) = self else { return vec![self] };
        let mut years = BTreeMap::<i32, Vec<R>>::new();
        for row in batch.rows.iter() {
            years.entry(time(row).year()).or_default().push(row.clone());
        }
        if years.len() < 2 {
            return vec![Self::Insert(batch)];
        }
        years.into_values().filter_map(|rows| Self::insert(Arc::new(rows))).collect()
    }
}

/// How a write ended.
pub(super) enum Written<P> {
    /// All rows are stored in the store of this generation.
    Stored {
        /// The last plan.
        plan: P,
        /// The generation of the store.
        generation: u64,
    },
    /// No task is left: other workers write them, or they run again.
    Lost,
    /// Only an operator can mend the table, which no other task needs.
    Unusable(StoreError),
    /// There are more stored rows than the job may hold.
    TooLarge,
}

/// Where jobs are written to.
pub(super) struct WritePath<'a, S: ?Sized> {
    /// The active store.
    pub stores: &'a Swappable<S>,
    /// The outages of the store.
    pub outage: &'a StoreOutage,
    /// The delays between attempts.
    pub settings: &'a ActorSettings,
}

impl<S: ?Sized> WritePath<'_, S> {
    /// Writes a batch, by halves where there are more stored rows than it may hold.
    pub async fn write_batch<J: BatchJob<Stores = S>>(&self, batch: J) {
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            match self.write(&mut part).await {
                Written::Stored { plan, generation } => part.settle(plan, generation).await,
                Written::TooLarge => {
                    let (num_tasks, half) = (part.num_tasks(), part.num_tasks().div_ceil(2));
                    // The older tasks first: a later one sees what they changed.
                    parts.extend((half < num_tasks).then(|| part.split_off(half)));
                    parts.push(part);
                }
                Written::Lost | Written::Unusable(_) => {}
            }
        }
    }

    /// Writes a job. It retries until all rows are stored, because they would be lost otherwise. Each attempt uses one
    /// store: a reload in its middle begins it anew.
    pub async fn write<J: WriteJob<Stores = S>>(&self, job: &mut J) -> Written<J::Plan> {
        let operation = job.operation();
        let tries = |operation| StoreTries::new(self.outage, operation, self.settings);
        let mut reads = tries(StoreOperation { writes: false, ..operation });
        let mut writes = tries(operation);
        loop {
            let stores = self.stores.pin();
            if !job.retain(stores.generation) {
                return Written::Lost;
            }
            let mut attempt = Attempt {
                path: self,
                job: &mut *job,
                stores: &stores,
                reads: &mut reads,
                writes: &mut writes,
                has_changed: false,
            };
            let outcome = attempt.run().await;
            // An attempt that had nothing to change proves nothing about writing, unless its first try was in doubt.
            let proves_writing = attempt.has_changed || attempt.writes.has_failed();
            match outcome {
                Ok(plan) => {
                    if proves_writing {
                        writes.succeeded();
                    }
                    return Written::Stored { plan, generation: stores.generation };
                }
                Err(Interruption::Outdated) => {}
                Err(Interruption::Unusable(error)) => return Written::Unusable(error),
                Err(Interruption::TooLarge) => return Written::TooLarge,
            }
        }
    }
}

/// Why an attempt ended early.
enum Interruption {
    /// The plan may be outdated: what is stored must be read again.
    Outdated,
    /// Only an operator can mend the table.
    Unusable(StoreError),
    /// There are more stored rows than the job may hold.
    TooLarge,
}

/// One attempt on one store.
struct Attempt<'a, 'o, J: WriteJob> {
    path: &'a WritePath<'a, J::Stores>,
    job: &'a mut J,
    stores: &'a Pinned<J::Stores>,
    reads: &'a mut StoreTries<'o>,
    writes: &'a mut StoreTries<'o>,
    has_changed: bool,
}

impl<J: WriteJob> Attempt<'_, '_, J> {
    async fn run(&mut self) -> Result<J::Plan, Interruption> {
        let planned = self.job.plan(self.stores).await;
        let plan = self.answered(planned).await?;
        self.apply(&plan).await?;
        self.confirm().await?;
        Ok(plan)
    }

    /// Executes a plan, one statement after another. A retry sends the same rows with the same deduplication token.
    async fn apply(&mut self, plan: &J::Plan) -> Result<(), Interruption> {
        let mut pending = VecDeque::from(self.job.changes(plan));
        while let Some(change) = pending.pop_front() {
            if self.is_exchanged() {
                return Err(Interruption::Outdated);
            }
            let Err(error) = self.job.apply(&change, self.stores).await else {
                self.has_changed = true;
                continue;
            };
            if error.class == StoreErrorClass::TooManyPartitions {
                let mut parts = self.job.split(change);
                if parts.len() > 1 {
                    tracing::info!(parts = parts.len(), "an INSERT touches too many partitions and is split by year");
                    while let Some(part) = parts.pop() {
                        pending.push_front(part);
                    }
                    continue;
                }
                self.refused(&error).await?;
                return Err(Interruption::Outdated);
            }
            self.refused(&error).await?;
            // Without deduplication the table may contain some partitions of the batch: what is stored is read again.
            if !self.job.may_repeat(&change, self.stores).await {
                return Err(Interruption::Outdated);
            }
            pending.push_front(change);
        }
        Ok(())
    }

    /// Looks whether other workers wrote the same rows at the same moment, until one of each is left.
    async fn confirm(&mut self) -> Result<(), Interruption> {
        let mut looks = Looks::default();
        while looks.next() {
            let looked = self.job.look(self.stores, looks.takes_over()).await;
            let verdict = match self.answered(looked).await {
                Ok(verdict) => verdict,
                Err(Interruption::Outdated) if !self.is_exchanged() => {
                    looks.repeat();
                    continue;
                }
                Err(interruption) => return Err(interruption),
            };
            match verdict {
                Verdict::Settled => return Ok(()),
                Verdict::Theirs => looks.pause().await,
                Verdict::Missing(error) => {
                    self.refused(&error).await?;
                    return Err(Interruption::Outdated);
                }
                Verdict::Ours(plan) => {
                    tracing::info!("another worker wrote the same rows; the newest answer stays");
                    match self.apply(&plan).await {
                        // The next look finds what this plan left.
                        Err(Interruption::Outdated) if !self.is_exchanged() => {}
                        outcome => outcome?,
                    }
                }
            }
        }
        tracing::warn!(
            looks = Looks::MAX,
            data = self.job.operation().data_name,
            "other workers keep writing the same rows; some may be stored twice until their range is replaced again"
        );
        Ok(())
    }

    /// The answer to a read. After an error it waits, and what is stored must be read again.
    async fn answered<T>(&mut self, answer: Result<T, StoreError>) -> Result<T, Interruption> {
        match answer {
            Ok(answer) => {
                if self.reads.has_failed() {
                    self.reads.succeeded();
                }
                Ok(answer)
            }
            Err(error) if error.class == StoreErrorClass::TooManyRows => Err(Interruption::TooLarge),
            Err(error) if self.reads.gives_up_after(&error).await => Err(Interruption::Unusable(error)),
            Err(_) => Err(Interruption::Outdated),
        }
    }

    /// Waits after a refused statement, or gives up.
    async fn refused(&mut self, error: &StoreError) -> Result<(), Interruption> {
        if self.writes.gives_up_after(error).await { Err(Interruption::Unusable(error.clone())) } else { Ok(()) }
    }

    fn is_exchanged(&self) -> bool {
        self.path.stores.generation() != self.stores.generation
    }
}
