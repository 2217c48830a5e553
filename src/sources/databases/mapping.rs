// Upstream: query, rows, rows_tests, source
// Downstream: actors, columns, config, pattern, times
// Role: Maps each kind of data to a database's table and columns; the defaults are Ginkgo's names. Pure.

use std::collections::BTreeMap;

use actors::ports::DataKind;

use crate::config::{AmountUnit, MappingSection, VolumeUnit};
use crate::sources::databases::columns;
use crate::sources::databases::pattern::{Pattern, is_name};
use crate::sources::databases::times::Times;

/// Maximum length of a column name in bytes. MySQL's and MongoDB's names are shorter in practice.
const MAX_COLUMN: usize = 64;

/// The placeholders that name a security.
const OF_CODE: &[&str] = &["{code}", "{digits}", "{exchange}", "{prefix}"];

/// Columns that a table may lack.
const OPTIONAL: &[&str] = &["code", "frequency", "market", "deleted", "industry", "list_date", "delist_date"];

/// Which names are the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defaults {
    /// The names of Ginkgo's tables.
    Tables,
    /// Redis keys. A key of bars, ticks or factors holds the data of one security.
    Keys,
}

/// Where and how a database stores the worker's data.
#[derive(Debug, Clone)]
pub struct Mapping {
    tables: BTreeMap<DataKind, Table>,
    /// How the column `code` writes a security.
    pub code: Pattern,
    /// The format of times.
    pub times: Times,
    /// The unit of volumes.
    pub volume_unit: VolumeUnit,
    /// The unit of amounts.
    pub amount_unit: AmountUnit,
    /// Maximum number of rows of a request.
    pub max_rows: u64,
}

/// The table of one kind of data.
#[derive(Debug, Clone)]
pub struct Table {
    /// The table's name.
    pub name: Pattern,
    /// The worker's column names, each with the database's name; `None` if the table lacks the column.
    columns: Vec<(&'static str, Option<String>)>,
}

impl Table {
    /// The database's name of a column.
    pub fn column(&self, ours: &str) -> Option<&str> {
        self.columns.iter().find(|(name, _)| *name == ours)?.1.as_deref()
    }

    /// The database's names of all mapped columns.
    pub fn expected(&self) -> Vec<&str> {
        self.columns.iter().filter_map(|(_, theirs)| theirs.as_deref()).collect()
    }

    /// The database's names of the columns that every row needs.
    pub fn required(&self) -> Vec<&str> {
        let is_needed = |ours: &str| ours == "code" || !OPTIONAL.contains(&ours);
        self.columns.iter().filter(|(ours, _)| is_needed(ours)).filter_map(|(_, theirs)| theirs.as_deref()).collect()
    }
}

/// A setting of a mapping is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shape.{setting} holds `{given:.80}`: {reason}")]
pub struct MappingError {
    /// The name of the setting.
    pub setting: &'static str,
    /// Its value.
    pub given: String,
    /// Why it is invalid.
    pub reason: String,
}

impl Mapping {
    /// Reads the settings.
    pub fn new(section: &MappingSection, defaults: Defaults) -> Result<Self, MappingError> {
        let wrong = |setting, given: &str| {
            let given = given.to_owned();
            move |reason| MappingError { setting, given, reason }
        };
        let mut tables: BTreeMap<DataKind, Table> =
            DataKind::ALL.iter().filter_map(|kind| Some((*kind, default_table(*kind, defaults)?))).collect();
        for given in &section.tables {
            let (kind, name) = named(given).map_err(wrong("tables", given))?;
            let name = Pattern::parse(name, placeholders(kind)).map_err(wrong("tables", given))?;
            if let Some(table) = tables.get_mut(&kind) {
                table.name = name;
            }
        }
        for given in &section.columns {
            rename(&mut tables, given).map_err(wrong("columns", given))?;
        }
        for (kind, table) in &tables {
            let identifies_security = match kind {
                DataKind::TradeDays => true,
                DataKind::Stocks => defaults == Defaults::Keys || table.column("code").is_some(),
                // Without either, rows of all securities would count as rows of one.
                _ => table.column("code").is_some() || table.name.has_code(),
            };
            if !identifies_security {
                let reason = format!("rows of {} do not identify their security; name the column `code`", kind.key());
                return Err(wrong("tables", table.name.as_str())(reason));
            }
        }
        let code = Pattern::parse(&section.code, OF_CODE).map_err(wrong("code", &section.code))?;
        if !code.has_code() {
            return Err(wrong("code", &section.code)(format!(
                "it must contain at least one of {}",
                OF_CODE.join(", ")
            )));
        }
        Ok(Self {
            tables,
            code,
            times: Times { format: section.time_format, zone: section.time_zone, label: section.minute_label },
            volume_unit: section.volume_unit,
            amount_unit: section.amount_unit,
            max_rows: section.rows_per_request,
        })
    }

