// Upstream: cargo
// Downstream: code, command, kit, task
// Role: Tests of the command parser: every payload format Ginkgo has sent, and invalid payloads.

use proptest::prelude::*;

use crate::domain::command::*;
use crate::domain::{Code, MAX_CODES, SyncMode};

fn snapshot(payload: &str) -> BarSnapshot {
    match ControlCommand::parse(payload.as_bytes()).unwrap().instruction {
        Instruction::BarSnapshot(snapshot) => snapshot,
        other => panic!("{other:?}"),
    }
}

fn refusal(payload: &str) -> String {
    ControlCommand::parse(payload.as_bytes()).unwrap_err().to_string()
}

fn one(code: &str) -> CodeSelection {
    CodeSelection::These(vec![code.parse::<Code>().unwrap()])
}

#[test]
fn todays_task_timer_payload() {
    let payload = r#"{"command":"bar_snapshot","timestamp":"2026-08-10T21:10:00.123456","params":{"full":false,"force":false,"code":"000001.SZ"},"source":"task_timer","correlation_id":null,"trace_id":null,"span_id":null}"#;
    let command = ControlCommand::parse(payload.as_bytes()).unwrap();
    assert_eq!(command.source.as_deref(), Some("task_timer"));
    // 21:10 in Shanghai is 13:10 UTC.
    assert_eq!(command.issued_at.unwrap().to_rfc3339(), "2026-08-10T13:10:00.123456+00:00");
    assert_eq!(snapshot(payload).codes, one("000001.SZ"));
    assert_eq!(snapshot(payload).bars.mode, SyncMode::Incremental);
}

#[test]
fn todays_kafka_service_payload() {
    let payload = r#"{"command":"bar_snapshot","params":{"code":"SZ000001","full":true,"force":false},"message_id":"7f0c1c9e","timestamp":"2026-08-10T10:00:00.123456","service":"KafkaService","version":"1.0"}"#;
    let command = ControlCommand::parse(payload.as_bytes()).unwrap();
    assert_eq!(command.correlation_id.as_deref(), Some("7f0c1c9e"));
    assert_eq!(command.source.as_deref(), Some("KafkaService"), "job reports name the sender");
    assert_eq!(snapshot(payload).codes, one("000001.SZ"));
    assert_eq!(snapshot(payload).bars.mode, SyncMode::Replace);
}

#[test]
fn the_specs_payload_with_codes_and_dates() {
    let payload = r#"{"command":"bar_snapshot","timestamp":"2026-01-23T15:30:00Z","request_id":"r-1","params":{"codes":["000001.SZ","600000","000001"],"start_date":"20240101","end_date":"2024-03-01","frequency":"1d","adjust_type":"none"}}"#;
    let found = snapshot(payload);
    let codes = ["000001.SZ", "600000.SH"].map(|code| code.parse::<Code>().unwrap());
    assert_eq!(found.codes, CodeSelection::These(codes.to_vec()), "a code named twice is fetched once");
    assert_eq!(found.bars.range.start.unwrap().to_string(), "2024-01-01");
    assert_eq!(found.bars.range.end.unwrap().to_string(), "2024-03-01");
    assert_eq!(ControlCommand::parse(payload.as_bytes()).unwrap().correlation_id.as_deref(), Some("r-1"));
}

