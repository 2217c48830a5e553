// Upstream: many
// Downstream: none
// Role: Asks the broker for the ids of topics; the only unsafe code, because rdkafka has no call for it.

//! The ids of topics. Kafka gives each topic an id when it is created, so a topic that was deleted and created again
//! has another one (KIP-516). librdkafka returns it from `DescribeTopics`, which rdkafka does not wrap.
#![allow(unsafe_code, reason = "rdkafka has no safe call for DescribeTopics")]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as raw;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// The ids of topics by name, as librdkafka prints them (base64).
pub type TopicIds = HashMap<Arc<str>, String>;

/// A native object that is destroyed when it goes out of scope.
struct Owned<T> {
    object: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(object: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Self, KafkaError> {
        if object.is_null() { Err(error_of(RDKafkaErrorCode::Fail)) } else { Ok(Self { object, destroy }) }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `object` is not null, belongs to this value alone, and `destroy` is the destructor of its type.
        unsafe { (self.destroy)(self.object) }
    }
}

fn error_of(code: RDKafkaErrorCode) -> KafkaError {
    KafkaError::MetadataFetch(code)
}

/// The ids of the topics that exist. Waits at most `timeout`. A broker before version 2.8 gives none.
pub fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    timeout: Duration,
) -> Result<TopicIds, KafkaError> {
    let names: Vec<CString> = topics.iter().map(|name| CString::new(*name)).collect::<Result<_, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let wait = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let handle = client.native_ptr();
    // SAFETY: `handle` is valid as long as `client` is borrowed. librdkafka copies the names. Each object lives until
    // the end of this function and is destroyed once; the descriptions belong to the event and are only read before
    // that.
    unsafe {
        let collection = raw::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let collection = Owned::new(collection, raw::rd_kafka_TopicCollection_destroy)?;
        let operation = raw::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = raw::rd_kafka_AdminOptions_new(handle, operation);
        let options = Owned::new(options, raw::rd_kafka_AdminOptions_destroy)?;
        let mut complaint = [0 as c_char; 64];
        raw::rd_kafka_AdminOptions_set_request_timeout(options.object, wait, complaint.as_mut_ptr(), complaint.len());
        let queue = Owned::new(raw::rd_kafka_queue_new(handle), raw::rd_kafka_queue_destroy)?;
        raw::rd_kafka_DescribeTopics(handle, collection.object, options.object, queue.object);
        let event = raw::rd_kafka_queue_poll(queue.object, wait);
        if event.is_null() {
            return Err(error_of(RDKafkaErrorCode::OperationTimedOut));
        }
        let event = Owned::new(event, raw::rd_kafka_event_destroy)?;
        let code = raw::rd_kafka_event_error(event.object);
        if code != raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error_of(code.into()));
        }
        Ok(ids_in(event.object))
    }
}

/// Reads the ids from an event.
///
/// # Safety
///
/// `event` must be a valid event.
unsafe fn ids_in(event: *mut raw::rd_kafka_event_t) -> TopicIds {
    let mut ids = TopicIds::new();
    // SAFETY: the result, its descriptions and their texts belong to the event. Each pointer is checked before it is
    // read, and the texts end with a zero byte.
    unsafe {
        let result = raw::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return ids;
        }
        let mut count = 0;
        let descriptions = raw::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        for index in 0..if descriptions.is_null() { 0 } else { count } {
            let description = *descriptions.add(index);
            let error = raw::rd_kafka_TopicDescription_error(description);
            if !error.is_null()
                && raw::rd_kafka_error_code(error) != raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                continue;
            }
            let id = raw::rd_kafka_TopicDescription_topic_id(description);
            // A broker without ids reports zero.
            if id.is_null()
                || (raw::rd_kafka_Uuid_most_significant_bits(id), raw::rd_kafka_Uuid_least_significant_bits(id))
                    == (0, 0)
            {
                continue;
            }
            let name = raw::rd_kafka_TopicDescription_name(description);
            let text = raw::rd_kafka_Uuid_base64str(id);
            if !name.is_null() && !text.is_null() {
                let name = CStr::from_ptr(name).to_string_lossy();
                ids.insert(name.as_ref().into(), CStr::from_ptr(text).to_string_lossy().into_owned());
            }
        }
    }
    ids
}
