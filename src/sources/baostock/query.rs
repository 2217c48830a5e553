// Upstream: adjust_factor, k_data, source, stock_basic, trade_dates
// Downstream: actors, answer, frame
// Role: The interface of a BaoStock query, and security codes in BaoStock's format. Pure.

use actors::domain::Code;
use actors::ports::SourceErrorKind;

use super::answer::AnswerError;
use super::frame::Message;

/// The rows of one answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<R> {
    /// The converted rows, without the skipped ones.
    pub rows: Vec<R>,
    /// The number of rows in the answer. A full page has a next one.
    pub num_records: usize,
}

/// A query, except for the user and the page.
pub trait Query: Sync {
    /// The type that a row of the answer becomes.
    type Row: PartialEq + Send;
    /// The method's name.
    const METHOD: &'static str;
    /// The kind of the request.
    const KIND: &'static str;
    /// Whether the query has pages.
    const PAGED: bool;

    /// The parameters after method, user and page.
    fn params(&self) -> Vec<String>;

    /// Parses the answer to page `page`, counted from 1.
    fn parse(&self, message: &Message, page: usize) -> Result<Page<Self::Row>, AnswerError>;
}

/// The code in BaoStock's format: `sh.600000`.
pub fn baostock_code(code: Code) -> Result<String, SourceErrorKind> {
    match code.exchange() {
        "SH" => Ok(format!("sh.{}", code.digits())),
        "SZ" => Ok(format!("sz.{}", code.digits())),
        other => Err(SourceErrorKind::NotCovered(format!("BaoStock has no securities of the exchange {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_codes_and_rejects_beijing() {
        let of = |text: &str| baostock_code(text.parse().unwrap());
        assert_eq!(of("600000.SH"), Ok("sh.600000".to_owned()));
        assert_eq!(of("000001.SZ"), Ok("sz.000001".to_owned()));
        assert!(of("430047.BJ").unwrap_err().to_string().contains("BJ"));
    }
}
