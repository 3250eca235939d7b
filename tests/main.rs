//! Black-box tests: through the binary and HTTP, as a user would.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod auth;
mod bad_input;
mod cli;
mod data_folder;
mod durability;
mod fairness;
mod mail;
mod outside;
mod reference;
mod support;
mod web_form;
