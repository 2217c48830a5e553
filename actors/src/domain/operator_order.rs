// Upstream: command, data_worker, domain, ports, simulation, supervisor
// Downstream: command_error, kit, message
// Role: Operator orders to one or all running workers: reload, stop, pause, resume, heartbeat test, list update.

use serde_json::Value;

use crate::domain::CommandError;
use crate::domain::message::{message_of, optional_text};

/// The action to perform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderKind {
    /// Reload the configuration.
    Reload,
    /// Drain and exit.
    Stop,
    /// Take no new commands.
    Pause,
    /// Take commands again.
    Resume,
    /// Send a heartbeat at once and answer with the status.
    HeartbeatTest,
    /// Read the listings and the trading calendar again. The portfolio side handles the same message.
    UpdateSelector,
}

impl OrderKind {
    /// All order kinds.
    pub const ALL: [Self; 6] =
        [Self::Reload, Self::Stop, Self::Pause, Self::Resume, Self::HeartbeatTest, Self::UpdateSelector];

    /// The name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::HeartbeatTest => "heartbeat_test",
            Self::UpdateSelector => "update_selector",
        }
    }

    /// Whether workers report that they have executed the order. They do not for `update_selector`, which Ginkgo's
    /// timer sends every hour.
    pub fn is_answered(self) -> bool {
        self != Self::UpdateSelector
    }

    /// The order kind with this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// An order to workers, read from the control topic that also carries the consumer group's commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorOrder {
    /// The action to perform.
    pub kind: OrderKind,
    /// The instance that must execute it; `None`: all instances.
    pub node_id: Option<String>,
    /// The sender's id of the request; the answer repeats it.
    pub correlation_id: Option<String>,
}

impl OperatorOrder {
    /// Parses a message of the control topic. `None` if it is not an order, for example a command of the consumer
    /// group.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let message = message_of(payload).ok().flatten()?;
        let Some(Value::String(name)) = message.get("command") else { return None };
        let kind = OrderKind::named(name)?;
        let text = |field| -> Result<Option<String>, CommandError> { optional_text(&message, field) };
        let correlation_id = text("correlation_id").ok().flatten().or_else(|| text("request_id").ok().flatten());
        let node_id = match message.get("params").and_then(|params| params.get("node_id")) {
            None | Some(Value::Null) => None,
            Some(Value::String(node_id)) => Some(node_id.clone()),
            // The sender meant one instance, not all. No instance has this name, so nobody executes the order.
            Some(other) => Some(other.to_string()),
        };
        Some(Self { kind, node_id, correlation_id })
    }

    /// Whether the instance of this name must execute the order.
    pub fn concerns(&self, node_id: &str) -> bool {
        self.node_id.as_deref().is_none_or(|wanted| wanted == node_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(text: &str) -> OperatorOrder {
        OperatorOrder::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_order_is_for_all_or_for_one() {
        let all = order(r#"{"command":"reload","params":{},"correlation_id":"c1"}"#);
        assert_eq!((all.kind, all.correlation_id.as_deref()), (OrderKind::Reload, Some("c1")));
        assert!(all.concerns("n1") && all.concerns("n2"));
        let one = order(r#"{"command":"stop","params":{"node_id":"n1"}}"#);
        assert!(one.concerns("n1") && !one.concerns("n2"));
        let nobody = order(r#"{"command":"stop","params":{"node_id":7}}"#);
        assert!(!nobody.concerns("n1"), "an order with an invalid node_id must not stop every instance");
        let encoded_twice = serde_json::to_vec(r#"{"command":"heartbeat_test"}"#).unwrap();
        assert_eq!(OperatorOrder::parse(&encoded_twice).unwrap().kind, OrderKind::HeartbeatTest);
    }

    #[test]
    fn what_is_no_order_is_left_to_others() {
        for text in ["", "null", "{", "[]", r#"{"command":"bar_snapshot","params":{}}"#, r#"{"command":7}"#] {
            assert_eq!(OperatorOrder::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn mutated_payloads_are_orders_or_none() {
        let sample = r#"{"command":"reload","params":{"node_id":"n1"},"correlation_id":"c"}"#;
        kit::fuzz::mutate(&[sample], |bytes| drop(OperatorOrder::parse(bytes)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _order = OperatorOrder::parse(&bytes);
        }
    }
}
