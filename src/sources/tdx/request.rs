// Upstream: many
// Downstream: actors, cursor
// Role: The interface of a TDX request; markets and their numbers.

use actors::domain::Code;
use actors::ports::SourceErrorKind;

use super::cursor::Malformed;

/// A request: its bytes, and how to parse its answer.
pub trait Request: Sync {
    /// The type that the answer becomes.
    type Answer: Send;
    /// The request's kind.
    const KIND: u16;

    /// The bytes after the header.
    fn payload(&self) -> Vec<u8>;

    /// Parses the body of an answer.
    fn parse(&self, body: &[u8]) -> Result<Self::Answer, Malformed>;
}

/// An exchange, with TDX's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Market {
    /// Shenzhen, 0.
    Shenzhen,
    /// Shanghai, 1.
    Shanghai,
}

impl Market {
    /// Both markets.
    pub const ALL: [Self; 2] = [Self::Shenzhen, Self::Shanghai];

    /// The vendor's number.
    pub fn number(self) -> u8 {
        match self {
            Self::Shenzhen => 0,
            Self::Shanghai => 1,
        }
    }

    /// The suffix of a code.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Shenzhen => "SZ",
            Self::Shanghai => "SH",
        }
    }

    /// Whether six digits are an A-share of this market. The lists also contain indices, funds and bonds.
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
    /// The usual code.
    pub code: Code,
    /// Where it is listed.
    pub market: Market,
}

impl Security {
    /// Rejects securities that the servers do not have. Beijing's are newer than the protocol, and only some servers
    /// know them.
    pub fn of(code: Code) -> Result<Self, SourceErrorKind> {
        let market = match code.exchange() {
            "SZ" => Market::Shenzhen,
            "SH" => Market::Shanghai,
            other => {
                let text = format!("TDX has only securities of Shanghai and Shenzhen, and {code} is of {other}");
                return Err(SourceErrorKind::NotCovered(text));
            }
        };
        Ok(Self { code, market })
    }

    /// The market in two bytes and the six digits, the beginning of most requests.
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = u16::from(self.market.number()).to_le_bytes().to_vec();
        bytes.extend(self.code.digits().as_bytes());
        bytes
    }

    /// The decimal places of its prices in ticks: shares count hundredths, all others thousandths.
    pub fn decimals(self) -> u32 {
        if self.market.has_share(self.code.digits()) { 2 } else { 3 }
    }
}