#[test]
fn update_data_counts_trading_days() {
    let payload = r#"{"command":"update_data","params":{"codes":["000001.SZ"],"days":5,"end_date":"20240219"}}"#;
    let found = snapshot(payload);
    assert_eq!(found.codes, one("000001.SZ"));
    assert_eq!(found.bars.range.start.unwrap().to_string(), "2024-02-05", "five trading days over the Spring Festival");
    let plain = snapshot(r#"{"command":"update_data","params":{"code":"000001.SZ","force":false,"full":false}}"#);
    assert_eq!((plain.bars.range.start, plain.bars.mode), (None, SyncMode::Incremental));
    for days in ["0", "-1", "10001", "\"x\"", "[]"] {
        let text = refusal(&format!(r#"{{"command":"update_data","params":{{"days":{days}}}}}"#));
        assert!(text.contains("params.days"), "{text}");
    }
}

#[test]
fn reads_doubly_encoded_payload() {
    let object = r#"{"command":"bar_snapshot","params":{"code":"000001.SZ","force":true}}"#;
    let string = serde_json::to_string(object).unwrap();
    assert_eq!(snapshot(&string), snapshot(object));
    assert_eq!(snapshot(object).bars.mode, SyncMode::Replace);
}

#[test]
fn no_code_means_all_listed_codes() {
    for params in ["{}", r#"{"code":""}"#, r#"{"code":null,"codes":[]}"#, r#"{"timestamp":"2026-01-23T15:30:00"}"#] {
        let payload = format!(r#"{{"command":"bar_snapshot","params":{params}}}"#);
        assert_eq!(snapshot(&payload).codes, CodeSelection::AllListed, "{params}");
    }
}

#[test]
fn other_components_commands_are_passed_over() {
    for name in ["paper_trading", "deploy", "unload", "update_selector", "heartbeat_test", "reload", "stop"] {
        let payload = format!(r#"{{"command":"{name}","params":null,"timestamp":null}}"#);
        let command = ControlCommand::parse(payload.as_bytes()).unwrap();
        assert_eq!(command.instruction, Instruction::NotForTheGroup(name.into()));
    }
    assert!(matches!(ControlCommand::parse(b"").unwrap().instruction, Instruction::NotForTheGroup(_)));
    assert!(matches!(ControlCommand::parse(b"null").unwrap().instruction, Instruction::NotForTheGroup(_)));
}

#[test]
fn eight_digit_time_is_a_date() {
    let issued = |timestamp: &str| {
        let payload = format!(r#"{{"command":"bar_snapshot","timestamp":{timestamp},"params":{{}}}}"#);
        ControlCommand::parse(payload.as_bytes()).unwrap().issued_at.unwrap().to_rfc3339()
    };
    for text in [r#""20250123""#, "20250123", r#""2025-01-23""#] {
        assert_eq!(issued(text), "2025-01-22T16:00:00+00:00", "{text}: midnight in Shanghai");
    }
    assert_eq!(issued("1737561600.5"), "2025-01-22T16:00:00.500+00:00");
    assert_eq!(issued(r#""1737561600""#), "2025-01-22T16:00:00+00:00");
}

#[test]
fn refusal_names_field_value_and_expectation() {
    let bar = |params: &str| refusal(&format!(r#"{{"command":"bar_snapshot","params":{params}}}"#));
    assert!(refusal("{oops").contains("not JSON"));
    assert!(refusal("[1]").contains("a JSON list, expected an object"));
    assert!(refusal(r#"{"params":{}}"#).contains("field `command` is absent"));
    assert!(refusal(r#"{"command":7}"#).contains("field `command` is number 7"));
    assert!(refusal(r#"{"command":"frobnicate"}"#).contains("unknown command `frobnicate`"));
    assert!(refusal(r#"{"command":"bar_snapshot","params":[]}"#).contains("field `params` is list []"));
    assert!(refusal(r#"{"command":"bar_snapshot","timestamp":"soon"}"#).contains("field `timestamp`"));
    let beyond = r#"{"command":"bar_snapshot","timestamp":"-262143-01-01"}"#;
    assert!(refusal(beyond).contains("field `timestamp`"), "an error, not a panic");
    assert!(refusal(r#"{"command":"bar_snapshot","correlation_id":5}"#).contains("correlation_id"));
    assert!(bar(r#"{"code":"XYZ"}"#).contains("`XYZ` is not a stock code"));
    assert!(bar(r#"{"code":17}"#).contains("params.code"));
    assert!(bar(r#"{"codes":"000001.SZ"}"#).contains("params.codes"));
    assert!(bar(r#"{"codes":[1]}"#).contains("params.codes"));
    assert!(bar(r#"{"code":"000001","start_date":"20240230"}"#).contains("params.start_date"));
    assert!(bar(r#"{"code":"000001","start_date":"20240301","end_date":"20240201"}"#).contains("range is empty"));
    assert!(bar(r#"{"code":"000001","frequency":"2w"}"#).contains("params.frequency"));
    assert!(bar(r#"{"code":"000001","adjust_type":"x"}"#).contains("params.adjust_type"));
    assert!(bar(r#"{"code":"000001","full":"perhaps"}"#).contains("params.full"));
}

#[test]
fn the_text_false_is_false() {
    let payload = r#"{"command":"bar_snapshot","params":{"code":"000001","full":"false","force":0}}"#;
    assert_eq!(snapshot(payload).bars.mode, SyncMode::Incremental);
}

#[test]
fn more_codes_than_the_market_has_are_refused() {
    let codes = vec!["000001"; MAX_CODES + 1];
    let payload = serde_json::json!({"command": "bar_snapshot", "params": {"codes": codes}}).to_string();
    assert!(refusal(&payload).contains("at most 12000"));
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
        "[0-9]{6}\\.(SZ|SH)".prop_map(Into::into),
        "[12][0-9]{7}".prop_map(Into::into),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Into::into))
}

#[test]
fn mutated_payloads_give_a_command_or_refusal() {
    let samples = [
        r#"{"command":"bar_snapshot","timestamp":"2026-01-23T15:30:00Z","params":{"codes":["000001.SZ","600000"],"start_date":"20240101","frequency":"1d","full":"false"}}"#,
        r#"{"command":"tick","params":{"code":"000001.SZ","days":3,"overwrite":true},"correlation_id":null}"#,
        r#""{\"command\":\"stockinfo\",\"params\":{}}""#,
    ];
    kit::fuzz::mutate(&samples, |bytes| {
        if let Err(error) = ControlCommand::parse(bytes) {
            assert!(!error.to_string().is_empty());
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _outcome = ControlCommand::parse(&bytes);
    }

    #[test]
    fn no_field_values_make_the_parser_panic(
        values in prop::collection::vec(json_value(), 10),
        twice in any::<bool>(),
    ) {
        let params = ["code", "codes", "full", "force", "start_date", "end_date", "frequency", "adjust_type"];
        let params: serde_json::Map<_, _> = params.iter().map(|k| (*k).to_owned()).zip(values.iter().skip(2).cloned()).collect();
        let message = serde_json::json!({"command": "bar_snapshot", "timestamp": values[0], "correlation_id": values[1], "params": params});
        let text = if twice { serde_json::Value::String(message.to_string()).to_string() } else { message.to_string() };
        if let Err(error) = ControlCommand::parse(text.as_bytes()) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn list_commands_ignore_parameters() {
    for (name, expected) in [("stockinfo", Instruction::StockInfo), ("trade_day", Instruction::TradeDay)] {
        let payload = format!(r#"{{"command":"{name}","params":{{"code":"ignored","full":1}},"message_id":"m"}}"#);
        let command = ControlCommand::parse(payload.as_bytes()).unwrap();
        assert_eq!((command.instruction, command.correlation_id.as_deref()), (expected, Some("m")));
    }
}

#[test]
fn adjusted_prices_are_asked_for_by_qfq_and_hfq_alone() {
    for (params, adjusted) in [
        (r#"{"code":"000001"}"#, false),
        (r#"{"code":"000001","adjust_type":null}"#, false),
        (r#"{"code":"000001","adjust_type":"none"}"#, false),
        (r#"{"code":"000001","adjust_type":"qfq"}"#, true),
        (r#"{"code":"000001","adjust_type":"hfq"}"#, true),
    ] {
        let payload = format!(r#"{{"command":"bar_snapshot","params":{params}}}"#);
        assert_eq!(snapshot(&payload).bars.adjusted, adjusted, "{params}");
    }
}

#[test]
fn reads_range_and_overwrite_of_tick_command() {
    let tick = |params: &str| {
        let command = ControlCommand::parse(format!(r#"{{"command":"tick","params":{params}}}"#).as_bytes()).unwrap();
        let Instruction::Tick(tick) = command.instruction else { panic!("{command:?}") };
        (tick.ticks.full, tick.ticks.overwrite, tick.ticks.range.start.is_some())
    };
    assert_eq!(tick(r#"{"full":false,"overwrite":false,"code":"000001.SZ"}"#), (false, false, false));
    assert_eq!(tick(r#"{"code":"000001.SZ","full":true,"overwrite":true}"#), (true, true, false));
    assert_eq!(tick(r#"{"code":"000001.SZ","force":true,"days":3}"#), (false, true, true));
    assert_eq!(tick(r#"{"code":"000001.SZ","full":true,"start_date":"20240102"}"#), (false, false, true));
}
