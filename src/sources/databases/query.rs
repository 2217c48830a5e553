// Upstream: clickhouse, database, mongodb, mysql, redis, source
// Downstream: actors, columns, config, mapping, pattern, times
// Role: A query to a database: the table, its columns and the rows to select. Pure.

use actors::domain::{Code, DateRange, Frequency};
use actors::ports::DataKind;

use super::pattern::Names;
use super::times::Bound;
use crate::sources::databases::mapping::{Mapping, Table};

/// A value that a column must equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A text value.
    Text(String),
    /// A numeric value.
    Number(i64),
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The kind of data.
    pub kind: DataKind,
    /// The table's name.
    pub table: String,
    /// The database's names of the columns, in the order of the cells; `None` if the table lacks the column.
    pub columns: Vec<Option<String>>,
    /// Columns and the value that each must equal.
    pub wanted: Vec<(String, Wanted)>,
    /// The time column with its inclusive lower and its exclusive upper bound.
    pub between: Option<(String, Bound, Bound)>,
    /// The requested days.
    pub range: Option<DateRange>,
    /// Maximum number of rows.
    pub max_rows: u64,
}

/// Which rows of a kind to select.
#[derive(Debug, Clone, Copy, Default)]
pub struct Of {
    /// Rows of one security.
    pub code: Option<Code>,
    /// Rows of one frequency.
    pub frequency: Option<Frequency>,
    /// Rows of these days.
    pub range: Option<DateRange>,
}

impl Mapping {
    /// Builds the query for some rows of a kind.
    pub fn query(&self, kind: DataKind, table: &Table, columns: &[&str], of: Of) -> Query {
        let date = of.range.map(|range| range.end);
        let names = Names { code: of.code, frequency: of.frequency, date };
        let mut wanted = Vec::new();
        if let (Some(code), Some(column)) = (of.code, table.column("code")) {
            wanted.push((
                column.to_owned(),
                Wanted::Text(self.code.fill(&Names { code: Some(code), ..Names::default() })),
            ));
        }
        if let (Some(frequency), Some(column)) = (of.frequency, table.column("frequency")) {
            wanted.push((column.to_owned(), Wanted::Number(frequency.as_ginkgo().into())));
        }
        let of_days = !matches!(kind, DataKind::MinuteBars | DataKind::Ticks);
        let between = of.range.zip(table.column("time")).map(|(range, column)| {
            let (from, before) = self.times.bounds(range, of_days);
            (column.to_owned(), from, before)
        });
        Query {
            kind,
            table: table.name.fill(&names),
            columns: columns.iter().map(|ours| table.column(ours).map(str::to_owned)).collect(),
            wanted,
            between,
            range: of.range,
            max_rows: self.max_rows,
        }
    }
}

impl Query {
    /// Builds a SELECT with a `?` for each value, and the values. Names need no escaping: see [`super::pattern`].
    pub fn sql(&self, column: impl Fn(&str) -> String) -> (String, Vec<Wanted>) {
        let columns = self.columns.iter().map(|name| name.as_deref().map_or("NULL".to_owned(), &column));
        let mut sql = format!("SELECT {} FROM `{}`", columns.collect::<Vec<_>>().join(", "), self.table);
        let mut values = Vec::new();
        let mut conditions = Vec::new();
        for (name, wanted) in &self.wanted {
            conditions.push(format!("`{name}` = ?"));
            values.push(wanted.clone());
        }
        if let Some((name, from, before)) = &self.between {
            conditions.push(format!("`{name}` >= ? AND `{name}` < ?"));
            values.extend([from, before].map(|bound| match bound {
                Bound::Text(text) => Wanted::Text(text.clone()),
                Bound::Number(number) => Wanted::Number(*number),
            }));
        }
        if !conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(" AND "));
        }
        // One row more than allowed, to detect too many rows.
        sql.push_str(&format!(" LIMIT {}", self.max_rows.saturating_add(1)));
        (sql, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MappingSection, TimeFormat};
    use crate::sources::databases::columns;
    use crate::sources::databases::mapping::Defaults;

    fn of() -> Of {
        let day = |text: &str| text.parse().unwrap();
        Of {
            code: Some("000001.SZ".parse().unwrap()),
            frequency: Some(Frequency::Minute5),
            range: Some(DateRange { start: day("2024-01-02"), end: day("2024-01-05") }),
        }
    }

    fn query(section: &MappingSection, defaults: Defaults) -> Query {
        let mapping = Mapping::new(section, defaults).unwrap();
        mapping.query(DataKind::MinuteBars, mapping.table(DataKind::MinuteBars).unwrap(), columns::BAR, of())
    }

    #[test]
    fn selects_bars_by_code_frequency_and_days() {
        let (sql, values) = query(&MappingSection::default(), Defaults::Tables).sql(|name| format!("`{name}`"));
        assert_eq!(
            sql,
            "SELECT `timestamp`, `open`, `high`, `low`, `close`, `volume`, `amount` FROM `bar` WHERE `code` = ? AND \
             `frequency` = ? AND `timestamp` >= ? AND `timestamp` < ? LIMIT 500001"
        );
        let text = |text: &str| Wanted::Text(text.to_owned());
        assert_eq!(values, [text("000001.SZ"), Wanted::Number(3), text("2024-01-02"), text("2024-01-06")]);
    }

    #[test]
    fn a_users_own_table_is_selected_by_its_own_names() {
        let section = MappingSection {
            tables: vec!["minute_bars=min{frequency}_{prefix}{digits}".into()],
            columns: vec!["minute_bars.code=".into(), "minute_bars.frequency=".into(), "minute_bars.time=t".into()],
            time_format: TimeFormat::Seconds,
            rows_per_request: 9,
            ..MappingSection::default()
        };
        let (sql, values) = query(&section, Defaults::Tables).sql(|name| format!("`{name}`"));
        assert!(sql.ends_with("FROM `min5m_sz000001` WHERE `t` >= ? AND `t` < ? LIMIT 10"), "{sql}");
        assert_eq!(values, [Wanted::Number(1_704_124_800), Wanted::Number(1_704_470_400)]);
    }

    #[test]
    fn redis_key_replaces_the_conditions() {
        let query = query(&MappingSection::default(), Defaults::Keys);
        assert_eq!((query.table.as_str(), query.wanted), ("ginkgo:bars:000001.SZ:5m", vec![]));
    }
}
