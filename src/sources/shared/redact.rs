// Upstream: http, sources::baostock
// Downstream: none
// Role: Removes a secret from a server's answer, because some servers echo what they receive.

use secrecy::{ExposeSecret, SecretString};

/// The text that replaces the secret.
const SECRET_MARK: &str = "[secret]";

/// Replaces every occurrence of the secret: as plain text, percent-encoded as in URLs, or escaped as in JSON. Text that
/// is cut or decoded afterwards contains no part of the secret.
pub fn without_secret(text: String, secret: Option<&SecretString>) -> String {
    let secret = secret.map(|secret| secret.expose_secret()).unwrap_or_default();
    let Some(first) = secret.chars().next() else { return text };
    let may_begin = |c: char| c == first || c == '%' || c == '\\';
    let mut hidden = String::new();
    let (mut copied, mut searched) = (0, 0);
    while let Some(rest) = text.get(searched..)
        && let Some(found) = rest.find(may_begin)
        && let Some(candidate) = rest.get(found..)
    {
        let start = searched + found;
        searched = match length_of(secret.as_bytes(), candidate.as_bytes()) {
            None => start + candidate.chars().next().map_or(1, char::len_utf8),
            Some(length) => {
                hidden.push_str(text.get(copied..start).unwrap_or_default());
                hidden.push_str(SECRET_MARK);
                copied = start + length;
                copied
            }
        };
    }
    match copied {
        0 => text,
        _ => hidden + text.get(copied..).unwrap_or_default(),
    }
}

/// The number of bytes of the secret's written form at the beginning of a text; `None` if the text does not begin with
/// it.
fn length_of(secret: &[u8], text: &[u8]) -> Option<usize> {
    secret.iter().try_fold(0, |length, byte| Some(length + length_of_byte(*byte, text.get(length..)?)?))
}

fn length_of_byte(byte: u8, text: &[u8]) -> Option<usize> {
    let is_byte = |high: &u8, low: &u8| {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        digit(*high).zip(digit(*low)).is_some_and(|(high, low)| high * 16 + low == u32::from(byte))
    };
    match text {
        [first, ..] if *first == byte => Some(1),
        [b'%', high, low, ..] if is_byte(high, low) => Some(3),
        [b'\\', b'u', b'0', b'0', high, low, ..] if byte.is_ascii() && is_byte(high, low) => Some(6),
        [b'\\', second, ..] if *second == byte => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_every_written_form_of_a_secret() {
        let secret: SecretString = "a/b+密\"".to_owned().into();
        for written in ["a/b+密\"", "a%2Fb%2B%e5%AF%86%22", r#"a\/b+密\""#, r"\u0061\u002fb+密%22"] {
            let text = without_secret(format!("期 {written}{written}, a/b+ 密"), Some(&secret));
            assert_eq!(text, "期 [secret][secret], a/b+ 密", "{written}");
        }
        for text in ["", "a/b+密", "%", "\\", "a%2", "\\u00", "a/b+%e5%AF"] {
            assert_eq!(without_secret(text.to_owned(), Some(&secret)), text);
            assert_eq!(without_secret(text.to_owned(), Some(&String::new().into())), text);
            assert_eq!(without_secret(text.to_owned(), None), text);
        }
    }
}
