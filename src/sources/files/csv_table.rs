// Upstream: table
// Downstream: none
// Role: Reads the rows of a CSV table; its first line names the columns. Pure.

use std::borrow::Cow;

use csv::{ByteRecord, ReaderBuilder};

/// A CSV file is not the expected table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct CsvError {
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong in this line.
    pub what: String,
}

/// Reads a file's bytes. The first line names the columns, in any order and any case; further columns are ignored.
/// `row` receives the wanted cells of each row, or an error text if the row has too few or too many cells.
pub fn read<const N: usize, R>(
    bytes: &[u8],
    wanted: &[&str; N],
    max_rows: usize,
    mut row: impl FnMut(Result<[Cow<'_, str>; N], String>) -> Result<R, String>,
) -> Result<Vec<R>, CsvError> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut record = ByteRecord::new();
    let mut columns = None;
    let mut rows = Vec::new();
    loop {
        let line = reader.position().line();
        let more = reader.read_byte_record(&mut record);
        if !more.map_err(|error| CsvError { line, what: error.to_string() })? {
            break;
        }
        let line = record.position().map_or(line, csv::Position::line);
        let Some(columns) = &columns else {
            columns = Some(Columns::find(&record, wanted).map_err(|what| CsvError { line, what })?);
            continue;
        };
        if rows.len() == max_rows {
            return Err(CsvError { line, what: format!("more than {max_rows} rows") });
        }
        rows.push(row(columns.cells(&record)).map_err(|what| CsvError { line, what })?);
    }
    match columns {
        Some(_) => Ok(rows),
        None => Err(CsvError { line: 1, what: format!("the file is empty; its first line must name {wanted:?}") }),
    }
}

/// The positions of the wanted columns in a row.
struct Columns<const N: usize> {
    positions: [usize; N],
    num_cells: usize,
}

impl<const N: usize> Columns<N> {
    fn find(header: &ByteRecord, wanted: &[&str; N]) -> Result<Self, String> {
        let names: Vec<String> = header.iter().map(|name| text_of(name).trim().to_lowercase()).collect();
        let mut positions = [0; N];
        for (position, wanted) in positions.iter_mut().zip(wanted) {
            let mut found = names.iter().enumerate().filter(|(_, name)| name == wanted).map(|(index, _)| index);
            *position = found.next().ok_or_else(|| format!("column `{wanted}` is missing"))?;
            if found.next().is_some() {
                return Err(format!("column `{wanted}` occurs more than once"));
            }
        }
        Ok(Self { positions, num_cells: names.len() })
    }

    fn cells<'r>(&self, row: &'r ByteRecord) -> Result<[Cow<'r, str>; N], String> {
        if row.len() != self.num_cells {
            return Err(format!("{} cells for {} columns", row.len(), self.num_cells));
        }
        Ok(self.positions.map(|position| text_of(row.get(position).unwrap_or_default())))
    }
}

fn text_of(cell: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(cell)
}
