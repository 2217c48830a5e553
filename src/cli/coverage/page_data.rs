// Upstream: page
// Downstream: actors, found, history, picture
// Role: The data of the page as JSON: shares of all cells, and the days that each security lacks, of bounded size.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::found::Found;
use super::history::History;
use super::picture::{Cell, Lacking, Picture, Row};

/// The most bytes for the days of securities. With the other parts the page stays below 5 MB.
const MAX_DETAIL: usize = 3_000_000;

/// The most rows of the heat map. 500 codes in ten years are about 700 KB.
const MAX_ROWS: usize = 500;

/// Everything that the script of the page needs.
pub fn data(found: &Found, history: &History) -> Value {
    let Picture { first, trading_days, .. } = &found.picture;
    let shown = shown_rows(&found.picture);
    let mut rows: Vec<Value> = Vec::with_capacity(shown.len());
    let mut places: BTreeMap<usize, usize> = BTreeMap::new();
    for n in shown {
        let Some(row) = found.picture.rows.get(n) else { continue };
        places.insert(n, rows.len());
        rows.push(row_data(row));
    }
    let (codes, num_left_out) = lacking_data(&found.picture, &places);
    json!({
        "subject": found.subject,
        "from": found.range.start.to_string(),
        "to": found.range.end.to_string(),
        "doubts": found.doubts,
        "year": first.year(),
        "month": first.in_year(),
        "trading": trading_days.iter().map(|set| base_36(*set)).collect::<Vec<_>>(),
        "rows": rows,
        "rowsLeftOut": found.picture.rows.len() - places.len(),
        "codes": codes,
        "codesLeftOut": num_left_out,
        "days": day_data(history),
        "letters": letter_data(history),
    })
}

/// The rows of the heat map. Of too many those that lack the most.
fn shown_rows(picture: &Picture) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..picture.rows.len()).collect();
    if shown.len() > MAX_ROWS {
        let lacks = |n: &usize| picture.rows.get(*n).map_or(0, |row| row.total().lacking());
        shown.sort_by_key(|n| std::cmp::Reverse(lacks(n)));
        shown.truncate(MAX_ROWS);
        shown.sort_unstable();
    }
    shown
}

fn row_data(row: &Row) -> Value {
    let cell = |Cell { expected, stored, unknown }: &Cell| match unknown {
        0 => json!([expected, stored]),
        _ => json!([expected, stored, unknown]),
    };
    json!({"name": row.name, "codes": row.num_codes, "cells": row.cells.iter().map(cell).collect::<Vec<_>>()})
}

/// The securities with their days, each as code, row, missing days and incomplete days; and the number of those that
/// are left out. Those that lack the least are written first: they are the ones to repair, and they need the least
/// room.
fn lacking_data(picture: &Picture, places: &BTreeMap<usize, usize>) -> (Vec<Value>, usize) {
    let mut encoded: Vec<(usize, [String; 2], &Lacking)> = Vec::with_capacity(picture.lacking.len());
    for lacking in &picture.lacking {
        if let Some(place) = places.get(&lacking.row) {
            let sets = |of: fn(&actors::domain::coverage::MonthDays) -> u32| lacking.months.iter().map(of);
            let texts = [sets(|month| month.missing), sets(|month| month.partial)];
            encoded.push((*place, texts.map(|sets| runs(sets, &picture.trading_days)), lacking));
        }
    }
    let num_bytes = |[missing, partial]: &[String; 2]| missing.len() + partial.len() + 40;
    encoded.sort_by_key(|(_, texts, lacking)| (num_bytes(texts), lacking.code));
    let mut room = MAX_DETAIL;
    let fits = |(_, texts, _): &&(usize, [String; 2], &Lacking)| {
        room = room.saturating_sub(num_bytes(texts));
        room > 0
    };
    let mut kept: Vec<_> = encoded.iter().take_while(fits).collect();
    kept.sort_by_key(|(_, _, lacking)| lacking.code);
    let code = |(place, [missing, partial], lacking): &&(usize, [String; 2], &Lacking)| {
        json!([lacking.code.as_str(), place, missing, partial])
    };
    (kept.iter().map(code).collect(), encoded.len() - kept.len())
}

/// The sets of days as words: `N.SET` for the month with this number, `N-M` for months that lack all their trading
/// days. Numbers and sets are in base 36.
fn runs(sets: impl Iterator<Item = u32>, trading_days: &[u32]) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut open: Option<(u32, u32)> = None;
    let close = |run: Option<(u32, u32)>, words: &mut Vec<String>| {
        words.extend(run.map(|(from, to)| format!("{}-{}", base_36(from), base_36(to))));
    };
    for (n, (set, trading)) in (0_u32..).zip(sets.zip(trading_days)) {
        match open {
            Some((from, to)) if set == *trading && set != 0 && to + 1 == n => open = Some((from, n)),
            _ if set == 0 => {}
            _ => {
                close(open.take(), &mut words);
                match set == *trading {
                    true => open = Some((n, n)),
                    false => words.push(format!("{}.{}", base_36(n), base_36(set))),
                }
            }
        }
    }
    close(open, &mut words);
    words.join(" ")
}

fn base_36(number: u32) -> String {
    let (mut left, mut digits) = (number, Vec::new());
    loop {
        digits.extend(char::from_digit(left % 36, 36));
        left /= 36;
        if left == 0 {
            return digits.iter().rev().collect();
        }
    }
}

fn day_data(history: &History) -> Value {
    match &history.days {
        Ok(days) => json!({"rows": days}),
        Err(error) => json!({"rows": [], "error": error}),
    }
}

fn letter_data(history: &History) -> Value {
    match &history.letters {
        Ok(open) => json!({"number": open.number, "classes": open.by_class, "rows": open.newest}),
        Err(error) => json!({"rows": [], "error": error}),
    }
}
