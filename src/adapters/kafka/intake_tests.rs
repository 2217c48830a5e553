// Upstream: cargo
// Downstream: actors, intake
// Role: Commands in process by partition: deliveries, redeliveries, positions, gaps and ends.

use actors::domain::{RawCommand, TraceIds};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::adapters::kafka::intake::{FeedEvent, Gap, Intake, MAX_GAPS, PartitionKey, ReadFrom, Taken, Waiting};

fn key(partition: i32) -> PartitionKey {
    ("t".into(), partition)
}

fn record(partition: i32, offset: i64) -> RawCommand {
    RawCommand {
        topic: "t".into(),
        partition,
        offset,
        key: None,
        payload: vec![],
        timestamp_ms: None,
        replay: None,
        trace: TraceIds::default(),
    }
}

fn intake() -> (Intake, UnboundedReceiver<FeedEvent>) {
    let (events, news) = unbounded_channel();
    let mut intake = Intake::new(events);
    intake.assign(key(0), ReadFrom::Beginning);
    (intake, news)
}

fn hear(intake: &mut Intake, news: &mut UnboundedReceiver<FeedEvent>) {
    while let Ok(FeedEvent::Settled { generation, partition, offset, settlement }) = news.try_recv() {
        intake.settle(generation, &partition, offset, settlement);
    }
}

#[test]
fn redelivers_dropped_delivery_and_counts_crash() {
    let (mut intake, mut news) = intake();
    drop(intake.take(record(0, 5)).delivery().unwrap());
    hear(&mut intake, &mut news);
    let again = intake.take_returned().pop().unwrap();
    assert_eq!((again.command().offset, again.num_crashes()), (5, 0));
    assert!(intake.take_returned().is_empty(), "it is redelivered once");
    let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _in_hand = again;
        panic!("a handler panics");
    }));
    assert!(crash.is_err());
    hear(&mut intake, &mut news);
    let again = intake.take_returned().pop().unwrap();
    assert_eq!(again.num_crashes(), 1);
    again.resolve();
    hear(&mut intake, &mut news);
    assert_eq!(intake.positions_to_store(), [(key(0), 6)]);
    assert_eq!(intake.positions_to_store(), [], "a position is stored once");
}

#[test]
fn a_record_that_is_out_is_not_handed_out_twice() {
    let (mut intake, _news) = intake();
    let first = intake.take(record(0, 1)).delivery();
    assert!(first.is_some() && intake.take(record(0, 1)).delivery().is_none());
    assert!(intake.take(record(9, 1)).delivery().is_none(), "not our partition");
}

#[test]
fn one_unresolved_command_holds_all_that_follow() {
    let (mut intake, mut news) = intake();
    let first = intake.take(record(0, 0)).delivery().unwrap();
    for offset in 1..=50 {
        intake.take(record(0, offset)).delivery().unwrap().resolve();
    }
    hear(&mut intake, &mut news);
    assert_eq!((intake.num_unresolved(), intake.num_held()), (1, 51));
    assert_eq!(intake.oldest().unwrap().command.offset, 0);
    first.resolve();
    hear(&mut intake, &mut news);
    assert_eq!((intake.num_held(), intake.oldest()), (0, None));
}

#[test]
fn a_record_before_the_position_is_of_another_log() {
    let (mut intake, mut news) = intake();
    intake.take(record(0, 7)).delivery().unwrap().resolve();
    hear(&mut intake, &mut news);
    assert!(matches!(intake.take(record(0, 3)), Taken::BeforePosition(8)));
    intake.lose(&[key(0)]);
    intake.assign(key(0), ReadFrom::Beginning);
    assert!(intake.take(record(0, 3)).delivery().is_some(), "a new assignment has no position");
}

#[test]
fn a_tail_without_records_is_passed_once_all_is_resolved() {
    let (mut intake, mut news) = intake();
    let waiting = |intake: &Intake| intake.waiting().pop().unwrap();
    let before = waiting(&intake);
    assert_eq!(before.next, 0);
    let delivery = intake.take(record(0, 0)).delivery().unwrap();
    let tail = waiting(&intake);
    assert!(!intake.pass_tail(&before, 3) && !intake.pass_tail(&tail, 3), "a command is held");
    delivery.resolve();
    hear(&mut intake, &mut news);
    assert!(intake.pass_tail(&tail, 3));
    assert_eq!(intake.positions_to_store(), [(key(0), 3)]);
    intake.lose(&[key(0)]);
    intake.assign(key(0), ReadFrom::Offset(3));
    assert!(!intake.pass_tail(&Waiting { next: 3, ..tail }, 9), "another assignment");
    intake.lose(&[key(0)]);
    intake.assign(key(0), ReadFrom::Unknown);
    assert!(intake.waiting().is_empty(), "nothing is known");
}

#[test]
fn gaps_are_noted_and_their_number_is_bounded() {
    let (mut intake, _news) = intake();
    intake.lose(&[key(0)]);
    intake.assign(key(0), ReadFrom::Offset(2));
    let deliveries: Vec<_> = [5, 6, 9].map(|offset| intake.take(record(0, offset)).delivery()).into();
    let bounds = |gaps: Vec<Gap>| gaps.into_iter().map(|gap| (gap.from, gap.to)).collect::<Vec<_>>();
    assert_eq!(bounds(intake.take_gaps()), [(2, 5), (7, 9)]);
    let more: Vec<_> = (10..60).map(|number| intake.take(record(0, number * 2)).delivery()).collect();
    let gaps = bounds(intake.take_gaps());
    assert_eq!((gaps.len(), gaps.last().map(|last| last.1)), (MAX_GAPS, Some(118)));
    drop((deliveries, more));
}

#[test]
fn messages_of_an_old_assignment_change_nothing() {
    let (mut intake, mut news) = intake();
    let old = intake.take(record(0, 1)).delivery().unwrap();
    let assignment = old.assignment().clone();
    intake.lose(&[key(0)]);
    assert!(assignment.is_lost());
    intake.assign(key(0), ReadFrom::Beginning);
    let new = intake.take(record(0, 1)).delivery().unwrap();
    old.resolve();
    hear(&mut intake, &mut news);
    assert_eq!((intake.num_unresolved(), intake.positions_to_store()), (1, vec![]));
    drop(new);
}

#[test]
fn revoked_partition_takes_no_returned_delivery() {
    let (mut intake, mut news) = intake();
    let delivery = intake.take(record(0, 1)).delivery().unwrap();
    intake.withdraw(&[key(0)]);
    assert_eq!(intake.num_in_hand(&[key(0)]), 1);
    assert!(intake.take(record(0, 2)).delivery().is_none(), "nothing new begins");
    drop(delivery);
    hear(&mut intake, &mut news);
    assert_eq!(intake.num_in_hand(&[key(0)]), 0);
    assert!(intake.take_returned().is_empty());
    assert_eq!(intake.positions(&[key(0)]), []);
}