    /// The table of a kind. Every kind has one.
    pub fn table(&self, kind: DataKind) -> Option<&Table> {
        self.tables.get(&kind)
    }
}

fn placeholders(kind: DataKind) -> &'static [&'static str] {
    match kind {
        DataKind::Bars | DataKind::MinuteBars => &["{code}", "{digits}", "{exchange}", "{prefix}", "{frequency}"],
        DataKind::Ticks => &["{code}", "{digits}", "{exchange}", "{prefix}", "{date}"],
        DataKind::Factors => OF_CODE,
        DataKind::Stocks | DataKind::TradeDays => &[],
    }
}

/// Parses `kind=name`.
fn named(given: &str) -> Result<(DataKind, &str), String> {
    let (kind, name) = given.split_once('=').ok_or("it must have the form `kind=name`")?;
    Ok((kind_of(kind)?, name.trim()))
}

fn kind_of(text: &str) -> Result<DataKind, String> {
    let kinds = || DataKind::ALL.map(DataKind::key).join(", ");
    DataKind::ALL.into_iter().find(|kind| kind.key() == text.trim()).ok_or_else(|| format!("the kinds are {}", kinds()))
}

/// Parses `kind.column=name` and sets the column's name.
fn rename(tables: &mut BTreeMap<DataKind, Table>, given: &str) -> Result<(), String> {
    let (path, theirs) = given.split_once('=').ok_or("it must have the form `kind.column=name`")?;
    let (kind, ours) = path.split_once('.').ok_or("it must have the form `kind.column=name`")?;
    let table = tables.get_mut(&kind_of(kind)?).ok_or("the kind is unknown")?;
    let known = table.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let (ours, theirs) = (ours.trim(), theirs.trim());
    let (name, column) =
        table.columns.iter_mut().find(|(name, _)| *name == ours).ok_or_else(|| format!("the columns are {known}"))?;
    if theirs.is_empty() && !OPTIONAL.contains(name) {
        return Err(format!("column {name} is required and needs a name"));
    }
    if theirs.len() > MAX_COLUMN || !theirs.chars().all(is_name) {
        return Err(format!("a column name may hold letters, digits, `_` and `-`, at most {MAX_COLUMN} bytes"));
    }
    *column = (!theirs.is_empty()).then(|| theirs.to_owned());
    Ok(())
}

