// Upstream: settings
// Downstream: domain
// Role: The delay until a task's rows are readable, measured from the command's timestamp or the market close.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::calendar::TradingCalendar;
use crate::domain::shanghai_clock;

/// The time from which delays are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DelayBasis {
    /// The timestamp of the command.
    #[default]
    Command,
    /// The close (15:00) of the newest trading day, for tasks that store new rows of that day. Other tasks have no
    /// delay.
    MarketClose,
}

/// The end of the trading session. No half day ends later.
const CLOSE: NaiveTime = match NaiveTime::from_hms_opt(15, 0, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};

impl DelayBasis {
    /// The delay of a task that ended at `now`; `None` if it is undefined.
    pub fn delay(
        self,
        issued_at: Option<DateTime<Utc>>,
        newest_stored: Option<NaiveDateTime>,
        now: DateTime<Utc>,
    ) -> Option<Duration> {
        match self {
            Self::Command => (now - issued_at?).to_std().ok(),
            Self::MarketClose => {
                let here = shanghai_clock::wall_clock(now);
                let day = newest_closed_day(here)?;
                (newest_stored?.date() == day).then(|| (here - day.and_time(CLOSE)).to_std().ok())?
            }
        }
    }
}

/// The newest trading day whose session is over; `None` if the calendar does not cover it.
fn newest_closed_day(now: NaiveDateTime) -> Option<NaiveDate> {
    let calendar = TradingCalendar::built_in();
    match calendar.is_trading_day(now.date())? {
        true if now.time() >= CLOSE => Some(now.date()),
        _ => calendar.previous(now.date()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(basis: DelayBasis, newest: Option<&str>, now: &str) -> Option<u64> {
        let now: DateTime<Utc> = format!("{now}+08:00").parse().unwrap();
        let newest = newest.map(|time| time.parse().unwrap());
        basis.delay(Some(now - chrono::Duration::seconds(7)), newest, now).map(|delay| delay.as_secs())
    }

    #[test]
    fn a_command_s_delay_counts_from_its_timestamp() {
        assert_eq!(delay(DelayBasis::Command, None, "2024-01-05T15:08:00"), Some(7));
        assert_eq!(DelayBasis::Command.delay(None, None, Utc::now()), None);
    }

    #[test]
    fn market_delay_counts_from_the_newest_close() {
        let of = |newest, now| delay(DelayBasis::MarketClose, newest, now);
        assert_eq!(of(Some("2024-01-05T00:00:00"), "2024-01-05T15:08:00"), Some(480));
        assert_eq!(of(Some("2024-01-05T15:00:00"), "2024-01-05T15:08:00"), Some(480), "minute bars, too");
        assert_eq!(of(Some("2024-01-05T00:00:00"), "2024-01-07T15:00:00"), Some(2 * 86_400), "over the weekend");
        assert_eq!(of(Some("2024-01-04T00:00:00"), "2024-01-05T14:59:00"), Some(86_340), "before today's close");
        assert_eq!(of(Some("2023-06-01T00:00:00"), "2024-01-05T15:08:00"), None, "historical rows were stored");
        assert_eq!(of(None, "2024-01-05T15:08:00"), None, "nothing new was stored");
    }
}
