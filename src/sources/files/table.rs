// Upstream: bars, lists, source
// Downstream: actors, csv_table, parquet_table
// Role: Opens a table in a folder, as Parquet or CSV.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use actors::ports::SourceErrorKind;

use super::csv_table::{self, CsvError};
use super::parquet_table::{self, ParquetFault};

/// Maximum file size. A security's whole daily history is below 1 MB, a year of minute bars about 4 MB. A larger file
/// is no table, and is rejected before it takes memory.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The extensions of a table's file names. If both files exist, the first extension wins.
pub const ENDS: [&str; 2] = ["parquet", "csv"];

/// A table that is open for reading.
pub enum Table {
    /// The text of a CSV file.
    Csv(Vec<u8>),
    /// An open Parquet file.
    Parquet(File),
}

/// A file is not the expected table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The CSV file is invalid.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// The Parquet file is invalid.
    #[error(transparent)]
    Parquet(#[from] ParquetFault),
}

impl Table {
    /// Reads the table with this name (without extension). Errors name the file.
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
                        SourceErrorKind::BadRequest(format!("{text} and no Parquet file either"))
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

    /// Reads the rows. The columns are found by name, in any order and any case; further columns are ignored. `row`
    /// receives the wanted cells of each row, or an error text if the row has too few or too many cells.
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

/// Opens a regular file that is not too large.
fn open(path: &Path) -> Result<File, SourceErrorKind> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => SourceErrorKind::BadRequest(format!("there is no file {}", path.display())),
        _ => unreachable(path, &error),
    };
    // The type is checked before opening, because opening a pipe would wait for its writer.
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

/// Reads a file up to the size limit, because it may grow meanwhile.
fn contents(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a file's name has a table extension and its stem ends with `name_end`.
pub fn is_table(file_name: &str, name_end: &str) -> bool {
    let path = PathBuf::from(file_name);
    let is_known = path.extension().is_some_and(|end| ENDS.iter().any(|known| *known == end));
    is_known && path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(name_end))
}
