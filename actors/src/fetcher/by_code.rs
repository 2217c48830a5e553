// Upstream: cross_section, several_codes
// Downstream: domain, ports
// Role: The rows of an answer about many securities, found by security.

use crate::domain::{Code, DayNote, FetchedBar};
use crate::ports::{NotedBars, NotedBarsByCode};

/// Rows of many securities. One sorted list and not a list for each security: a day of the whole market then takes
/// about 1 MB.
#[derive(Debug)]
pub struct ByCode<T>(Box<[(Code, T)]>);

impl<T> ByCode<T> {
    /// The rows in any order. Those of one security keep theirs.
    pub fn new(mut rows: Vec<(Code, T)>) -> Self {
        rows.sort_by_key(|(code, _)| *code);
        Self(rows.into_boxed_slice())
    }

    /// The rows of one security.
    pub fn of(&self, code: Code) -> impl Iterator<Item = &T> {
        let start = self.0.partition_point(|(of, _)| *of < code);
        self.0.iter().skip(start).take_while(move |(of, _)| *of == code).map(|(_, row)| row)
    }
}

/// Bars of many securities and the source's notes.
#[derive(Debug)]
pub struct BarsByCode {
    bars: ByCode<FetchedBar>,
    notes: ByCode<DayNote>,
}

impl From<NotedBarsByCode> for BarsByCode {
    fn from(NotedBarsByCode { bars, notes }: NotedBarsByCode) -> Self {
        Self { bars: ByCode::new(bars), notes: ByCode::new(notes) }
    }
}

impl BarsByCode {
    /// Adds the bars and notes of one security.
    pub fn add_to(&self, noted: &mut NotedBars, code: Code) {
        noted.bars.extend(self.bars.of(code).cloned());
        noted.notes.extend(self.notes.of(code).copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_rows_of_each_security_in_order() {
        let code = |text: &str| -> Code { text.parse().unwrap() };
        let rows = [("600000.SH", 1), ("000001.SZ", 2), ("600000.SH", 3), ("830799.BJ", 4)];
        let by_code = ByCode::new(rows.map(|(text, row)| (code(text), row)).to_vec());
        let of = |text| by_code.of(code(text)).copied().collect::<Vec<i32>>();
        assert_eq!((of("600000.SH"), of("000001.SZ"), of("830799.BJ")), (vec![1, 3], vec![2], vec![4]));
        assert_eq!(of("000002.SZ"), Vec::<i32>::new());
    }
}
