// Upstream: market, round
// Downstream: kit
// Role: What the stores hold and what the vendor answers, in one form, and how the two are compared.

use std::collections::{BTreeMap, BTreeSet};

use kit::mysql::Tables;
use kit::scene::Scene;

/// All rows of the stores, or of the vendor's answers.
#[derive(Debug, Default, Clone)]
pub struct Content {
    /// By table: the rows of tables with a business key, as key and values, sorted.
    keyed: BTreeMap<&'static str, Vec<(String, String)>>,
    /// By security and day: the ticks, sorted. Equal ticks are different trades.
    ticks: BTreeMap<String, Vec<String>>,
}

impl Content {
    /// Adds a row of a table with a business key.
    pub fn add(&mut self, table: &'static str, key: String, values: String) {
        self.keyed.entry(table).or_default().push((key, values));
    }

    /// Adds a tick; `line` begins with its time.
    pub fn add_tick(&mut self, code: &str, line: &str) {
        let day = line.get(..10).unwrap_or_default();
        self.ticks.entry(format!("{code} {day}")).or_default().push(line.to_owned());
    }

    /// Sorts the rows.
    pub fn sorted(mut self) -> Self {
        self.keyed.values_mut().for_each(|rows| rows.sort());
        self.ticks.values_mut().for_each(|lines| lines.sort());
        self
    }

    /// Everything that is stored, with all physical rows.
    pub fn stored(scene: &Scene, tick_codes: &[String]) -> Self {
        let mut content = Self::default();
        let bars = "SELECT concat(code, ' ', toString(frequency), ' ', toString(timestamp)), \
                    concat(toString(open), ' ', toString(high), ' ', toString(low), ' ', toString(close), ' ', \
                    toString(volume), ' ', toString(amount)) FROM bar";
        let factors = "SELECT concat(code, ' ', toString(toDate(timestamp))), \
                       concat(toString(adjustfactor), ' ', toString(foreadjustfactor), ' ', \
                       toString(backadjustfactor)) FROM adjustfactor";
        for (table, sql) in [("bar", bars), ("adjustfactor", factors)] {
            for line in scene.database.query(sql).lines() {
                let (key, values) = line.split_once('\t').unwrap_or_else(|| panic!("two cells: {line}"));
                content.add(table, key.to_owned(), values.to_owned());
            }
        }
        for code in tick_codes {
            let table = format!("{}_Tick", code.replace('.', "_"));
            let sql = format!("SELECT toString(timestamp), toString(price), volume, direction FROM `{table}`");
            scene.database.query(&sql).lines().for_each(|line| content.add_tick(code, line));
        }
        let tables = Tables::of(&scene.name);
        for row in tables.rows("SELECT code, code_name, date(list_date) FROM stock_info WHERE is_del = 0") {
            content.add("stock_info", row[0].clone(), row[1..].join(" "));
        }
        for row in tables.rows("SELECT date(timestamp), is_open FROM trade_day WHERE is_del = 0") {
            content.add("trade_day", row[0].clone(), row[1].clone());
        }
        content.sorted()
    }

    /// Asserts that these rows are those of the answer, each once.
    pub fn assert_equals(&self, answer: &Self) {
        for (table, wanted) in &answer.keyed {
            let found = &self.keyed[table];
            let differing = differences(found, wanted);
            assert!(found == wanted, "{table}: {} rows, {} wanted; {differing}", found.len(), wanted.len());
        }
        assert_eq!(self.ticks.keys().collect::<Vec<_>>(), answer.ticks.keys().collect::<Vec<_>>(), "days with ticks");
        for (day, wanted) in &answer.ticks {
            let found = &self.ticks[day];
            let differing = differences(found, wanted);
            assert!(found == wanted, "ticks of {day}: {} rows, {} wanted; {differing}", found.len(), wanted.len());
        }
    }

    /// Asserts that no key of the newest answer is missing, and that each row is one of these answers. Returns what is
    /// stored more than once, in words.
    pub fn assert_complete(&self, answers: &[&Self]) -> Vec<String> {
        let newest = answers.last().unwrap();
        let keyed = newest.keyed.iter().filter_map(|(table, wanted)| {
            let found = self.keyed.get(table).map_or(&[][..], Vec::as_slice);
            let keys: BTreeSet<&String> = found.iter().map(|(key, _)| key).collect();
            let missing: Vec<_> = wanted.iter().filter(|(key, _)| !keys.contains(key)).take(5).collect();
            assert!(missing.is_empty(), "{table}: keys are missing: {missing:?}");
            let known: BTreeSet<_> = answers.iter().filter_map(|answer| answer.keyed.get(table)).flatten().collect();
            let strange: Vec<_> = found.iter().filter(|row| !known.contains(row)).take(5).collect();
            assert!(strange.is_empty(), "{table}: rows that no fetch got: {strange:?}");
            let copy = found.windows(2).find(|pair| pair[0].0 == pair[1].0)?;
            Some(format!("{} copies in {table}, such as {copy:?}", found.len() - keys.len()))
        });
        let ticks = newest.ticks.keys().filter_map(|day| {
            let found = self.ticks.get(day).map_or(&[][..], Vec::as_slice);
            let of_day: Vec<&Vec<String>> = answers.iter().filter_map(|answer| answer.ticks.get(day)).collect();
            let strange: Vec<_> =
                found.iter().filter(|line| !of_day.iter().any(|lines| lines.contains(line))).take(5).collect();
            assert!(strange.is_empty(), "ticks of {day} that no fetch got: {strange:?}");
            let whole = of_day.iter().filter(|lines| is_within(lines, found)).map(|lines| lines.len()).max();
            let whole = whole.unwrap_or_else(|| panic!("ticks of {day}: no answer is whole in {found:?}"));
            (found.len() > whole).then(|| format!("{} ticks of {day} instead of {whole}", found.len()))
        });
        keyed.chain(ticks).collect()
    }
}

/// Whether a sorted list holds all lines of another one, equal ones as often.
fn is_within(part: &[String], whole: &[String]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|line| rest.any(|found| found == line))
}

/// The first rows of each side that the other one lacks, for a message; copies show as one of `more`.
fn differences<T: Ord + std::fmt::Debug>(found: &[T], wanted: &[T]) -> String {
    let (of_found, of_wanted): (BTreeSet<&T>, BTreeSet<&T>) = (found.iter().collect(), wanted.iter().collect());
    let missing: Vec<_> = of_wanted.difference(&of_found).take(3).collect();
    let more: Vec<_> = of_found.difference(&of_wanted).take(3).collect();
    let twice: Vec<_> = found.windows(2).filter(|pair| pair[0] == pair[1]).take(3).map(|pair| &pair[0]).collect();
    format!("missing {missing:?}, more {more:?}, repeated {twice:?}")
}
