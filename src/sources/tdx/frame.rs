// Upstream: connection
// Downstream: cursor, kit
// Role: Encodes TDX request frames, decodes answer headers and decompresses bodies. Pure.

//! A request has 12 bytes before its payload, an answer has 16 before its body (as the public clients write and read
//! them). Both lengths of an answer have 16 bits, which limits its size.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::cursor::{Cursor, Malformed};

/// The length of an answer's header in bytes.
pub const HEADER_BYTES: usize = 16;

const REQUEST_MARK: u8 = 0x0c;
const ANSWER_MARK: [u8; 4] = [0xb1, 0xcb, 0x74, 0x00];

/// Encodes a request.
pub fn request(id: u32, kind: u16, payload: &[u8]) -> Vec<u8> {
    // Payloads have at most 30 bytes.
    let length = u16::try_from(payload.len() + 2).unwrap_or(u16::MAX).to_le_bytes();
    let mut frame = vec![REQUEST_MARK];
    frame.extend(id.to_le_bytes());
    frame.push(1);
    frame.extend([length, length, kind.to_le_bytes()].concat());
    frame.extend(payload);
    frame
}

/// The header of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The request's id.
    id: u32,
    /// The request's kind.
    kind: u16,
    /// The length of the body as it is sent, in bytes.
    pub sent: usize,
    /// The length of the decompressed body in bytes; equal to `sent` if the body is not compressed.
    plain: usize,
}

impl Header {
    /// Parses the header of the answer to a request of this ID and kind.
    pub fn parse(bytes: &[u8; HEADER_BYTES], id: u32, kind: u16) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        if cursor.bytes()? != ANSWER_MARK {
            return Err(Malformed(format!("it is no answer of TDX's protocol; it begins with {}", excerpt(bytes))));
        }
        // The mark of compressed bodies is not always set. Clients compare the lengths only.
        let _packed = cursor.u8()?;
        let answered_id = cursor.u32()?;
        let _arbitrary = cursor.u8()?;
        let header = Self {
            id: answered_id,
            kind: cursor.u16()?,
            sent: usize::from(cursor.u16()?),
            plain: usize::from(cursor.u16()?),
        };
        if (header.id, header.kind) != (id, kind) {
            let (of_id, of_kind) = (header.id, header.kind);
            let text =
                format!("it answers request {of_id} of kind {of_kind:#06x}, not request {id} of kind {kind:#06x}");
            return Err(Malformed(text));
        }
        Ok(header)
    }

    /// The body, decompressed if necessary. Decompression stops after one byte more than announced.
    pub fn body(&self, sent: Vec<u8>) -> Result<Vec<u8>, Malformed> {
        if self.sent == self.plain {
            return Ok(sent);
        }
        let mut plain = Vec::with_capacity(self.plain);
        let one_more = self.plain as u64 + 1;
        ZlibDecoder::new(sent.as_slice()).take(one_more).read_to_end(&mut plain).map_err(|error| {
            Malformed(format!("the compressed body cannot be read ({error}); it begins with {}", excerpt(&sent)))
        })?;
        if plain.len() != self.plain {
            let found = if plain.len() > self.plain { "more".to_owned() } else { plain.len().to_string() };
            return Err(Malformed(format!("the compressed body has {found} bytes, but {} were announced", self.plain)));
        }
        Ok(plain)
    }
}

/// The beginning of some bytes as hex and text, for an error message.
pub fn excerpt(bytes: &[u8]) -> String {
    let start = bytes.get(..HEADER_BYTES).unwrap_or(bytes);
    let hex: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
    let text: String = start.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' }).collect();
    format!("{hex} `{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;
    use std::io::Write;

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn header(sent: usize, plain: usize) -> Header {
        Header { id: 1, kind: 2, sent, plain }
    }

    #[test]
    fn a_request_is_the_one_that_was_recorded() {
        let payload = [[0, 0].as_slice(), b"000001", &[9, 0, 1, 0, 0, 0, 10, 0], &[0; 10]].concat();
        let frame = request(0x0164_0801, 0x052d, &payload);
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, format!("0c01086401011c001c002d050000303030303031090001000000{}{}", "0a00", "00".repeat(10)));
    }

    #[test]
    fn an_answer_must_be_the_one_to_the_request() {
        // The beginning of a recorded answer.
        let mut bytes = *b"\xb1\xcb\x74\x00\x0c\x01\x08\x64\x01\x02\x2d\x05\xaa\x00\xaa\x00";
        assert_eq!(Header::parse(&bytes, 0x0164_0801, 0x052d).unwrap().sent, 0xaa);
        let error = Header::parse(&bytes, 7, 0x052d).unwrap_err().to_string();
        assert!(error.contains("not request 7 of kind 0x052d"), "{error}");
        assert!(Header::parse(&bytes, 0x0164_0801, 0x0fb5).is_err());
        bytes[0] = b'<';
        assert!(Header::parse(&bytes, 0x0164_0801, 0x052d).unwrap_err().to_string().contains("it begins with 3ccb74"));
    }

    #[test]
    fn rejects_packed_body_of_wrong_length() {
        let plain = [b"ticks ".as_slice(); 100].concat();
        let sent = packed(&plain);
        assert_eq!(header(sent.len(), 600).body(sent.clone()).unwrap(), plain);
        let bomb = packed(&vec![0; 10 << 20]);
        let error = header(bomb.len(), 1_000).body(bomb).unwrap_err().to_string();
        assert!(error.contains("more bytes, but 1000 were announced"), "{error}");
        let error = header(sent.len(), 601).body(sent.clone()).unwrap_err().to_string();
        assert!(error.contains("600 bytes, but 601"), "{error}");
        let torn = sent[..sent.len() / 2].to_vec();
        assert!(header(torn.len(), 600).body(torn).unwrap_err().to_string().contains("cannot be read"));
        assert_eq!(header(3, 3).body(vec![1, 2, 3]).unwrap(), [1, 2, 3]);
        assert!(header(0, 0).body(Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn mutated_frames_give_a_body_or_an_error() {
        let body = packed(b"a body of some length, a body of some length");
        kit::fuzz::mutate(&[body], |bytes| {
            if let Some(head) = bytes.first_chunk() {
                let _header = Header::parse(head, 1, 2);
            }
            let _body = header(bytes.len(), 44).body(bytes.to_vec());
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn any_bytes_are_a_body_or_an_error(
            head: [u8; HEADER_BYTES], body in prop::collection::vec(any::<u8>(), 0..64), plain in 0_usize..256,
            packs: bool, flip: u8,
        ) {
            let _header = Header::parse(&head, 1, 2);
            let mut sent = if packs { packed(&body) } else { body };
            if let Some(byte) = sent.get_mut(usize::from(flip)) {
                *byte ^= 1;
            }
            if let Ok(read) = header(sent.len(), plain).body(sent.clone()) {
                prop_assert!(read.len() == plain || sent.len() == plain);
            }
        }
    }
}
