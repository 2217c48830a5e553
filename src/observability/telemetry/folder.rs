// Upstream: telemetry
// Downstream: none
// Role: Writes log lines to daily files in a folder, for log collectors; workers of one machine may share it.

use std::path::Path;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};

/// Number of retained files including the current one: one week. The oldest file is removed at the start of a new day.
const MAX_FILES: usize = 7;

/// Maximum number of lines buffered for a slow disk, some megabytes. Further lines are dropped from the file, because
/// logging must not block the worker. Standard output still has them.
const MAX_WAITING_LINES: usize = 10_000;

/// Opens a writer for `data_worker.YYYY-MM-DD.log` (UTC) in this folder and creates the folder if it is missing. `None`
/// for an empty path. Workers that share the folder append to the same file, each line with one write. The error is the
/// reason why the folder is not writable.
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
