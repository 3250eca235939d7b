//! Documents from files: what is told of the bad ones, word for word, and that the good ones pass.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;

use stepwell_workflow::check::{Checked, StandardObjects, check, check_as, check_bytes};
use stepwell_workflow::problem::{CODES, render_all};
use stepwell_workflow::schema_file::{self, WithSchema};

use common::Workspace;

fn documents(folder: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut documents: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    documents.sort();
    documents
}

#[test]
fn every_bad_document_is_told_all_that_is_wrong_with_it() {
    let documents = documents("bad");
    assert!(documents.len() >= 30);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("bad/told");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (name, text) in &documents {
            let checked = check(text, &Workspace::new());
            assert!(checked.workflow.is_none(), "{name} was accepted");
            insta::assert_snapshot!(name.as_str(), render_all(&checked.problems, name, text));
        }
    });
}

#[test]
fn every_problem_says_where_it_is() {
    for (name, text) in documents("bad") {
        for problem in check(&text, &Workspace::new()).problems {
            assert!(problem.line >= 1 && problem.column >= 1, "{name}: {problem:?}");
            assert!(problem.line <= text.lines().count().max(1), "{name}: {problem:?}");
            if problem.path.contains("steps[") {
                let has_id = !problem.message.contains("has no `id`") && problem.code != "invalid_id";
                assert!(
                    problem.step.is_some() || !has_id || name == "ids.yaml" || name == "types.yaml",
                    "{name}: {problem:?}"
                );
            }
        }
    }
}

#[test]
fn every_code_is_listed_and_occurs() {
    let mut seen: BTreeSet<String> = documents("bad")
        .iter()
        .flat_map(|(_, text)| check(text, &Workspace::new()).problems)
        .map(|problem| problem.code)
        .collect();
    let broken = check_bytes(b"name: a\xff", "a", &Workspace::new());
    seen.extend(broken.problems.into_iter().map(|problem| problem.code));
    let large = check(&"x".repeat(2 << 20), &Workspace::new());
    seen.extend(large.problems.into_iter().map(|problem| problem.code));
    let misnamed = check_as("name: a\nsteps: []\n", "b", &Workspace::new());
    seen.extend(misnamed.problems.into_iter().map(|problem| problem.code));
    let listed: BTreeSet<String> = CODES.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(seen, listed);
}

#[test]
fn another_s_name_is_told_beside_other_problems() {
    let text = "name: a\ntrigger: { type: manual }\nsteps:\n  - { id: one, type: code }\n";
    let checked = check_as(text, "b", &Workspace::new());
    let codes: Vec<_> = checked.problems.iter().map(|p| (p.line, p.code.as_str())).collect();
    assert_eq!(codes, [(1, "wrong_name"), (4, "missing_key")]);
    assert_eq!(checked.problems[0].column, 7);
    assert!(check_as(text, "a", &Workspace::new()).problems.iter().all(|p| p.code != "wrong_name"));
}

#[test]
fn good_documents_pass() {
    let documents = documents("good");
    assert!(!documents.is_empty());
    for (name, text) in documents {
        let Checked { workflow, problems } = check(&text, &Workspace::new());
        assert!(problems.is_empty(), "{}", render_all(&problems, &name, &text));
        let workflow = workflow.expect("a definition");
        // What is stored with a version reads back, and still passes.
        let stored = serde_json::to_string_pretty(&workflow).unwrap();
        let again = check(&stored, &Workspace::new());
        assert!(again.problems.is_empty(), "{}", render_all(&again.problems, "stored", &stored));
        assert_eq!(again.workflow, Some(workflow), "{name}");
    }
}

