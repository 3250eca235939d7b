//! The forms that are posted: always another person, of one of 200 companies.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub const COMPANIES: u64 = 200;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// The next person's form.
pub fn next() -> Vec<u8> {
    let person = NEXT.fetch_add(1, Relaxed);
    let company = person % COMPANIES;
    format!(
        r#"{{"email":" Person.{person}@Company-{company}.example","name":"ada lovelace","jobTitle":"Analyst","company":"Company {company}","phone":"+44 (0)20 7946 0958","message":"How do I start? I have seen the engine and would like one."}}"#
    )
    .into_bytes()
}
