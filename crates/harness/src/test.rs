//! `action test`: every fixture in the sandbox of production, compared with what is expected and what was accepted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_sandbox::{Action, Call, Host, HostConfig, Limits, Outcome};

use crate::build::Built;
use crate::error::HarnessError;
use crate::fixture::{self, Expected, Fixture};
use crate::project::Project;
use crate::report::{CaseReport, TestReport, Verdict};

/// How to test.
#[derive(Debug, Clone, Default)]
pub struct TestOptions {
    /// Record fuel and memory as the accepted numbers.
    pub accept: bool,
    /// Only cases whose name contains this.
    pub only: Option<String>,
}

/// What was accepted of a case: the same module gives the same numbers on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub fuel: Option<u64>,
    pub peak_memory_bytes: u64,
}

/// Runs the fixtures of a built action. Needs a tokio runtime.
pub async fn test(
    project: &Project,
    built: &Built,
    options: &TestOptions,
) -> Result<TestReport, HarnessError> {
    let fixtures = fixture::read_all(&project.folder)?;
    let host = Host::new(HostConfig { max_concurrent_calls: 4, ..HostConfig::default() })
        .map_err(|e| HarnessError::Sandbox(e.to_string()))?;
    let module = std::fs::read(&built.module).map_err(HarnessError::io(&built.module))?;
    let action = host.load(module).await?;
    let path = accepted_path(&project.folder);
    let mut accepted = read_accepted(&path)?;
    let mut cases = Vec::new();
    for fixture in &fixtures {
        if options.only.as_ref().is_some_and(|only| !fixture.name.contains(only)) {
            continue;
        }
        let case = run(&host, &action, project, fixture, accepted.get(&fixture.name).copied()).await;
        if options.accept && case.verdict.is_pass() {
            let numbers = Accepted { fuel: case.usage.fuel, peak_memory_bytes: case.usage.peak_memory_bytes };
            accepted.insert(fixture.name.clone(), numbers);
        }
        cases.push(case);
    }
    if cases.is_empty() {
        let only = options.only.as_deref().unwrap_or_default();
        let names: Vec<&str> = fixtures.iter().map(|f| f.name.as_str()).collect();
        return Err(HarnessError::Project(format!(
            "no case's name contains `{only}`; there are {}",
            names.join(", ")
        )));
    }
    if options.accept {
        // Numbers of cases that are gone are of no use to anybody.
        accepted.retain(|name, _| fixtures.iter().any(|f| &f.name == name));
        write_accepted(&path, &accepted)?;
    }
    Ok(TestReport { action: project.name.clone(), version: project.version.clone(), size: built.size, cases })
}

async fn run(
    host: &Host,
    action: &Action,
    project: &Project,
    fixture: &Fixture,
    accepted: Option<Accepted>,
) -> CaseReport {
    let limits = fixture.limits.clone().over(project.limits.clone().over(Limits::default()));
    let started = std::time::Instant::now();
    // Written by hand, so with line breaks; a step gets its input in canonical form.
    let outcome = match serde_json::from_str::<Value>(&fixture.input) {
        Ok(input) => {
            host.call(action, Call::new(stepwell_sandbox::canonical_json(&input)).limits(limits)).await
        }
        Err(_) => host.call(action, Call::new(fixture.input.clone()).limits(limits)).await,
    };
    let verdict = judge(&fixture.expected, &outcome);
    CaseReport {
        name: fixture.name.clone(),
        verdict,
        usage: outcome.usage,
        accepted,
        logs: outcome.logs,
        took: started.elapsed(),
    }
}

fn judge(expected: &Expected, outcome: &Outcome) -> Verdict {
    let (wanted, came) = match (expected, &outcome.result) {
        (Expected::Output(wanted), Ok(text)) => match serde_json::from_str::<Value>(text) {
            Ok(came) => (wanted.clone(), came),
            Err(e) => return Verdict::Failed { diff: format!("the output is not JSON: {e}\n") },
        },
        (Expected::Error(wanted), Err(error)) => {
            let (came, wanted) = wanted.compared(error);
            (wanted, came)
        }
        (Expected::Output(_), Err(error)) => {
            return Verdict::Failed { diff: format!("an output was expected; it failed: {error}\n") };
        }
        (Expected::Error(wanted), Ok(text)) => {
            return Verdict::Failed {
                diff: format!("the error `{}` was expected; it gave: {text}\n", wanted.code),
            };
        }
    };
    if wanted == came { Verdict::Passed } else { Verdict::Failed { diff: diff(&wanted, &came) } }
}

/// Line by line, on the same pretty form of both, with a little around each change.
fn diff(wanted: &Value, came: &Value) -> String {
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    let (wanted, came) = (pretty(wanted), pretty(came));
    let diff = similar::TextDiff::from_lines(&wanted, &came);
    diff.unified_diff().context_radius(3).header("expected", "actual").to_string()
}

fn accepted_path(folder: &Path) -> PathBuf {
    folder.join("fixtures/accepted.toml")
}

fn read_accepted(path: &Path) -> Result<BTreeMap<String, Accepted>, HarnessError> {
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(path).map_err(HarnessError::io(path))?;
    toml::from_str(&text).map_err(|e| HarnessError::file(path, e.to_string().trim_end()))
}

fn write_accepted(path: &Path, accepted: &BTreeMap<String, Accepted>) -> Result<(), HarnessError> {
    let numbers = toml::to_string(accepted).map_err(|e| HarnessError::file(path, e))?;
    let text = format!("# Written by `stepwell action test --accept`.\n\n{numbers}");
    std::fs::write(path, text).map_err(HarnessError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use stepwell_sandbox::{CallError, ErrorSource, Usage};

    fn outcome(result: Result<&str, CallError>) -> Outcome {
        Outcome {
            result: result.map(str::to_owned),
            logs: vec![],
            logs_truncated: false,
            usage: Usage::default(),
        }
    }

    #[test]
    fn outputs_are_compared_as_values_and_a_difference_is_shown() {
        let expected = Expected::Output(json!({ "a": 1, "b": [1, 2] }));
        assert!(judge(&expected, &outcome(Ok("{\"b\": [1,2], \"a\": 1}"))).is_pass());
        let Verdict::Failed { diff } = judge(&expected, &outcome(Ok("{\"a\":1,\"b\":[1,3]}"))) else {
            panic!()
        };
        insta::assert_snapshot!(diff, @r#"
        --- expected
        +++ actual
        @@ -2,6 +2,6 @@
           "a": 1,
           "b": [
             1,
        -    2
        +    3
           ]
         }
        "#);
    }

    #[test]
    fn an_error_needs_only_the_parts_that_are_named() {
        let error = CallError::new(ErrorSource::Action, "invalid_email", "no @ in `x`");
        let named = |text: &str| Expected::Error(serde_json::from_str(text).unwrap());
        assert!(judge(&named("{\"code\": \"invalid_email\"}"), &outcome(Err(error.clone()))).is_pass());
        assert!(!judge(&named("{\"code\": \"other\"}"), &outcome(Err(error.clone()))).is_pass());
        let both = named("{\"code\": \"invalid_email\", \"message\": \"other\"}");
        assert!(!judge(&both, &outcome(Err(error))).is_pass());
        assert!(!judge(&both, &outcome(Ok("1"))).is_pass());
    }
}