#[test]
fn a_path_that_a_pattern_may_allow_is_no_mistake() {
    let text = |closed: &str, step: &str| {
        format!(
            "name: a\ntrigger:\n  type: webhook\n  path: a\n  body_schema:\n    type: object\n    \
             properties: {{ id: {{ type: string }} }}\n    \
             patternProperties: {{ '^n_': {{ type: object, properties: {{ total: {{ type: number }} }} }} }}\n    \
             {closed}\nsteps:\n  - {step}\n"
        )
    };
    let codes = |closed: &str, step: &str| {
        let problems = check(&text(closed, step), &Workspace::new()).problems;
        problems.into_iter().map(|problem| problem.code).collect::<Vec<_>>()
    };
    let takes =
        |path: &str| format!("{{ id: one, type: set, values: {{ x: \"{{{{ trigger.body.{path} }}}}\" }} }}");
    let waits = "{ id: one, type: delay, until: \"{{ trigger.body.n_a.total ~ '' }}\" }";
    for closed in ["additionalProperties: false", "additionalProperties: { type: string }", "title: open"] {
        for path in ["id", "n_a", "n_a.total"] {
            assert_eq!(codes(closed, &takes(path)), [""; 0], "{closed}: {path}");
        }
        assert_eq!(codes(closed, waits), [""; 0]);
    }
    // What every pattern says is certain, where there is nothing else.
    assert_eq!(codes("additionalProperties: false", &takes("n_a.totl")), ["unknown_path"]);
    let list = "{ id: one, type: iterator, over: \"{{ trigger.body.n_a.total }}\", do: [{ id: b, type: set, values: { x: 1 } }] }";
    assert_eq!(codes("additionalProperties: false", list), ["wrong_type"]);
    assert_eq!(codes("title: open", list), [""; 0]);
}

#[test]
fn line_ends_and_marks_of_other_systems_make_no_difference() {
    let text = "name: a\ntrigger: { type: manual }\nsteps:\n  - id: one\n    type: set\n    values: { x: 1 }\n  - { id: two, type: set, values: { y: '{{ one.z }}' } }\n";
    for text in [text.replace('\n', "\r\n"), format!("\u{feff}{text}")] {
        let problems = check(&text, &Workspace::new()).problems;
        assert_eq!(problems.len(), 1, "{}", render_all(&problems, "a.yaml", &text));
        assert_eq!((problems[0].line, problems[0].code.as_str()), (7, "unknown_path"));
    }
}

#[test]
fn null_is_a_result_too() {
    let text =
        "name: a\ntrigger: { type: manual }\nsteps: [{ id: one, type: set, values: {} }]\noutput: null\n";
    let workflow = check(text, &Workspace::new()).workflow.unwrap();
    assert_eq!(workflow.output, Some(serde_json::Value::Null));
    let stored: stepwell_workflow::model::Workflow =
        serde_json::from_value(serde_json::to_value(&workflow).unwrap()).unwrap();
    assert_eq!(stored, workflow);
}

#[test]
fn an_id_that_is_allowed_works_in_templates() {
    for id in ["call", "set", "filter", "with", "block", "do", "include", "raw", "send", "a1_b"] {
        let text = format!(
            "name: a\ntrigger: {{ type: manual }}\nsteps:\n  - {{ id: {id}, type: set, values: {{ x: 1 }} }}\noutput: '{{{{ {id}.x + 1 }}}}'\n"
        );
        let checked = check(&text, &Workspace::new());
        assert!(checked.problems.is_empty(), "{}", render_all(&checked.problems, id, &text));
    }
}

#[test]
fn a_check_without_a_catalog_says_only_what_the_document_shows() {
    let text = "name: a\ntrigger: { type: manual }\nsteps:\n  - { id: one, type: code, action: x@3, limits: { fuel: 9000000000000 } }\n  - { id: two, type: create_record, object: spaceship, record: { warp: '{{ one.what.ever }}' } }\noutput: '{{ two.record.warp }} {{ three.x }}'\n";
    let problems = check(text, &stepwell_workflow::check::NoCatalog).problems;
    let codes: Vec<_> = problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["unknown_reference"]);
}

#[test]
fn the_examples_pass() {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/workflows");
    let mut seen = 0;
    for folder in std::fs::read_dir(examples).unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let file = folder.join(format!("{name}.yaml"));
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let schema = std::fs::read_to_string(folder.join(schema_file::FILE));
        let problems = match schema {
            Ok(schema) => {
                let wanted = schema_file::read(&schema).unwrap_or_else(|told| panic!("{name}: {told:?}"));
                check(&text, &WithSchema::new(&wanted).unwrap()).problems
            }
            Err(_) => check(&text, &StandardObjects).problems,
        };
        assert!(problems.is_empty(), "{}", render_all(&problems, &file.to_string_lossy(), &text));
        seen += 1;
    }
    assert!(seen > 0);
}
