// Upstream: standalone
// Downstream: error, sample
// Role: Creates the folder of one standalone run, with the database and the sample files.

use std::path::{Path, PathBuf};

use tempfile::{Builder, TempDir};

use crate::standalone::error::StandaloneError;
use crate::standalone::sample::SAMPLES;

/// The files of a run. The folder is deleted when this value is dropped, unless it contains the database.
pub struct RunFolder {
    bars: PathBuf,
    database: PathBuf,
    _folder: TempDir,
}

impl RunFolder {
    /// Creates the folder and writes the sample bars into it.
    pub fn create(database: Option<&Path>) -> Result<Self, StandaloneError> {
        let failed =
            |what, path: &Path, error| StandaloneError::Folder { what, path: path.display().to_string(), error };
        let temporary = std::env::temp_dir();
        let folder = Builder::new().prefix("data-worker-").tempdir_in(&temporary);
        let mut folder = folder.map_err(|error| failed("create a folder in", &temporary, error))?;
        folder.disable_cleanup(database.is_none());
        let bars = folder.path().join("bars");
        std::fs::create_dir(&bars).map_err(|error| failed("create", &bars, error))?;
        for sample in SAMPLES {
            let file = bars.join(sample.file_name());
            std::fs::write(&file, sample.text).map_err(|error| failed("write", &file, error))?;
        }
        let database = database.map_or_else(|| folder.path().join("bars.sqlite"), Path::to_owned);
        Ok(Self { bars, database, _folder: folder })
    }

    /// The folder of the source files.
    pub fn bars(&self) -> &Path {
        &self.bars
    }

    /// The database file.
    pub fn database(&self) -> &Path {
        &self.database
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_kept_only_for_the_database_in_it() {
        let own = RunFolder::create(None).unwrap();
        let folder = own.database().parent().unwrap().to_owned();
        assert!(own.bars().join("002032.SZ.daily.csv").is_file() && own.bars().starts_with(&folder));
        drop(own);
        assert!(folder.is_dir());
        std::fs::remove_dir_all(folder).unwrap();

        let elsewhere = RunFolder::create(Some(Path::new("/elsewhere/bars.sqlite"))).unwrap();
        let bars = elsewhere.bars().to_owned();
        assert_eq!(elsewhere.database(), Path::new("/elsewhere/bars.sqlite"));
        assert!(bars.join("000000.SZ.daily.csv").is_file());
        drop(elsewhere);
        assert!(!bars.exists() && !bars.parent().unwrap().exists());
    }
}
