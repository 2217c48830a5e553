// Upstream: backfill, coverage, feed
// Downstream: actors, config, pieces
// Role: Keeps the file of what is done, so that the same command resumes an interrupted backfill.

//! One line per finished piece: the security, or a set of securities, and the days. A set is written once, before the
//! first line that names it. So the file tells for each security which days are done, whatever the pieces of the next
//! run are.
//!
//! ```text
//! 000001.SZ 2024-01-01..2024-12-31
//! set-1f0c… 000001.SZ,000002.SZ
//! set-1f0c… 2024-01-01..2024-01-28
//! ```

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actors::domain::{Code, DateRange};
use uuid::Uuid;

use super::pieces::Piece;
use crate::config::Environment;

/// Name of the folder below the state folder of all programs.
const PROGRAM: &str = "data-worker";

/// The folder of the journals: the one on the command line, otherwise the one in `GINKGO_DATA_WORKER_STATE`, otherwise
/// `data-worker` in the state directory of the XDG base directory specification; without a home directory, `.`.
pub fn folder(explicit: Option<&Path>, environment: &Environment) -> PathBuf {
    let named = explicit.map(Path::to_owned).or_else(|| environment.get("GINKGO_DATA_WORKER_STATE").map(PathBuf::from));
    let of_xdg = || environment.get("XDG_STATE_HOME").map(|folder| Path::new(folder).join(PROGRAM));
    let of_home = || environment.get("HOME").map(|home| Path::new(home).join(".local/state").join(PROGRAM));
    named.or_else(of_xdg).or_else(of_home).unwrap_or_else(|| PathBuf::from("."))
}

/// Days that are done for some securities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The securities.
    pub codes: Arc<[Code]>,
    /// The days.
    pub range: DateRange,
}

/// The file of one backfill.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// The sets that the file defines.
    sets: HashSet<String>,
}

impl Journal {
    /// Opens the journal of a backfill in `folder`, and returns what is done. `subject` names the data, the range and
    /// the store, but no securities: one more of them costs that one alone. Creates the folder if it is missing. If the
    /// process was killed, the last line may be incomplete; it is then removed, and its piece is repeated.
    pub fn open(folder: &Path, subject: &str) -> io::Result<(Self, Vec<Done>)> {
        std::fs::create_dir_all(folder)?;
        let path = path(folder, subject);
        let text = text(&path)?;
        let (sets, done) = read(&text);
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        if text.is_empty() {
            file.write_all(format!("# {subject}\n").as_bytes())?;
        } else {
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            file.set_len(whole as u64)?;
        }
        Ok((Self { path, file, sets }, done))
    }

    /// Records a finished piece.
    pub fn note(&mut self, piece: &Piece) -> io::Result<()> {
        let whose = match &*piece.codes {
            [code] => code.to_string(),
            codes => {
                let id = set_id(codes);
                if self.sets.insert(id.clone()) {
                    let codes: Vec<&str> = codes.iter().map(Code::as_str).collect();
                    self.file.write_all(format!("{id} {}\n", codes.join(",")).as_bytes())?;
                }
                id
            }
        };
        // One write, so that a kill leaves only the last line incomplete.
        self.file.write_all(format!("{whose} {}\n", piece.range).as_bytes())
    }

    /// Removes the file after all pieces are done.
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// What the journal of a backfill says is done. Changes no file.
pub fn done(folder: &Path, subject: &str) -> io::Result<Vec<Done>> {
    Ok(read(&text(&path(folder, subject))?).1)
}

/// The path of the journal of a backfill, whether it exists or not.
pub fn path(folder: &Path, subject: &str) -> PathBuf {
    let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, subject.as_bytes()).simple();
    folder.join(format!("backfill-{name}.done"))
}

/// The text of a journal; empty if there is none yet.
fn text(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => text,
    }
}

