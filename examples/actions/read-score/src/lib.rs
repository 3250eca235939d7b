//! Reads a scoring service's answer: a score from 0 to 100, what it stands on, and whether it crosses the threshold upwards.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_action::{Failure, action};

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Asked {
    /// The service's answer.
    pub answer: Value,
    /// The score that is stored, if there is one.
    pub before: Option<f64>,
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
    /// Whether it was under the threshold before, or unknown, and is not any more.
    pub crosses: bool,
    /// What it stands on, for people; the weightiest first.
    pub reasons: Vec<String>,
}

/// So many reasons are told.
const TOLD: usize = 5;

#[action]
pub fn read_score(asked: Asked) -> Result<Score, Failure> {
    let Asked { answer, before, settings } = asked;
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
    let crosses = score >= settings.threshold && before.is_none_or(|before| before < settings.threshold);
    log::info!(score, crosses; "read");
    Ok(Score { score: whole(score), crosses, reasons })
}

/// Of a whole number from 0 to 100.
fn whole(score: f64) -> u32 {
    score as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(answer: Value, before: Option<f64>) -> Result<Score, Failure> {
        read_score(Asked { answer, before, settings: Settings::default() })
    }

    #[test]
    fn a_threshold_is_crossed_upwards() {
        for (before, score, crosses) in [
            (None, 70.0, true),
            (Some(69.0), 70.0, true),
            (Some(70.0), 90.0, false),
            (Some(90.0), 20.0, false),
            (None, 69.4, false),
            // What is stored is what is compared.
            (Some(69.0), 69.5, true),
        ] {
            let told = read(json!({ "score": score }), before).expect("a score");
            assert_eq!(told.crosses, crosses, "{before:?} {score}");
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
            assert!(read(answer, None).expect_err("unexpected").message.ends_with(what), "{what}");
        }
    }

    #[test]
    fn the_weightiest_factors_are_told() {
        let factors =
            json!([{ "name": "a", "weight": 1 }, { "name": "b", "weight": -3 }, { "name": 7 }, {}, null]);
        let told = read(json!({ "score": 7, "factors": factors }), None).expect("a score");
        assert_eq!(told.reasons, ["- b", "+ a"]);
    }
}
