//! Large and broken documents: the check stays quick, linear, and never panics.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use stepwell_workflow::check::check;
use stepwell_workflow::problem::{MAX_PROBLEMS, render_all};

use common::Workspace;

/// A workflow of `count` steps of all sorts, each using others before it.
fn large(count: usize) -> String {
    let mut text = String::from(
        "name: large\ntrigger:\n  type: webhook\n  path: large\n  body_schema: { type: object, properties: { email: { type: string } } }\nsteps:\n",
    );
    let mut made = 0;
    let mut n = 0;
    while made + 8 <= count {
        let last = if n == 0 {
            "{{ trigger.body.email }}".into()
        } else {
            format!("{{{{ lead_{}.email }}}}", n - 1)
        };
        let _ = write!(
            text,
            r#"  - {{ id: lead_{n}, type: code, action: normalize-lead@1, input: {{ email: "{last}" }} }}
  - id: known_{n}
    type: search_records
    object: person
    filter: {{ all: [{{ field: emails.primaryEmail, is: "{{{{ lead_{n}.email }}}}" }}, {{ field: city, is_empty: false }}] }}
  - id: way_{n}
    type: branch
    branches:
      - when: {{ value: "{{{{ known_{n}.total }}}}", greater_than: 0 }}
        do:
          - {{ id: touch_{n}, type: update_record, object: person, record_id: "{{{{ known_{n}.records[0].id }}}}", record: {{ jobTitle: x }} }}
    else:
      - {{ id: make_{n}, type: upsert_record, object: person, match: [emails.primaryEmail], record: {{ emails: {{ primaryEmail: "{{{{ lead_{n}.email }}}}" }} }} }}
  - id: both_{n}
    type: parallel
    steps:
      - {{ id: call_{n}, type: http_request, url: "https://example.com/{{{{ way_{n}.record.id }}}}" }}
      - {{ id: task_{n}, type: create_record, object: task, needs: [call_{n}], record: {{ title: "Answer {{{{ call_{n}.status }}}}" }} }}
"#
        );
        made += 8;
        n += 1;
    }
    while made < count {
        let _ = writeln!(text, "  - {{ id: rest_{made}, type: set, values: {{ a: 1 }} }}");
        made += 1;
    }
    text
}

fn quickest(count: usize) -> Duration {
    let text = large(count);
    let workspace = Workspace::new();
    (0..5)
        .map(|_| {
            let began = Instant::now();
            let checked = check(&text, &workspace);
            let took = began.elapsed();
            assert!(checked.problems.is_empty(), "{}", render_all(&checked.problems, "large", &text));
            assert_eq!(checked.workflow.map(|workflow| workflow.every_step().len()), Some(count));
            took
        })
        .min()
        .unwrap()
}

#[test]
fn the_time_of_a_check_grows_with_the_document() {
    let (few, many) = (quickest(125), quickest(1_000));
    println!("125 steps: {few:?}; 500: {:?}; 1000: {many:?}", quickest(500));
    // Eight times the steps; a quadratic check would take sixty-four times as long.
    assert!(many < few * 24, "125 steps took {few:?}, 1,000 took {many:?}");
}

#[test]
fn a_thousand_problems_are_told_in_time() {
    let text = large(1_000).replace("lead_", "laed_").replace("id: laed_", "id: lead_");
    let began = Instant::now();
    let problems = check(&text, &Workspace::new()).problems;
    assert_eq!(problems.len(), MAX_PROBLEMS + 1);
    assert!(began.elapsed() < Duration::from_secs(20));
}

fn mangled() -> impl Strategy<Value = String> {
    let documents = [
        include_str!("good/web-form.yaml"),
        include_str!("good/everything.yaml"),
        include_str!("good/by-hand.json"),
    ];
    let change = (any::<prop::sample::Index>(), 0usize..12, "[ \\n:{}\\[\\]\"'a-z0-9#&*|>,.-]{0,6}");
    (prop::sample::select(documents.to_vec()), prop::collection::vec(change, 1..4)).prop_map(
        |(document, changes)| {
            let mut text: Vec<char> = document.chars().collect();
            for (place, cut, with) in changes {
                let from = place.index(text.len());
                let to = (from + cut).min(text.len());
                text.splice(from..to, with.chars());
                if text.is_empty() {
                    text.push(' ');
                }
            }
            text.into_iter().collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// A document with a few wrong keystrokes is accepted or told about, with places that exist.
    #[test]
    fn slips_are_told(text in mangled()) {
        let checked = check(&text, &Workspace::new());
        prop_assert_eq!(checked.workflow.is_some(), checked.problems.is_empty());
        for problem in &checked.problems {
            prop_assert!(problem.line >= 1 && problem.line <= text.split('\n').count());
            problem.render("t", &text);
        }
    }
}

#[test]
fn a_document_is_as_large_as_what_is_stored_of_it() {
    let text = |bytes: usize| {
        let value = "x".repeat(bytes);
        format!(
            "name: large\ntrigger: {{ type: manual }}\nsteps:\n  - {{ id: a, type: set, values: {{ text: {value} }} }}\n"
        )
    };
    let problems = |bytes: usize| check(&text(bytes), &Workspace::new()).problems;
    assert!(problems(200_000).is_empty());
    // Once in the text, and once in the steps.
    let found = problems(300_000);
    assert_eq!((found.len(), found[0].code.as_str()), (1, "too_large"));
    assert!(found[0].message.contains("512000"), "{}", found[0].message);
    assert_eq!(problems(600_000)[0].code, "too_large");
}
