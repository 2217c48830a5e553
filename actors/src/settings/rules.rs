// Upstream: fetcher, settings, validator, validator::rules
// Downstream: domain
// Role: Which rules of the market a bar is judged by, what follows from breaking one, and their limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Rule;

/// What follows from breaking a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    /// The rule is not looked at.
    Ignore,
    /// The row is stored, counted and reported.
    Warning,
    /// The row is skipped, counted and reported.
    Error,
}

/// Rules of the market, beyond those without which a row cannot be stored at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuleSettings {
    /// A daily bar beyond the price limit of its board, special treatment and first days included; a trade of a day that is
    /// further from another than any limit allows.
    pub price_limit: RuleAction,
    /// A row of a day on which the exchanges did not trade.
    pub non_trading_day: RuleAction,
    /// Amount divided by volume lies outside the bar's prices, as where a unit is wrong.
    pub average_price: RuleAction,
    /// Daily bars with trades that repeat each other in every value.
    pub stale_repeat: RuleAction,
    /// A minute bar that ends where no bar of its length ends.
    pub minute_grid: RuleAction,
    /// A row of a day before the security's `list_date` in `stock_info`.
    pub before_listing: RuleAction,
    /// A row of a day after the security's `delist_date` in `stock_info`.
    pub after_delisting: RuleAction,
    /// A daily bar whose price of reference is not the close of the day before, where no change of the stored adjustment
    /// factor explains it; or a change that no price shows.
    pub ex_right: RuleAction,
    /// A bar of a share with a price of more than two decimals, as where prices are adjusted or went through binary numbers.
    pub price_decimals: RuleAction,
    /// A trade outside the sessions.
    pub tick_session: RuleAction,
    /// A trade that is older than the one before it in the source's order.
    pub tick_order: RuleAction,
    /// An adjustment factor below that of an earlier day.
    pub factor_decreases: RuleAction,
    /// Minute bars of a whole day whose volume, highest, lowest or last price is not that of the stored daily bar.
    pub day_sum: RuleAction,
    /// How far the average price may lie outside lowest and highest, in percent.
    #[schemars(range(max = 100))]
    pub average_price_tolerance_percent: u32,
    /// How far the volume of a day's minute bars may be from the daily bar's, in percent.
    #[schemars(range(max = 100))]
    pub day_sum_tolerance_percent: u32,
    /// So many equal daily bars one after the other are a stale repeat.
    #[schemars(range(min = 2, max = 250))]
    pub stale_repeat_bars: u32,
}

/// How bars are compared with those of another source, where `sources.cross_check` names some.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrossCheckSettings {
    /// How far prices may be apart, in percent of the higher.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub price_tolerance_percent: f64,
    /// How far volumes may be apart, in percent of the larger; one lot always.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub volume_tolerance_percent: f64,
    /// How far amounts may be apart, in percent of the larger; one thousand yuan always.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub amount_tolerance_percent: f64,
    /// The longest wait for the other source. Rows that it gave no word of by then are stored without the comparison, and no
    /// other is compared for a minute.
    #[schemars(range(min = 100, max = 30_000))]
    pub max_wait_ms: u64,
}

impl Default for CrossCheckSettings {
    fn default() -> Self {
        Self {
            // Half a tick of a share at 10 yuan: single-precision numbers are nearer, a wrong price is not.
            price_tolerance_percent: 0.05,
            // Vendors add up auctions, odd lots and late trades each in its own way.
            volume_tolerance_percent: 0.1,
            amount_tolerance_percent: 0.1,
            max_wait_ms: 10_000,
        }
    }
}

impl RuleSettings {
    /// What follows from breaking a rule. Those that cannot be set are errors: such a row cannot be stored.
    pub fn action(&self, rule: Rule) -> RuleAction {
        match rule {
            Rule::PriceLimit => self.price_limit,
            Rule::NonTradingDay => self.non_trading_day,
            Rule::AveragePrice => self.average_price,
            Rule::StaleRepeat => self.stale_repeat,
            Rule::MinuteGrid => self.minute_grid,
            Rule::BeforeListing => self.before_listing,
            Rule::AfterDelisting => self.after_delisting,
            Rule::ExRight => self.ex_right,
            Rule::PriceDecimals => self.price_decimals,
            Rule::TickSession => self.tick_session,
            Rule::TickOrder => self.tick_order,
            Rule::FactorDecreases => self.factor_decreases,
            Rule::DaySum => self.day_sum,
            // What sources say differently is no fault of either row.
            Rule::SourceDisagreement => RuleAction::Warning,
            Rule::MissingValue
            | Rule::UnreadableValue
            | Rule::PriceNotPositive
            | Rule::FactorNotPositive
            | Rule::HighBelowOpenOrClose
            | Rule::LowAboveOpenOrClose
            | Rule::VolumeNegative
            | Rule::AmountNegative
            | Rule::DuplicateTimestamp
            | Rule::DuplicateKey
            | Rule::ImplausibleTimestamp
            | Rule::ValueOutOfRange => RuleAction::Error,
        }
    }
}

impl Default for RuleSettings {
    fn default() -> Self {
        Self {
            price_limit: RuleAction::Warning,
            non_trading_day: RuleAction::Warning,
            average_price: RuleAction::Warning,
            stale_repeat: RuleAction::Warning,
            minute_grid: RuleAction::Warning,
            before_listing: RuleAction::Warning,
            after_delisting: RuleAction::Warning,
            ex_right: RuleAction::Warning,
            price_decimals: RuleAction::Warning,
            tick_session: RuleAction::Warning,
            tick_order: RuleAction::Warning,
            factor_decreases: RuleAction::Warning,
            day_sum: RuleAction::Warning,
            // Vendors round prices, lots and thousands each on its own.
            average_price_tolerance_percent: 2,
            // Trades at the fixed price after the close.
            day_sum_tolerance_percent: 2,
            // Two equal days happen with thinly traded shares.
            stale_repeat_bars: 3,
        }
    }
}
