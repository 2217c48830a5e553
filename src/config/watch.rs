// Upstream: app, config
// Downstream: none
// Role: Detects changes of the configuration file, also when another file replaces it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// After a change, the file must stay unchanged for this long before it counts as completely written.
const QUIET_PERIOD: Duration = Duration::from_secs(1);

/// Maximum wait for that: a file that changes continuously is read after this time.
const MAX_DEBOUNCE: Duration = Duration::from_secs(10);

/// Kubernetes updates mounted files by replacing this symbolic link to the folder that contains them.
const MOUNTED_DATA: &str = "..data";

/// A file watch that ends when it is dropped.
///
/// It watches the folder of the file, and the folder of the link target if the file is a link. Editors replace the old
/// file by a new one, and a watch on the file itself would stay on the old one.
pub struct FileWatch {
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Calls `changed` after each change of the file, once the file has stayed unchanged for a second.
    pub fn start(file: &Path, changed: impl Fn() + Send + 'static) -> notify::Result<Self> {
        let (events, heard) = channel();
        let names = names_of(file);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let matters = event.is_ok_and(|event| {
                !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| is_named(path, &names))
            });
            if matters && events.send(()).is_err() {
                tracing::debug!("change of the configuration file ignored, the watch has ended");
            }
        })?;
        for folder in folders_of(file) {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        }
        let thread = std::thread::Builder::new().name("config-watch".to_owned());
        thread.spawn(move || gather(&heard, changed)).map_err(notify::Error::io)?;
        Ok(Self { _watcher: watcher })
    }
}

/// Debounces events. Ends when the watcher, and with it the sender, is dropped.
fn gather(heard: &Receiver<()>, changed: impl Fn()) {
    while heard.recv().is_ok() {
        let begun = Instant::now();
        loop {
            match heard.recv_timeout(QUIET_PERIOD) {
                Ok(()) if begun.elapsed() < MAX_DEBOUNCE => {}
                Ok(()) | Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        changed();
    }
}

fn folders_of(file: &Path) -> BTreeSet<PathBuf> {
    let target = file.canonicalize().ok();
    let folder = |file: &Path| match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    [Some(folder(file)), target.as_deref().map(folder)].into_iter().flatten().collect()
}

fn names_of(file: &Path) -> BTreeSet<OsString> {
    let target = file.canonicalize().ok();
    let name = |file: &Path| file.file_name().map(ToOwned::to_owned);
    [name(file), target.as_deref().and_then(name), Some(MOUNTED_DATA.into())].into_iter().flatten().collect()
}

fn is_named(path: &Path, names: &BTreeSet<OsString>) -> bool {
    path.file_name().is_some_and(|name| names.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::Receiver;

    fn watched(file: &Path) -> (FileWatch, Receiver<()>) {
        let (sender, heard) = channel();
        (FileWatch::start(file, move || sender.send(()).unwrap()).unwrap(), heard)
    }

    fn assert_seen(heard: &Receiver<()>) {
        heard.recv_timeout(Duration::from_secs(8)).expect("the change is detected");
    }

    #[test]
    fn watch_sees_writes_and_renames_of_its_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data_worker.yml");
        fs::write(&file, "a").unwrap();
        let (_watch, heard) = watched(&file);
        fs::write(&file, "b").unwrap();
        fs::write(&file, "c").unwrap();
        assert_seen(&heard);
        for text in ["d", "e"] {
            let new = folder.path().join(".data_worker.yml.swp");
            fs::write(&new, text).unwrap();
            fs::rename(&new, &file).unwrap();
            assert_seen(&heard);
        }
        fs::write(folder.path().join("other.yml"), "x").unwrap();
        assert_eq!(heard.recv_timeout(QUIET_PERIOD * 2), Err(RecvTimeoutError::Timeout), "one call per change");
    }

    #[test]
    fn a_mounted_folder_whose_link_is_exchanged_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("..one", "a"), ("..two", "b")] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("data_worker.yml"), text).unwrap();
        }
        symlink("..one", at("..data")).unwrap();
        symlink("..data/data_worker.yml", at("data_worker.yml")).unwrap();
        let (_watch, heard) = watched(&at("data_worker.yml"));
        symlink("..two", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_seen(&heard);
        assert_eq!(fs::read_to_string(at("data_worker.yml")).unwrap(), "b");
    }
}
