// Upstream: cargo
// Downstream: bar, code, departures, reference_list, stock_info, task
// Role: Tests which securities a list retires: two lists, renumberings, incomplete lists, other exchanges and kinds.

use chrono::{NaiveDate, NaiveTime};

use crate::domain::departures::{Departure, StockChange, StoredStock, departures};
use crate::domain::reference_list::StockList;
use crate::domain::{Code, Rule, SourceId, Stock};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn code(text: &str) -> Code {
    text.parse().unwrap()
}

/// The code's name and list date differ from those of any other code.
fn stored(text: &str) -> StoredStock {
    let number: u64 = text[..6].parse().unwrap();
    StoredStock {
        code: code(text),
        name: format!("股{text}"),
        listed: day("1991-01-01").checked_add_days(chrono::Days::new(number % 9_999)),
        delisted: None,
        is_deleted: false,
        absent_since: None,
        source: Some(SourceId::TUSHARE.number()),
    }
}

fn listed(stored: &StoredStock) -> Stock {
    Stock {
        code: stored.code,
        name: stored.name.clone(),
        industry: String::new(),
        list_date: stored.listed.unwrap_or(day("1970-01-01")).and_time(NaiveTime::MIN),
        delist_date: day("2100-01-01").and_time(NaiveTime::MIN),
        source: SourceId::TUSHARE,
    }
}

fn list(on: &str, stocks: &[StoredStock]) -> StockList {
    StockList { stocks: stocks.iter().map(listed).collect(), ..StockList::empty(SourceId::TUSHARE, day(on)) }
}

/// `count` shares of a block of numbers.
fn shares(block: &str, exchange: &str, count: u32) -> Vec<StoredStock> {
    (1..=count).map(|number| stored(&format!("{block}{number:03}.{exchange}"))).collect()
}

/// The rows after the changes of one list.
fn apply(rows: &mut [StoredStock], changes: &[StockChange]) {
    for change in changes {
        let row = rows.iter_mut().find(|row| row.code == change.code).unwrap();
        row.delisted = change.delisted.or(row.delisted);
        (row.is_deleted, row.absent_since) = (change.is_deleted, change.absent_since);
    }
}

#[test]
fn absent_security_is_retired_by_the_list_of_another_day() {
    let mut rows = shares("600", "SH", 40);
    let (gone, rest) = (rows[0].code, rows[1..].to_vec());
    let first = departures(&rows, &list("2026-11-30", &rest));
    assert_eq!(first.found, [(gone, Departure::AbsentSince(day("2026-11-30")))]);
    apply(&mut rows, &first.changes);
    assert_eq!((rows[0].delisted, rows[0].absent_since), (None, Some(day("2026-11-30"))));

    // The same command once more, on the same day.
    let again = departures(&rows, &list("2026-11-30", &rest));
    assert_eq!((again.found, again.changes.len()), (first.found, 0));

    let second = departures(&rows, &list("2026-12-01", &rest));
    assert_eq!(second.found, [(gone, Departure::Retired(day("2026-11-30")))]);
    assert_eq!(second.anomalies()[0].finding(), "code absent since 2026-11-30, retired");
    apply(&mut rows, &second.changes);
    assert_eq!(rows[0].delisted, Some(day("2026-11-30")));
    assert!(!rows[0].is_deleted);
    assert_eq!(departures(&rows, &list("2026-12-02", &rest)).found, [], "reported once");
}

#[test]
fn security_that_returns_begins_anew() {
    let mut rows = shares("600", "SH", 40);
    rows[0].absent_since = Some(day("2026-11-30"));
    rows[1].is_deleted = true;
    let all = rows.clone();
    let found = departures(&rows, &list("2026-12-01", &all));
    assert_eq!((found.found.len(), found.changes.len()), (0, 2));
    apply(&mut rows, &found.changes);
    assert_eq!((rows[0].absent_since, rows[1].is_deleted), (None, false));
    let found = departures(&rows, &list("2026-12-02", &all[1..]));
    assert_eq!(found.found, [(rows[0].code, Departure::AbsentSince(day("2026-12-02")))]);
}

