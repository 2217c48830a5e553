// Upstream: many
// Downstream: kit, sources::shared
// Role: Encodes BaoStock requests and decodes its answers within size limits. Pure.

//! A request consists of a header of 21 characters (`00.9.40`, 0x01, the kind in two characters, 0x01, the body's
//! length in ten digits), the body, 0x01, the CRC-32 of all preceding bytes in decimal digits, and a line feed. 0x01
//! separates the fields of a body.
//!
//! An answer ends with `<![CDATA[]]>` and a line feed. Its body is text whose length counts characters, or, for some
//! kinds, zlib-compressed data whose length counts bytes. A compressed body may contain 0x01 and even the end mark, so
//! its length delimits it. The CRC of compressed answers matches neither form of the body. Damage is detected by the
//! length, by zlib's checksum or by the JSON parser. (Sources: the vendor's client 0.9.4 and recorded answers.)

use std::io::Read;

use flate2::read::ZlibDecoder;

use crate::sources::shared::excerpt::excerpt;

/// The protocol version, as the vendor's client names it.
const VERSION: &str = "00.9.40";
/// Separates the fields of a body.
pub const SEPARATOR: char = '\u{1}';
const HEADER_LENGTH: usize = 21;
const END_MARK: &[u8] = b"<![CDATA[]]>\n";
/// Maximum length after the body: a CRC of ten digits with its separators, and the end mark.
const MAX_TRAILER: usize = 64;
/// Maximum size of a message. The list of all securities has 0.2 MB. A larger message is rejected before it takes
/// memory.
const MAX_WIRE_BYTES: usize = 8 << 20;
/// Maximum size of a decompressed body. A page of 2,000 rows has 0.5 MB.
const MAX_TEXT_BYTES: usize = 32 << 20;
/// The first byte of every zlib stream with a window of 32 KB. A text body begins with a digit.
const ZLIB_MARK: u8 = 0x78;

/// Encodes a request.
pub fn request(kind: &str, fields: &[&str]) -> Vec<u8> {
    let body = fields.join("\u{1}");
    let mut text = format!("{VERSION}{SEPARATOR}{kind}{SEPARATOR}{:010}{body}", body.chars().count());
    let crc = crc32fast::hash(text.as_bytes());
    text.push_str(&format!("{SEPARATOR}{crc}\n"));
    text.into_bytes()
}

/// The bytes are no message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FrameError(String);

/// A decoded answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its kind, two characters.
    pub kind: String,
    /// Its body, fields separated by [`SEPARATOR`].
    pub body: String,
}

/// An answer that is being received in pieces.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    /// The end mark does not begin before this position.
    searched: usize,
}

struct Header {
    kind: String,
    length: usize,
}

