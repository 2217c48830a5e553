// Upstream: parquet_table
// Downstream: none
// Role: Converts the cells of a Parquet column to the text that a CSV file would hold. Pure.

//! So the readers of CSV rows serve both formats. Numbers become the shortest text that reads back as the same number,
//! as the usual tools write them. A time without a zone is a wall clock. A time adjusted to UTC is an instant and gets
//! a `Z`.

use chrono::{DateTime, Days, NaiveDate, SecondsFormat};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{AsBytes, DataType};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::ColumnDescriptor;

/// Reads the next cells of a column, at most the given number. An empty text is a missing value.
pub type Cells = Box<dyn FnMut(usize) -> Result<Vec<String>>>;

/// How to interpret a column's numbers and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Plain,
    Unsigned,
    Text,
    Day,
    Moment { unit: TimeUnit, is_instant: bool },
    Decimal { scale: u32 },
}

/// The reader of a column's cells, or an error if the column's type is not supported.
pub fn cells(column: &ColumnDescriptor, reader: ColumnReader) -> Result<Cells, String> {
    let meaning = meaning(column)?;
    let full = column.max_def_level();
    Ok(match reader {
        ColumnReader::BoolColumnReader(reader) => typed(reader, full, |value| u8::from(*value).to_string()),
        ColumnReader::Int32ColumnReader(reader) => {
            typed(reader, full, move |value| of_integer((*value).into(), value.cast_unsigned().into(), meaning))
        }
        ColumnReader::Int64ColumnReader(reader) => {
            typed(reader, full, move |value| of_integer(*value, value.cast_unsigned(), meaning))
        }
        ColumnReader::FloatColumnReader(reader) => typed(reader, full, ToString::to_string),
        ColumnReader::DoubleColumnReader(reader) => typed(reader, full, ToString::to_string),
        ColumnReader::ByteArrayColumnReader(reader) => {
            typed(reader, full, move |value| of_bytes(value.as_bytes(), meaning))
        }
        ColumnReader::FixedLenByteArrayColumnReader(reader) => {
            typed(reader, full, move |value| of_bytes(value.as_bytes(), meaning))
        }
        ColumnReader::Int96ColumnReader(_) => return Err(unknown(column)),
    })
}

fn unknown(column: &ColumnDescriptor) -> String {
    let logical = column.logical_type_ref().map_or("no logical type".to_owned(), |logical| format!("{logical:?}"));
    format!("its type is {} with {logical}, which is not supported", column.physical_type())
}

fn meaning(column: &ColumnDescriptor) -> Result<Meaning, String> {
    use LogicalType as Logical;
    let decimal =
        |scale: i32| u32::try_from(scale).ok().filter(|scale| *scale <= 38).map(|scale| Meaning::Decimal { scale });
    let found = match (column.physical_type(), column.logical_type_ref(), column.converted_type()) {
        // INT96 is obsolete, and the zone of its times is unknown.
        (Physical::INT96, ..) => None,
        (Physical::INT32, Some(Logical::Date), _) => Some(Meaning::Day),
        (Physical::INT64, Some(Logical::Timestamp(time)), _) => {
            Some(Meaning::Moment { unit: time.unit, is_instant: time.is_adjusted_to_u_t_c })
        }
        (_, Some(Logical::Decimal(decimals)), _) => decimal(decimals.scale),
        (Physical::INT32 | Physical::INT64, Some(Logical::Integer(integer)), _) => {
            Some(if integer.is_signed { Meaning::Plain } else { Meaning::Unsigned })
        }
        (Physical::BYTE_ARRAY, Some(Logical::String | Logical::Enum | Logical::Json), _) => Some(Meaning::Text),
        // A column that holds only missing values.
        (_, Some(Logical::Unknown), _) => Some(Meaning::Plain),
        (_, Some(_), _) => None,
        // Files of older tools have no logical types.
        (Physical::INT32, None, ConvertedType::DATE) => Some(Meaning::Day),
        (Physical::INT64, None, ConvertedType::TIMESTAMP_MILLIS) => {
            Some(Meaning::Moment { unit: TimeUnit::MILLIS, is_instant: true })
        }
        (Physical::INT64, None, ConvertedType::TIMESTAMP_MICROS) => {
            Some(Meaning::Moment { unit: TimeUnit::MICROS, is_instant: true })
        }
        (_, None, ConvertedType::DECIMAL) => decimal(column.type_scale()),
        (Physical::INT32 | Physical::INT64, None, converted) => match converted {
            ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS => None,
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
                Some(Meaning::Unsigned)
            }
            _ => Some(Meaning::Plain),
        },
        (Physical::BYTE_ARRAY, None, ConvertedType::NONE | ConvertedType::UTF8) => Some(Meaning::Text),
        (Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE, None, _) => Some(Meaning::Plain),
        _ => None,
    };
    found.ok_or_else(|| unknown(column))
}

