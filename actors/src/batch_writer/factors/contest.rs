// Upstream: write
// Downstream: domain, plan, ports
// Role: Finds series of factors that two workers wrote at the same moment, and decides whose answer stays.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::NaiveDateTime;

use crate::batch_writer::factors::plan::FactorPlan;
use crate::domain::row_version::order;
use crate::domain::{AdjustFactor, Code};
use crate::ports::{FactorStore, SeriesEnds, StoreError, StoredFactor};

/// The series that a flush wrote.
///
/// The rows of a series depend on each other: `fore` on the last factor, `back` on the first one. So a series is right
/// only as a whole, and of two answers one must stay whole. As with bars (`bars/contest.rs`), the writer of the row with
/// the highest version acts: it writes its answer once more, on top of all rows that are stored, with a higher version.
/// The others look again until the series is whole.
pub struct SeriesContest {
    /// The UUIDs that this flush inserted, by code.
    ours: HashMap<Code, HashSet<String>>,
    /// The ends of each series as this flush left it.
    ends: HashMap<Code, SeriesEnds>,
    /// The series of which stored rows were replaced.
    rewritten: HashSet<Code>,
    /// The first inserted day of the others.
    since: Option<NaiveDateTime>,
}

/// A series that is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contested {
    /// The security.
    pub code: Code,
    /// Whether this flush wrote the row with the highest version.
    pub is_ours: bool,
}

impl SeriesContest {
    /// The series that a plan writes.
    pub fn new(plan: &FactorPlan) -> Self {
        let mut contest = Self { ours: HashMap::new(), ends: HashMap::new(), rewritten: HashSet::new(), since: None };
        contest.wrote(plan);
        contest
    }

    /// Adds a further plan that was written.
    pub fn wrote(&mut self, plan: &FactorPlan) {
        for row in &plan.insert {
            self.ours.entry(row.code).or_default().insert(row.uuid());
        }
        let is_written = |code: &Code| self.ours.contains_key(code);
        self.ends.extend(plan.ends.iter().filter(|(code, _)| is_written(code)).map(|(code, ends)| (*code, *ends)));
        self.rewritten.extend(plan.remove.iter().map(|row| row.code));
        let appended = plan.insert.iter().filter(|row| !self.rewritten.contains(&row.code));
        self.since = appended.map(|row| row.raw.timestamp).chain(self.since).min();
    }

    /// Reads what is stored now and returns the series that are not whole.
    pub async fn look(&self, store: &dyn FactorStore) -> Result<Vec<Contested>, StoreError> {
        let mut codes: Vec<Code> = self.ends.keys().copied().collect();
        codes.sort_unstable();
        if codes.is_empty() {
            return Ok(Vec::new());
        }
        let ends = store.ends(&codes).await?;
        let has_changed = |code: &&Code| {
            let values = |ends: Option<&SeriesEnds>| ends.map(|ends| (ends.first, ends.last));
            values(ends.get(*code)) != values(self.ends.get(*code))
        };
        let mut suspects: HashSet<Code> = codes.iter().filter(has_changed).copied().collect();
        let (rewritten, appended): (Vec<Code>, Vec<Code>) =
            codes.iter().partition(|code| self.rewritten.contains(code));
        for (codes, since) in [(rewritten, None), (appended, self.since)] {
            if !codes.is_empty() {
                suspects.extend(store.repeated(&codes, since).await?);
            }
        }
        suspects.retain(|code| self.ends.contains_key(code));
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let mut suspects: Vec<Code> = suspects.into_iter().collect();
        suspects.sort_unstable();
        Ok(self.judge(store.series(&suspects).await?))
    }

    fn judge(&self, stored: Vec<StoredFactor>) -> Vec<Contested> {
        let mut series: BTreeMap<Code, Vec<StoredFactor>> = BTreeMap::new();
        for row in stored {
            series.entry(row.code).or_default().push(row);
        }
        let contested = series.into_iter().filter(|(_, rows)| !is_whole(rows)).filter_map(|(code, rows)| {
            let highest = rows.iter().map(|row| row.uuid.as_str()).max_by_key(|uuid| order(uuid))?;
            Some(Contested { code, is_ours: self.ours.get(&code).is_some_and(|ours| ours.contains(highest)) })
        });
        contested.collect()
    }
}

/// Whether each day has one row, and each row has the values that follow from the ends of the series.
fn is_whole(rows: &[StoredFactor]) -> bool {
    let days: BTreeMap<NaiveDateTime, &StoredFactor> = rows.iter().map(|row| (row.raw.timestamp, row)).collect();
    let (Some((_, first)), Some((_, last))) = (days.first_key_value(), days.last_key_value()) else { return true };
    days.len() == rows.len()
        && rows.iter().all(|row| {
            AdjustFactor::of(row.code, row.raw, first.raw.factor, last.raw.factor)
                .is_some_and(|wanted| wanted.is_stored_as(&row.uuid))
        })
}
