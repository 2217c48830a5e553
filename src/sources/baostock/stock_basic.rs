// Upstream: source
// Downstream: actors, answer, frame, kit, query, sources::shared
// Role: BaoStock's list of securities. Pure.

//! The list covers Shanghai and Shenzhen. It includes indices, funds and bonds (`type` 1 is a share) and securities
//! that are no longer listed (`status` 0). It has no industry.

use actors::domain::{FetchedStock, Field};

use super::answer::{self, AnswerError, Layout};
use super::frame::Message;
use super::query::{Page, Query};
use crate::sources::shared::cells;

const SHARE: &str = "1";
const LISTED: &str = "1";
const DELISTED: &str = "0";

/// A query for all shares of one state.
pub enum StockBasic {
    /// Listed shares.
    Listed,
    /// Shares that are no longer listed.
    Delisted,
}

impl Query for StockBasic {
    type Row = FetchedStock;
    const METHOD: &'static str = "query_stock_basic";
    const KIND: &'static str = "45";
    const PAGED: bool = true;

    fn params(&self) -> Vec<String> {
        // No code and no name selects all securities.
        vec![String::new(), String::new()]
    }

    fn parse(&self, message: &Message, page: usize) -> Result<Page<FetchedStock>, AnswerError> {
        let columns = ["code", "code_name", "ipoDate", "outDate", "type", "status"];
        let records = answer::table(message, Self::METHOD, page, Layout::paged(9), &columns)?;
        let wanted = match self {
            Self::Listed => LISTED,
            Self::Delisted => DELISTED,
        };
        let is = |cell: &str, what: &str| cells::text(cell) == Field::Value(what.to_owned());
        let shares = records.iter().filter(|[_, _, _, _, kind, status]| is(kind, SHARE) && is(status, wanted));
        let rows = shares.map(|[code, name, list_date, delist_date, _, _]| FetchedStock {
            code: cells::text(code),
            name: cells::text(name),
            industry: Field::Missing,
            list_date: cells::day(list_date),
            delist_date: cells::day(delist_date),
        });
        Ok(Page { rows: rows.collect(), num_records: records.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_taken_by_their_state() {
        let json = r#"{"record":[["sh.600000","浦发银行","1999-11-10","","1","1"],["sh.000001","上证综合指数","1991-07-15","","2","1"],
            ["sh.600001","邯郸钢铁","1998-01-22","2009-12-29","1","0"],["sz.000001","平安银行","1991-04-03","","1","1"]]}"#;
        let columns = "code,code_name,ipoDate,outDate,type,status";
        let fields = ["0", "success", StockBasic::METHOD, "anonymous", "1", "2000", json, "", "", columns];
        let message = Message { kind: "46".to_owned(), body: fields.join("\u{1}") };
        let page = StockBasic::Listed.parse(&message, 1).unwrap();
        assert_eq!((page.rows.len(), page.num_records), (2, 4));
        assert_eq!(page.rows[0].code, Field::Value("sh.600000".to_owned()));
        assert_eq!(page.rows[1].name, Field::Value("平安银行".to_owned()));
        assert!(matches!(&page.rows[0].list_date, Field::Value(day) if day.to_string() == "1999-11-10 00:00:00"));
        assert_eq!((&page.rows[0].delist_date, &page.rows[0].industry), (&Field::Missing, &Field::Missing));
        let gone = StockBasic::Delisted.parse(&message, 1).unwrap().rows;
        let codes_and_days: Vec<String> =
            gone.iter().map(|row| format!("{:?} {:?}", row.code.value(), row.delist_date.value())).collect();
        assert_eq!(codes_and_days, [r#"Some("sh.600001") Some(2009-12-29T00:00:00)"#]);
    }

    #[test]
    fn mutated_answers_give_rows_or_error() {
        let json = r#"{"record":[["sh.600000","浦发银行","1999-11-10","","1","1"]]}"#;
        let columns = "code,code_name,ipoDate,outDate,type,status";
        let fields = ["0", "success", StockBasic::METHOD, "anonymous", "1", "2000", json, "", "", columns];
        let query = StockBasic::Listed;
        kit::fuzz::mutate_text(&[fields.join("\u{1}")], |text| {
            query.parse(&Message { kind: "46".to_owned(), body: text.to_owned() }, 1)
        });
    }
}
