// Upstream: feed_shared, log_start, tests::simulate
// Downstream: none
// Role: Decides whether a committed offset belongs to the log that the broker has now.

/// The start of the metadata that the worker commits with an offset.
const TOPIC_ID: &str = "topic-id=";

/// The metadata of a commit to a topic with this id.
pub fn metadata_of(topic_id: &str) -> String {
    format!("{TOPIC_ID}{topic_id}")
}

/// A committed offset and the log that it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Committed<'a> {
    /// The offset.
    pub offset: i64,
    /// The metadata of the commit; commits of other clients and of earlier releases have none.
    pub metadata: &'a str,
}

/// The log of a partition on the broker.
#[derive(Debug, Clone, Copy)]
pub struct Log<'a> {
    /// The id of the topic, if the broker reports one.
    pub topic_id: Option<&'a str>,
    /// The first offset and the next one to be written, if the broker answered.
    pub bounds: Option<(i64, i64)>,
}

/// Where reading starts.
#[derive(Debug, PartialEq, Eq)]
pub enum Start {
    /// At the committed offset.
    Committed,
    /// At the committed offset, but records before the log's first one were not read; contains the reason.
    AfterLoss(String),
    /// At the beginning, because the committed offset belongs to another log; contains the reason.
    Beginning(String),
}

/// Where reading starts, given the committed offset. An offset is only a position in the log in which it was committed:
/// in a topic that was deleted and created again it would skip the new records.
pub fn start(committed: Committed<'_>, log: Log<'_>) -> Start {
    let Committed { offset, metadata } = committed;
    let known_id = metadata.strip_prefix(TOPIC_ID);
    if let (Some(known), Some(current)) = (known_id, log.topic_id)
        && known != current
    {
        return Start::Beginning(format!(
            "the topic was deleted and created again (id {known}, now {current}); offset {offset} belongs to the old one"
        ));
    }
    match log.bounds {
        Some((_, end)) if offset > end => Start::Beginning(format!(
            "the log ends at {end}, before the committed offset {offset}: it was truncated, or the topic created again"
        )),
        Some((first, _)) if offset < first => Start::AfterLoss(format!(
            "the broker deleted the records {offset} to {} before they were read; see the topic's retention",
            first - 1
        )),
        _ => Start::Committed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(offset: i64, metadata: &str, topic_id: Option<&str>, bounds: Option<(i64, i64)>) -> Start {
        start(Committed { offset, metadata }, Log { topic_id, bounds })
    }

    #[test]
    fn an_offset_of_another_log_is_dropped() {
        let of_a = metadata_of("a");
        assert_eq!(found(20, &of_a, Some("a"), Some((0, 30))), Start::Committed);
        assert!(
            matches!(found(20, &of_a, Some("b"), Some((0, 30))), Start::Beginning(text) if text.contains("id a, now b"))
        );
        assert!(matches!(found(20, &of_a, Some("b"), None), Start::Beginning(_)));
        assert!(
            matches!(found(20, "", Some("b"), Some((0, 10))), Start::Beginning(_)),
            "the first start of this release"
        );
        assert!(
            matches!(found(20, &of_a, Some("a"), Some((0, 10))), Start::Beginning(text) if text.contains("truncated"))
        );
    }

    #[test]
    fn nothing_is_dropped_while_nothing_is_known() {
        assert_eq!(found(20, "", Some("b"), Some((0, 20))), Start::Committed);
        assert_eq!(found(20, "of another client", None, None), Start::Committed);
        assert_eq!(found(20, &metadata_of("a"), None, Some((0, 30))), Start::Committed);
    }

    #[test]
    fn records_that_retention_deleted_are_named() {
        let Start::AfterLoss(reason) = found(20, "", None, Some((25, 30))) else { panic!("records are lost") };
        assert!(reason.contains("records 20 to 24"), "{reason}");
    }
}
