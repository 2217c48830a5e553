// Upstream: stock_info, trade_day
// Downstream: none
// Role: Compares wanted and stored rows and decides which rows to insert, update and delete. Pure.

use std::collections::HashMap;
use std::hash::Hash;

/// The changes for a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Merge<'w, W> {
    /// Wanted rows that are not stored.
    pub insert: Vec<&'w W>,
    /// Wanted rows that differ from the stored row, with its uuid, which stays the same.
    pub update: Vec<(&'w W, String)>,
    /// Uuids of duplicates: further stored rows with the same key. Ginkgo's tables have no unique key to prevent them.
    pub delete: Vec<String>,
    /// Number of wanted rows that are stored unchanged.
    pub unchanged: u64,
}

/// A stored row: its key, its uuid, and its values in comparable form.
pub struct StoredRow<K, V> {
    /// The business key.
    pub key: K,
    /// The primary key.
    pub uuid: String,
    /// The values.
    pub values: V,
}

/// Compares wanted and stored rows. Stored rows must be sorted oldest first: of several rows with one key, the oldest
/// stays. Stored rows that are not wanted also stay, because a source may list only current entries.
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
    fn classifies_rows_for_the_merge() {
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
