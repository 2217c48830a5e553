// Upstream: bars, lists, source
// Downstream: actors, csv_table, parquet_table
// Role: A table in a folder, as CSV or as Parquet, whatever is there.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use actors::ports::SourceErrorKind;

use super::csv_table::{self, CsvError};
use super::parquet_table::{self, ParquetFault};

/// A security's whole history of days is below 1 MB, a year of minutes about 4 MB: a larger file is something else, and memory is not given to it.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The ends of a table's file names. Where a table is there in both forms, the first counts.
pub const ENDS: [&str; 2] = ["parquet", "csv"];

/// A table that is open for reading.
pub enum Table {
    /// Text.
    Csv(Vec<u8>),
    /// Columns.
    Parquet(File),
}

/// A file that is not the table it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// In CSV.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// In Parquet.
    #[error(transparent)]
    Parquet(#[from] ParquetFault),
}

impl Table {
    /// The rows of the table with this name (without its end), with the file's name in errors.
    pub fn read<R>(
        folder: &Path,
        name: &str,
        rows: impl FnOnce(Self) -> Result<Vec<R>, TableError>,
    ) -> Result<Vec<R>, SourceErrorKind> {
        let [parquet, csv] = ENDS.map(|end| folder.join(format!("{name}.{end}")));
        let (path, table) = match open(&parquet) {
            Ok(file) => (parquet, Self::Parquet(file)),
            Err(SourceErrorKind::BadRequest(_)) => {
                let file = open(&csv).map_err(|kind| match kind {
                    SourceErrorKind::BadRequest(text) => {
                        SourceErrorKind::BadRequest(format!("{text}, nor one in Parquet"))
                    }
                    other => other,
                })?;
                let text = contents(file).map_err(|error| unreachable(&csv, &error))?;
                (csv, Self::Csv(text))
            }
            Err(other) => return Err(other),
        };
        rows(table).map_err(|error| SourceErrorKind::BadAnswer(format!("{}: {error}", path.display())))
    }

    /// Its rows. The names of the columns are wanted in any order and any case; further columns are ignored. `row` gets the
    /// wanted cells of each row, or what is wrong with a row of too few or too many cells.
    pub fn rows<const N: usize, R>(
        self,
        wanted: &[&'static str; N],
        max_rows: usize,
        mut row: impl FnMut(Result<[Cow<'_, str>; N], String>) -> Result<R, String>,
    ) -> Result<Vec<R>, TableError> {
        Ok(match self {
            Self::Csv(bytes) => csv_table::read(&bytes, wanted, max_rows, row)?,
            Self::Parquet(file) => parquet_table::read(file, wanted, max_rows, |cells| row(Ok(cells)))?,
        })
    }
}

/// Opens a file that is one and not too large.
fn open(path: &Path) -> Result<File, SourceErrorKind> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => SourceErrorKind::BadRequest(format!("there is no file {}", path.display())),
        _ => unreachable(path, &error),
    };
    // Asked before opening: opening a pipe would wait for its writer.
    let about = path.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(SourceErrorKind::BadAnswer(format!("{} is not a file", path.display())));
    }
    if about.len() > MAX_FILE_BYTES {
        let text = format!("{} has more than {MAX_FILE_BYTES} bytes", path.display());
        return Err(SourceErrorKind::BadAnswer(text));
    }
    File::open(path).map_err(failed)
}

fn unreachable(path: &Path, error: &io::Error) -> SourceErrorKind {
    SourceErrorKind::Unreachable(format!("{}: {error}", path.display()))
}

/// A file may grow while it is read.
fn contents(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a file's name is this table's.
pub fn is_table(file_name: &str, name_end: &str) -> bool {
    let path = PathBuf::from(file_name);
    let is_known = path.extension().is_some_and(|end| ENDS.iter().any(|known| *known == end));
    is_known && path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(name_end))
}
