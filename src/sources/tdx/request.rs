// Upstream: many
// Downstream: actors, cursor
// Role: What the source needs to know of one of TDX's requests; markets and their numbers.

use actors::domain::Code;
use actors::ports::SourceErrorKind;

use super::cursor::Malformed;

/// A request: its bytes, and what its answer means.
pub trait Request: Sync {
    /// What the answer becomes.
    type Answer: Send;
    /// The request's kind.
    const KIND: u16;

    /// The bytes after the header.
    fn payload(&self) -> Vec<u8>;

    /// Reads the body of an answer.
    fn parse(&self, body: &[u8]) -> Result<Self::Answer, Malformed>;
}

/// An exchange in TDX's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Market {
    /// Shenzhen, 0.
    Shenzhen,
    /// Shanghai, 1.
    Shanghai,
}

impl Market {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Shenzhen, Self::Shanghai];

    /// The vendor's number.
    pub fn number(self) -> u8 {
        match self {
            Self::Shenzhen => 0,
            Self::Shanghai => 1,
        }
    }

    /// As the end of a code.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Shenzhen => "SZ",
            Self::Shanghai => "SH",
        }
    }

    /// Whether six digits are an A-share's here; the lists also hold indices, funds and bonds.
    pub fn has_share(self, digits: &str) -> bool {
        let prefixes = match self {
            Self::Shenzhen => ["00", "30"],
            Self::Shanghai => ["60", "68"],
        };
        prefixes.iter().any(|prefix| digits.starts_with(prefix))
    }
}

/// A security as TDX names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Security {
    /// As everybody names it.
    pub code: Code,
    /// Where it is listed.
    pub market: Market,
}

impl Security {
    /// Refuses what the servers do not have: Beijing's securities came after the protocol, and only some know them.
    pub fn of(code: Code) -> Result<Self, SourceErrorKind> {
        let market = match code.exchange() {
            "SZ" => Market::Shenzhen,
            "SH" => Market::Shanghai,
            other => {
                let text = format!("TDX has the securities of Shanghai and Shenzhen, {code} is of {other}");
                return Err(SourceErrorKind::BadRequest(text));
            }
        };
        Ok(Self { code, market })
    }

    /// The market in two bytes and the six digits, as most requests begin.
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = u16::from(self.market.number()).to_le_bytes().to_vec();
        bytes.extend(self.code.digits().as_bytes());
        bytes
    }

    /// The digits after the point of its prices in ticks: shares are counted in hundredths, all else in thousandths.
    pub fn decimals(self) -> u32 {
        if self.market.has_share(self.code.digits()) { 2 } else { 3 }
    }
}
