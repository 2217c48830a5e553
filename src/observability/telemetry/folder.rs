// Upstream: telemetry
// Downstream: none
// Role: Log lines in a folder, for a collector that reads files: one file a day, shared by all workers of a machine.

use std::path::Path;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};

/// Files that are kept, the current one included: a week. The oldest one is removed when a new day begins.
const MAX_FILES: usize = 7;

/// Lines that wait for a slow disk, some megabytes. Further ones are left out of the folder: a worker does not stand still
/// for its log, and the output has them.
const MAX_WAITING_LINES: usize = 10_000;

/// A writer of `data_worker.YYYY-MM-DD.log` (UTC) in this folder, which is created where it is missing; `None` for no
/// folder. Workers that share the folder append to the same file, each line by one write. The error is why it takes no
/// lines.
pub fn open(folder: &Path) -> Result<Option<(NonBlocking, WorkerGuard)>, String> {
    if folder.as_os_str().is_empty() {
        return Ok(None);
    }
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let files = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("data_worker")
        .filename_suffix("log")
        .max_log_files(MAX_FILES)
        .build(folder)
        .map_err(|error| match std::error::Error::source(&error) {
            Some(reason) => format!("{error}: {reason}"),
            None => error.to_string(),
        })?;
    let writer = NonBlockingBuilder::default().buffered_lines_limit(MAX_WAITING_LINES).thread_name("log folder");
    Ok(Some(writer.finish(files)))
}