#[test]
fn truncated_list_retires_nothing_of_its_kind() {
    let mut rows = shares("600", "SH", 100);
    rows.extend(shares("000", "SZ", 100));
    rows.iter_mut().for_each(|row| row.absent_since = Some(day("2026-11-01")));
    // Shanghai lacks six of a hundred, Shenzhen two.
    let found = departures(&rows, &list("2026-11-30", &[&rows[6..100], &rows[102..]].concat()));
    assert_eq!((found.incomplete[0].absent, found.incomplete[0].known, found.incomplete.len()), (6, 100, 1));
    assert_eq!(found.found.len(), 2);
    assert!(found.found.iter().all(|(code, _)| code.exchange() == "SZ"));
    let reported = found.anomalies();
    assert_eq!(reported.last().unwrap().finding(), "code the list lacks 6 of 100 securities of this kind");
    assert_eq!(reported.last().unwrap().rule, Rule::IncompleteList);

    // One of a kind is plausible, but not in a list that lacks most others.
    let found = departures(&rows, &list("2026-11-30", &[&rows[..1], &rows[101..]].concat()));
    assert_eq!((found.found.len(), found.incomplete.len()), (0, 2));

    // A row without a readable code may be any of them.
    let unreadable = StockList { has_unreadable_codes: true, ..list("2026-11-30", &rows[1..]) };
    let found = departures(&rows, &unreadable);
    assert_eq!((found.found.len(), found.incomplete.len()), (0, 1));
    // A row with another fault is named.
    let invalid = StockList { invalid: vec![rows[0].code], ..list("2026-11-30", &rows[1..]) };
    assert_eq!(departures(&rows, &invalid).found, []);
}

#[test]
fn other_exchanges_and_kinds_are_not_judged() {
    let mut rows = shares("600", "SH", 30);
    for other in ["920799.BJ", "510300.SH", "900901.SH", "000300.SH", "113050.SH"] {
        rows.push(StoredStock { source: Some(SourceId::BAOSTOCK.number()), ..stored(other) });
    }
    let shanghai = rows[..30].to_vec();
    assert_eq!(departures(&rows, &list("2026-11-30", &shanghai)), Default::default());
    // The same source named shares of Beijing before: it lost them.
    rows[30].source = Some(SourceId::TUSHARE.number());
    let found = departures(&rows, &list("2026-11-30", &shanghai));
    assert_eq!((found.found.len(), found.incomplete.len()), (0, 1));
    assert_eq!(found.incomplete[0].example, code("920799.BJ"));
}

#[test]
fn renumbering_of_a_whole_exchange_is_recognised() {
    let mut rows = shares("830", "BJ", 150);
    let renumbered =
        |old: &StoredStock| StoredStock { code: code(&format!("920{}.BJ", &old.code.digits()[3..])), ..old.clone() };
    let new: Vec<StoredStock> = rows.iter().map(renumbered).collect();
    let found = departures(&[rows.clone(), new.clone()].concat(), &list("2025-10-09", &new));
    assert_eq!((found.found.len(), found.incomplete.len()), (150, 0));
    assert_eq!(found.found[0], (rows[0].code, Departure::Renumbered(new[0].code)));
    assert_eq!(found.anomalies()[0].finding(), "code renumbered to 920001.BJ");
    apply(&mut rows, &found.changes);
    assert!(rows.iter().all(|row| row.is_deleted && row.delisted == Some(day("2025-10-09"))));
}

#[test]
fn likeness_takes_name_date_and_the_numbers_end() {
    let mut rows = shares("830", "BJ", 40);
    let old = rows[0].clone();
    rows.push(old.clone());
    let new = |text: &str, name: &str, listed: Option<NaiveDate>| StoredStock {
        code: code(text),
        name: name.to_owned(),
        listed,
        ..old.clone()
    };
    let others = [
        new("920002.BJ", &old.name, old.listed),
        new("920001.BJ", "另一个", old.listed),
        new("920001.BJ", &old.name, Some(day("2026-11-30"))),
        new("920001.BJ", &old.name, None),
        new("600001.SH", &old.name, old.listed),
    ];
    for other in others {
        let listed = [&rows[1..40], &[other]].concat();
        let found = departures(&rows[..40], &list("2026-11-30", &listed)).found;
        assert_eq!(found, [(old.code, Departure::AbsentSince(day("2026-11-30")))]);
    }
}

#[test]
fn security_that_the_source_delisted_needs_no_second_list() {
    let mut rows = shares("600", "SH", 40);
    let mut delisted = list("2026-11-30", &rows[2..]);
    delisted.former.delisted = vec![(rows[0].code, day("2026-11-20")), (rows[5].code, day("2020-01-01"))];
    delisted.former.paused = vec![rows[1].code];
    let found = departures(&rows, &delisted);
    assert_eq!(found.found, [(rows[0].code, Departure::Delisted(day("2026-11-20")))], "listed and paused ones stay");
    apply(&mut rows, &found.changes);
    assert_eq!(departures(&rows, &delisted).found, []);
    // The source's day corrects the one of two lists.
    rows[0].delisted = Some(day("2026-11-28"));
    assert_eq!(departures(&rows, &delisted).found.len(), 1);
}
