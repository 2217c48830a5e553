// Upstream: stock_info, trade_day
// Downstream: none
// Role: Decides, from what shall be in a table and what is, which rows are added, changed and removed. Pure.

use std::collections::HashMap;
use std::hash::Hash;

/// What to do to a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Merge<'w, W> {
    /// Rows without a stored one.
    pub insert: Vec<&'w W>,
    /// Rows that differ from the stored one, which is named by its uuid and keeps it.
    pub update: Vec<(&'w W, String)>,
    /// Further stored rows of the same key, by uuid: nothing in Ginkgo's tables forbids them.
    pub delete: Vec<String>,
    /// Rows that are stored as they should be.
    pub unchanged: u64,
}

/// A stored row: its key, its uuid, and its values in a form that can be compared.
pub struct StoredRow<K, V> {
    /// The business key.
    pub key: K,
    /// The primary key.
    pub uuid: String,
    /// The values.
    pub values: V,
}

/// Stored rows come oldest first: of several with one key the oldest stays. Stored rows that are not wanted stay, too: a
/// source that lists the present does not speak of the past.
pub fn merge<'w, W, K: Eq + Hash, V: PartialEq>(
    wanted: &'w [W],
    stored: Vec<StoredRow<K, V>>,
    read: impl Fn(&W) -> (K, V),
) -> Merge<'w, W> {
    let mut result = Merge { insert: Vec::new(), update: Vec::new(), delete: Vec::new(), unchanged: 0 };
    let mut known: HashMap<K, (String, V)> = HashMap::with_capacity(stored.len());
    for StoredRow { key, uuid, values } in stored {
        match known.entry(key) {
            std::collections::hash_map::Entry::Occupied(_) => result.delete.push(uuid),
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert((uuid, values));
            }
        }
    }
    for row in wanted {
        let (key, values) = read(row);
        match known.remove(&key) {
            None => result.insert.push(row),
            Some((_, stored)) if stored == values => result.unchanged += 1,
            Some((uuid, _)) => result.update.push((row, uuid)),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_changed_equal_doubled_and_unnamed_rows_are_told_apart() {
        let stored = [("a", "1", 10), ("b", "2", 20), ("b", "3", 21), ("z", "4", 0)];
        let stored = stored.map(|(key, uuid, values)| StoredRow { key, uuid: uuid.to_owned(), values });
        let wanted = [("a", 10), ("b", 22), ("c", 30)];
        let merge = merge(&wanted, stored.into_iter().collect(), |(key, value)| (*key, *value));
        assert_eq!(merge.insert, [&("c", 30)]);
        assert_eq!(merge.update, [(&("b", 22), "2".to_owned())]);
        assert_eq!(merge.delete, ["3"]);
        assert_eq!(merge.unchanged, 1);
    }
}
