//! `action test`: every fixture in the sandbox of production, judged by what must come of it.

use serde_json::Value;
use stepwell_sandbox::{Action, Call, Host, HostConfig, Limits, Outcome, canonical_json};

use crate::accepted::{self, Accepted};
use crate::build::Built;
use crate::compare::{diff, pretty, same};
use crate::error::HarnessError;
use crate::fixture::{self, Expected, Fixture};
use crate::project::Project;
use crate::report::{CaseReport, Problem, TestReport};

/// How to test.
#[derive(Debug, Clone, Default)]
pub struct TestOptions {
    /// Record fuel and memory as the accepted numbers, and what a case that expects nothing yet
    /// gives as its expectation. What is expected already is never changed.
    pub accept: bool,
    /// Only cases whose name contains this.
    pub only: Option<String>,
}

/// Runs the fixtures of a built action. Needs a tokio runtime.
#[tracing::instrument(skip_all, fields(action = %project.name))]
pub async fn test(
    project: &Project,
    built: &Built,
    options: &TestOptions,
) -> Result<TestReport, HarnessError> {
    let fixtures = fixture::read_all(&project.folder)?;
    let chosen: Vec<_> = fixtures
        .iter()
        .filter(|(name, _)| options.only.as_ref().is_none_or(|only| name.contains(only)))
        .collect();
    if chosen.is_empty() {
        let only = options.only.as_deref().unwrap_or_default();
        let names: Vec<&str> = fixtures.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(", ");
        return Err(HarnessError::Project(format!("no case's name contains `{only}`; there are {names}")));
    }
    let mut accepted = accepted::read(&project.folder)?;
    let host = Host::new(HostConfig { max_concurrent_calls: 1, threads: 1, ..HostConfig::default() })
        .map_err(|e| HarnessError::Sandbox(e.to_string()))?;
    let module = std::fs::read(&built.module).map_err(HarnessError::io(&built.module))?;
    let action = host.load(module).await?;
    let (mut cases, mut notes) = (Vec::new(), Vec::new());
    for (name, fixture) in chosen {
        let fixture = match fixture {
            Ok(fixture) => fixture,
            Err(error) => {
                cases.push(CaseReport::unread(name, error));
                continue;
            }
        };
        let outcome = call(&host, &action, project, fixture).await;
        if options.accept {
            notes.extend(keep_expectation(fixture, &outcome)?);
        }
        let mut problems = judge(fixture, &outcome, options.accept);
        if options.accept && problems.is_empty() {
            let usage = &outcome.usage;
            let numbers = Accepted { fuel: usage.fuel, peak_memory_bytes: usage.peak_memory_bytes };
            accepted.insert(fixture.name.clone(), numbers);
        }
        let before = accepted.get(&fixture.name).copied();
        let grown = before.map(|before| project.tolerance.exceeded(before, &outcome.usage));
        problems.extend(grown.unwrap_or_default().into_iter().map(Problem::new));
        cases.push(CaseReport {
            name: fixture.name.clone(),
            passed: problems.is_empty(),
            problems,
            usage: Some(outcome.usage),
            accepted: before,
            logs: outcome.logs,
            logs_truncated: outcome.logs_truncated,
        });
    }
    let is_gone = |name: &String| !fixtures.iter().any(|(fixture, _)| fixture == name);
    if options.accept {
        // Numbers of cases that are gone are of no use to anybody.
        accepted.retain(|name, _| !is_gone(name));
        accepted::write(&project.folder, &accepted)?;
    } else {
        let gone = accepted.keys().filter(|name| is_gone(name));
        notes.extend(gone.map(|name| {
            format!("accepted.toml has numbers of `{name}`, which is gone; --accept forgets them")
        }));
    }
    Ok(TestReport {
        action: project.name.clone(),
        version: project.version.clone(),
        size: built.size,
        cases,
        notes,
    })
}

/// With the input in canonical form, as a step gets it.
async fn call(host: &Host, action: &Action, project: &Project, fixture: &Fixture) -> Outcome {
    let limits = fixture.limits.over(project.limits.over(Limits::default()));
    host.call(action, Call::new(canonical_json(&fixture.input)).limits(limits)).await
}

/// Writes what a case that expects nothing yet gave, for a person to read.
fn keep_expectation(fixture: &Fixture, outcome: &Outcome) -> Result<Option<String>, HarnessError> {
    if fixture.expected != Expected::Nothing {
        return Ok(None);
    }
    let (name, value) = match &outcome.result {
        Ok(output) => ("expected.json", serde_json::from_str(output).unwrap_or_default()),
        Err(error) => ("error.json", fixture::kept_error(error)),
    };
    let path = fixture.folder.join(name);
    std::fs::write(&path, pretty(&value) + "\n").map_err(HarnessError::io(&path))?;
    Ok(Some(format!("wrote fixtures/{}/{name}: read it before you keep it", fixture.name)))
}

