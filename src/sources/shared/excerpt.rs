// Upstream: many
// Downstream: none
// Role: The beginning of a vendor's text, short enough for an error.

/// The longest piece of an answer an error shows, in characters.
const MAX_EXCERPT: usize = 120;

/// The beginning of a text for an error: one line, short.
pub fn excerpt(text: &str) -> String {
    text.chars().take(MAX_EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
