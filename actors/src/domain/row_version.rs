// Upstream: many
// Downstream: clock, random_id
// Role: The version of a row that replaced others: its place in an order that is the same for every worker.

use uuid::Uuid;

use crate::domain::clock::utc_now;
use crate::domain::random_id::random_uuid;

/// The prefix of the UUIDs of Ginkgo's bars. Other rows have none.
const BAR_PREFIX: &str = "bar_";

/// The last 62 bits of a UUID: its digits after the version and the variant.
const NAME_BITS: u128 = (1 << 62) - 1;

/// The version of a row, from its UUID. The order of versions is the same for every worker: of the rows of a key, the
/// one with the highest version stays; of two with the same version, the one with the greater UUID (see [`order`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowVersion(u64);

impl RowVersion {
    /// The version of rows that replaced no other, and of rows of the Python worker.
    pub const FIRST: Self = Self(0);

    /// A new version: the current time in milliseconds (48 bits) and 12 random bits, so that two workers that replace a
    /// row in the same millisecond get different versions.
    pub fn now() -> Self {
        let now = u64::try_from(utc_now().timestamp_millis()).unwrap_or_default();
        let random = random_uuid().as_u128() as u64 & 0xfff;
        Self((now << 12 | random) & ((1 << 60) - 1))
    }

    /// The version of a stored row.
    pub fn of(uuid: &str) -> Self {
        let Some(uuid) = parse(uuid).filter(|uuid| uuid.get_version_num() == 8) else { return Self::FIRST };
        let bits = uuid.as_u128();
        Self(((bits >> 80) as u64) << 12 | ((bits >> 64) as u64 & 0xfff))
    }

    /// This version, or the next one after the highest of these rows if that is higher: clocks of workers differ.
    pub fn above<'a>(self, uuids: impl Iterator<Item = &'a str>) -> Self {
        uuids.map(Self::of).max().map_or(self, |highest| self.max(Self(highest.0.saturating_add(1))))
    }

    /// The UUID of a row that replaces others: a UUID version 8 of this version (60 bits) and the last 62 bits of the
    /// row's name-based UUID. It differs from the UUIDs of all other replacements, so each copy can be removed on its
    /// own, and it still identifies the values.
    pub fn uuid(self, name_based: Uuid) -> Uuid {
        let (high, low) = (u128::from(self.0 >> 12), u128::from(self.0 & 0xfff));
        Uuid::from_u128(high << 80 | 0x8 << 76 | low << 64 | 0b10 << 62 | name_based.as_u128() & NAME_BITS)
    }
}

/// The place of a row in the order of replacements: its version, then its UUID.
pub fn order(uuid: &str) -> (RowVersion, &str) {
    (RowVersion::of(uuid), uuid)
}

/// The last 62 bits of a row's name-based UUID. They follow from key and values, and stay in every version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowName(u128);

impl RowName {
    /// The name in a name-based UUID.
    pub fn of_uuid(uuid: Uuid) -> Self {
        Self(uuid.as_u128() & NAME_BITS)
    }

    /// The name of a stored row; `None` for rows of the Python worker, whose UUIDs are random.
    pub fn of(uuid: &str) -> Option<Self> {
        parse(uuid).filter(|uuid| matches!(uuid.get_version_num(), 5 | 8)).map(Self::of_uuid)
    }
}

/// Whether a stored UUID identifies the same key and values as the name-based UUID `name_based`.
pub fn is_same_row(stored: &str, name_based: &str) -> bool {
    stored == name_based || RowName::of(stored).is_some_and(|stored| Some(stored) == RowName::of(name_based))
}

fn parse(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text.strip_prefix(BAR_PREFIX).unwrap_or(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_keeps_name_and_version_in_its_uuid() {
        let name = Uuid::new_v5(&Uuid::NAMESPACE_URL, b"a row");
        let other = Uuid::new_v5(&Uuid::NAMESPACE_URL, b"another row").simple().to_string();
        let (first, second) = (RowVersion(7), RowVersion((1 << 60) - 1));
        for version in [first, second] {
            let uuid = version.uuid(name).simple().to_string();
            assert_eq!(
                (uuid.len(), RowVersion::of(&uuid), RowVersion::of(&format!("bar_{uuid}"))),
                (32, version, version)
            );
            assert!(is_same_row(&uuid, &name.simple().to_string()) && !is_same_row(&uuid, &other));
        }
        assert!(is_same_row(&other, &other));
        for foreign in ["", "bar_", "00000000000040008000000000000000", "a row of somebody else"] {
            assert_eq!((RowVersion::of(foreign), is_same_row(foreign, &other)), (RowVersion::FIRST, false));
        }
        let uuid = |version: RowVersion| version.uuid(name).simple().to_string();
        let (lower, higher) = (uuid(first), uuid(RowVersion(1 << 59)));
        assert!(RowVersion::now() > RowVersion::of(&other));
        assert!(first.above([lower.as_str(), &higher].into_iter()) > RowVersion::of(&higher));
        assert_eq!(second.above([lower.as_str(), &other].into_iter()), second);
        assert_eq!(second.above(std::iter::empty()), second);
        assert!(order(&higher) > order(&lower) && order(&lower) > order(&other));
    }
}