/// The default table of a kind: the names of Ginkgo's models, or key names of our own for Redis, where Ginkgo stores no
/// market data.
fn default_table(kind: DataKind, defaults: Defaults) -> Option<Table> {
    let (table, key, ours) = match kind {
        DataKind::Bars | DataKind::MinuteBars => ("bar", "ginkgo:bars:{code}:{frequency}", columns::BAR),
        DataKind::Ticks => ("{digits}_{exchange}_Tick", "ginkgo:ticks:{code}:{date}", columns::TICK),
        DataKind::Factors => ("adjustfactor", "ginkgo:factors:{code}", columns::FACTOR),
        DataKind::Stocks => ("stock_info", "ginkgo:stocks", columns::STOCK),
        DataKind::TradeDays => ("trade_day", "ginkgo:trade_days", columns::TRADE_DAY),
    };
    let own: &[&'static str] = match kind {
        DataKind::Bars | DataKind::MinuteBars => &["code", "frequency"],
        DataKind::Ticks | DataKind::Factors => &["code"],
        DataKind::Stocks | DataKind::TradeDays => &[],
    };
    let theirs = |ours: &'static str| match ours {
        "time" => "timestamp",
        "factor" => "adjustfactor",
        "name" => "code_name",
        "deleted" => "is_del",
        same => same,
    };
    // In Redis, the key or the field of a hash identifies the security.
    let is_there = |ours: &str| defaults == Defaults::Tables || !matches!(ours, "code" | "frequency");
    let columns = own.iter().chain(ours).map(|ours| (*ours, is_there(ours).then(|| theirs(ours).to_owned()))).collect();
    let name = if defaults == Defaults::Tables { table } else { key };
    Some(Table { name: Pattern::parse(name, placeholders(kind)).ok()?, columns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mapping(tables: &[&str], columns: &[&str]) -> Result<Mapping, MappingError> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Mapping::new(
            &MappingSection { tables: texts(tables), columns: texts(columns), ..MappingSection::default() },
            Defaults::Tables,
        )
    }

    #[test]
    fn without_settings_tables_and_columns_are_ginkgos() {
        let mapping = mapping(&[], &[]).unwrap();
        let columns = |kind| mapping.table(kind).unwrap().expected().join(",");
        assert_eq!(columns(DataKind::Bars), "code,frequency,timestamp,open,high,low,close,volume,amount");
        assert_eq!(columns(DataKind::Ticks), "code,timestamp,price,volume,direction");
        assert_eq!(columns(DataKind::Factors), "code,timestamp,adjustfactor");
        assert_eq!(columns(DataKind::Stocks), "code,code_name,industry,list_date,delist_date,market,is_del");
        assert_eq!(columns(DataKind::TradeDays), "timestamp,is_open,market,is_del");
        assert_eq!(mapping.table(DataKind::Ticks).unwrap().name.as_str(), "{digits}_{exchange}_Tick");
        let keys = Mapping::new(&MappingSection::default(), Defaults::Keys).unwrap();
        assert_eq!(keys.table(DataKind::Bars).unwrap().column("code"), None);
        assert_eq!(keys.table(DataKind::Stocks).unwrap().column("code"), None);
    }

    #[test]
    fn tables_and_columns_take_other_names() {
        let mapping = mapping(
            &["minute_bars=min{frequency}_{prefix}{digits}", "stocks = securities"],
            &["minute_bars.code=", "minute_bars.frequency=", "bars.time=trade_date", "bars.open=开盘"],
        )
        .unwrap();
        let minutes = mapping.table(DataKind::MinuteBars).unwrap();
        assert_eq!((minutes.column("code"), minutes.column("open")), (None, Some("open")));
        assert_eq!(mapping.table(DataKind::Bars).unwrap().column("open"), Some("开盘"));
        assert_eq!(mapping.table(DataKind::Stocks).unwrap().name.as_str(), "securities");
    }

    #[test]
    fn what_cannot_work_is_named() {
        let wrong = |tables: &[&str], columns: &[&str]| mapping(tables, columns).unwrap_err().to_string();
        assert!(wrong(&["bar"], &[]).contains("shape.tables holds `bar`: it must have the form `kind=name`"));
        assert!(wrong(&["bar=x"], &[]).contains("kinds are bars, minute_bars, ticks, factors, stocks, trade_days"));
        assert!(wrong(&["bars=x`; DROP TABLE y"], &[]).contains("holds '`'"));
        assert!(wrong(&["stocks={code}"], &[]).contains("unknown placeholder"));
        assert!(wrong(&[], &["bars.opening=x"]).contains("columns are code, frequency, time, open"));
        assert!(wrong(&[], &["bars.open="]).contains("column open is required"));
        assert!(wrong(&[], &["bars.open=a`b"]).contains("may hold letters"));
        assert!(wrong(&[], &["bars.open=$where("]).contains("may hold letters"));
        for column in ["bars.code=", "stocks.code="] {
            assert!(wrong(&[], &[column]).contains("do not identify their security"));
        }
        let code = MappingSection { code: "x".into(), ..MappingSection::default() };
        assert!(Mapping::new(&code, Defaults::Tables).unwrap_err().to_string().contains("shape.code holds `x`"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]
        #[test]
        fn no_text_becomes_a_column_that_needs_escaping(name in "[a-z`'\"$.\\\\ _-]{1,12}|\\PC{1,12}") {
            if let Ok(mapping) = mapping(&[], &[&format!("bars.open={name}")]) {
                let column = mapping.table(DataKind::Bars).unwrap().column("open").unwrap();
                prop_assert!(column.chars().all(is_name));
            }
        }
    }
}
