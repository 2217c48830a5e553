// Upstream: many
// Downstream: none
// Role: Writes a number with its noun in the singular or the plural.

/// The number with the noun: `1 command`, `2 commands`, `1 security`, `2 securities`.
pub fn counted(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) if !noun.ends_with("day") => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

/// [`counted`] for a length.
pub fn counted_len(number: usize, noun: &str) -> String {
    counted(number as u64, noun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(
            ["command", "security", "day"].map(|noun| counted(1_u64, noun)),
            ["1 command", "1 security", "1 day"]
        );
        assert_eq!(
            ["command", "security", "day"].map(|noun| counted_len(0, noun)),
            ["0 commands", "0 securities", "0 days"]
        );
    }
}