/// `full` is the definition level of a value that is present.
fn typed<T: DataType>(mut reader: ColumnReaderImpl<T>, full: i16, text: impl Fn(&T::T) -> String + 'static) -> Cells {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    Box::new(move |max_cells| {
        levels.clear();
        values.clear();
        let (num_rows, ..) = reader.read_records(max_cells, Some(&mut levels), None, &mut values)?;
        let mut values = values.iter().map(&text);
        if full == 0 {
            return Ok(values.collect());
        }
        if levels.len() != num_rows {
            return Err(ParquetError::General(format!("{} levels for {num_rows} rows", levels.len())));
        }
        let cell = |level: &i16| if *level == full { values.next() } else { Some(String::new()) };
        let cells: Option<Vec<String>> = levels.iter().map(cell).collect();
        cells.ok_or_else(|| ParquetError::General("fewer values than its levels announce".to_owned()))
    })
}

fn of_integer(signed: i64, unsigned: u64, meaning: Meaning) -> String {
    match meaning {
        Meaning::Plain | Meaning::Text => signed.to_string(),
        Meaning::Unsigned => unsigned.to_string(),
        Meaning::Day => day(signed).unwrap_or_else(|| format!("day {signed}")),
        Meaning::Moment { unit, is_instant } => {
            moment(signed, unit, is_instant).unwrap_or_else(|| format!("{signed} {unit:?}"))
        }
        Meaning::Decimal { scale } => decimal(signed.into(), scale),
    }
}

fn of_bytes(bytes: &[u8], meaning: Meaning) -> String {
    match meaning {
        Meaning::Decimal { scale } => match big_endian(bytes) {
            Some(number) => decimal(number, scale),
            None => format!("a decimal of {} bytes", bytes.len()),
        },
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn day(since_epoch: i64) -> Option<String> {
    let distance = Days::new(since_epoch.unsigned_abs());
    let day = if since_epoch < 0 {
        NaiveDate::default().checked_sub_days(distance)
    } else {
        NaiveDate::default().checked_add_days(distance)
    };
    Some(day?.to_string())
}

fn moment(number: i64, unit: TimeUnit, is_instant: bool) -> Option<String> {
    let time = match unit {
        TimeUnit::MILLIS => DateTime::from_timestamp_millis(number)?,
        TimeUnit::MICROS => DateTime::from_timestamp_micros(number)?,
        TimeUnit::NANOS => DateTime::from_timestamp_nanos(number),
    };
    Some(if is_instant {
        time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
    } else {
        time.naive_utc().format("%Y-%m-%d %H:%M:%S%.f").to_string()
    })
}

/// Reads two's complement, the most significant byte first.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let sign = if *bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut whole = [sign; 16];
    whole.get_mut(16_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(whole))
}

fn decimal(number: i128, scale: u32) -> String {
    if scale == 0 {
        return number.to_string();
    }
    let (sign, digits) = (if number < 0 { "-" } else { "" }, number.unsigned_abs().to_string());
    let digits = format!("{digits:0>width$}", width = scale as usize + 1);
    let (whole, fraction) = digits.split_at_checked(digits.len() - scale as usize).unwrap_or((&digits, ""));
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_text() {
        assert_eq!(day(19_724), Some("2024-01-02".to_owned()));
        assert_eq!((day(-1), day(i64::MAX)), (Some("1969-12-31".to_owned()), None));
        let millis = 1_704_187_860_000;
        assert_eq!(moment(millis, TimeUnit::MILLIS, false).unwrap(), "2024-01-02 09:31:00");
        assert_eq!(moment(millis * 1_000, TimeUnit::MICROS, true).unwrap(), "2024-01-02T09:31:00Z");
        assert_eq!(moment(millis * 1_000_000 + 5, TimeUnit::NANOS, false).unwrap(), "2024-01-02 09:31:00.000000005");
        let beyond = Meaning::Moment { unit: TimeUnit::MILLIS, is_instant: false };
        assert_eq!(of_integer(i64::MAX, 0, beyond), format!("{} MILLIS", i64::MAX));
        assert_eq!([decimal(1_221, 2), decimal(-5, 3), decimal(7, 0)], ["12.21", "-0.005", "7"]);
        assert_eq!(big_endian(&[0xff, 0xfe]), Some(-2));
        assert_eq!((big_endian(&[1, 0]), big_endian(&[]), big_endian(&[0; 17])), (Some(256), None, None));
    }
}
