// Upstream: run
// Downstream: actors, broker, market, outbox
// Role: What must be true at every step of a simulation, and at its end.

use std::collections::{BTreeMap, BTreeSet};

use actors::domain::Code;
use actors::simulation::{ModelStore, StoredKey};
use chrono::NaiveDateTime;
use serde_json::Value as Json;

use crate::broker::{Broker, Record};
use crate::market::{Kind, Market, stored};
use crate::outbox::SimulatedOutbox;

/// The kind and the securities of a command for rows; `None` for lists.
fn asked(payload: &str) -> Option<(Kind, Vec<Code>)> {
    let message: Json = serde_json::from_str(payload).expect("a command is JSON");
    let kind = match message["command"].as_str()? {
        "bar_snapshot" => Kind::Bars,
        "adjustfactor" => Kind::Factors,
        "tick" => Kind::Ticks,
        _ => return None,
    };
    let codes = message["params"]["codes"].as_array()?.iter();
    Some((kind, codes.map(|code| code.as_str().expect("a code").parse().expect("a code")).collect()))
}

/// Follows the committed offsets.
#[derive(Default)]
pub struct CommittedWork {
    /// The id of the topic.
    topic_id: String,
    /// Number of records of each partition that were checked.
    checked: Vec<usize>,
}

impl CommittedWork {
    /// Checks that what was committed since the last call is done: its rows are stored, it became a dead letter, or its
    /// parts are in the topic.
    pub fn check(&mut self, broker: &Broker, stores: &[&ModelStore], outbox: &SimulatedOutbox) -> Result<(), String> {
        let (logs, topic_id) = (broker.logs(), broker.topic_id());
        if topic_id != self.topic_id {
            *self = Self { topic_id, checked: Vec::new() };
        }
        self.checked.resize(logs.len(), 0);
        let mut new = Vec::new();
        for (checked, (log, committed)) in self.checked.iter_mut().zip(&logs) {
            let end = log.partition_point(|record| committed.is_some_and(|committed| record.offset < committed));
            if end < *checked {
                return Err(format!("a committed offset went back: {end} after {checked} records"));
            }
            new.extend(log[*checked..end].iter());
            *checked = end;
        }
        if new.is_empty() {
            return Ok(());
        }
        let keys: Vec<BTreeSet<StoredKey>> = stores.iter().map(|store| store.keys()).collect();
        let failed = outbox.published().dead_letters;
        for record in new {
            let Some((kind, codes)) = asked(&record.payload) else { continue };
            for code in &codes {
                let wanted = Market::keys(kind, *code, record.num_days);
                let is_stored = || keys.iter().any(|keys| wanted.is_subset(keys));
                if !is_stored()
                    && !failed.contains(&record.payload)
                    && !is_split(record, kind, *code, codes.len(), &logs)
                {
                    return Err(format!("the offset of an unfinished command is committed: {record:?} ({code})"));
                }
            }
        }
        Ok(())
    }
}

/// Whether a smaller command for this security is in the topic.
fn is_split(record: &Record, kind: Kind, code: Code, num_codes: usize, logs: &[(Vec<Record>, Option<i64>)]) -> bool {
    let is_part = |other: &Record| {
        let Some((other_kind, codes)) = asked(&other.payload) else { return false };
        other.payload != record.payload && other_kind == kind && codes.contains(&code) && codes.len() < num_codes
    };
    logs.iter().flat_map(|(log, _)| log).any(is_part)
}

/// Follows the messages to people.
#[derive(Default)]
pub struct ResolvedAlerts {
    /// Number of messages that were read.
    read: usize,
}

impl ResolvedAlerts {
    /// Checks that no alert on this kind is resolved while the store refuses its rows.
    pub fn check(&mut self, outbox: &SimulatedOutbox, refused: Option<Kind>) -> Result<(), String> {
        let messages = outbox.notifications_since(self.read);
        self.read += messages.len();
        let Some(kind) = refused else { return Ok(()) };
        let is_wrong = |message: &&Json| {
            let data = &message["data"];
            data["alert_type"] == "write_error" && data["works"] == "written" && data["data"] == kind.name()
        };
        match messages.iter().find(is_wrong) {
            Some(message) => Err(format!("an alert is resolved while its cause lasts: {message}")),
            None => Ok(()),
        }
    }
}

