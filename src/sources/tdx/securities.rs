// Upstream: source
// Downstream: actors, cursor, kit, request
// Role: TDX's requests 0x044e and 0x0450: the number of securities of a market, and a page of their list. Pure.

//! The list contains everything that has a price. Names are GBK in eight bytes. It has no listing date and no industry.

use actors::domain::{FetchedStock, Field};
use encoding_rs::GBK;

use super::cursor::{Cursor, Malformed};
use super::request::{Market, Request};

/// The length of a record in bytes.
const RECORD: usize = 29;
/// Maximum number of records in one answer.
const PAGE: usize = 1_000;
/// A day that the public clients send. Its meaning is unknown.
const DAY: u32 = 20_170_613;

/// Requests the number of securities of a market.
pub struct SecurityCount(pub Market);

impl Request for SecurityCount {
    type Answer = u16;
    const KIND: u16 = 0x044e;

    fn payload(&self) -> Vec<u8> {
        [&[self.0.number(), 0][..], &DAY.to_le_bytes()].concat()
    }

    fn parse(&self, body: &[u8]) -> Result<u16, Malformed> {
        Cursor::new(body).u16()
    }
}

/// Requests a page of a market's list.
pub struct SecurityList {
    /// The market.
    pub market: Market,
    /// The number of records to skip.
    pub skip: u16,
}

/// A page of the list.
#[derive(Debug, PartialEq, Eq)]
pub struct SecurityPage {
    /// The number of records of all kinds.
    pub records: u16,
    /// The A-shares among them.
    pub shares: Vec<FetchedStock>,
}

impl Request for SecurityList {
    type Answer = SecurityPage;
    const KIND: u16 = 0x0450;

    fn payload(&self) -> Vec<u8> {
        [[self.market.number(), 0], self.skip.to_le_bytes()].concat()
    }

    fn parse(&self, body: &[u8]) -> Result<SecurityPage, Malformed> {
        let mut cursor = Cursor::new(body);
        let count = cursor.count(RECORD)?;
        let records = u16::try_from(count).ok().filter(|_| count <= PAGE);
        let records = records.ok_or_else(|| Malformed(format!("{count} securities, but a page has at most {PAGE}")))?;
        let mut shares = Vec::new();
        for _ in 0..count {
            let digits = cursor.bytes::<6>()?;
            let _lot = cursor.u16()?;
            let name = cursor.bytes::<8>()?;
            // Unknown, decimals, the previous close, unknown.
            let _rest = cursor.bytes::<13>()?;
            let digits = String::from_utf8_lossy(&digits);
            if self.market.has_share(&digits) {
                shares.push(FetchedStock {
                    code: Field::Value(format!("{digits}.{}", self.market.suffix())),
                    name: text(&name),
                    industry: Field::Missing,
                    list_date: Field::Missing,
                    delist_date: Field::Missing,
                });
            }
        }
        Ok(SecurityPage { records, shares })
    }
}

/// Decodes GBK up to the first NUL. The server cuts a name of more than four characters, perhaps within a character.
fn text(bytes: &[u8; 8]) -> Field<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, _) = GBK.decode_without_bom_handling(bytes.get(..end).unwrap_or_default());
    match text.trim_end_matches('\u{fffd}').trim() {
        "" => Field::Missing,
        text if text.contains('\u{fffd}') => Field::unreadable(text),
        text => Field::Value(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(digits: &[u8; 6], name: &[u8; 8]) -> Vec<u8> {
        [&digits[..], &[100, 0], name, &[0; 4], &[2], &9.5_f32.to_le_bytes(), &[0; 4]].concat()
    }

    fn page(market: Market) -> SecurityList {
        SecurityList { market, skip: 0 }
    }

    #[test]
    fn shares_are_picked_by_their_numbers_and_named() {
        let records = [
            record(b"600000", b"\xc6\xd6\xb7\xa2\xd2\xf8\xd0\xd0"),
            record(b"000001", b"\xc9\xcf\xd6\xa4\xd6\xb8\xca\xfd"), // an index in Shanghai
            record(b"688981", b"*ST\xc6\xd6\0\0\0"),
            record(b"601999", b"\0\0\0\0\0\0\0\0"),
            record(b"603000", b"a\xc6\xd6\xc6\xd6\xc6\xd6\xc6"), // cut within a character
        ];
        let body = [&5_u16.to_le_bytes()[..], &records.concat()].concat();
        let SecurityPage { records, shares } = page(Market::Shanghai).parse(&body).unwrap();
        assert_eq!(records, 5);
        let names = [
            ("600000.SH", Field::Value("浦发银行".to_owned())),
            ("688981.SH", Field::Value("*ST浦".to_owned())),
            ("601999.SH", Field::Missing),
            ("603000.SH", Field::Value("a浦浦浦".to_owned())),
        ];
        for (share, (code, name)) in shares.iter().zip(names) {
            assert_eq!((&share.code, &share.name), (&Field::Value(code.to_owned()), &name));
        }
        assert_eq!(shares.len(), 4);
        let in_shenzhen = page(Market::Shenzhen).parse(&body).unwrap().shares;
        assert_eq!(in_shenzhen[0].code, Field::Value("000001.SZ".to_owned()));
    }

    #[test]
    fn torn_and_endless_pages_are_refused() {
        let body = [&1_u16.to_le_bytes()[..], &record(b"600000", b"12345678")].concat();
        for end in 0..body.len() {
            assert!(page(Market::Shanghai).parse(&body[..end]).is_err(), "{end}");
        }
        let many = [&1_001_u16.to_le_bytes()[..], &[0; 30_000]].concat();
        assert!(page(Market::Shanghai).parse(&many).unwrap_err().to_string().contains("at most 1000"));
        assert_eq!(SecurityCount(Market::Shanghai).parse(&[0x3b, 0x33]), Ok(13_115));
        assert!(SecurityCount(Market::Shanghai).parse(&[1]).is_err());
    }

    #[test]
    fn mutated_pages_give_securities_or_an_error() {
        let records = [record(b"600000", b"\xc6\xd6\xb7\xa2\xd2\xf8\xd0\xd0"), record(b"688981", b"*ST\xc6\xd6\0\0\0")];
        let sample = [&2_u16.to_le_bytes()[..], &records.concat()].concat();
        kit::fuzz::mutate(&[sample], |bytes| drop(page(Market::Shanghai).parse(bytes)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn any_bytes_are_securities_or_an_error(count in 0_u16..4, rest in prop::collection::vec(any::<u8>(), 0..120)) {
            let body = [&count.to_le_bytes()[..], &rest].concat();
            if let Ok(found) = page(Market::Shanghai).parse(&body) {
                prop_assert_eq!(found.records, count);
            }
        }
    }
}
