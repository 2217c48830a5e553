// Upstream: batch_writer::bars, command_router, pipeline, quality_monitor, supervisor
// Downstream: ports, supervision
// Role: Writes records to a store in the background in batches. It never blocks callers and counts lost records.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::{mpsc, oneshot};

use crate::ports::StoreError;
use crate::supervision::{Counter, StatusBoard};

/// Maximum number of attempts for one batch. The records are informational, so more attempts are not justified.
const TRIES: usize = 5;

/// The parameters of a writer.
#[derive(Debug, Clone, Copy)]
pub struct BackgroundWriterKind {
    /// Name of the records in log messages.
    pub what: &'static str,
    /// Maximum number of waiting records. Further records are dropped and counted.
    pub max_waiting: usize,
    /// Maximum number of records in one write.
    pub batch: usize,
    /// Maximum time that the first record of a batch waits for further records.
    pub gather: Duration,
    /// The counter of lost records.
    pub lost: fn(&StatusBoard) -> &Counter,
}

enum Entry<R> {
    Record(R),
    /// Signals that all earlier records are written or given up.
    WriteOut(oneshot::Sender<()>),
}

/// Accepts records and writes them in the background.
pub struct BackgroundWriter<R> {
    entries: mpsc::Sender<Entry<R>>,
    kind: BackgroundWriterKind,
    board: Arc<StatusBoard>,
}

impl<R> Clone for BackgroundWriter<R> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), kind: self.kind, board: self.board.clone() }
    }
}

impl<R: 'static> BackgroundWriter<R> {
    /// Starts the writer on the current arbiter. `keep` writes a batch. A batch whose write failed is retried
    /// unchanged.
    pub fn start(
        kind: BackgroundWriterKind,
        board: Arc<StatusBoard>,
        keep: impl AsyncFn(&[R]) -> Result<(), StoreError> + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(kind.max_waiting);
        actix_rt::spawn(write(receiver, kind, keep, board.clone()));
        Self { entries: sender, kind, board }
    }

    /// Queues a record. Drops and counts it if the queue is full.
    pub fn note(&self, record: R) {
        if self.entries.try_send(Entry::Record(record)).is_err() {
            (self.kind.lost)(&self.board).add(1);
        }
    }

    /// Returns when all records queued so far are written or given up.
    pub async fn write_out(&self) {
        let (done, written) = oneshot::channel();
        if self.entries.send(Entry::WriteOut(done)).await.is_ok() {
            let _writer_gone = written.await;
        }
    }
}

async fn write<R>(
    mut entries: mpsc::Receiver<Entry<R>>,
    kind: BackgroundWriterKind,
    keep: impl AsyncFn(&[R]) -> Result<(), StoreError>,
    board: Arc<StatusBoard>,
) {
    while let Some(entry) = entries.recv().await {
        let (records, waiting) = gather(entry, &mut entries, kind).await;
        write_batch(&records, kind, &keep, &board).await;
        if let Some(waiting) = waiting {
            let _nobody_waits = waiting.send(());
        }
    }
}

/// Collects a batch. It ends after the time for it, when it is full, or when a caller waits for the write.
async fn gather<R>(
    first: Entry<R>,
    entries: &mut mpsc::Receiver<Entry<R>>,
    kind: BackgroundWriterKind,
) -> (Vec<R>, Option<oneshot::Sender<()>>) {
    let mut records = Vec::new();
    let end = tokio::time::Instant::now() + kind.gather;
    let mut next = Some(first);
    while let Some(entry) = next {
        match entry {
            Entry::Record(record) => records.push(record),
            Entry::WriteOut(waiting) => return (records, Some(waiting)),
        }
        if records.len() >= kind.batch {
            break;
        }
        next = tokio::time::timeout_at(end, entries.recv()).await.ok().flatten();
    }
    (records, None)
}

async fn write_batch<R>(
    records: &[R],
    kind: BackgroundWriterKind,
    keep: &impl AsyncFn(&[R]) -> Result<(), StoreError>,
    board: &StatusBoard,
) {
    if records.is_empty() {
        return;
    }
    let what = kind.what;
    let delays = ExponentialBuilder::default().with_min_delay(Duration::from_millis(200)).with_max_times(TRIES - 1);
    let mut delays = delays.build();
    while let Err(error) = keep(records).await {
        let Some(delay) = delays.next().filter(|_| error.class.is_transient()) else {
            (kind.lost)(board).add(records.len() as u64);
            tracing::error!(
                what,
                records = records.len(),
                %error,
                "records given up; market data is not affected"
            );
            return;
        };
        tracing::warn!(what, records = records.len(), %error, retry_in = ?delay, "records not written yet, will retry");
        actix_rt::time::sleep(delay).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::StoreErrorClass;
    use std::cell::RefCell;
    use std::rc::Rc;

    fn error(class: StoreErrorClass) -> StoreError {
        StoreError { store: "s".into(), operation: "keep".into(), class, reason: "r".into() }
    }

    const KIND: BackgroundWriterKind = BackgroundWriterKind {
        what: "numbers",
        max_waiting: 8,
        batch: 3,
        gather: Duration::from_secs(1),
        lost: |board| &board.counters.sync_records_lost,
    };

    #[actix_rt::test]
    async fn a_batch_that_failed_is_written_again_as_it_was() {
        let (board, written) = (Arc::new(StatusBoard::default()), Rc::new(RefCell::new(Vec::new())));
        let kept = written.clone();
        let journal = BackgroundWriter::start(KIND, board.clone(), async move |records: &[u32]| {
            kept.borrow_mut().push(records.to_vec());
            if kept.borrow().len() == 1 { Err(error(StoreErrorClass::OutcomeUnknown)) } else { Ok(()) }
        });
        (1..=4).for_each(|number| journal.note(number));
        journal.write_out().await;
        assert_eq!(*written.borrow(), [vec![1, 2, 3], vec![1, 2, 3], vec![4]]);
        assert_eq!(board.counters.sync_records_lost.get(), 0);
    }

    #[actix_rt::test]
    async fn what_cannot_be_kept_is_dropped_and_counted() {
        let board = Arc::new(StatusBoard::default());
        let journal =
            BackgroundWriter::start(KIND, board.clone(), async |_: &[u32]| Err(error(StoreErrorClass::Access)));
        (1..=10).for_each(|number| journal.note(number));
        journal.write_out().await;
        assert_eq!(board.counters.sync_records_lost.get(), 10, "two were dropped, eight were rejected");
    }
}