impl Incoming {
    /// The number of bytes received.
    pub fn received(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the next piece. Returns the answer once it is complete.
    pub fn push(&mut self, piece: &[u8]) -> Result<Option<Message>, FrameError> {
        if self.bytes.len() + piece.len() > MAX_WIRE_BYTES + MAX_TRAILER {
            return Err(self.wrong(&format!("it has more than {MAX_WIRE_BYTES} bytes")));
        }
        self.bytes.extend_from_slice(piece);
        let Some(header) = self.bytes.get(..HEADER_LENGTH) else { return Ok(None) };
        let header = read_header(header).ok_or_else(|| self.wrong("it has no header"))?;
        if header.length > MAX_WIRE_BYTES {
            return Err(self.wrong(&format!("its length is {}, more than {MAX_WIRE_BYTES}", header.length)));
        }
        // The length of a text counts characters, so it has at least that many bytes.
        let start = self.searched.max(HEADER_LENGTH + header.length);
        let rest = self.bytes.get(start..).unwrap_or_default();
        let Some(at) = rest.windows(END_MARK.len()).position(|window| window == END_MARK) else {
            self.searched = start.max((self.bytes.len() + 1).saturating_sub(END_MARK.len()));
            return Ok(None);
        };
        let (whole, after) = self.bytes.split_at_checked(start + at).unwrap_or((&self.bytes, &[]));
        if after.len() > END_MARK.len() {
            return Err(self.wrong(&format!("there are {} bytes after its end", after.len() - END_MARK.len())));
        }
        let content = whole.get(HEADER_LENGTH..).unwrap_or_default();
        let body = body(content, header.length).map_err(|reason| self.wrong(&reason))?;
        Ok(Some(Message { kind: header.kind, body }))
    }

    fn wrong(&self, reason: &str) -> FrameError {
        let start = String::from_utf8_lossy(self.bytes.get(..HEADER_LENGTH * 4).unwrap_or(&self.bytes)).into_owned();
        FrameError(format!("{reason}; the message begins with `{}`", excerpt(&start)))
    }
}

fn read_header(bytes: &[u8]) -> Option<Header> {
    let mut fields = std::str::from_utf8(bytes).ok()?.split(SEPARATOR);
    let (_version, kind, length) = (fields.next()?, fields.next()?, fields.next()?);
    let well_formed = kind.len() == 2 && length.len() == 10 && length.bytes().all(|byte| byte.is_ascii_digit());
    Some(Header { kind: kind.to_owned(), length: length.parse().ok().filter(|_| well_formed)? })
}

/// Extracts the body from the bytes between the header and the end mark.
fn body(content: &[u8], length: usize) -> Result<String, String> {
    if content.first() == Some(&ZLIB_MARK) {
        let compressed = content.get(..length).filter(|_| content.get(length) == Some(&1));
        return inflate(compressed.ok_or_else(|| format!("its compressed body does not end after {length} bytes"))?);
    }
    let separator = content.iter().rposition(|byte| *byte == 1).ok_or("its body has no final separator")?;
    let text = content.get(..separator).unwrap_or_default();
    let text = std::str::from_utf8(text).map_err(|error| format!("its body is not valid text: {error}"))?;
    let num_chars = text.chars().count();
    if num_chars != length && text.len() != length {
        return Err(format!("its body has {num_chars} characters, but its length is {length}"));
    }
    Ok(text.to_owned())
}

fn inflate(compressed: &[u8]) -> Result<String, String> {
    let mut text = String::new();
    let mut decoder = ZlibDecoder::new(compressed).take(MAX_TEXT_BYTES as u64 + 1);
    decoder.read_to_string(&mut text).map_err(|error| format!("its compressed body cannot be read: {error}"))?;
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("its compressed body holds more than {MAX_TEXT_BYTES} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;
    use std::io::Write;

    fn header(kind: &str, length: usize) -> Vec<u8> {
        format!("00.9.00\u{1}{kind}\u{1}{length:010}").into_bytes()
    }

    fn plain(kind: &str, body: &str) -> Vec<u8> {
        [&header(kind, body.chars().count()), body.as_bytes(), b"\x01123456<![CDATA[]]>\n"].concat()
    }

    fn deflate(body: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn compressed(kind: &str, body: &[u8]) -> Vec<u8> {
        let bytes = deflate(body);
        [&header(kind, bytes.len()), bytes.as_slice(), b"\x01123456\n<![CDATA[]]>\n"].concat()
    }

    fn read(bytes: &[u8]) -> Result<Option<Message>, FrameError> {
        Incoming::default().push(bytes)
    }

    fn refusal(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn a_request_is_what_the_vendors_client_sends() {
        let bytes = request("00", &["login", "anonymous", "123456", "0"]);
        let text = "00.9.40\u{1}00\u{1}0000000024login\u{1}anonymous\u{1}123456\u{1}0";
        assert_eq!(String::from_utf8(bytes).unwrap(), format!("{text}\u{1}{}\n", crc32fast::hash(text.as_bytes())));
        assert_eq!(text.len() - 24, HEADER_LENGTH);
    }

    #[test]
    fn an_answer_is_read_however_it_is_cut_into_pieces() {
        let body = "0\u{1}success\u{1}浦发银行";
        for bytes in [plain("36", body), compressed("96", body.as_bytes())] {
            for size in [1, 2, 7, 20, 21, 22, 1_000] {
                let mut incoming = Incoming::default();
                let mut answers = bytes.chunks(size).filter_map(|piece| incoming.push(piece).unwrap());
                assert_eq!(answers.next().unwrap().body, body, "{size}");
                assert_eq!(answers.next(), None);
            }
        }
    }

    #[test]
    fn ignores_the_end_mark_within_a_compressed_body() {
        // Stored blocks keep the text uncompressed.
        let body = "0\u{1}success\u{1}<![CDATA[]]>\n\u{1}more";
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(body.as_bytes()).unwrap();
        let stored = encoder.finish().unwrap();
        assert!(stored.windows(END_MARK.len()).any(|window| window == END_MARK));
        let bytes = [&header("96", stored.len()), stored.as_slice(), b"\x011\n<![CDATA[]]>\n"].concat();
        assert_eq!(read(&bytes).unwrap().unwrap().body, body);
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_beginning() {
        assert!(refusal(b"HTTP/1.1 400 Bad Request\r\n").contains("no header; the message begins with `HTTP/1.1 400"));
        assert!(refusal(b"00.9.00\x0196\x01-000000001").contains("no header"));
        assert!(refusal(b"00.9.00\x0196\x019999999999").contains("more than 8388608"));
        assert!(refusal(&plain("36", "0\u{1}success").replace_length(12)).contains("but its length is 12"));
        assert!(refusal(&plain("36", "0\u{1}success").replace_length(3)).contains("9 characters, but its length is 3"));
        let torn = compressed("96", b"0\x01success");
        assert!(refusal(&torn.replace_length(5)).contains("does not end after 5 bytes"));
        let mut mutated = torn.clone();
        mutated[HEADER_LENGTH + 5] ^= 0xff;
        assert!(refusal(&mutated).contains("cannot be read"), "{}", refusal(&mutated));
        let twice = [torn.clone(), torn].concat();
        assert!(refusal(&twice).contains("bytes after its end"));
        let not_text = [&header("36", 3), b"0\x01\xff\x011<![CDATA[]]>\n".as_slice()].concat();
        assert!(refusal(&not_text).contains("not valid text"));
    }

    trait ReplaceLength {
        fn replace_length(&self, length: usize) -> Vec<u8>;
    }

    impl ReplaceLength for Vec<u8> {
        fn replace_length(&self, length: usize) -> Vec<u8> {
            [&header("96", length), &self[HEADER_LENGTH..]].concat()
        }
    }

    #[test]
    fn rejects_zip_bombs_and_endless_streams() {
        let bomb = compressed("96", &vec![b'0'; MAX_TEXT_BYTES + 10]);
        assert!(bomb.len() < 100_000);
        assert!(refusal(&bomb).contains("holds more than 33554432 bytes"));
        let mut incoming = Incoming::default();
        let piece = vec![b' '; 1 << 20];
        incoming.push(&header("36", 0)).unwrap();
        let error = (0..100).find_map(|_| incoming.push(&piece).err()).unwrap();
        assert!(error.to_string().contains("more than 8388608 bytes"), "{error}");
        assert!(incoming.received() <= MAX_WIRE_BYTES + MAX_TRAILER);
    }

    #[test]
    fn mutated_messages_give_a_body_or_error() {
        let samples = [plain("36", "0\u{1}success\u{1}浦发银行"), compressed("96", b"0\x01success\x01{\"record\":[]}")];
        kit::fuzz::mutate(&samples, |bytes| {
            if let Err(error) = read(bytes) {
                assert!(!error.to_string().is_empty());
            }
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(25_000))]

        #[test]
        fn any_bytes_give_a_message_or_a_clear_error(bytes in prop::collection::vec(any::<u8>(), 0..80), length in 0..60_usize) {
            let framed = [&header("96", length), bytes.as_slice(), END_MARK].concat();
            for bytes in [&bytes, &framed] {
                if let Err(error) = read(bytes) {
                    prop_assert!(!error.to_string().is_empty());
                }
            }
        }

        #[test]
        fn truncated_or_mutated_frame_never_panics(cut in 0..60_usize, at in 0..60_usize, byte: u8) {
            for mut bytes in [plain("36", "0\u{1}success\u{1}浦发银行"), compressed("96", b"0\x01success\x01{\"record\":[]}")] {
                prop_assert!(matches!(read(&bytes[..cut.min(bytes.len() - 1)]), Ok(None)));
                let at = at.min(bytes.len() - 1);
                bytes[at] = byte;
                if let Err(error) = read(&bytes) {
                    prop_assert!(!error.to_string().is_empty());
                }
            }
        }
    }
}
