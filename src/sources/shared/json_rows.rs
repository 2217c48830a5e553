// Upstream: sources::baostock, sources::tushare
// Downstream: excerpt
// Role: Reads rows of JSON cells by column name. Pure.

//! Cells stay JSON text, so that binary floating point changes no digit.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::sources::shared::excerpt::excerpt;

/// Maps each position in a row to one of the wanted columns.
pub struct Columns<const N: usize>(Vec<Option<usize>>);

impl<const N: usize> Columns<N> {
    /// Finds the wanted columns among all column names. Each must occur exactly once.
    pub fn find(fields: &[impl AsRef<str>], wanted: &[&str; N]) -> Result<Self, String> {
        let positions = fields.iter().map(|field| wanted.iter().position(|column| *column == field.as_ref()));
        let positions: Vec<Option<usize>> = positions.collect();
        let names: Vec<&str> = fields.iter().map(AsRef::as_ref).collect();
        for (index, name) in wanted.iter().enumerate() {
            match positions.iter().filter(|position| **position == Some(index)).count() {
                1 => {}
                0 => return Err(format!("column `{name}` is missing; the columns are {}", excerpt(&names.join(",")))),
                _ => return Err(format!("column `{name}` occurs more than once")),
            }
        }
        Ok(Self(positions))
    }

    /// Reads an array of rows. Cells stay JSON text, in the order of the wanted columns.
    pub fn rows<'a>(&self, json: &'a str) -> Result<Vec<[&'a str; N]>, serde_json::Error> {
        Rows { columns: self }.deserialize(&mut serde_json::Deserializer::from_str(json))
    }
}

struct Rows<'c, const N: usize> {
    columns: &'c Columns<N>,
}

impl<'de, const N: usize> DeserializeSeed<'de> for Rows<'_, N> {
    type Value = Vec<[&'de str; N]>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Rows<'_, N> {
    type Value = Vec<[&'de str; N]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        let mut cells = Vec::new();
        while let Some(row) = rows.next_element_seed(Row { number: cells.len(), columns: self.columns })? {
            cells.push(row);
        }
        Ok(cells)
    }
}

struct Row<'c, const N: usize> {
    number: usize,
    columns: &'c Columns<N>,
}

impl<'de, const N: usize> DeserializeSeed<'de> for Row<'_, N> {
    type Value = [&'de str; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Row<'_, N> {
    type Value = [&'de str; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} as an array of {} cells", self.number, self.columns.0.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<Self::Value, A::Error> {
        let mut cells = [""; N];
        let mut num_cells = 0;
        while let Some(cell) = row.next_element::<&RawValue>()? {
            // A cell beyond the columns is only counted. The check below rejects the row.
            if let Some(column) = self.columns.0.get(num_cells).copied().flatten()
                && let Some(slot) = cells.get_mut(column)
            {
                *slot = cell.get();
            }
            num_cells += 1;
        }
        let num_columns = self.columns.0.len();
        if num_cells != num_columns {
            let text = format!("row {} has {num_cells} cells for {num_columns} columns", self.number);
            return Err(A::Error::custom(text));
        }
        Ok(cells)
    }
}
