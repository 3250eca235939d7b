//! Reads a scoring service's answer: a score from 0 to 100, what it stands on, and the threshold that it is measured by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_action::{Failure, action};

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Asked {
    /// The service's answer.
    pub answer: Value,
    #[serde(default)]
    pub settings: Settings,
}

/// What a workspace can set: `settings: "{{ settings.external_scoring }}"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// From this score on a person is worth a call.
    pub threshold: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 70.0 }
    }
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Score {
    /// A whole number from 0 to 100.
    pub score: u32,
    /// From this score on a person is worth a call.
    pub threshold: f64,
    /// What it stands on, for people; the weightiest first.
    pub reasons: Vec<String>,
}

/// So many reasons are told.
const TOLD: usize = 5;

#[action]
pub fn read_score(asked: Asked) -> Result<Score, Failure> {
    let Asked { answer, settings } = asked;
    if !(1.0..=100.0).contains(&settings.threshold) {
        let message = format!("a threshold of {} is none: scores are from 0 to 100", settings.threshold);
        return Err(Failure::new("invalid_settings", message));
    }
    let unexpected = |what: &str| Failure::new("unexpected_answer", format!("the service's answer {what}"));
    let Value::Object(fields) = &answer else { return Err(unexpected("is no object")) };
    let score = fields.get("score").ok_or_else(|| unexpected("has no score"))?;
    let score = score.as_f64().filter(|score| (0.0..=100.0).contains(score));
    let score = score.ok_or_else(|| unexpected("has a score that is no number from 0 to 100"))?.round();
    let mut factors: Vec<(f64, &str)> = match fields.get("factors") {
        None | Some(Value::Null) => vec![],
        Some(Value::Array(factors)) => factors
            .iter()
            .filter_map(|factor| Some((factor["weight"].as_f64()?, factor["name"].as_str()?.trim())))
            .filter(|(_, name)| !name.is_empty())
            .collect(),
        Some(_) => return Err(unexpected("has factors that are no list")),
    };
    factors.sort_by(|one, other| other.0.abs().total_cmp(&one.0.abs()));
    let sign = |weight: f64| if weight < 0.0 { '-' } else { '+' };
    let reasons =
        factors.iter().take(TOLD).map(|(weight, name)| format!("{} {name}", sign(*weight))).collect();
    log::info!(score; "read");
    Ok(Score { score: whole(score), threshold: settings.threshold, reasons })
}

/// Of a whole number from 0 to 100.
fn whole(score: f64) -> u32 {
    score as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(answer: Value) -> Result<Score, Failure> {
        read_score(Asked { answer, settings: Settings::default() })
    }

    #[test]
    fn a_score_is_a_whole_number() {
        for (score, whole) in [(0.0, 0), (69.4, 69), (69.5, 70), (100.0, 100)] {
            assert_eq!(read(json!({ "score": score })).expect("a score").score, whole, "{score}");
        }
    }

    #[test]
    fn another_form_of_answer_is_said() {
        for (answer, what) in [
            (json!([]), "is no object"),
            (json!({}), "has no score"),
            (json!({ "score": "70" }), "has a score that is no number from 0 to 100"),
            (json!({ "score": 101 }), "has a score that is no number from 0 to 100"),
            (json!({ "score": 7, "factors": {} }), "has factors that are no list"),
        ] {
            assert!(read(answer).expect_err("unexpected").message.ends_with(what), "{what}");
        }
    }

    #[test]
    fn the_weightiest_factors_are_told() {
        let factors =
            json!([{ "name": "a", "weight": 1 }, { "name": "b", "weight": -3 }, { "name": 7 }, {}, null]);
        let told = read(json!({ "score": 7, "factors": factors })).expect("a score");
        assert_eq!(told.reasons, ["- b", "+ a"]);
    }
}
