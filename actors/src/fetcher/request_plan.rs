// Upstream: command_plan, data_worker
// Downstream: day_cache, ports
// Role: Plans the fewest calls for rows of some securities on some days, from what a source can do. Pure.

use crate::fetcher::day_cache::MAX_DAYS;
use crate::ports::Abilities;

/// Maximum number of rows that one task fetches by code where the source has no limit of its own. It bounds the memory
/// of a task and what a kill repeats.
const MAX_ROWS_PER_TASK: usize = 8_000;

/// The rows that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Number of securities.
    pub num_codes: usize,
    /// Number of trading days.
    pub num_days: usize,
    /// Maximum number of rows of one security on a day.
    pub rows_per_day: usize,
}

/// How the rows are requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Each security by itself, or some of them in one call.
    ByCode,
    /// All securities of a day together.
    ByDay,
}

/// A way of requesting rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPlan {
    /// How the rows are requested.
    pub way: Way,
    /// Maximum number of trading days of one task.
    pub days_per_task: usize,
    /// Number of securities that share a call; those of a day share one in any case.
    pub codes_per_call: usize,
    /// Number of calls.
    pub num_calls: usize,
}

impl Demand {
    /// The plan with the fewest calls; by code if both take the same number.
    pub fn cheapest(&self, abilities: &Abilities) -> RequestPlan {
        let by_code = self.by_code(abilities);
        self.by_day(abilities).filter(|plan| plan.num_calls < by_code.num_calls).unwrap_or(by_code)
    }

    /// Each security by itself, or as many in one call as fill its answer.
    pub fn by_code(&self, abilities: &Abilities) -> RequestPlan {
        // One row fewer than an answer may have: after a full answer the source is asked for more.
        let rows = abilities.rows_per_call.min(MAX_ROWS_PER_TASK).saturating_sub(1);
        let days_per_task = (rows / self.rows_per_day.max(1)).max(1);
        let rows_per_task = self.num_days.clamp(1, days_per_task).saturating_mul(self.rows_per_day.max(1));
        let codes_per_call =
            (rows / rows_per_task).clamp(1, abilities.codes_per_call.max(1)).min(self.num_codes.max(1));
        let tasks_per_code = self.num_days.div_ceil(days_per_task);
        let num_calls = self.num_codes.div_ceil(codes_per_call).saturating_mul(tasks_per_code);
        RequestPlan { way: Way::ByCode, days_per_task, codes_per_call, num_calls }
    }

    /// All securities of a day together, if the source has such a call. The suspensions of a task's days are one call
    /// more.
    pub fn by_day(&self, abilities: &Abilities) -> Option<RequestPlan> {
        let rows_per_answer = abilities.rows_per_day_call.filter(|rows| *rows > 0)?;
        let calls_per_day = self.num_codes.max(1).div_ceil(rows_per_answer);
        let num_calls = self.num_days.saturating_mul(calls_per_day).saturating_add(self.num_days.div_ceil(MAX_DAYS));
        Some(RequestPlan { way: Way::ByDay, days_per_task: MAX_DAYS, codes_per_call: self.num_codes, num_calls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TUSHARE: Abilities =
        Abilities { rows_per_call: 6_000, codes_per_call: 1, rows_per_day_call: Some(6_000), calls_per_minute: 500 };

    fn days(num_codes: usize, num_days: usize) -> Demand {
        Demand { num_codes, num_days, rows_per_day: 1 }
    }

    #[test]
    fn chooses_the_way_with_fewer_calls() {
        let of = |num_codes, num_days| {
            let plan = days(num_codes, num_days).cheapest(&TUSHARE);
            (plan.way, plan.num_calls)
        };
        assert_eq!(of(5_500, 1_220), (Way::ByDay, 1_281));
        assert_eq!(of(5_500, 2), (Way::ByDay, 3));
        assert_eq!(of(5_500, 5_900), (Way::ByCode, 5_500), "24 years of a security are one answer");
        assert_eq!(of(5_500, 8_600), (Way::ByDay, 9_030), "the days since 1990 are two");
        assert_eq!(of(1, 1_220), (Way::ByCode, 1));
        assert_eq!(of(2, 1), (Way::ByCode, 2), "the same number of calls");
        assert_eq!(of(12_000, 10), (Way::ByDay, 21), "a day of all in two answers");
    }

    #[test]
    fn securities_share_calls_that_they_fill() {
        let several = Abilities { codes_per_call: 100, ..TUSHARE };
        let of = |num_codes, num_days| {
            let plan = days(num_codes, num_days).cheapest(&several);
            (plan.way, plan.codes_per_call, plan.num_calls)
        };
        assert_eq!(of(2_000, 1_212), (Way::ByCode, 4, 500));
        assert_eq!(of(5_500, 1_212), (Way::ByDay, 5_500, 1_273));
        assert_eq!(of(50, 10), (Way::ByCode, 50, 1));
        assert_eq!(of(5_500, 10), (Way::ByDay, 5_500, 11), "a call names at most 100");
        assert_eq!(of(1, 1), (Way::ByCode, 1, 1));
        assert_eq!(days(5_500, 1_212).by_code(&several).num_calls, 1_375);
        assert_eq!(days(10, 9_000).by_code(&several).num_calls, 20, "two answers each");
    }

    #[test]
    fn tasks_by_code_fill_one_answer() {
        let minutes = Demand { num_codes: 1, num_days: 242, rows_per_day: 241 };
        let plan = minutes.cheapest(&Abilities { rows_per_call: 8_000, ..Abilities::default() });
        assert_eq!((plan.days_per_task, plan.num_calls), (33, 8));
        let unlimited = days(10, 20_000).cheapest(&Abilities::default());
        assert_eq!((unlimited.days_per_task, unlimited.num_calls), (7_999, 30), "memory is a limit, too");
    }

    #[test]
    fn no_ability_leads_to_a_plan_without_progress() {
        for rows_per_call in [0, 1, 2, usize::MAX] {
            for rows_per_day_call in [None, Some(0), Some(1), Some(usize::MAX)] {
                for demand in [days(0, 0), days(1, 1), days(usize::MAX, usize::MAX)] {
                    let abilities =
                        Abilities { rows_per_call, rows_per_day_call, codes_per_call: 0, calls_per_minute: 0 };
                    let plan = demand.cheapest(&abilities);
                    assert!(plan.days_per_task > 0, "{plan:?}");
                }
            }
        }
    }
}
