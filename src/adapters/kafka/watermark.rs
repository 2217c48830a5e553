// Upstream: intake
// Downstream: none
// Role: Computes the commit position of one partition: the lowest unresolved offset.

use std::collections::BTreeMap;

/// Delivered offsets at or after the commit position, each with the item needed for a redelivery.
///
/// Kafka commits one offset per partition: every record before it is done. Commands are resolved out of order, so the
/// commit position is the lowest unresolved offset. If no offset is unresolved, the position follows the last resolved
/// one. Gaps in the offsets (compaction, transactions) do not matter: only delivered offsets count. Behind the last
/// delivered one a caller may pass what no consumer receives.
#[derive(Debug)]
pub struct Watermark<T> {
    /// `None` for a resolved offset, which stays here until the position passes it.
    open: BTreeMap<i64, Option<T>>,
    position: Option<i64>,
    num_unresolved: usize,
}

impl<T> Default for Watermark<T> {
    fn default() -> Self {
        Self { open: BTreeMap::new(), position: None, num_unresolved: 0 }
    }
}

impl<T> Watermark<T> {
    /// Records a delivery. Returns whether the offset is new: an offset that is unresolved or already resolved is not
    /// delivered twice.
    pub fn hand_out(&mut self, offset: i64, item: T) -> bool {
        if self.position.is_some_and(|position| offset < position) || self.open.contains_key(&offset) {
            return false;
        }
        self.open.insert(offset, Some(item));
        self.num_unresolved += 1;
        true
    }

    /// Marks an offset as resolved. Returns false if it is unknown or was resolved before.
    pub fn resolve(&mut self, offset: i64) -> bool {
        let Some(slot) = self.open.get_mut(&offset) else { return false };
        if slot.take().is_none() {
            return false;
        }
        self.num_unresolved -= 1;
        while let Some(first) = self.open.first_entry() {
            if first.get().is_some() {
                break;
            }
            self.position = Some(first.key() + 1);
            first.remove();
        }
        true
    }

    /// Moves the position to `end`. Only for a caller that knows that no record lies between. Does nothing while
    /// offsets are held.
    pub fn pass_to(&mut self, end: i64) -> bool {
        let may_move = self.open.is_empty() && self.position.is_none_or(|position| position < end);
        if may_move {
            self.position = Some(end);
        }
        may_move
    }

    /// The offset after the last delivered one.
    pub fn next(&self) -> Option<i64> {
        self.open.last_key_value().map(|(last, _)| last + 1).or(self.position)
    }

    /// The unresolved item of an offset.
    pub fn unresolved_mut(&mut self, offset: i64) -> Option<&mut T> {
        self.open.get_mut(&offset).and_then(Option::as_mut)
    }

    /// All unresolved items in offset order, mutable.
    pub fn unresolved_values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.open.values_mut().filter_map(Option::as_mut)
    }

    /// All unresolved items in offset order.
    pub fn unresolved_values(&self) -> impl Iterator<Item = &T> {
        self.open.values().filter_map(Option::as_ref)
    }

    /// The offset to commit, in the sense of Kafka: the first one that is not done. `None` before the first progress.
    pub fn position(&self) -> Option<i64> {
        self.position
    }

    /// Number of delivered offsets at or after the position, resolved or not. A restart delivers all of them again.
    pub fn num_held(&self) -> usize {
        self.open.len()
    }

    /// Number of unresolved offsets.
    pub fn num_unresolved(&self) -> usize {
        self.num_unresolved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn position_waits_for_lowest_unresolved_offset() {
        let mut watermark = Watermark::default();
        for offset in [10, 11, 14] {
            assert!(watermark.hand_out(offset, ()));
        }
        assert_eq!(watermark.position(), None);
        assert!(watermark.resolve(11));
        assert_eq!(watermark.position(), None, "10 is not resolved");
        assert!(watermark.resolve(10));
        assert_eq!(watermark.position(), Some(12), "after both offsets, before the gap");
        assert!(watermark.resolve(14));
        assert_eq!(watermark.position(), Some(15));
        assert!(!watermark.resolve(14) && !watermark.hand_out(14, ()), "an offset is resolved once");
    }

    #[test]
    fn only_a_partition_without_open_offsets_passes_its_tail() {
        let mut watermark = Watermark::default();
        watermark.hand_out(4, ());
        assert_eq!((watermark.next(), watermark.pass_to(9)), (Some(5), false));
        watermark.resolve(4);
        assert!(watermark.pass_to(9) && !watermark.pass_to(8));
        assert_eq!((watermark.position(), watermark.next()), (Some(9), Some(9)));
    }

    proptest! {
        #[test]
        fn the_position_is_the_models(
            gaps in prop::collection::vec(1..4_i64, 1..40),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
        ) {
            let offsets: Vec<i64> = gaps.iter().scan(-1, |last, gap| { *last += gap; Some(*last) }).collect();
            let mut watermark = Watermark::default();
            let mut resolved = vec![false; offsets.len()];
            for offset in &offsets {
                prop_assert!(watermark.hand_out(*offset, *offset));
            }
            for index in order {
                let index = index.index(offsets.len());
                prop_assert_eq!(watermark.resolve(offsets[index]), !resolved[index]);
                resolved[index] = true;
                let done = resolved.iter().take_while(|done| **done).count();
                let expected = done.checked_sub(1).map(|last| offsets[last] + 1);
                prop_assert_eq!(watermark.position(), expected);
                prop_assert_eq!(watermark.num_unresolved(), resolved.iter().filter(|done| !**done).count());
            }
        }
    }
}
