// Upstream: backfill, feed
// Downstream: config, pieces
// Role: Keeps the file of finished pieces, so that the same command resumes an interrupted backfill.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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

/// A file with one line per finished piece.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the journal of exactly these pieces in `folder`, and returns the ids of the finished pieces. Creates the
    /// folder if it is missing. If the process was killed, the last line may be incomplete; it then matches no piece,
    /// and that piece is repeated.
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

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records a finished piece.
    pub fn note(&mut self, piece: &Piece) -> io::Result<()> {
        // One write, so that a kill leaves only the last line incomplete.
        self.file.write_all(format!("{}\n", piece.id).as_bytes())
    }

    /// Removes the file after all pieces are done.
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn journal_belongs_to_one_backfill() {
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
        // An incomplete last line.
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
