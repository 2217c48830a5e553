// Upstream: coverage
// Downstream: actors, adapters::clickhouse, found, history, page_data, picture
// Role: Writes the picture as one web page that loads nothing.

use actors::domain::shanghai_clock;
use serde_json::Value;

use super::found::Found;
use super::history::History;
use super::page_data::data;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page. Its data is JSON in an element that is not executed; the script writes it as text, never as HTML.
pub fn page(found: &Found, history: &History) -> String {
    let made = shanghai_clock::now().format("%Y-%m-%d %H:%M (Shanghai)").to_string();
    let parts = [
        ("{{subject}}", escaped(&found.subject)),
        ("{{summary}}", escaped(&found.summary().trim_end().replace('\n', "; "))),
        ("{{made}}", made),
        ("{{style}}", STYLE.to_owned()),
        ("{{script}}", SCRIPT.to_owned()),
        ("{{data}}", in_script(&data(found, history))),
    ];
    filled(TEMPLATE, &parts)
}

/// The template with its places filled. A filled place is not searched for others.
fn filled(template: &str, parts: &[(&str, String)]) -> String {
    let mut page = String::with_capacity(template.len() + parts.iter().map(|(_, text)| text.len()).sum::<usize>());
    let mut rest = template;
    while let Some((place, name, text)) =
        parts.iter().filter_map(|(name, text)| Some((rest.find(name)?, *name, text))).min_by_key(|(place, ..)| *place)
    {
        page.push_str(rest.get(..place).unwrap_or_default());
        page.push_str(text);
        rest = rest.get(place + name.len()..).unwrap_or_default();
    }
    page + rest
}

/// A text between tags or in quotes.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// JSON inside a script element, which no text in it can end: `<` occurs in JSON only in strings.
fn in_script(data: &Value) -> String {
    data.to_string().replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::super::history::OpenLetters;
    use super::super::picture::tests::picture;
    use super::super::picture::{Picture, RowKind};
    use super::*;
    use crate::adapters::clickhouse::report_days::ReportDay;
    use actors::domain::DateRange;
    use actors::domain::coverage::MonthDays;

    const MARKUP: &str = "</script><script>alert(1)</script><img src=x>&\"'{{data}}{{made}}";

    fn found(picture: Picture) -> Found {
        let range = DateRange { start: "2020-01-01".parse().unwrap(), end: "2029-12-31".parse().unwrap() };
        Found { picture, subject: MARKUP.to_owned(), range, doubts: vec![MARKUP.to_owned()] }
    }

    fn history(days: usize) -> History {
        let day = |n: usize| ReportDay { day: format!("{n}"), reports: 1, ..ReportDay::default() };
        let mut letters = OpenLetters { number: 1, ..OpenLetters::default() };
        letters.by_class.insert(MARKUP.to_owned(), 1);
        letters.newest.push_back(std::array::from_fn(|_| MARKUP.to_owned()));
        History { days: Ok((0..days).map(day).collect()), letters: Ok(letters) }
    }

    /// The data of a page as its script reads it.
    fn data_of(page: &str) -> Value {
        let begin = page.find(r#"id="data">"#).unwrap() + r#"id="data">"#.len();
        let data = &page[begin..];
        serde_json::from_str(&data[..data.find("</script>").unwrap()]).unwrap()
    }

    #[test]
    fn markup_in_data_stays_text() {
        let page = page(&found(picture(RowKind::Board, vec![])), &history(1));
        assert_eq!(page.matches("<script").count(), 2, "the data and the script");
        assert_eq!((page.matches("</script>").count(), page.matches("<img").count()), (2, 0));
        assert_eq!(data_of(&page)["letters"]["rows"][0][5], MARKUP, "what is in the data is not filled");
        assert!(page.contains("<title>Coverage: &lt;/script&gt;&lt;script&gt;"));
        assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("insertAdjacent"));
    }

    #[test]
    fn page_loads_nothing() {
        let page = page(&found(picture(RowKind::Board, vec![])), &history(1));
        let namespaces = page.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(page.matches("http").count() - page.matches("http-equiv").count(), namespaces);
        let loads = [" src=\"", "href=", "url(h", "@import", "fetch(", "XMLHttpRequest"];
        assert!(loads.iter().all(|load| !page.contains(load)), "{page}");
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let failed = History { days: Err("no ClickHouse".to_owned()), letters: Err("no Kafka".to_owned()) };
        let data = data_of(&page(&found(picture(RowKind::Board, vec![])), &failed));
        assert_eq!((&data["days"]["error"], &data["letters"]["error"]), (&"no ClickHouse".into(), &"no Kafka".into()));
        assert_eq!((data["rows"].as_array().unwrap().len(), &data["codes"]), (0, &Value::Array(vec![])));
    }

    #[test]
    fn whole_market_and_ten_years_are_below_5_mb() {
        // Every second day of each month is missing, on other days for each security: nothing can be joined.
        let days = |n: u32| MonthDays { expected: 0xf_ffff, unknown: 0, missing: 0x5_5555 << (n % 2), partial: 0 };
        let codes: Vec<String> = (0..5_500).map(|n| format!("{n:06}.SZ")).collect();
        let of = |kind| {
            let months = codes.iter().zip(0..).map(|(code, n)| (code.as_str(), vec![days(n); 120])).collect();
            let found = found(picture(kind, months));
            let page = page(&found, &history(3_660));
            println!("{kind:?}: {} bytes", page.len());
            assert!(page.len() < 5_000_000, "{kind:?}: {} bytes", page.len());
            data_of(&page)
        };
        let of_boards = of(RowKind::Board);
        let num_codes = of_boards["codes"].as_array().unwrap().len() as u64;
        assert_eq!(num_codes + of_boards["codesLeftOut"].as_u64().unwrap(), 5_500, "what is left out is counted");
        assert!(num_codes > 2_000, "{num_codes}");
        let of_codes = of(RowKind::Code);
        assert_eq!((of_codes["rows"].as_array().unwrap().len(), &of_codes["rowsLeftOut"]), (500, &5_000.into()));
    }

    #[test]
    fn wholly_missing_months_are_one_word() {
        let trading = picture(RowKind::Board, vec![("000001.SZ", vec![MonthDays::default(); 60])]).trading_days;
        let lacks = |n: usize| match n {
            0..=39 => trading[n],
            45 => 1 << 30,
            46 => trading[46],
            _ => 0,
        };
        let month = |n| MonthDays { expected: u32::MAX, unknown: 0, missing: lacks(n), partial: u32::from(n == 0) };
        let picture = picture(RowKind::Code, vec![("000001.SZ", (0..60).map(month).collect())]);
        let data = data_of(&page(&found(picture), &history(0)));
        assert_eq!(data["codes"][0], serde_json::json!(["000001.SZ", 0, "0-13 19.hra0hs 1a-1a", "0.1"]));
    }
}
