// Upstream: backfill, feed
// Downstream: config, pieces
// Role: The file that says which pieces of a backfill are done, so that the same command goes on where it was.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::pieces::Piece;
use crate::config::Environment;

/// The folder's name below those of all programs.
const PROGRAM: &str = "data-worker";

/// Where journals lie: in the folder that is named on the command line or by `GINKGO_DATA_WORKER_STATE`; else where the
/// XDG base directories have what a program keeps; where there is no home, in `.`.
pub fn folder(explicit: Option<&Path>, environment: &Environment) -> PathBuf {
    let named = explicit.map(Path::to_owned).or_else(|| environment.get("GINKGO_DATA_WORKER_STATE").map(PathBuf::from));
    let of_xdg = || environment.get("XDG_STATE_HOME").map(|folder| Path::new(folder).join(PROGRAM));
    let of_home = || environment.get("HOME").map(|home| Path::new(home).join(".local/state").join(PROGRAM));
    named.or_else(of_xdg).or_else(of_home).unwrap_or_else(|| PathBuf::from("."))
}

/// A line for each finished piece.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the journal of exactly these pieces in `folder`, which is made where it is missing, and says which of them are
    /// done. The last line may be torn where the process was killed: it names no piece then, and that piece is done once
    /// more.
    pub fn open(folder: &Path, pieces: &[Piece]) -> io::Result<(Self, HashSet<String>)> {
        let all: Vec<&str> = pieces.iter().map(|piece| piece.payload.as_str()).collect();
        let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, all.join("\n").as_bytes()).simple();
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("backfill-{name}.done"));
        let known: HashSet<&str> = pieces.iter().map(|piece| piece.id.as_str()).collect();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let done = text.lines().filter(|line| known.contains(line)).map(str::to_owned).collect();
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        Ok((Self { path, file }, done))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A piece is done.
    pub fn note(&mut self, piece: &Piece) -> io::Result<()> {
        // One write, so that a kill leaves a whole line or a torn last one.
        self.file.write_all(format!("{}\n", piece.id).as_bytes())
    }

    /// All is done: the file has no use any more.
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_one_that_is_named_else_that_of_a_programs_state() {
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

    #[test]
    fn what_was_noted_is_known_to_the_same_backfill_and_to_no_other() {
        let piece = |id: &str| Piece {
            id: id.to_owned(),
            code: "000001.SZ".parse().unwrap(),
            payload: format!("command for {id}"),
        };
        let pieces = [piece("1d a"), piece("1d b"), piece("1d c")];
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, done) = Journal::open(folder.path(), &pieces).unwrap();
        assert!(done.is_empty());
        journal.note(&pieces[0]).unwrap();
        // A torn last line.
        journal.file.write_all(b"1d b").unwrap();
        journal.file.write_all(b"!").unwrap();
        let (mut journal, done) = Journal::open(folder.path(), &pieces).unwrap();
        assert_eq!(done, HashSet::from(["1d a".to_owned()]));
        journal.note(&pieces[2]).unwrap();
        let (journal, done) = Journal::open(folder.path(), &pieces).unwrap();
        assert_eq!(done.len(), 2);
        assert!(Journal::open(folder.path(), &pieces[..2]).unwrap().1.is_empty());
        journal.remove().unwrap();
        assert!(!journal.path().exists());
    }
}
