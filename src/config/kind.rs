// Upstream: ginkgo, keys, schema, value
// Downstream: none
// Role: What a setting holds: text, number, flag, choice or list.

/// What a setting holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number, 0 to `max`.
    Number {
        /// The largest that its type holds.
        max: u64,
    },
    /// A number with a fraction.
    Real,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(Vec<&'static str>),
    /// Some of these words, in an order.
    Choices(Vec<&'static str>),
    /// Several texts.
    List,
}
