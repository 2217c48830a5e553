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
/// only as a whole, and of two answers one must stay whole. As with bars (`bars/contest.rs`), the writer of the row
/// with the highest version acts: it writes its answer once more, on top of all rows that are stored, with a higher
/// version. The others look again until the series is whole.
#[derive(Clone, Default)]
pub struct SeriesContest {
    /// The UUIDs that this flush inserted, by code.
    ours: HashMap<Code, HashSet<String>>,
    /// The ends of each series as this flush left it.
    ends: HashMap<Code, SeriesEnds>,
    /// The inserted days.
    days: HashMap<Code, HashSet<NaiveDateTime>>,
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

/// What a look found.
#[derive(Debug, Default)]
pub struct Found {
    /// The series that are not whole.
    pub contested: Vec<Contested>,
    /// Number of inserted days that are not stored.
    pub missing: u64,
}

impl SeriesContest {
    /// Adds a plan that is about to be written.
    pub fn wrote(&mut self, plan: &FactorPlan) {
        for row in &plan.insert {
            self.ours.entry(row.code).or_default().insert(row.uuid());
            self.days.entry(row.code).or_default().insert(row.raw.timestamp);
        }
        let is_written = |code: &Code| self.ours.contains_key(code);
        self.ends.extend(plan.ends.iter().filter(|(code, _)| is_written(code)).map(|(code, ends)| (*code, *ends)));
        self.rewritten.extend(plan.remove.iter().map(|row| row.code));
        let appended = plan.insert.iter().filter(|row| !self.rewritten.contains(&row.code));
        self.since = appended.map(|row| row.raw.timestamp).chain(self.since).min();
    }

    /// Forgets the series of other codes, because other workers write them now.
    pub fn keep_only(&mut self, codes: &HashSet<Code>) {
        self.ours.retain(|code, _| codes.contains(code));
        self.days.retain(|code, _| codes.contains(code));
        self.ends.retain(|code, _| codes.contains(code));
    }

    /// Reads what is stored now and returns the series that are not whole. It reads at most `max_rows` rows.
    pub async fn look(&self, store: &dyn FactorStore, max_rows: usize) -> Result<Found, StoreError> {
        let mut codes: Vec<Code> = self.ends.keys().copied().collect();
        codes.sort_unstable();
        if codes.is_empty() {
            return Ok(Found::default());
        }
        let ends = store.ends(&codes).await?;
        let has_changed = |code: &&Code| {
            let values = |ends: Option<&SeriesEnds>| ends.map(|ends| (ends.first, ends.last));
            values(ends.get(*code)) != values(self.ends.get(*code))
        };
        let mut suspects: HashSet<Code> = codes.iter().filter(has_changed).copied().collect();
        let mut missing = 0;
        let (rewritten, appended): (Vec<Code>, Vec<Code>) =
            codes.iter().partition(|code| self.rewritten.contains(code));
        for (codes, since) in [(rewritten, None), (appended, self.since)] {
            if codes.is_empty() {
                continue;
            }
            let sizes = store.sizes(&codes, since).await?;
            for code in codes {
                let size = sizes.get(&code).copied().unwrap_or_default();
                missing += self.num_days(code).saturating_sub(size.num_days);
                if size.num_rows > size.num_days {
                    suspects.insert(code);
                }
            }
        }
        if suspects.is_empty() {
            return Ok(Found { contested: Vec::new(), missing });
        }
        let mut suspects: Vec<Code> = suspects.into_iter().collect();
        suspects.sort_unstable();
        Ok(Found { contested: self.judge(store.series(&suspects, max_rows).await?), missing })
    }

    fn num_days(&self, code: Code) -> u64 {
        self.days.get(&code).map_or(0, |days| days.len() as u64)
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
