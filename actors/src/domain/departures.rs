// Upstream: batch_writer::lists, data_worker, departures_tests, market_cache, ports, simulation
// Downstream: code, reference_list, security_kind, stock_info, task
// Role: Decides which stored securities a fetched stock list no longer names, and which of them are retired. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::NaiveDate;

use crate::domain::reference_list::StockList;
use crate::domain::security_kind::SecurityKind;
use crate::domain::{Anomaly, Code, Rule, Stock};

/// A list that lacks more than this share of the stored securities of a kind is not complete: about 1 % of all shares
/// are delisted in a year.
const MAX_ABSENT_PERCENT: usize = 5;

/// One absent security is plausible however few are known.
const ALWAYS_PLAUSIBLE: usize = 1;

/// Number of last digits that a security keeps when its exchange gives it another number (830799 becomes 920799).
const KEPT_DIGITS: usize = 3;

/// A stored security.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredStock {
    /// The code.
    pub code: Code,
    /// The short name.
    pub name: String,
    /// The first trading day; `None` if unknown.
    pub listed: Option<NaiveDate>,
    /// The delisting day; `None` while it is listed.
    pub delisted: Option<NaiveDate>,
    /// Whether the row is marked as deleted.
    pub is_deleted: bool,
    /// The day of the first complete list without it; `None` if the last complete list names it.
    pub absent_since: Option<NaiveDate>,
    /// Ginkgo's number of the row's source; `None` if the store does not keep it.
    pub source: Option<i8>,
}

impl StoredStock {
    fn is_active(&self, today: NaiveDate) -> bool {
        !self.is_deleted && self.delisted.is_none_or(|day| day > today)
    }
}

/// What happened to a security that a list no longer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The first complete list without it is of this day.
    AbsentSince(NaiveDate),
    /// It is retired: complete lists of two days lack it. It counts as delisted on the first of them.
    Retired(NaiveDate),
    /// The source names it among the delisted securities, with this day.
    Delisted(NaiveDate),
    /// It has this code now. The new code stands for its whole history, so the old one is marked as deleted.
    Renumbered(Code),
}

/// The new values of a stored security.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockChange {
    /// The code.
    pub code: Code,
    /// The delisting day; `None` leaves it as it is.
    pub delisted: Option<NaiveDate>,
    /// Whether the row becomes marked as deleted.
    pub is_deleted: bool,
    /// The day of the first complete list without it.
    pub absent_since: Option<NaiveDate>,
}

/// Securities of one kind of which a list lacks too many to be complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncompleteKind {
    /// The first absent code.
    pub example: Code,
    /// Number of stored securities of this kind that the list does not name.
    pub absent: usize,
    /// Number of stored securities of this kind.
    pub known: usize,
}

/// The result for one list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Departures {
    /// Securities that the list does not name, by code.
    pub found: Vec<(Code, Departure)>,
    /// Kinds of securities for which the list is not complete. None of them is retired.
    pub incomplete: Vec<IncompleteKind>,
    /// The changes to store.
    pub changes: Vec<StockChange>,
}

impl Departures {
    /// The findings of each rule, for the report of the task.
    pub fn anomalies(&self) -> Vec<Anomaly> {
        let anomaly = |code, value, rule| Anomaly { code, timestamp: None, field: "code", value, rule };
        let found = self.found.iter().map(|(code, departure)| match departure {
            Departure::AbsentSince(day) => anomaly(*code, format!("absent since {day}"), Rule::Unlisted),
            Departure::Retired(day) => anomaly(*code, format!("absent since {day}, retired"), Rule::Unlisted),
            Departure::Delisted(day) => anomaly(*code, format!("delisted on {day}"), Rule::Unlisted),
            Departure::Renumbered(to) => anomaly(*code, format!("renumbered to {to}"), Rule::Renumbered),
        });
        let incomplete = self.incomplete.iter().map(|IncompleteKind { example, absent, known }| {
            let value = format!("the list lacks {absent} of {known} securities of this kind");
            anomaly(*example, value, Rule::IncompleteList)
        });
        found.chain(incomplete).collect()
    }
}

