// Upstream: many
// Downstream: kit
// Role: The code of a Chinese A-share, normalised to the stored form `000001.SZ`.

use std::fmt;
use std::str::FromStr;

/// Maximum number of codes in one command: twice the A-share market, so that a mistake cannot exhaust the memory.
pub const MAX_CODES: usize = 12_000;

/// The code of a security, always `NNNNNN.SH`, `NNNNNN.SZ` or `NNNNNN.BJ` (Tushare's `ts_code`, the form Ginkgo
/// stores).
///
/// It consists of nine ASCII bytes and is cheap to copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code([u8; 9]);

/// A text that is not a stock code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a stock code: expected a form like 000001.SZ, SZ000001, sz.000001 or 000001")]
pub struct CodeError {
    /// The given text, shortened to 40 characters.
    pub given: String,
}

impl Code {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        // The constructor accepts only ASCII.
        std::str::from_utf8(&self.0).unwrap_or("")
    }

    /// The six digits.
    pub fn digits(&self) -> &str {
        self.as_str().split('.').next().unwrap_or("")
    }

    /// `SH`, `SZ` or `BJ`.
    pub fn exchange(&self) -> &str {
        self.as_str().rsplit('.').next().unwrap_or("")
    }

    fn build(digits: &str, exchange: &str) -> Option<Self> {
        if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let exchange = exchange.to_ascii_uppercase();
        if !matches!(exchange.as_str(), "SH" | "SZ" | "BJ") {
            return None;
        }
        let mut bytes = [b'.'; 9];
        bytes.get_mut(..6)?.copy_from_slice(digits.as_bytes());
        bytes.get_mut(7..)?.copy_from_slice(exchange.as_bytes());
        Some(Self(bytes))
    }
}

/// The exchange of a code without an exchange, derived from the exchanges' number ranges.
fn exchange_of(digits: &str) -> Option<&'static str> {
    match digits.as_bytes() {
        [b'9', b'2', ..] | [b'4' | b'8', ..] => Some("BJ"),
        [b'5' | b'6' | b'9', ..] => Some("SH"),
        [b'0' | b'1' | b'2' | b'3', ..] => Some("SZ"),
        _ => None,
    }
}

impl FromStr for Code {
    type Err = CodeError;

    /// Parses `000001.SZ`, `SZ000001`, `sz.000001` and `000001`, case-insensitively; surrounding blanks are ignored.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        let trimmed = text.trim();
        let parts = match trimmed.split_once('.') {
            Some((left, right)) if left.len() == 6 => Some((left, right)),
            Some((left, right)) => Some((right, left)),
            None if trimmed.len() == 8 && trimmed.is_char_boundary(2) => {
                let (exchange, digits) = trimmed.split_at(2);
                Some((digits, exchange))
            }
            None => exchange_of(trimmed).map(|exchange| (trimmed, exchange)),
        };
        parts
            .and_then(|(digits, exchange)| Self::build(digits, exchange))
            .ok_or_else(|| CodeError { given: text.chars().take(40).collect() })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_written_form_is_the_same_code() {
        for text in ["000001.SZ", "SZ000001", "sz.000001", "000001", " 000001.sz "] {
            assert_eq!(text.parse::<Code>().unwrap().as_str(), "000001.SZ", "{text}");
        }
        assert_eq!("600000".parse::<Code>().unwrap().as_str(), "600000.SH");
        assert_eq!("430047".parse::<Code>().unwrap().as_str(), "430047.BJ");
        assert_eq!("920001".parse::<Code>().unwrap().as_str(), "920001.BJ");
        assert_eq!("bj.830799".parse::<Code>().unwrap().exchange(), "BJ");
    }

    #[test]
    fn what_is_no_code_is_refused_with_the_text_given() {
        for text in ["", "1", "00000a.SZ", "000001.HK", "XX000001", "000001.", "中文字符", "0000011", "000001.SZ.SZ"]
        {
            let error = text.parse::<Code>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn mutated_codes_are_codes_or_refused() {
        kit::fuzz::mutate(&["000001.SZ", "sh.600000", "BJ430047", "920001"], |bytes| {
            if let Ok(code) = String::from_utf8_lossy(bytes).parse::<Code>() {
                assert_eq!(code.as_str().parse(), Ok(code));
                assert!(code.as_str().len() == 9 && code.as_str().is_ascii());
            }
        });
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,20}") {
            if let Ok(code) = text.parse::<Code>() {
                prop_assert_eq!(code.as_str().parse::<Code>().unwrap(), code);
            }
        }
    }
}
