// Upstream: many
// Downstream: bar, code, market_facts, task
// Role: A security of the stock list, as fetched from a source and as stored.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::domain::{Anomaly, Code, Field, Listing, Rule, SourceId};

/// Maximum length of a text column of `stock_info`, in characters.
const MAX_TEXT: usize = 32;

/// The `delist_date` that Ginkgo stores for a security that is still listed.
const STILL_LISTED: NaiveDate = match NaiveDate::from_ymd_opt(2100, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MAX,
};

/// The `list_date` that Ginkgo stores for a security whose first trading day is unknown.
pub const UNKNOWN_LIST_DATE: NaiveDate = match NaiveDate::from_ymd_opt(1970, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

/// Converts stored dates to a listing. Dates that stand for "unknown" or "still listed" become `None`.
pub fn listing(code: Code, name: String, list_date: NaiveDate, delist_date: NaiveDate) -> Listing {
    let listed = (list_date > UNKNOWN_LIST_DATE).then_some(list_date);
    Listing { code, name, listed, delisted: delisted(delist_date) }
}

/// The delisting day in a stored date; `None` while the security is listed.
pub fn delisted(delist_date: NaiveDate) -> Option<NaiveDate> {
    (delist_date < STILL_LISTED && delist_date > UNKNOWN_LIST_DATE).then_some(delist_date)
}

/// A security as fetched from a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedStock {
    /// The code, in any supported notation.
    pub code: Field<String>,
    /// The short name.
    pub name: Field<String>,
    /// The industry; some securities have none.
    pub industry: Field<String>,
    /// The first trading day; some sources do not provide it.
    pub list_date: Field<NaiveDateTime>,
    /// The delisting date; missing while the security is listed.
    pub delist_date: Field<NaiveDateTime>,
}

/// A security that passed every rule and fits its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock {
    /// The code.
    pub code: Code,
    /// The short name.
    pub name: String,
    /// The industry; empty if there is none.
    pub industry: String,
    /// The first trading day, at midnight; [`UNKNOWN_LIST_DATE`] if the source does not provide it.
    pub list_date: NaiveDateTime,
    /// The delisting date, at midnight; 2100-01-01 while the security is listed.
    pub delist_date: NaiveDateTime,
    /// The source of the row.
    pub source: SourceId,
}

/// Checks one security. Without a readable code the error is [`StockAnomaly::NoCode`].
pub fn check(fetched: &FetchedStock, source: SourceId) -> Result<Stock, StockAnomaly> {
    let code = match &fetched.code {
        Field::Value(text) => text.parse::<Code>().map_err(|_| StockAnomaly::NoCode(text.clone()))?,
        Field::Missing => return Err(StockAnomaly::NoCode(String::new())),
        Field::Unreadable(text) => return Err(StockAnomaly::NoCode(text.to_string())),
    };
    let wrong = |field: &'static str, value: String, rule: Rule| {
        StockAnomaly::Of(Anomaly { code, timestamp: None, field, value, rule })
    };
    let text = |field: &'static str, found: &Field<String>| match found {
        Field::Value(text) if text.chars().count() <= MAX_TEXT => Ok(Some(text.clone())),
        Field::Value(text) => {
            Err(wrong(field, text.chars().take(Field::<String>::MAX_TEXT).collect(), Rule::ValueOutOfRange))
        }
        Field::Missing => Ok(None),
        Field::Unreadable(text) => Err(wrong(field, text.to_string(), Rule::UnreadableValue)),
    };
    let day = |field: &'static str, found: &Field<NaiveDateTime>| match found {
        Field::Value(day) => Ok(Some(*day)),
        Field::Missing => Ok(None),
        Field::Unreadable(text) => Err(wrong(field, text.to_string(), Rule::UnreadableValue)),
    };
    let missing = |field: &'static str| wrong(field, String::new(), Rule::MissingValue);
    Ok(Stock {
        code,
        name: text("name", &fetched.name)?.ok_or_else(|| missing("name"))?,
        industry: text("industry", &fetched.industry)?.unwrap_or_default(),
        list_date: day("list_date", &fetched.list_date)?.unwrap_or(UNKNOWN_LIST_DATE.and_time(NaiveTime::MIN)),
        delist_date: day("delist_date", &fetched.delist_date)?.unwrap_or(STILL_LISTED.and_time(NaiveTime::MIN)),
        source,
    })
}

/// The reason why a security is invalid and not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StockAnomaly {
    /// The code is missing or unreadable; contains the text found.
    NoCode(String),
    /// Another field is invalid.
    Of(Anomaly),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched() -> FetchedStock {
        let day = |y, m, d| Field::Value(NaiveDate::from_ymd_opt(y, m, d).unwrap().and_time(NaiveTime::MIN));
        FetchedStock {
            code: Field::Value("SZ000001".to_owned()),
            name: Field::Value("平安银行".to_owned()),
            industry: Field::Missing,
            list_date: day(1991, 4, 3),
            delist_date: Field::Missing,
        }
    }

    #[test]
    fn a_listed_security_without_an_industry_is_sound() {
        let stock = check(&fetched(), SourceId::TUSHARE).unwrap();
        assert_eq!((stock.code.as_str(), stock.industry.as_str()), ("000001.SZ", ""));
        assert_eq!(stock.delist_date.to_string(), "2100-01-01 00:00:00");
        let read = listing(stock.code, stock.name, stock.list_date.date(), stock.delist_date.date());
        assert_eq!((read.listed, read.delisted), (NaiveDate::from_ymd_opt(1991, 4, 3), None));
        let unknown = FetchedStock { list_date: Field::Missing, ..fetched() };
        assert_eq!(check(&unknown, SourceId::TDX).unwrap().list_date.date(), UNKNOWN_LIST_DATE);
    }

    #[test]
    fn what_is_missing_or_does_not_fit_is_named() {
        let wrong = |change: fn(&mut FetchedStock)| {
            let mut stock = fetched();
            change(&mut stock);
            match check(&stock, SourceId::TUSHARE).unwrap_err() {
                StockAnomaly::Of(anomaly) => (anomaly.field, anomaly.rule),
                StockAnomaly::NoCode(_) => ("code", Rule::UnreadableValue),
            }
        };
        assert_eq!(wrong(|stock| stock.code = Field::Value("HK0001".into())), ("code", Rule::UnreadableValue));
        assert_eq!(wrong(|stock| stock.name = Field::Missing), ("name", Rule::MissingValue));
        assert_eq!(wrong(|stock| stock.name = Field::Value("长".repeat(33))), ("name", Rule::ValueOutOfRange));
        assert_eq!(wrong(|stock| stock.list_date = Field::unreadable("soon")), ("list_date", Rule::UnreadableValue));
    }
}
