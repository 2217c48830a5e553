// Upstream: fetcher, settings, validator, validator::rules
// Downstream: domain
// Role: Settings of the market rules: the action for each rule, tolerances and thresholds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Rule;

/// The action for a row that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    /// The rule is not checked.
    Ignore,
    /// The row is stored, counted and reported.
    Warning,
    /// The row is skipped, counted and reported.
    Error,
}

/// Market rules. They apply in addition to the rules without which a row cannot be stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuleSettings {
    /// A daily bar with a price beyond the price limit of its board, taking special treatment and first trading days
    /// into account; or a tick whose price is further from another price of the day than any limit allows.
    pub price_limit: RuleAction,
    /// A row on a day on which the exchanges were closed.
    pub non_trading_day: RuleAction,
    /// Amount divided by volume is outside the bar's price range, for example because a unit is wrong.
    pub average_price: RuleAction,
    /// Consecutive daily bars with a volume above zero that are equal in all values.
    pub stale_repeat: RuleAction,
    /// A minute bar whose end is not on the grid of its frequency.
    pub minute_grid: RuleAction,
    /// A row dated before the security's `list_date` in `stock_info`.
    pub before_listing: RuleAction,
    /// A row dated after the security's `delist_date` in `stock_info`.
    pub after_delisting: RuleAction,
    /// A daily bar whose reference price is not the previous close although the stored adjustment factor did not change
    /// accordingly; or a change of the factor that the prices do not show.
    pub ex_right: RuleAction,
    /// A bar of a share with a price of more than two decimals, for example because of adjusted prices or binary
    /// floating point.
    pub price_decimals: RuleAction,
    /// A price of a fund, a bond, a B share or an index with more decimals than the columns of the table hold. It is
    /// rounded.
    pub price_rounded: RuleAction,
    /// A tick outside the trading sessions.
    pub tick_session: RuleAction,
    /// A tick that is older than the previous one in the source's order.
    pub tick_order: RuleAction,
    /// An adjustment factor that is lower than that of an earlier day.
    pub factor_decreases: RuleAction,
    /// Minute bars of a full day whose total volume, highest, lowest or last price differs from the stored daily bar.
    pub day_sum: RuleAction,
    /// Tolerance of the average price of a daily bar beyond the lowest and highest price, in percent.
    #[schemars(range(max = 100))]
    pub average_price_tolerance_percent: u32,
    /// The same for minute bars. Vendors cut the volume and the amount of a minute at different trades, so the two of one
    /// bar may disagree; a wrong unit differs by a factor of ten or more.
    #[schemars(range(max = 100))]
    pub average_price_minute_tolerance_percent: u32,
    /// Tolerance between the total volume of a day's minute bars and the daily bar, in percent.
    #[schemars(range(max = 100))]
    pub day_sum_tolerance_percent: u32,
    /// Number of consecutive equal daily bars that count as a stale repeat.
    #[schemars(range(min = 2, max = 250))]
    pub stale_repeat_bars: u32,
}

/// Comparison of bars with another source. It is active if `sources.cross_check` names a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrossCheckSettings {
    /// Tolerance of prices, in percent of the higher one.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub price_tolerance_percent: f64,
    /// Tolerance of volumes, in percent of the larger one; a difference of one lot is always tolerated.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub volume_tolerance_percent: f64,
    /// Tolerance of amounts, in percent of the larger one; a difference of one thousand yuan is always tolerated.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub amount_tolerance_percent: f64,
    /// Timeout of the other source. When it expires, the rows are stored without comparison, and comparisons pause for
    /// one minute.
    #[schemars(range(min = 100, max = 30_000))]
    pub max_wait_ms: u64,
}

impl Default for CrossCheckSettings {
    fn default() -> Self {
        Self {
            // Half a fen at a price of 10 yuan: rounding of single-precision numbers is below it, a wrong price is
            // above it.
            price_tolerance_percent: 0.05,
            // Each vendor counts auctions, odd lots and late trades differently.
            volume_tolerance_percent: 0.1,
            amount_tolerance_percent: 0.1,
            max_wait_ms: 10_000,
        }
    }
}

impl RuleSettings {
    /// The action for a broken rule. Rules without a setting are always errors, because such a row cannot be stored;
    /// [`Rule::NotOffered`], [`Rule::SourceDisagreement`] and the rules of the stock list are always warnings.
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
            Rule::PriceRounded => self.price_rounded,
            Rule::TickSession => self.tick_session,
            Rule::TickOrder => self.tick_order,
            Rule::FactorDecreases => self.factor_decreases,
            Rule::DaySum => self.day_sum,
            // A disagreement between sources does not show which row is wrong.
            Rule::NotOffered | Rule::SourceDisagreement | Rule::Unlisted | Rule::Renumbered | Rule::IncompleteList => {
                RuleAction::Warning
            }
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
            price_rounded: RuleAction::Warning,
            tick_session: RuleAction::Warning,
            tick_order: RuleAction::Warning,
            factor_decreases: RuleAction::Warning,
            day_sum: RuleAction::Warning,
            // Each vendor rounds prices, lots and thousands differently.
            average_price_tolerance_percent: 2,
            // TDX's 1-minute bars of 688001 disagree by more than 2 % in 7 % of the rows.
            average_price_minute_tolerance_percent: 50,
            // Each vendor rounds and assigns trades at the edges differently.
            day_sum_tolerance_percent: 2,
            // Two equal days occur with thinly traded shares.
            stale_repeat_bars: 3,
        }
    }
}
