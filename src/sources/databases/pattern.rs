// Upstream: many
// Downstream: actors, kit
// Role: Name patterns with placeholders, such as one table per security: validates, fills in, matches. Pure.

use actors::domain::{Code, Frequency};
use chrono::NaiveDate;

/// The values of the placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names {
    /// The value of `{code}`, `{digits}`, `{exchange}` and `{prefix}`.
    pub code: Option<Code>,
    /// The value of `{frequency}`.
    pub frequency: Option<Frequency>,
    /// The value of `{date}`.
    pub date: Option<NaiveDate>,
}

/// Maximum length of a pattern in bytes. MySQL's own names have at most 64 characters.
const MAX_LENGTH: usize = 128;
/// The placeholders that name a security.
const OF_CODE: [&str; 4] = ["{code}", "{digits}", "{exchange}", "{prefix}"];

/// A name with placeholders in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Parses a pattern that may contain these placeholders. The allowed characters need no escaping in quotation marks
    /// or in a Redis search pattern.
    pub fn parse(text: &str, placeholders: &[&str]) -> Result<Self, String> {
        let mut rest = text.to_owned();
        for placeholder in placeholders {
            rest = rest.replace(placeholder, "");
        }
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(format!("a name must have 1 to {MAX_LENGTH} bytes"));
        }
        match rest.chars().find(|c| !(is_name(*c) || matches!(c, '.' | ':' | '/'))) {
            None => Ok(Self(text.to_owned())),
            Some('{' | '}') => {
                Err(format!("`{text:.60}` has an unknown placeholder; allowed are: {}", placeholders.join(", ")))
            }
            Some(other) => {
                Err(format!("`{text:.60}` holds {other:?}; allowed are letters, digits, `_`, `-`, `.`, `:`, `/`"))
            }
        }
    }

    /// Fills in the placeholders.
    pub fn fill(&self, names: &Names) -> String {
        let mut name = self.0.clone();
        if let Some(code) = names.code {
            name = name
                .replace("{code}", code.as_str())
                .replace("{digits}", code.digits())
                .replace("{exchange}", code.exchange())
                .replace("{prefix}", &code.exchange().to_ascii_lowercase());
        }
        if let Some(frequency) = names.frequency {
            name = name.replace("{frequency}", frequency.as_str());
        }
        if let Some(date) = names.date {
            name = name.replace("{date}", &date.format("%Y%m%d").to_string());
        }
        name
    }

    /// Whether the name depends on the security.
    pub fn has_code(&self) -> bool {
        OF_CODE.iter().any(|placeholder| self.0.contains(placeholder))
    }

    /// Whether the pattern has no placeholder.
    pub fn is_fixed(&self) -> bool {
        !self.0.contains('{')
    }

    /// Whether a name may come from this pattern: its beginning and its end match.
    pub fn may_be(&self, name: &str) -> bool {
        match (self.0.split_once('{'), self.0.rsplit_once('}')) {
            (Some((begin, _)), Some((_, end))) => {
                name.len() > begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
            }
            _ => name == self.0,
        }
    }

    /// The pattern in the syntax of a Redis search.
    pub fn glob(&self) -> String {
        let mut glob = String::new();
        for (at, part) in self.0.split('{').enumerate() {
            let literal = if at == 0 { part } else { part.split_once('}').map_or("", |(_, rest)| rest) };
            if at > 0 {
                glob.push('*');
            }
            glob.push_str(literal);
        }
        glob
    }

    /// The pattern as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character is allowed in every name: letters of all scripts, digits, `_` and `-`.
pub fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACEHOLDERS: &[&str] = &["{code}", "{digits}", "{exchange}", "{prefix}", "{frequency}", "{date}"];

    fn names() -> Names {
        Names {
            code: Some("000001.SZ".parse().unwrap()),
            frequency: Some(Frequency::Minute5),
            date: NaiveDate::from_ymd_opt(2024, 1, 2),
        }
    }

    #[test]
    fn fills_in_and_recognises_placeholders() {
        let pattern = Pattern::parse("{digits}_{exchange}_Tick", PLACEHOLDERS).unwrap();
        assert_eq!(pattern.fill(&names()), "000001_SZ_Tick");
        assert!(pattern.may_be("600000_SH_Tick") && !pattern.may_be("bar") && !pattern.may_be("_Tick"));
        let key = Pattern::parse("ginkgo:bars:{code}:{frequency}", PLACEHOLDERS).unwrap();
        assert_eq!((key.fill(&names()).as_str(), key.glob().as_str()), ("ginkgo:bars:000001.SZ:5m", "ginkgo:bars:*:*"));
        assert_eq!(
            Pattern::parse("{prefix}{digits}/{date}", PLACEHOLDERS).unwrap().fill(&names()),
            "sz000001/20240102"
        );
        assert!(Pattern::parse("bar", &[]).unwrap().is_fixed() && key.has_code());
    }

    #[test]
    fn rejects_names_that_need_escaping() {
        for text in
            ["", "a`b", "a'b", "a\"b", "a\\b", "a b", "a;b", "a$b", "a*b", "a\0b", "{code", "{weather}", "{frequency"]
        {
            assert!(Pattern::parse(text, &["{code}"]).is_err(), "{text}");
        }
        assert!(Pattern::parse("{frequency}", &["{code}"]).unwrap_err().contains("allowed are: {code}"));
        assert!(Pattern::parse("日线", &[]).is_ok());
    }

    #[test]
    fn mutated_names_are_refused_or_need_no_escaping() {
        kit::fuzz::mutate(&["{digits}_{exchange}_Tick", "ginkgo:bars:{code}:{frequency}", "日线/{date}"], |bytes| {
            if let Ok(pattern) = Pattern::parse(&String::from_utf8_lossy(bytes), PLACEHOLDERS) {
                let name = pattern.fill(&names());
                assert!(name.chars().all(|c| is_name(c) || matches!(c, '.' | ':' | '/')), "{name}");
            }
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn no_pattern_gives_a_name_that_needs_escaping(text in "[a-z{}`'\"$:*?\\[\\]\\\\_. -]{0,20}|\\PC{0,12}") {
            if let Ok(pattern) = Pattern::parse(&text, PLACEHOLDERS) {
                let name = pattern.fill(&names());
                prop_assert!(name.chars().all(|c| is_name(c) || matches!(c, '.' | ':' | '/')), "{}", name);
                prop_assert!(pattern.may_be(&name), "{} {}", text, name);
            }
        }
    }
}