/// Compares a list with the stored securities. `stored` has one row for each code.
///
/// Securities are compared by exchange and kind, so a source that does not cover an exchange, or lists only shares,
/// says nothing about the others. Neither a kind of which too many are absent nor a list that lacks too many in all is
/// complete. A security is retired when complete lists of two different Shanghai days lack it; a
/// command that is delivered twice is one list. A security that the source itself names as delisted, or that has a new
/// code, needs no second list.
pub fn departures(stored: &[StoredStock], list: &StockList) -> Departures {
    let named: HashSet<Code> = list.named().collect();
    let listed: HashSet<Code> = list.stocks.iter().map(|stock| stock.code).collect();
    let successors = successors(&list.stocks);
    let delisted: HashMap<Code, NaiveDate> = list.former.delisted.iter().copied().collect();
    let (mut result, mut kinds) = (Departures::default(), BTreeMap::<_, Kind<'_>>::new());
    for stock in stored {
        let is_named = named.contains(&stock.code);
        let has_returned = listed.contains(&stock.code) && stock.is_deleted;
        if is_named && (stock.absent_since.is_some() || has_returned) {
            let is_deleted = stock.is_deleted && !has_returned;
            result.changes.push(StockChange { code: stock.code, delisted: None, is_deleted, absent_since: None });
        }
        let is_active = stock.is_active(list.day);
        if !is_named && let Some(departure) = explained(stock, is_active, &successors, &delisted) {
            if departure != Departure::Delisted(stock.delisted.unwrap_or_default()) {
                result.leave(stock.code, departure, list.day);
            }
            continue;
        }
        if !is_active {
            continue;
        }
        let kind = kinds.entry((stock.code.exchange(), SecurityKind::of(stock.code))).or_default();
        kind.known += 1;
        kind.from_source += usize::from(stock.source == Some(list.source.number()));
        if !is_named {
            kind.absent.push(stock);
        }
    }
    let covered: HashSet<_> =
        list.stocks.iter().map(|stock| (stock.code.exchange(), SecurityKind::of(stock.code))).collect();
    // A source that names no security of a kind does not offer it, unless most of the stored ones came from it.
    kinds.retain(|key, kind| covered.contains(key) || kind.from_source * 2 > kind.known);
    let (absent, known) =
        kinds.values().fold((0, 0), |(absent, known), kind| (absent + kind.absent.len(), known + kind.known));
    let is_whole = is_plausible(absent, known) && !list.has_unreadable_codes;
    for (key, kind) in kinds {
        result.judge(&kind, is_whole && covered.contains(&key), list.day);
    }
    result.found.sort_unstable_by_key(|(code, _)| *code);
    result
}

/// Why a security is not listed, where the source says so.
fn explained(
    stock: &StoredStock,
    is_active: bool,
    successors: &HashMap<Likeness<'_>, Option<Code>>,
    delisted: &HashMap<Code, NaiveDate>,
) -> Option<Departure> {
    let successor = is_active.then(|| stock.successor(successors)).flatten().map(Departure::Renumbered);
    let on = delisted.get(&stock.code).filter(|_| !stock.is_deleted);
    successor.or_else(|| on.copied().map(Departure::Delisted))
}

/// The stored securities of one exchange and kind.
#[derive(Default)]
struct Kind<'a> {
    known: usize,
    /// How many of them come from the source of the list.
    from_source: usize,
    absent: Vec<&'a StoredStock>,
}

impl Departures {
    fn leave(&mut self, code: Code, departure: Departure, today: NaiveDate) {
        let (delisted, is_deleted, absent_since) = match departure {
            Departure::AbsentSince(day) => (None, false, Some(day)),
            Departure::Retired(day) | Departure::Delisted(day) => (Some(day), false, None),
            Departure::Renumbered(_) => (Some(today), true, None),
        };
        self.found.push((code, departure));
        self.changes.push(StockChange { code, delisted, is_deleted, absent_since });
    }

    fn judge(&mut self, kind: &Kind<'_>, may_be_complete: bool, today: NaiveDate) {
        let absent = kind.absent.len();
        let Some(first) = kind.absent.first() else { return };
        if !may_be_complete || !is_plausible(absent, kind.known) {
            self.incomplete.push(IncompleteKind { example: first.code, absent, known: kind.known });
            return;
        }
        for stock in &kind.absent {
            match stock.absent_since {
                Some(since) if since < today => self.leave(stock.code, Departure::Retired(since), today),
                Some(since) => self.found.push((stock.code, Departure::AbsentSince(since))),
                None => self.leave(stock.code, Departure::AbsentSince(today), today),
            }
        }
    }
}

fn is_plausible(absent: usize, known: usize) -> bool {
    absent <= ALWAYS_PLAUSIBLE || absent * 100 <= known * MAX_ABSENT_PERCENT
}

/// What stays the same when a security gets another number: exchange, last digits, name and list date.
type Likeness<'a> = (&'a str, &'a str, &'a str, NaiveDate);

/// The listed securities by likeness; `None` where several are alike.
fn successors(stocks: &[Stock]) -> HashMap<Likeness<'_>, Option<Code>> {
    let mut found = HashMap::with_capacity(stocks.len());
    for stock in stocks {
        let key = likeness(&stock.code, &stock.name, stock.list_date.date());
        found.entry(key).and_modify(|code| *code = None).or_insert(Some(stock.code));
    }
    found
}

fn likeness<'a>(code: &'a Code, name: &'a str, listed: NaiveDate) -> Likeness<'a> {
    (code.exchange(), code.digits().get(KEPT_DIGITS..).unwrap_or_default(), name, listed)
}

impl StoredStock {
    fn successor(&self, successors: &HashMap<Likeness<'_>, Option<Code>>) -> Option<Code> {
        // An unknown list date is never that of a listed security: lists keep it as a day of 1970.
        successors.get(&likeness(&self.code, &self.name, self.listed?)).copied().flatten()
    }
}
