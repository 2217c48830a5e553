// Upstream: command_router, pipeline, quality_monitor, supervisor
// Downstream: ports, supervision
// Role: Writes records behind the work, many at a time; it never holds the work up, and what it loses is counted.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::{mpsc, oneshot};

use crate::ports::StoreError;
use crate::supervision::{Counter, StatusBoard};

/// How long the first record of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// Tries of one batch. A record is a note for people: it is not worth more.
const TRIES: usize = 5;

/// What a journal holds.
#[derive(Debug, Clone, Copy)]
pub struct BackgroundWriterKind {
    /// Its records in words.
    pub what: &'static str,
    /// Records that wait at most; beyond that they are dropped and counted.
    pub max_waiting: usize,
    /// Records of one write.
    pub batch: usize,
    /// Where lost ones are counted.
    pub lost: fn(&StatusBoard) -> &Counter,
}

enum Entry<R> {
    Record(R),
    /// Say so when everything before this is written.
    WriteOut(oneshot::Sender<()>),
}

/// Where records are noted.
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
    /// Starts writing by `keep`, on the arbiter that calls this. A batch whose write failed is written again as it was.
    pub fn start(
        kind: BackgroundWriterKind,
        board: Arc<StatusBoard>,
        keep: impl AsyncFn(&[R]) -> Result<(), StoreError> + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(kind.max_waiting);
        actix_rt::spawn(write(receiver, kind, keep, board.clone()));
        Self { entries: sender, kind, board }
    }

    /// Notes a record; drops it where too many wait.
    pub fn note(&self, record: R) {
        if self.entries.try_send(Entry::Record(record)).is_err() {
            (self.kind.lost)(&self.board).add(1);
        }
    }

    /// Returns when everything noted so far is written or given up.
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
        let (records, waiting) = gather(entry, &mut entries, kind.batch).await;
        write_batch(&records, kind, &keep, &board).await;
        if let Some(waiting) = waiting {
            let _nobody_waits = waiting.send(());
        }
    }
}

/// A batch: what comes within a while, up to a full one, or until somebody waits for it.
async fn gather<R>(
    first: Entry<R>,
    entries: &mut mpsc::Receiver<Entry<R>>,
    batch: usize,
) -> (Vec<R>, Option<oneshot::Sender<()>>) {
    let mut records = Vec::new();
    let end = tokio::time::Instant::now() + GATHER;
    let mut next = Some(first);
    while let Some(entry) = next {
        match entry {
            Entry::Record(record) => records.push(record),
            Entry::WriteOut(waiting) => return (records, Some(waiting)),
        }
        if records.len() >= batch {
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
            tracing::error!(what, records = records.len(), %error, "records are given up; no row of market data is concerned");
            return;
        };
        tracing::warn!(what, records = records.len(), %error, retry_in = ?delay, "records are not written yet");
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
        assert_eq!(board.counters.sync_records_lost.get(), 10, "two had no room, eight were refused");
    }
}
