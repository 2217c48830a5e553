// Upstream: backfill, plan
// Downstream: actors, journal
// Role: Which units of a backfill are done for which securities, and which are left. Pure.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use actors::domain::{Code, DateRange};

use super::journal::Done;

/// The number of bits in a word of [`Units`].
const BITS: usize = u64::BITS as usize;

/// A set of units, by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Units(Box<[u64]>);

impl Units {
    fn none(num_units: usize) -> Self {
        Self(vec![0; num_units.div_ceil(BITS)].into())
    }

    fn insert(&mut self, unit: usize) {
        if let Some(word) = self.0.get_mut(unit / BITS) {
            *word |= 1 << (unit % BITS);
        }
    }

    fn contains(&self, unit: usize) -> bool {
        self.0.get(unit / BITS).is_some_and(|word| word & (1 << (unit % BITS)) != 0)
    }
}

/// Securities with the same units left.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// The securities, in the order of the request.
    pub codes: Arc<[Code]>,
    /// The runs of units that are left, oldest first; none is empty.
    pub runs: Vec<Range<usize>>,
}

impl Group {
    /// The number of units left.
    pub fn num_units(&self) -> usize {
        self.runs.iter().map(Range::len).sum()
    }
}

/// What is left of a backfill: groups of securities, in the order of their first one. Securities without a unit left
/// are in none.
pub fn left(codes: &[Code], units: &[DateRange], done: &[Done]) -> Vec<Group> {
    let mut of_code: HashMap<Code, Units> = HashMap::with_capacity(codes.len());
    for Done { codes: of, range } in done {
        // Units are in order and do not overlap.
        let first = units.partition_point(|unit| unit.start < range.start);
        let end = units.partition_point(|unit| unit.end <= range.end);
        for code in of.iter() {
            let done = of_code.entry(*code).or_insert_with(|| Units::none(units.len()));
            (first..end).for_each(|unit| done.insert(unit));
        }
    }
    let nothing = Units::none(units.len());
    let mut groups: BTreeMap<&Units, (usize, Vec<Code>)> = BTreeMap::new();
    for (place, code) in codes.iter().enumerate() {
        let done = of_code.get(code).unwrap_or(&nothing);
        groups.entry(done).or_insert((place, Vec::new())).1.push(*code);
    }
    let mut groups: Vec<(usize, Group)> = groups
        .into_iter()
        .map(|(done, (place, codes))| (place, Group { codes: codes.into(), runs: runs(done, units.len()) }))
        .filter(|(_, group)| !group.runs.is_empty())
        .collect();
    groups.sort_by_key(|(place, _)| *place);
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The runs of units that are not in the set.
fn runs(done: &Units, num_units: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for unit in (0..num_units).filter(|unit| !done.contains(*unit)) {
        match runs.last_mut().filter(|run| run.end == unit) {
            Some(run) => run.end += 1,
            None => runs.push(unit..unit + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Days, NaiveDate};

    fn code(n: u32) -> Code {
        format!("{n:06}.SZ").parse().unwrap()
    }

    /// Two calendar days a unit, more units than a word has bits.
    fn units() -> Vec<DateRange> {
        let first: NaiveDate = "2024-01-01".parse().unwrap();
        let unit = |n: u64| DateRange { start: first + Days::new(2 * n), end: first + Days::new(2 * n + 1) };
        (0..100).map(unit).collect()
    }

    fn done(codes: &[u32], first: usize, last: usize) -> Done {
        let units = units();
        let range = DateRange { start: units[first].start, end: units[last].end };
        Done { codes: codes.iter().map(|n| code(*n)).collect(), range }
    }

    /// Securities with the ends of the runs that are left.
    type Left = (Vec<Code>, Vec<(usize, usize)>);

    fn left_of(codes: &[u32], done: &[Done]) -> Vec<Left> {
        let codes: Vec<Code> = codes.iter().map(|n| code(*n)).collect();
        let ends = |group: &Group| group.runs.iter().map(|run| (run.start, run.end)).collect();
        left(&codes, &units(), done).into_iter().map(|group| (group.codes.to_vec(), ends(&group))).collect()
    }

    #[test]
    fn a_new_security_is_left_alone() {
        let all = [done(&[1, 2, 3], 0, 59), done(&[1, 2, 3], 60, 99)];
        assert_eq!(left_of(&[1, 2, 3], &all), []);
        assert_eq!(left_of(&[1, 4, 2, 3], &all), [(vec![code(4)], vec![(0, 100)])]);
    }

    #[test]
    fn groups_have_the_same_units_left() {
        let some = [done(&[1, 2, 9], 0, 9), done(&[1, 2], 20, 70), done(&[3], 0, 99)];
        let expected = [(vec![code(4), code(5)], vec![(0, 100)]), (vec![code(1), code(2)], vec![(10, 20), (71, 100)])];
        assert_eq!(left_of(&[4, 1, 2, 3, 5], &some), expected);
    }

    #[test]
    fn a_unit_that_is_done_in_part_is_left() {
        let mut part = done(&[1], 3, 5);
        part.range.start = part.range.start.succ_opt().unwrap();
        part.range.end = part.range.end.pred_opt().unwrap();
        assert_eq!(left_of(&[1], &[part]), [(vec![code(1)], vec![(0, 4), (5, 100)])]);
    }
}
