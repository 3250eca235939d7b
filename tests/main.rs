//! Black-box tests: through the binary and HTTP, as a user would.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod api_calls;
mod api_input;
mod auth;
mod bad_input;
mod cli;
mod concurrency;
mod connections;
mod data_folder;
mod durability;
mod events;
mod fairness;
mod fixtures;
mod flows;
mod flows_email_sequence;
mod flows_enrichment;
mod flows_invoice;
mod flows_lead_scoring_external;
mod flows_newsletter;
mod flows_pipeline;
mod flows_product_sync;
mod flows_sync;
mod full_disk;
mod hook_answers;
mod inputs;
mod iterators;
mod lifecycle;
mod mail;
mod manual;
mod meeting_notes;
mod outside;
mod reference;
mod resume;
mod run_workflow;
mod schedules;
mod schema;
mod secrets;
mod stalls;
mod state;
mod stopping;
mod support;
mod waiting;
mod web_form;
mod webhooks;
mod workflow_tests;
