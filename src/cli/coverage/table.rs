// Upstream: coverage
// Downstream: actors, cli, picture
// Role: The picture as text: a block for each five years, a character for each month.

use actors::domain::month::Month;

use super::picture::{Cell, Picture, Share};

/// Years side by side: 60 months, a name and a share are 78 characters.
const YEARS: usize = 5;

/// Width of the names of rows.
const NAME: usize = 9;

const LEGEND: &str = "█ all stored  ▓ 90 % and more  ▒ 50 % and more  ░ less  ! none stored\n\
                      ? not known  (blank) no trading day\n";

/// The blocks, and the meaning of the characters.
pub fn table(picture: &Picture) -> String {
    let num_months = picture.trading_days.len();
    if num_months == 0 || picture.rows.is_empty() {
        return "no trading day is in this range\n".to_owned();
    }
    let (first, last) = (picture.first, picture.first.plus(num_months - 1));
    let years: Vec<i32> = (first.year()..=last.year()).collect();
    let blocks: Vec<String> = years.chunks(YEARS).map(|years| block(picture, years)).collect();
    blocks.join("\n") + "\n" + LEGEND
}

fn block(picture: &Picture, years: &[i32]) -> String {
    let head: String = years.iter().map(|year| format!("{year:<12}")).collect();
    let mut text = format!("{:NAME$} {head}\n", "").trim_end().to_owned() + "\n";
    for row in &picture.rows {
        let (mut line, mut total) = (String::new(), Cell::default());
        for month in years.iter().flat_map(|year| months(*year)) {
            let cell = month.since(picture.first).and_then(|n| row.cells.get(n)).copied().unwrap_or_default();
            total = total.plus(cell);
            line.push(mark(cell.share()));
        }
        text.push_str(&format!("{:<NAME$} {line} {:>6}\n", row.name, total.share().text()));
    }
    text
}

fn months(year: i32) -> impl Iterator<Item = Month> {
    let january = u32::try_from(year).ok().and_then(|year| Month::from_number(year * 100 + 1));
    january.into_iter().flat_map(|january| (0..12).map(move |n| january.plus(n)))
}

fn mark(share: Share) -> char {
    match share {
        Share::Nothing => ' ',
        Share::Unknown => '?',
        Share::Of { stored, expected } if stored == expected => '█',
        Share::Of { stored: 0, .. } => '!',
        Share::Of { stored, expected } if stored * 10 >= expected * 9 => '▓',
        Share::Of { stored, expected } if stored * 2 >= expected => '▒',
        Share::Of { .. } => '░',
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::RowKind;
    use super::super::picture::tests::picture;
    use super::*;
    use crate::cli::fold::WIDTH;
    use actors::domain::coverage::MonthDays;

    fn month(expected: u32, missing: u32, unknown: u32) -> MonthDays {
        MonthDays { expected, unknown, missing, partial: 0 }
    }

    #[test]
    fn ten_years_of_boards_fit_a_terminal() {
        let days = 0xfffff;
        let mut months = vec![month(days, 0, 0); 120];
        months[0] = month(days, days, 0);
        months[1] = month(days, 1, 0);
        months[2] = month(days, 0xff, 0);
        months[3] = month(days, 0x3fff, 0);
        months[4] = month(0, 0, 0);
        months[5] = month(days, 0, 1 << 20);
        let text = table(&picture(RowKind::Code, vec![("000001.SZ", months)]));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "          2020        2021        2022        2023        2024");
        assert_eq!(lines[1], format!("000001.SZ !▓▒░ ?{}  96.3%", "█".repeat(54)));
        assert_eq!(lines[4], format!("000001.SZ {}   100%", "█".repeat(60)));
        assert!(text.ends_with(LEGEND), "{text}");
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        assert_eq!(table(&picture(RowKind::Board, vec![])), "no trading day is in this range\n");
    }
}