/// The id of a set: its securities decide it, so a line that was cut off defines no set.
fn set_id(codes: &[Code]) -> String {
    let codes: Vec<&str> = codes.iter().map(Code::as_str).collect();
    format!("set-{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, codes.join(",").as_bytes()).simple())
}

fn read(text: &str) -> (HashSet<String>, Vec<Done>) {
    let mut sets: HashMap<&str, Arc<[Code]>> = HashMap::new();
    let mut done = Vec::new();
    // A line without its end was cut off.
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    for (whose, what) in lines.filter_map(|line| line.split_once(' ')) {
        match range(what) {
            Some(range) => {
                let codes = sets.get(whose).cloned().or_else(|| Some(Arc::from([whose.parse::<Code>().ok()?])));
                done.extend(codes.map(|codes| Done { codes, range }));
            }
            None => {
                let codes: Option<Vec<Code>> = what.split(',').map(|code| code.parse().ok()).collect();
                if let Some(codes) = codes.filter(|codes| set_id(codes) == whose) {
                    sets.insert(whose, codes.into());
                }
            }
        }
    }
    (sets.into_keys().map(str::to_owned).collect(), done)
}

/// A range as `DateRange` displays it.
fn range(text: &str) -> Option<DateRange> {
    let (start, end) = text.split_once("..")?;
    Some(DateRange { start: start.parse().ok()?, end: end.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::fetcher::request_plan::Way;

    #[test]
    fn explicit_folder_precedes_state_directories() {
        let of = |explicit: Option<&str>, variables: &[(&str, &str)]| {
            folder(explicit.map(Path::new), &variables.iter().copied().collect()).display().to_string()
        };
        let all = [("GINKGO_DATA_WORKER_STATE", "/s"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(of(Some("/e"), &all), "/e");
        assert_eq!(of(None, &all), "/s");
        assert_eq!(of(None, &all[1..]), "/x/data-worker");
        assert_eq!(of(None, &all[2..]), "/h/.local/state/data-worker");
        assert_eq!(of(None, &[]), ".");
    }

    fn piece(codes: &[&str], start: &str, end: &str) -> Piece {
        let codes: Vec<Code> = codes.iter().map(|code| code.parse().unwrap()).collect();
        let range = DateRange { start: start.parse().unwrap(), end: end.parse().unwrap() };
        Piece { codes: codes.into(), range, way: Way::ByCode, num_calls: 1 }
    }

    #[test]
    fn tells_what_is_done_for_which_securities() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Journal::open(folder.path(), "1d of 2024").unwrap();
        let (mut journal, done) = open();
        assert_eq!(done, []);
        let pieces = [
            piece(&["000001.SZ"], "2024-01-01", "2024-12-31"),
            piece(&["000001.SZ", "600000.SH"], "2024-01-01", "2024-01-28"),
            piece(&["000001.SZ", "600000.SH"], "2024-01-29", "2024-02-25"),
        ];
        pieces.iter().for_each(|piece| journal.note(piece).unwrap());
        let (mut journal, done) = open();
        let expected: Vec<Done> =
            pieces.iter().map(|piece| Done { codes: piece.codes.clone(), range: piece.range }).collect();
        assert_eq!(done, expected);
        journal.note(&pieces[2]).unwrap();
        let text = std::fs::read_to_string(&journal.path).unwrap();
        assert_eq!(text.lines().count(), 6, "a set is defined once: {text}");
        assert!(text.starts_with("# 1d of 2024\n"), "{text}");
        assert_eq!(Journal::open(folder.path(), "1d of 2023").unwrap().1, [], "another backfill");
        journal.remove().unwrap();
        assert_eq!(open().1, []);
    }

    #[test]
    fn a_kill_at_any_byte_loses_the_last_line_alone() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Journal::open(folder.path(), "1d").unwrap();
        let (mut journal, _) = open();
        journal.note(&piece(&["000001.SZ", "600000.SH"], "2024-01-01", "2024-01-28")).unwrap();
        journal.note(&piece(&["000001.SZ"], "2024-01-29", "2024-02-02")).unwrap();
        let (path, text) = (journal.path.clone(), std::fs::read_to_string(&journal.path).unwrap());
        for length in 0..text.len() {
            std::fs::write(&path, &text[..length]).unwrap();
            let (mut journal, done) = open();
            assert_eq!(done, read(&text[..length]).1);
            assert!(done.len() <= text[..length].matches('\n').count(), "{length}: {done:?}");
            // The next run goes on in the same file.
            let next = piece(&["000001.SZ", "600000.SH"], "2024-03-01", "2024-03-02");
            journal.note(&next).unwrap();
            let again = open().1;
            assert_eq!(again.last(), Some(&Done { codes: next.codes, range: next.range }), "{length}");
            assert_eq!(again.len(), done.len() + 1, "{length}");
        }
    }
}
