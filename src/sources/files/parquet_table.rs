// Upstream: table
// Downstream: kit, parquet_cells, parquet_footer, parquet_pages
// Role: Reads the rows of a Parquet table by column name.

//! Reads one row group after the other, in batches of rows. Memory holds a page or two of each wanted column, not the
//! file.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use parquet::column::reader::get_column_reader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;
use parquet::schema::types::SchemaDescriptor;

use super::parquet_cells::{self, Cells};
use super::parquet_footer;
use super::parquet_pages::BoundedPages;

/// Rows per batch.
const BATCH_ROWS: usize = 1_024;

/// A Parquet file is not the expected table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParquetFault {
    /// The file as a whole is invalid.
    #[error("{0}")]
    File(String),
    /// A column is missing, or its type is wrong.
    #[error("column `{column}`: {what}")]
    Column {
        /// The column's name.
        column: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A batch of cells cannot be read.
    #[error("row {row}, column `{column}`: {what}")]
    Cells {
        /// The first row of the batch, counted from 1.
        row: usize,
        /// The column's name.
        column: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A row is invalid.
    #[error("row {row}: {what}")]
    Row {
        /// The row, counted from 1.
        row: usize,
        /// What is wrong.
        what: String,
    },
}

/// Reads a file. Columns are found by name, in any order and any case; further columns are ignored. `row` receives the
/// wanted cells of each row as text.
pub fn read<const N: usize, R, F: ChunkReader + 'static>(
    file: F,
    wanted: &[&'static str; N],
    max_rows: usize,
    row: impl FnMut([Cow<'_, str>; N]) -> Result<R, String>,
) -> Result<Vec<R>, ParquetFault> {
    // Nothing that a panic interrupts is used afterwards.
    let reading = std::panic::AssertUnwindSafe(|| read_checked(file, wanted, max_rows, row));
    let given_up = ParquetFault::File("it is damaged and cannot be read".to_owned());
    std::panic::catch_unwind(reading).unwrap_or(Err(given_up))
}

fn read_checked<const N: usize, R, F: ChunkReader + 'static>(
    file: F,
    wanted: &[&'static str; N],
    max_rows: usize,
    mut row: impl FnMut([Cow<'_, str>; N]) -> Result<R, String>,
) -> Result<Vec<R>, ParquetFault> {
    let metadata = parquet_footer::read(&file).map_err(ParquetFault::File)?;
    let file = Arc::new(file);
    let positions = find(metadata.file_metadata().schema_descr(), wanted)?;
    let mut rows = Vec::new();
    for group in metadata.row_groups() {
        let mut columns = open(&file, &metadata, group, &positions, wanted, max_rows)?;
        loop {
            let first = rows.len() + 1;
            let mut batch = next_batch(&mut columns, wanted, first)?;
            let num_rows = batch.first().map_or(0, Vec::len);
            if num_rows == 0 {
                break;
            }
            if rows.len() + num_rows > max_rows {
                return Err(ParquetFault::File(format!("more than {max_rows} rows")));
            }
            for number in 0..num_rows {
                let cells = batch
                    .each_mut()
                    .map(|cells| Cow::Owned(cells.get_mut(number).map(std::mem::take).unwrap_or_default()));
                rows.push(row(cells).map_err(|what| ParquetFault::Row { row: first + number, what })?);
            }
        }
    }
    Ok(rows)
}

/// Finds the positions of the wanted columns.
fn find<const N: usize>(schema: &SchemaDescriptor, wanted: &[&'static str; N]) -> Result<[usize; N], ParquetFault> {
    let mut positions = [0; N];
    for (position, wanted) in positions.iter_mut().zip(wanted) {
        let fault = |what: &dyn fmt::Display| ParquetFault::Column { column: wanted, what: what.to_string() };
        let is_it = |(_, column): &(usize, &_)| is_named(column, wanted);
        let mut found = schema.columns().iter().map(AsRef::as_ref).enumerate().filter(is_it);
        let (index, column) = found.next().ok_or_else(|| fault(&"it is missing"))?;
        if found.next().is_some() {
            return Err(fault(&"it occurs more than once"));
        }
        if column.path().parts().len() > 1 || column.max_rep_level() > 0 {
            return Err(fault(&"it holds lists or structs, not values"));
        }
        *position = index;
    }
    Ok(positions)
}

/// Whether a column, or the struct or list that contains it, has this name.
fn is_named(column: &parquet::schema::types::ColumnDescriptor, name: &str) -> bool {
    column.path().parts().first().is_some_and(|part| part.trim().to_lowercase() == name)
}

fn open<const N: usize, F: ChunkReader + 'static>(
    file: &Arc<F>,
    metadata: &ParquetMetaData,
    group: &RowGroupMetaData,
    positions: &[usize; N],
    wanted: &[&'static str; N],
    max_rows: usize,
) -> Result<Vec<Cells>, ParquetFault> {
    let mut columns = Vec::with_capacity(N);
    for (position, column) in positions.iter().zip(wanted) {
        let fault = |what: String| ParquetFault::Column { column, what };
        let chunk = group.columns().get(*position).ok_or_else(|| fault("a row group lacks it".to_owned()))?;
        let pages = BoundedPages::new(file.clone(), chunk, max_rows).map_err(|error| fault(text(error)))?;
        let about = metadata.file_metadata().schema_descr().column(*position);
        let reader = get_column_reader(about.clone(), Box::new(pages));
        columns.push(parquet_cells::cells(&about, reader).map_err(fault)?);
    }
    Ok(columns)
}

/// The text of an error, without the library's prefix where possible.
fn text(error: ParquetError) -> String {
    match error {
        ParquetError::General(text) | ParquetError::EOF(text) => text,
        other => other.to_string(),
    }
}

/// The next rows of each column, the same number from each.
fn next_batch<const N: usize>(
    columns: &mut [Cells],
    wanted: &[&'static str; N],
    first: usize,
) -> Result<[Vec<String>; N], ParquetFault> {
    let mut batch = [const { Vec::new() }; N];
    let mut num_rows = None;
    for ((cells, read), column) in batch.iter_mut().zip(columns).zip(wanted) {
        let fault = |what: String| ParquetFault::Cells { row: first, column, what };
        *cells = read(BATCH_ROWS).map_err(|error| fault(text(error)))?;
        let expected = *num_rows.get_or_insert(cells.len());
        if cells.len() != expected {
            return Err(fault(format!("{} rows, but other columns have {expected}", cells.len())));
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    const SCHEMA: &str = "message table { optional int32 date (DATE); required double price; \
                          optional binary name (STRING); required int64 volume; }";
    const WANTED: [&str; 4] = ["date", "price", "name", "volume"];

    fn properties(compression: Compression, version: WriterVersion) -> WriterProperties {
        WriterProperties::builder()
            .set_compression(compression)
            .set_writer_version(version)
            .set_encoding(Encoding::PLAIN)
            .set_data_page_row_count_limit(100)
            .set_write_batch_size(50)
            .build()
    }

    /// Two row groups of `num_rows` rows each; every third date and name is missing.
    fn file(num_rows: i32, properties: WriterProperties) -> Bytes {
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
        for _ in 0..2 {
            let rows = || 0..num_rows;
            let there = |row: &i32| row % 3 != 0;
            let levels: Vec<i16> = rows().map(|row| there(&row).into()).collect();
            let dates: Vec<i32> = rows().filter(there).map(|row| 19_724 + row).collect();
            let prices: Vec<f64> = rows().map(|row| f64::from(row) / 100.0).collect();
            let names: Vec<ByteArray> =
                rows().filter(there).map(|row| format!("名{}", row % 7).as_str().into()).collect();
            let volumes: Vec<i64> = rows().map(|row| i64::from(row) * 1_000_000_000).collect();
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int32Type>().write_batch(&dates, Some(&levels), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<DoubleType>().write_batch(&prices, None, None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&names, Some(&levels), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(&volumes, None, None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        Bytes::from(writer.into_inner().unwrap())
    }

    fn rows_of(file: Bytes) -> Result<Vec<[String; 4]>, ParquetFault> {
        read(file, &WANTED, 100_000, |cells| Ok(cells.map(Cow::into_owned)))
    }

    #[test]
    fn reads_every_compression_and_page_version() {
        let snappy = properties(Compression::SNAPPY, WriterVersion::PARQUET_1_0);
        let expected = rows_of(file(2_500, snappy)).unwrap();
        assert_eq!(expected.len(), 5_000);
        assert_eq!(expected[0], ["", "0", "", "0"]);
        let day = chrono::NaiveDate::default() + chrono::Days::new(19_724 + 2_498);
        assert_eq!(expected[4_998], [&day.to_string(), "24.98", "名6", "2498000000000"]);
        assert_eq!(expected[4_999], ["", "24.99", "", "2499000000000"]);
        let zstd = Compression::ZSTD(ZstdLevel::default());
        for compression in
            [Compression::UNCOMPRESSED, zstd, Compression::GZIP(GzipLevel::default()), Compression::SNAPPY]
        {
            for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
                assert_eq!(rows_of(file(2_500, properties(compression, version))).unwrap(), expected, "{compression}");
            }
        }
    }

    fn one_column(schema: &str, write: impl FnOnce(&mut parquet::file::writer::SerializedColumnWriter<'_>)) -> Bytes {
        let schema = Arc::new(parse_message_type(&format!("message table {{ {schema} }}")).unwrap());
        let properties = properties(Compression::ZSTD(ZstdLevel::default()), WriterVersion::PARQUET_1_0);
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        write(&mut column);
        column.close().unwrap();
        group.close().unwrap();
        Bytes::from(writer.into_inner().unwrap())
    }

    fn fault(file: Bytes, max_rows: usize) -> String {
        read(file, &["a"], max_rows, |[cell]| Ok(cell.into_owned())).unwrap_err().to_string()
    }

    #[test]
    fn names_missing_and_unsupported_columns() {
        let numbers = |schema: &str| {
            one_column(schema, |column| {
                column.typed::<Int64Type>().write_batch(&[1, 2, 3], None, None).unwrap();
            })
        };
        assert_eq!(fault(numbers("required int64 b;"), 10), "column `a`: it is missing");
        assert_eq!(fault(numbers("required int64 a;"), 2), "row 1, column `a`: a page has 3 values, more than 2");
        let time = fault(numbers("required int64 a (TIME(MICROS,true));"), 10);
        assert!(time.starts_with("column `a`: its type is INT64 with"), "{time}");
        let nested = one_column("required group a { required int64 b; }", |column| {
            column.typed::<Int64Type>().write_batch(&[1], None, None).unwrap();
        });
        assert_eq!(fault(nested, 10), "column `a`: it holds lists or structs, not values");
        let refused = read(numbers("required int64 a;"), &["a"], 10, |[cell]| match &*cell {
            "2" => Err("is bad".to_owned()),
            _ => Ok(()),
        });
        assert_eq!(refused.unwrap_err().to_string(), "row 2: is bad");
    }

    #[test]
    fn rejects_pages_that_decompress_too_large() {
        let large = ByteArray::from(vec![b'0'; 40 << 20]);
        for compression in [
            Compression::ZSTD(ZstdLevel::default()),
            Compression::GZIP(GzipLevel::default()),
            Compression::SNAPPY,
            Compression::UNCOMPRESSED,
        ] {
            let schema = Arc::new(parse_message_type("message table { required binary a (STRING); }").unwrap());
            let properties = WriterProperties::builder()
                .set_compression(compression)
                .set_dictionary_enabled(false)
                .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
                .build();
            let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(std::slice::from_ref(&large), None, None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
            let error = fault(Bytes::from(writer.into_inner().unwrap()), 10);
            assert!(error.contains("row 1, column `a`"), "{error}");
            assert!(error.contains("more than 16777216 bytes") || error.contains("decompressed"), "{error}");
        }
    }

    /// Small files in several compressions and both versions.
    fn small_files() -> Vec<Vec<u8>> {
        let compressions = [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())];
        let versions = [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0];
        let kinds = compressions.into_iter().flat_map(|compression| versions.map(|version| (compression, version)));
        kinds.map(|(compression, version)| file(6, properties(compression, version)).to_vec()).collect()
    }

    #[test]
    fn truncated_or_mutated_file_gives_rows_or_error() {
        kit::fuzz::mutate(&small_files(), |bytes| match rows_of(Bytes::copy_from_slice(bytes)) {
            Ok(rows) => assert!(rows.len() <= 100_000),
            Err(error) => assert!(!error.to_string().is_empty()),
        });
    }
}
