// Upstream: ginkgo, keys, schema, value
// Downstream: none
// Role: Declares the kinds of settings: text, number, flag, choice or list.

/// The kind of a setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number, 0 to `max`.
    Number {
        /// The maximum of its type.
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
