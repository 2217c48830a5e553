// Upstream: factors, source
// Downstream: actors, bars, cursor, kit, request
// Role: TDX's request 0x000f: the ex-right and ex-dividend days of one security. Pure.

//! Records of category 1 describe what a holder of ten shares gets, in four floats: cash (yuan), the price of new
//! shares (yuan per share), free shares, shares that may be bought (as the public clients read them). The other
//! categories describe capital changes that do not move the price.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::bars::date;
use super::cursor::{Cursor, Malformed, decimal};
use super::request::{Request, Security};
use actors::domain::Field;

/// The length of a record in bytes.
const RECORD: usize = 29;
/// The category that moves the price.
const EX_RIGHT: u8 = 1;

/// What the holder of ten shares gets on an ex-right day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExRight {
    /// The ex-right day: the first day on which the price excludes the rights.
    pub day: NaiveDate,
    /// Cash in yuan.
    pub cash: Decimal,
    /// Free shares.
    pub free_shares: Decimal,
    /// Shares that may be bought.
    pub bought_shares: Decimal,
    /// The total cost of those shares in yuan.
    pub paid: Decimal,
}

/// Requests all events of one security.
pub struct ExRights {
    /// The security.
    pub security: Security,
}

impl Request for ExRights {
    type Answer = Vec<ExRight>;
    const KIND: u16 = 0x000f;

    fn payload(&self) -> Vec<u8> {
        // The request names one security.
        [&[1, 0, self.security.market.number()][..], self.security.code.digits().as_bytes()].concat()
    }

    fn parse(&self, body: &[u8]) -> Result<Vec<ExRight>, Malformed> {
        let mut cursor = Cursor::new(body);
        if cursor.u16()? == 0 {
            return Ok(Vec::new());
        }
        self.check(&mut cursor)?;
        let count = cursor.count(RECORD)?;
        let mut events = Vec::new();
        for number in 0..count {
            self.check(&mut cursor)?;
            let _unknown = cursor.u8()?;
            let (day, category) = (cursor.u32()?, cursor.u8()?);
            let values = [cursor.f32()?, cursor.f32()?, cursor.f32()?, cursor.f32()?];
            if category == EX_RIGHT {
                let event = event(day, values);
                events.push(event.map_err(|reason| Malformed(format!("event {number} of day {day}: {reason}")))?);
            }
        }
        Ok(events)
    }
}

impl ExRights {
    /// Checks that the record is about the requested digits.
    fn check(&self, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        let (_market, digits) = (cursor.u8()?, cursor.bytes::<6>()?);
        if digits == self.security.code.digits().as_bytes() {
            return Ok(());
        }
        let found = String::from_utf8_lossy(&digits).escape_debug().to_string();
        Err(Malformed(format!("it is about {found}, but {} was requested", self.security.code)))
    }
}

fn event(day: u32, values: [f32; 4]) -> Result<ExRight, String> {
    let number = |value: f32| match decimal(value) {
        Field::Value(number) if number >= Decimal::ZERO => Ok(number),
        _ => Err(format!("{value} is not a valid amount")),
    };
    let [cash, price, free_shares, bought_shares] = values.map(number);
    let bought_shares = bought_shares?;
    Ok(ExRight {
        day: date(day).ok_or("it is not a valid day")?,
        cash: cash?,
        free_shares: free_shares?,
        paid: price?.checked_mul(bought_shares).ok_or("the price is too large")?,
        bought_shares,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> ExRights {
        ExRights { security: Security::of("600000.SH".parse().unwrap()).unwrap() }
    }

    fn record(day: u32, category: u8, values: [f32; 4]) -> Vec<u8> {
        let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        [&[1][..], b"600000", &[0], &day.to_le_bytes(), &[category], &values].concat()
    }

    fn body(records: &[Vec<u8>]) -> Vec<u8> {
        [&[1, 0, 1][..], b"600000", &(records.len() as u16).to_le_bytes(), &records.concat()].concat()
    }

    #[test]
    fn reads_only_events_that_move_the_price() {
        let records = [
            record(20_100_610, 1, [1.5, 0.0, 3.0, 0.0]),
            record(20_100_901, 5, [1e9, -2.0, f32::NAN, 0.0]),
            record(20_120_305, 1, [0.0, 4.5, 0.0, 2.5]),
        ];
        let events = request().parse(&body(&records)).unwrap();
        let decimal = |text: &str| text.parse::<Decimal>().unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!((events[0].day, events[0].cash), ("2010-06-10".parse().unwrap(), decimal("1.5")));
        assert_eq!((events[0].free_shares, events[0].paid), (decimal("3"), decimal("0")));
        assert_eq!((events[1].bought_shares, events[1].paid), (decimal("2.5"), decimal("11.25")));
        assert_eq!(request().payload(), [&[1, 0, 1][..], b"600000"].concat());
    }

    #[test]
    fn rejects_torn_and_foreign_events() {
        assert_eq!(request().parse(&[0, 0]).unwrap(), []);
        assert_eq!(request().parse(&body(&[])).unwrap(), []);
        let whole = body(&[record(20_100_610, 1, [1.5, 0.0, 3.0, 0.0])]);
        for end in 0..whole.len() {
            assert!(request().parse(&whole[..end]).is_err(), "{end}");
        }
        let mut foreign = whole.clone();
        foreign[12] = b'9';
        assert!(request().parse(&foreign).unwrap_err().to_string().contains("but 600000.SH was requested"));
        for (day, values, part) in [
            (20_100_631, [1.0; 4], "not a valid day"),
            (20_100_610, [-1.0; 4], "-1 is not a valid amount"),
            (20_100_610, [f32::NAN; 4], "NaN"),
        ] {
            let error = request().parse(&body(&[record(day, 1, values)])).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn mutated_answers_give_events_or_an_error() {
        let sample = body(&[record(20_100_610, 1, [1.5, 0.0, 3.0, 0.0]), record(20_110_610, 1, [1.5; 4])]);
        kit::fuzz::mutate(&[sample], |bytes| drop(request().parse(bytes)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn any_bytes_are_events_or_an_error(at in 0_usize..70, byte: u8, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _events = request().parse(&bytes);
            let mut mutated = body(&[record(20_100_610, 1, [1.5, 0.0, 3.0, 0.0]), record(20_110_610, 1, [1.5; 4])]);
            if let Some(mutated) = mutated.get_mut(at) {
                *mutated = byte;
            }
            let _events = request().parse(&mutated);
        }
    }
}
