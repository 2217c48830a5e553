// Upstream: many
// Downstream: none
// Role: Shortens a vendor's text for an error message.

/// Maximum length of an excerpt in characters.
const MAX_EXCERPT: usize = 120;

/// The beginning of a text on one line, for an error message. Control characters become spaces.
pub fn excerpt(text: &str) -> String {
    text.chars().take(MAX_EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
