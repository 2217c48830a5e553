// Upstream: store
// Downstream: none
// Role: Reads the answer of SHOW GRANTS: which rights of the worker a user lacks on a database. Pure.

/// The rights that the worker needs on its database.
pub const NEEDED: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE"];

/// A privilege in a line of SHOW GRANTS.
const ALL: &str = "ALL PRIVILEGES";

/// Whether one of these grants lets its user create databases. A grant to one database or a pattern counts, too: the
/// server refuses the statement where it does not hold.
pub fn may_create(grants: &[String]) -> bool {
    grants.iter().map(String::as_str).filter_map(parts).any(|(rights, _)| grants_right(&rights, "CREATE"))
}

/// The rights of [`NEEDED`] that no grant gives on `database`. Empty if the user has a role, because SHOW GRANTS does not
/// list what a role gives.
pub fn lacking(grants: &[String], database: &str) -> Vec<&'static str> {
    let parts: Vec<Option<(String, String)>> = grants.iter().map(|grant| parts(grant)).collect();
    if parts.iter().any(Option::is_none) {
        return Vec::new();
    }
    let holds: Vec<String> =
        parts.into_iter().flatten().filter(|(_, scope)| is_on(scope, database)).map(|(rights, _)| rights).collect();
    let is_lacking = |right: &&str| !holds.iter().any(|rights| grants_right(rights, right));
    NEEDED.iter().copied().filter(is_lacking).collect()
}

/// The rights, in upper case, and the scope of a grant such as ``GRANT SELECT ON `ginkgo`.* TO …``; `None` for a role.
fn parts(grant: &str) -> Option<(String, String)> {
    let rest = grant.strip_prefix("GRANT ").or_else(|| grant.strip_prefix("grant "))?;
    let (rights, rest) = rest.split_once(" ON ")?;
    let (scope, _) = rest.split_once(" TO ")?;
    Some((rights.to_ascii_uppercase(), scope.to_owned()))
}

fn grants_right(rights: &str, right: &str) -> bool {
    // A right on columns has them in brackets.
    rights.contains(ALL) || rights.split(',').any(|granted| granted.split('(').next().map(str::trim) == Some(right))
}

/// Whether a scope contains the database: `*.*`, its own name, one of its tables, or a pattern with `%` and `_`.
fn is_on(scope: &str, database: &str) -> bool {
    let pattern = scope.split_once('.').map_or(scope, |(of, _)| of).trim_matches('`');
    pattern == "*" || matches(&pattern.chars().collect::<Vec<_>>(), &database.chars().collect::<Vec<_>>())
}

/// Whether a text matches a pattern of the server: `%` any characters, `_` one, `\` takes the next one literally.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['%', rest @ ..], _) => (0..=text.len()).any(|end| text.get(end..).is_some_and(|left| matches(rest, left))),
        (['\\', literal, rest @ ..], [first, left @ ..]) => literal == first && matches(rest, left),
        (['_', rest @ ..], [_, left @ ..]) => matches(rest, left),
        ([literal, rest @ ..], [first, left @ ..]) => literal == first && matches(rest, left),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacks(grants: &[&str]) -> Vec<&'static str> {
        lacking(&grants.iter().map(|grant| (*grant).to_owned()).collect::<Vec<_>>(), "gin_kgo")
    }

    const USAGE: &str = "GRANT USAGE ON *.* TO `w`@`%` IDENTIFIED BY PASSWORD '*00'";

    #[test]
    fn names_the_rights_that_no_grant_gives() {
        assert_eq!(lacks(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION"]), [""; 0]);
        assert_eq!(lacks(&[USAGE, r"GRANT ALL PRIVILEGES ON `gin\_kgo`.* TO `w`@`%`"]), [""; 0]);
        assert_eq!(lacks(&[USAGE]), NEEDED);
        assert_eq!(lacks(&[USAGE, "GRANT SELECT, INSERT ON `gin%`.* TO `w`@`%`"]), ["UPDATE", "DELETE", "CREATE"]);
        assert_eq!(lacks(&[USAGE, "GRANT ALL PRIVILEGES ON `other`.* TO `w`@`%`"]), NEEDED);
        let tables = "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ROUTINE ON `gin_kgo`.`stock_info` TO `w`@`%`";
        assert_eq!(lacks(&[tables]), ["CREATE"]);
        assert_eq!(lacks(&[USAGE, "GRANT `reader`@`%` TO `w`@`%`"]), [""; 0], "the role may give them");
    }

    #[test]
    fn a_grant_to_create_is_recognised() {
        let may = |grant: &str| may_create(&[grant.to_owned()]);
        assert!(may("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost`"));
        assert!(may("GRANT SELECT, CREATE ON *.* TO `w`@`%`"));
        assert!(!may("GRANT SELECT, CREATE VIEW ON *.* TO `w`@`%`"));
        assert!(!may(USAGE));
    }
}