fn judge(fixture: &Fixture, outcome: &Outcome, accept: bool) -> Vec<Problem> {
    let problem = match (&fixture.expected, &outcome.result) {
        (Expected::Nothing, _) if accept => return Vec::new(),
        (Expected::Nothing, result) => {
            let came = result.as_ref().map_or_else(ToString::to_string, |output| pretty_text(output));
            Problem::new("there is neither expected.json nor error.json; --accept keeps what it gave:")
                .below(came)
        }
        (Expected::Output(expected), Ok(output)) => match serde_json::from_str::<Value>(output) {
            Ok(came) if same(expected, &came) => return Vec::new(),
            Ok(came) => Problem::new("the output is not that of expected.json (- expected, + came):")
                .below(diff(expected, &came)),
            Err(error) => Problem::new(format!("the output is not JSON: {error}")),
        },
        (Expected::Output(_), Err(error)) => {
            let details = error.details.as_ref().map(pretty).unwrap_or_default();
            Problem::new(format!("an output was expected; it failed: {error}")).below(details)
        }
        (Expected::Error(expected), Ok(output)) => {
            Problem::new(format!("the error `{}` was expected; it gave an output:", expected.code))
                .below(pretty_text(output))
        }
        (Expected::Error(expected), Err(error)) => {
            let (came, expected) = expected.compared(error);
            if same(&expected, &came) {
                return Vec::new();
            }
            Problem::new("the error is not that of error.json (- expected, + came):")
                .below(diff(&expected, &came))
        }
    };
    vec![problem]
}

fn pretty_text(json: &str) -> String {
    serde_json::from_str(json).map_or_else(|_| json.to_owned(), |value: Value| pretty(&value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use stepwell_sandbox::{CallError, ErrorSource, LimitsPatch, Usage};

    fn judged(expected: Expected, result: Result<&str, CallError>, accept: bool) -> String {
        let fixture = Fixture {
            name: "case".into(),
            folder: "case".into(),
            input: Value::Null,
            expected,
            limits: LimitsPatch::default(),
        };
        let result = result.map(str::to_owned);
        let outcome = Outcome { result, logs: vec![], logs_truncated: false, usage: Usage::default() };
        let problems = judge(&fixture, &outcome, accept);
        problems.into_iter().map(|problem| format!("{}\n{}", problem.summary, problem.below)).collect()
    }

    fn refused() -> CallError {
        CallError::new(ErrorSource::Action, "invalid_email", "no @ in `x`")
    }

    #[test]
    fn outputs_are_compared_as_values_and_a_difference_is_shown() {
        let expected = || Expected::Output(json!({ "a": 1, "b": [1, 2] }));
        assert_eq!(judged(expected(), Ok("{\"b\": [1.0,2], \"a\": 1}"), false), "");
        insta::assert_snapshot!(judged(expected(), Ok("{\"a\":1,\"b\":[1,3]}"), false), @r#"
        the output is not that of expected.json (- expected, + came):
            "a": 1,
            "b": [
              1,
        -     2
        +     3
            ]
          }
        "#);
        insta::assert_snapshot!(judged(expected(), Err(refused()), false), @"an output was expected; it failed: invalid_email: no @ in `x`");
    }

    #[test]
    fn an_error_needs_only_the_parts_that_are_named() {
        let named = |text: &str| Expected::Error(serde_json::from_str(text).unwrap());
        assert_eq!(judged(named("{\"code\": \"invalid_email\"}"), Err(refused()), false), "");
        let other = "{\"code\": \"invalid_email\", \"message\": \"other\"}";
        insta::assert_snapshot!(judged(named(other), Err(refused()), false), @r#"
        the error is not that of error.json (- expected, + came):
          {
            "code": "invalid_email",
        -   "message": "other"
        +   "message": "no @ in `x`"
          }
        "#);
        insta::assert_snapshot!(judged(named(other), Ok("[1]"), false), @r"
        the error `invalid_email` was expected; it gave an output:
        [
          1
        ]
        ");
    }

    #[test]
    fn what_is_kept_of_an_error_is_all_that_a_fixture_can_name() {
        insta::assert_snapshot!(fixture::kept_error(&refused()), @r#"{"code":"invalid_email","message":"no @ in `x`","retryable":false,"source":"action"}"#);
        let kept: crate::fixture::ExpectedError =
            serde_json::from_value(fixture::kept_error(&refused())).unwrap();
        let (came, wanted) = kept.compared(&refused());
        assert!(same(&came, &wanted) && kept.source.is_some() && kept.retryable == Some(false));
    }

    #[test]
    fn a_case_that_expects_nothing_fails_until_somebody_accepts() {
        assert_eq!(judged(Expected::Nothing, Ok("1"), true), "");
        insta::assert_snapshot!(judged(Expected::Nothing, Ok("{\"a\":1}"), false), @r#"
        there is neither expected.json nor error.json; --accept keeps what it gave:
        {
          "a": 1
        }
        "#);
    }
}
