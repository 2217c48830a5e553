// Upstream: actor, message_kinds_tests
// Downstream: alert_draft, alert_state, domain, messages, ports, settings
// Role: Alerts on stores that reject writes, by the kind of data they store.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::domain::{Level, Notification};
use crate::quality_monitor::alert_draft::AlertDraft;
use crate::quality_monitor::alert_state::AlertTransition;
use crate::quality_monitor::{StoreFailing, StoreRecovered};
use crate::settings::{AlertSettings, ms};

/// Alerts on stores that reject writes.
#[derive(Debug, Default)]
pub struct StoreAlerts {
    /// The kinds of data whose store fails.
    failing: BTreeSet<&'static str>,
    /// The kinds of data that were written since the start of the interval.
    written: BTreeSet<&'static str>,
}

impl StoreAlerts {
    /// Records a further failed attempt.
    pub fn failing(&mut self, outage: StoreFailing, limits: &AlertSettings) -> AlertDraft {
        let StoreFailing { data_name, error, lasting, is_awaited } = outage;
        self.failing.insert(data_name);
        self.written.remove(data_name);
        let is_error = !error.class.is_transient() || lasting >= ms(limits.write_error_ms);
        let level = if is_error { Level::Error } else { Level::Warning };
        let seconds = format!("{:.1}", lasting.as_secs_f64());
        let consequence = match is_awaited {
            true if data_name == "lists" => "its command waits; all other commands go on".to_owned(),
            true => format!("all new commands wait until the store of {data_name} works again; no data is lost"),
            false => "its command is a dead letter; all other data is written".to_owned(),
        };
        let words = move |transition: AlertTransition| Notification {
            kind: "data_collection_alert",
            level,
            title: "数据写入失败".to_owned(),
            content: format!("{error}; for {seconds} s ({}); {consequence}", transition.as_str()),
            fields: vec![
                ("alert_type", "write_error".to_owned()),
                ("data", data_name.to_owned()),
                ("state", transition.as_str().to_owned()),
                ("class", error.class.to_string()),
                ("outage_seconds", seconds.clone()),
            ],
            data: json!({
                "alert_type": "write_error",
                "data": data_name,
                "state": transition.as_str(),
                "resolved": false,
                "class": error.class.as_str(),
                "outage_seconds": lasting.as_secs_f64(),
                "reason": error.to_string(),
                "affected_codes": [],
            }),
        };
        draft(data_name, Some(level), limits, words)
    }

    /// Records the end of an outage.
    pub fn recovered(&mut self, recovered: StoreRecovered, limits: &AlertSettings) -> AlertDraft {
        let StoreRecovered { data_name, is_write, lasted } = recovered;
        self.failing.remove(data_name);
        draft(data_name, None, limits, move |_| recovery(data_name, is_write, Some(lasted)))
    }

    /// Records that rows of this kind were written.
    pub fn wrote(&mut self, data_name: &'static str) {
        if !self.failing.contains(data_name) {
            self.written.insert(data_name);
        }
    }

    /// Ends the interval. What was written has a store that works: that ends the alert of another worker, or of this one
    /// before its restart.
    pub fn end_interval(&mut self, limits: &AlertSettings) -> Vec<AlertDraft> {
        let works = |data_name| draft(data_name, None, limits, move |_| recovery(data_name, true, None));
        std::mem::take(&mut self.written).into_iter().map(works).collect()
    }
}

fn draft(
    data_name: &str,
    level: Option<Level>,
    limits: &AlertSettings,
    words: impl Fn(AlertTransition) -> Notification + Send + Sync + 'static,
) -> AlertDraft {
    AlertDraft::new(format!("write_error:{data_name}"), level, Some(ms(limits.cool_down_ms)), words)
}

/// The end of an outage, of which only the worker that had it knows the duration.
fn recovery(data_name: &str, is_write: bool, lasted: Option<Duration>) -> Notification {
    let works = if is_write { "written" } else { "read" };
    let state = AlertTransition::Resolved.as_str();
    let seconds = lasted.map(|lasted| lasted.as_secs_f64());
    let after = seconds.map(|seconds| format!(" after {seconds:.1} s")).unwrap_or_default();
    let mut fields =
        vec![("alert_type", "write_error".to_owned()), ("data", data_name.to_owned()), ("state", state.to_owned())];
    fields.extend(seconds.map(|seconds| ("outage_seconds", format!("{seconds:.1}"))));
    let mut data = json!({
        "alert_type": "write_error",
        "data": data_name,
        "works": works,
        "state": state,
        "resolved": true,
    });
    if let (Some(seconds), Some(data)) = (seconds, data.as_object_mut()) {
        data.insert("outage_seconds".to_owned(), json!(seconds));
    }
    Notification {
        kind: "data_collection_alert",
        level: Level::Info,
        title: "数据写入已恢复".to_owned(),
        content: format!("{data_name} can be {works} again{after}"),
        fields,
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{StoreError, StoreErrorClass};
    use crate::quality_monitor::alert_draft::LoneAlerts;

    #[test]
    fn store_outage_escalates_and_resolves() {
        let (mut stores, mut alerts) = (StoreAlerts::default(), LoneAlerts::default());
        let limits = &AlertSettings::default();
        let error = |class| StoreError { store: "s".into(), operation: "o".into(), class, reason: "r".into() };
        let outage = |data_name, class, seconds| StoreFailing {
            data_name,
            error: error(class),
            lasting: Duration::from_secs(seconds),
            is_awaited: true,
        };
        let mut brief = |draft: AlertDraft| {
            let messages = alerts.tell([draft], 0);
            let text = |alert: &Notification| format!("{:?} {}", alert.level, alert.data["state"]).replace('"', "");
            messages.iter().map(text).collect::<String>()
        };
        let transient = StoreErrorClass::Transient;
        let expected = [(2, "Warning raised"), (20, ""), (61, "Error escalated"), (90, "")];
        for (seconds, words) in expected {
            assert_eq!(brief(stores.failing(outage("rows", transient, seconds), limits)), words);
        }
        stores.wrote("rows");
        assert_eq!(stores.end_interval(limits).len(), 0, "what fails proves nothing");
        let ended = |data_name| StoreRecovered { data_name, is_write: true, lasted: Duration::from_secs(95) };
        assert_eq!(brief(stores.recovered(ended("rows"), limits)), "Info resolved");
        assert_eq!(brief(stores.recovered(ended("rows"), limits)), "");
        assert_eq!(brief(stores.recovered(ended("lists"), limits)), "");
        assert_eq!(brief(stores.failing(outage("lists", StoreErrorClass::Access, 0), limits)), "Error raised");
    }

    #[test]
    fn written_rows_end_an_alert_from_before_a_restart() {
        let (limits, mut alerts) = (AlertSettings::default(), LoneAlerts::default());
        let error =
            StoreError { store: "s".into(), operation: "o".into(), class: StoreErrorClass::Access, reason: "r".into() };
        let lasting = Duration::from_secs(5);
        let outage = StoreFailing { data_name: "bars", error, lasting, is_awaited: true };
        let mut before = StoreAlerts::default();
        assert_eq!(alerts.tell([before.failing(outage, &limits)], 0).len(), 1);
        let mut after = StoreAlerts::default();
        assert_eq!(after.end_interval(&limits).len(), 0);
        after.wrote("bars");
        let messages = alerts.tell(after.end_interval(&limits), 1);
        assert_eq!(
            messages.iter().map(|ended| ended.content.as_str()).collect::<Vec<_>>(),
            ["bars can be written again"]
        );
        assert_eq!(after.end_interval(&limits).len(), 0, "once an interval");
    }
}
