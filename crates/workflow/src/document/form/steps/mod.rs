//! The table's part for steps: what each type of them has.

mod code;
mod email;
mod flow;
mod http;
mod iterator;
mod records;
mod values;
mod waits;

use super::Kind;

/// What a step can do, in the order in which it is told.
pub static STEPS: &[Kind] = &[
    code::CODE,
    records::SEARCH_RECORDS,
    records::CREATE_RECORD,
    records::UPDATE_RECORD,
    records::UPSERT_RECORD,
    records::DELETE_RECORD,
    flow::BRANCH,
    flow::FILTER,
    flow::PARALLEL,
    iterator::ITERATOR,
    values::SET,
    values::SET_STATE,
    flow::STOP,
    waits::DELAY,
    waits::WAIT_FOR_INPUT,
    waits::RUN_WORKFLOW,
    http::HTTP_REQUEST,
    email::SEND_EMAIL,
];
