// Upstream: http, sources::baostock
// Downstream: none
// Role: Takes a secret out of what a server says, for some send back what they were sent.

use secrecy::{ExposeSecret, SecretString};

/// Stands where the secret stood.
const SECRET_MARK: &str = "[secret]";

/// The text with a mark in place of the secret, as it stands or as addresses and JSON write it. What is cut or unpacked
/// afterwards holds none of it.
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

/// How many bytes the secret has at the beginning of a text; `None`: it does not begin with it.
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
    fn a_secret_is_hidden_however_it_is_written_and_the_rest_stays() {
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
