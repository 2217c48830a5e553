// Upstream: many
// Downstream: actors
// Role: Classifies errors of ClickHouse and its client; the only place that interprets error codes.

use std::error::Error as StdError;
use std::io::ErrorKind;

use ::clickhouse::error::Error;
use actors::ports::StoreErrorClass;

/// Whether a request may have had an effect if its answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The request only reads or is idempotent.
    None,
    /// An INSERT.
    Insert,
}

/// The class of an error. The codes are from ClickHouse's `ErrorCodes.cpp`.
pub fn classify(error: &Error, effect: Effect) -> StoreErrorClass {
    let unanswered =
        if effect == Effect::Insert { StoreErrorClass::OutcomeUnknown } else { StoreErrorClass::Transient };
    match error {
        Error::BadResponse(text) => match code_of(text) {
            Some(code) => classify_code(code, text, unanswered),
            // An error page of a proxy, or a truncated answer.
            None => unanswered,
        },
        Error::Network(_) if is_refused(error) => StoreErrorClass::Transient,
        Error::Network(_) | Error::TimedOut | Error::NotEnoughData => unanswered,
        Error::SchemaMismatch(_) | Error::InvalidColumnsHeader(_) => StoreErrorClass::Schema,
        _ => StoreErrorClass::Refused,
    }
}

fn classify_code(code: u32, text: &str, unanswered: StoreErrorClass) -> StoreErrorClass {
    match code {
        // Two conditions share code 252. "Too many parts" is transient; "too many partitions" is not.
        252 if text.contains("partitions for single INSERT") => StoreErrorClass::TooManyPartitions,
        // Started and then interrupted: a part may be done.
        159 | 209 | 210 | 319 | 394 => unanswered,
        // EOF, no free connection, read-only, too many queries, memory, too many parts, replicas, shutdown, Keeper.
        3 | 107 | 164 | 201 | 202 | 203 | 241 | 242 | 252 | 279 | 285 | 290 | 425 | 473 | 499 | 745 | 999 => {
            StoreErrorClass::Transient
        }
        192 | 193 | 194 | 195 | 497 | 516 => StoreErrorClass::Access,
        // Wrong or missing column, type, table or database; values that do not fit.
        6 | 8 | 10 | 16 | 20 | 27 | 33 | 41 | 47 | 53 | 60 | 69 | 70 | 81 | 117 | 131 | 349 => StoreErrorClass::Schema,
        _ => StoreErrorClass::Refused,
    }
}

/// The error code in `Code: 252. DB::Exception: …`.
fn code_of(text: &str) -> Option<u32> {
    let rest = text.split("Code: ").nth(1)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Whether there was no connection, so that nothing was sent.
fn is_refused(error: &Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(found) = cause {
        if found.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect()) {
            return true;
        }
        if let Some(io) = found.downcast_ref::<std::io::Error>()
            && io.kind() == ErrorKind::ConnectionRefused
        {
            return true;
        }
        cause = found.source();
    }
    false
}

/// The text of an error and its causes, on one line, at most 500 characters.
pub fn text_of(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(found) = cause {
        let more = found.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = found.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> StoreErrorClass {
        classify(&Error::BadResponse(text.to_owned()), Effect::Insert)
    }

    #[test]
    fn every_code_has_the_class_that_follows_from_it() {
        let parts = "Code: 252. DB::Exception: Too many parts (3001 with average size of 1.00 KiB). Merges are slower";
        let partitions = "Code: 252. DB::Exception: Too many partitions for single INSERT block (more than 100).";
        assert_eq!(class(parts), StoreErrorClass::Transient);
        assert_eq!(class(partitions), StoreErrorClass::TooManyPartitions);
        for code in [3, 107, 164, 202, 203, 241, 242, 285, 425, 999] {
            assert_eq!(class(&format!("Code: {code}. DB::Exception: x")), StoreErrorClass::Transient, "{code}");
        }
        for code in [159, 209, 210, 319] {
            assert_eq!(class(&format!("Code: {code}. DB::Exception: x")), StoreErrorClass::OutcomeUnknown, "{code}");
        }
        for code in [16, 33, 47, 53, 60, 69, 117, 131] {
            assert_eq!(class(&format!("Code: {code}. DB::Exception: x")), StoreErrorClass::Schema, "{code}");
        }
        assert_eq!(class("Code: 516. DB::Exception: Authentication failed"), StoreErrorClass::Access);
        assert_eq!(class("Code: 62. DB::Exception: Syntax error"), StoreErrorClass::Refused);
        assert_eq!(class("<html>502 Bad Gateway</html>"), StoreErrorClass::OutcomeUnknown);
        assert_eq!(classify(&Error::TimedOut, Effect::Insert), StoreErrorClass::OutcomeUnknown);
        assert_eq!(classify(&Error::TimedOut, Effect::None), StoreErrorClass::Transient);
    }

    #[test]
    fn only_refused_connection_proves_no_effect() {
        let network = |kind| Error::Network(Box::new(std::io::Error::from(kind)));
        assert_eq!(classify(&network(ErrorKind::ConnectionRefused), Effect::Insert), StoreErrorClass::Transient);
        assert_eq!(classify(&network(ErrorKind::ConnectionReset), Effect::Insert), StoreErrorClass::OutcomeUnknown);
    }
}
