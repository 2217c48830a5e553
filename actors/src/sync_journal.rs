// Upstream: actors::command_router, actors::supervisor
// Downstream: actors::domain::sync_record, actors::ports, actors::supervision::board
// Role: Writes the records of ended tasks behind the tasks, many at a time; it never holds a task up.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::{mpsc, oneshot};

use crate::domain::SyncRecord;
use crate::ports::ReferenceStore;
use crate::supervision::Board;

/// Records that wait at most: two evenings of the whole market, some 3 MB. Beyond that they are dropped and counted.
const MAX_WAITING: usize = 10_000;

/// Records of one write.
const BATCH: usize = 500;

/// How long the first record of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// Tries of one batch. A record is a note for people: it is not worth more.
const TRIES: usize = 5;

enum Entry {
    Record(SyncRecord),
    /// Say so when everything before this is written.
    WriteOut(oneshot::Sender<()>),
}

/// Where ended tasks are noted.
#[derive(Clone)]
pub struct SyncJournal {
    entries: mpsc::Sender<Entry>,
    board: Arc<Board>,
}

impl SyncJournal {
    /// Starts writing to `store`, on the arbiter that calls this.
    pub fn start(store: Arc<dyn ReferenceStore>, board: Arc<Board>) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        actix_rt::spawn(write(receiver, store, board.clone()));
        Self { entries: sender, board }
    }

    /// Notes a record; drops it where too many wait.
    pub fn note(&self, record: SyncRecord) {
        if self.entries.try_send(Entry::Record(record)).is_err() {
            self.board.sync_records_lost.add(1);
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

async fn write(mut entries: mpsc::Receiver<Entry>, store: Arc<dyn ReferenceStore>, board: Arc<Board>) {
    while let Some(entry) = entries.recv().await {
        let (records, waiting) = gather(entry, &mut entries).await;
        write_batch(&records, store.as_ref(), &board).await;
        if let Some(waiting) = waiting {
            let _nobody_waits = waiting.send(());
        }
    }
}

/// A batch: what comes within a while, up to a full one, or until somebody waits for it.
async fn gather(first: Entry, entries: &mut mpsc::Receiver<Entry>) -> (Vec<SyncRecord>, Option<oneshot::Sender<()>>) {
    let mut records = Vec::new();
    let end = tokio::time::Instant::now() + GATHER;
    let mut next = Some(first);
    while let Some(entry) = next {
        match entry {
            Entry::Record(record) => records.push(record),
            Entry::WriteOut(waiting) => return (records, Some(waiting)),
        }
        if records.len() >= BATCH {
            break;
        }
        next = tokio::time::timeout_at(end, entries.recv()).await.ok().flatten();
    }
    (records, None)
}

async fn write_batch(records: &[SyncRecord], store: &dyn ReferenceStore, board: &Board) {
    if records.is_empty() {
        return;
    }
    let delays = ExponentialBuilder::default().with_min_delay(Duration::from_millis(200)).with_max_times(TRIES - 1);
    let mut delays = delays.build();
    while let Err(error) = store.record_syncs(records).await {
        let Some(delay) = delays.next().filter(|_| error.class.is_transient()) else {
            board.sync_records_lost.add(records.len() as u64);
            tracing::error!(records = records.len(), %error, "records of ended tasks are given up; no row is concerned");
            return;
        };
        tracing::warn!(records = records.len(), %error, retry_in = ?delay, "records of ended tasks are not written yet");
        actix_rt::time::sleep(delay).await;
    }
}
