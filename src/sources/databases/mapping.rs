// Upstream: query, rows, rows_tests, source
// Downstream: actors, columns, config, pattern, times
// Role: Where a database keeps which data: tables and columns, Ginkgo's unless the settings say otherwise. Pure.

use std::collections::BTreeMap;

use actors::ports::DataKind;

use crate::config::{AmountUnit, MappingSection, VolumeUnit};
use crate::sources::databases::columns;
use crate::sources::databases::pattern::{Pattern, is_name};
use crate::sources::databases::times::Times;

/// The longest name of a column; MySQL's and MongoDB's are shorter in practice.
const MAX_COLUMN: usize = 64;

/// Words that a name of a table may hold: of everything about one security, and beside them.
const OF_CODE: &[&str] = &["{code}", "{digits}", "{exchange}", "{prefix}"];

/// Columns that there need not be.
const OPTIONAL: &[&str] = &["code", "frequency", "market", "deleted", "industry", "list_date", "delist_date"];

/// Whose names are the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defaults {
    /// Ginkgo's tables.
    Tables,
    /// Keys of Redis, each of which holds one security's data.
    Keys,
}

/// A database's data in the worker's words.
#[derive(Debug, Clone)]
pub struct Mapping {
    tables: BTreeMap<DataKind, Table>,
    /// How the column `code` names a security.
    pub code: Pattern,
    /// How times are written.
    pub times: Times,
    /// What volumes count.
    pub volume_unit: VolumeUnit,
    /// What amounts count.
    pub amount_unit: AmountUnit,
    /// The most rows of a request.
    pub max_rows: u64,
}

/// A kind's table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: Pattern,
    /// The worker's names of its columns, each with the database's; `None` where there is none.
    columns: Vec<(&'static str, Option<String>)>,
}

impl Table {
    /// The database's name of a column.
    pub fn column(&self, ours: &str) -> Option<&str> {
        self.columns.iter().find(|(name, _)| *name == ours)?.1.as_deref()
    }

    /// The database's names of all columns that are read.
    pub fn expected(&self) -> Vec<&str> {
        self.columns.iter().filter_map(|(_, theirs)| theirs.as_deref()).collect()
    }

    /// The database's names of the columns without which no row is of use.
    pub fn required(&self) -> Vec<&str> {
        let is_needed = |ours: &str| ours == "code" || !OPTIONAL.contains(&ours);
        self.columns.iter().filter(|(ours, _)| is_needed(ours)).filter_map(|(_, theirs)| theirs.as_deref()).collect()
    }
}

/// A setting of a shape that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shape.{setting} holds `{given:.80}`: {reason}")]
pub struct MappingError {
    /// The setting below `mapping`.
    pub setting: &'static str,
    /// Its text.
    pub given: String,
    /// What is wrong with it.
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
            let name = Pattern::parse(name, words(kind)).map_err(wrong("tables", given))?;
            if let Some(table) = tables.get_mut(&kind) {
                table.name = name;
            }
        }
        for given in &section.columns {
            rename(&mut tables, given).map_err(wrong("columns", given))?;
        }
        for (kind, table) in &tables {
            let says_code = match kind {
                DataKind::TradeDays => true,
                DataKind::Stocks => defaults == Defaults::Keys || table.column("code").is_some(),
                // Without either, the data of all securities would be taken for those of one.
                _ => table.column("code").is_some() || table.name.has_code(),
            };
            if !says_code {
                let reason =
                    format!("nothing in {} says of which security a row is; name its column `code`", kind.key());
                return Err(wrong("tables", table.name.as_str())(reason));
            }
        }
        let code = Pattern::parse(&section.code, OF_CODE).map_err(wrong("code", &section.code))?;
        if !code.has_code() {
            return Err(wrong("code", &section.code)(format!("it must hold some of {}", OF_CODE.join(", "))));
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

    /// A kind's table. There is one of each.
    pub fn table(&self, kind: DataKind) -> Option<&Table> {
        self.tables.get(&kind)
    }
}

fn words(kind: DataKind) -> &'static [&'static str] {
    match kind {
        DataKind::Bars | DataKind::MinuteBars => &["{code}", "{digits}", "{exchange}", "{prefix}", "{frequency}"],
        DataKind::Ticks => &["{code}", "{digits}", "{exchange}", "{prefix}", "{date}"],
        DataKind::Factors => OF_CODE,
        DataKind::Stocks | DataKind::TradeDays => &[],
    }
}

/// `kind=name`.
fn named(given: &str) -> Result<(DataKind, &str), String> {
    let (kind, name) = given.split_once('=').ok_or("it must be a kind, `=` and a name")?;
    Ok((kind_of(kind)?, name.trim()))
}

fn kind_of(text: &str) -> Result<DataKind, String> {
    let kinds = || DataKind::ALL.map(DataKind::key).join(", ");
    DataKind::ALL.into_iter().find(|kind| kind.key() == text.trim()).ok_or_else(|| format!("kinds are {}", kinds()))
}

/// `kind.column=name`.
fn rename(tables: &mut BTreeMap<DataKind, Table>, given: &str) -> Result<(), String> {
    let (path, theirs) = given.split_once('=').ok_or("it must be a kind, `.`, a column, `=` and its name")?;
    let (kind, ours) = path.split_once('.').ok_or("it must be a kind, `.`, a column, `=` and its name")?;
    let table = tables.get_mut(&kind_of(kind)?).ok_or("there is no such kind")?;
    let known = table.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let (ours, theirs) = (ours.trim(), theirs.trim());
    let (name, column) =
        table.columns.iter_mut().find(|(name, _)| *name == ours).ok_or_else(|| format!("columns are {known}"))?;
    if theirs.is_empty() && !OPTIONAL.contains(name) {
        return Err(format!("{name} must have a column"));
    }
    if theirs.len() > MAX_COLUMN || !theirs.chars().all(is_name) {
        return Err(format!("a column's name may hold letters, digits, `_` and `-`, at most {MAX_COLUMN} bytes"));
    }
    *column = (!theirs.is_empty()).then(|| theirs.to_owned());
    Ok(())
}

/// Where Ginkgo keeps a kind (its models' names), or Redis, for which Ginkgo has none.
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
    // A key, or a field of a hash, says whose data it holds.
    let is_there = |ours: &str| defaults == Defaults::Tables || !matches!(ours, "code" | "frequency");
    let columns = own.iter().chain(ours).map(|ours| (*ours, is_there(ours).then(|| theirs(ours).to_owned()))).collect();
    let name = if defaults == Defaults::Tables { table } else { key };
    Some(Table { name: Pattern::parse(name, words(kind)).ok()?, columns })
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
        assert!(wrong(&["bar"], &[]).contains("shape.tables holds `bar`: it must be a kind"));
        assert!(wrong(&["bar=x"], &[]).contains("kinds are bars, minute_bars, ticks, factors, stocks, trade_days"));
        assert!(wrong(&["bars=x`; DROP TABLE y"], &[]).contains("holds '`'"));
        assert!(wrong(&["stocks={code}"], &[]).contains("in braces"));
        assert!(wrong(&[], &["bars.opening=x"]).contains("columns are code, frequency, time, open"));
        assert!(wrong(&[], &["bars.open="]).contains("open must have a column"));
        assert!(wrong(&[], &["bars.open=a`b"]).contains("may hold letters"));
        assert!(wrong(&[], &["bars.open=$where("]).contains("may hold letters"));
        for column in ["bars.code=", "stocks.code="] {
            assert!(wrong(&[], &[column]).contains("says of which security"));
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