/// Checks that no row is stored that the vendor never gave.
pub fn only_answers(market: &Market, store: &ModelStore) -> Result<(), String> {
    match stored(store).iter().find(|value| !market.ever_gave(value)) {
        Some(value) => Err(format!("a stored row is no answer of the vendor: {value:?}")),
        None => Ok(()),
    }
}

/// Checks that all commanded keys are stored.
pub fn nothing_missing(broker: &Broker, store: &ModelStore, outbox: &SimulatedOutbox) -> Result<(), String> {
    let keys = store.keys();
    let failed: BTreeSet<String> = outbox.published().dead_letters.into_iter().collect();
    let records = broker.logs().into_iter().flat_map(|(log, _)| log);
    for record in records.filter(|record| !failed.contains(&record.payload)) {
        let Some((kind, codes)) = asked(&record.payload) else { continue };
        for code in codes {
            if let Some(key) = Market::keys(kind, code, record.num_days).difference(&keys).next() {
                // A part that became a dead letter takes its codes with it.
                let of_part = failed.iter().filter_map(|payload| asked(payload));
                if !of_part.into_iter().any(|(other, codes)| other == kind && codes.contains(&code)) {
                    return Err(format!("{key:?} is missing after {record:?}"));
                }
            }
        }
    }
    Ok(())
}

/// Checks that a security of which anything is stored has all of the first days.
pub fn whole_or_nothing(market: &Market, num_days: usize, store: &ModelStore) -> Result<(), String> {
    let keys = store.keys();
    for (kind, code) in market.subjects() {
        let wanted = Market::keys(kind, code, num_days);
        let missing: Vec<&StoredKey> = wanted.difference(&keys).collect();
        let has_some = Market::keys(kind, code, market.num_days).intersection(&keys).next().is_some();
        if has_some && !missing.is_empty() {
            return Err(format!("{kind:?} of {code} are stored without {missing:?}"));
        }
    }
    Ok(())
}

/// Checks that no key has more rows than an answer of the vendor has.
pub fn no_copies(market: &Market, store: &ModelStore) -> Result<(), String> {
    let mut rows: BTreeMap<(Kind, Code, NaiveDateTime), usize> = BTreeMap::new();
    for (kind, code, time, _) in stored(store) {
        *rows.entry((kind, code, time)).or_default() += 1;
    }
    let mut wanted: BTreeMap<(Kind, Code, NaiveDateTime), usize> = BTreeMap::new();
    for (kind, code, time, _) in market.values() {
        *wanted.entry((kind, code, time)).or_default() += 1;
    }
    match rows.iter().find(|(key, number)| wanted.get(key).is_none_or(|wanted| *number > wanted)) {
        Some((key, number)) => Err(format!("{number} rows of {key:?}")),
        None => Ok(()),
    }
}

/// Checks that the store holds the vendor's answers and nothing else.
pub fn equal(market: &Market, store: &ModelStore) -> Result<(), String> {
    let (wanted, found) = (market.values(), stored(store));
    if wanted != found {
        let missing: Vec<_> = wanted.iter().filter(|value| !found.contains(value)).take(3).collect();
        let surplus: Vec<_> = found.iter().filter(|value| !wanted.contains(value)).take(3).collect();
        let numbers = (wanted.len(), found.len());
        return Err(format!("not the vendor's answers: {numbers:?} rows, missing {missing:?}, surplus {surplus:?}"));
    }
    let mut factors = store.factors();
    factors.iter_mut().for_each(|row| row.version = None);
    let series: Vec<_> = (1..=market.num_codes).flat_map(|number| market.series(number)).collect();
    if factors != series {
        return Err(format!("series of factors do not fit their ends: {factors:?}"));
    }
    Ok(())
}
