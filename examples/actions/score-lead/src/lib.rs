//! Scores a lead from 0 to 100 by company, role and behaviour, and says why.
//!
//! Every point comes with a reason, so that a salesperson can see what a score stands on.

mod behaviour;
mod counts;
mod fit;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stepwell_action::{Failure, action};

pub use behaviour::Behaviour;
pub use fit::Company;

/// What is known about a lead. Whatever is missing gives no points.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lead {
    pub company: Option<Company>,
    pub job_title: Option<String>,
    #[serde(default)]
    pub behaviour: Behaviour,
    #[serde(default)]
    pub settings: Settings,
}

/// What a workspace can set: `settings: "{{ settings.scoring }}"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Industries that buy most; others get fewer points.
    pub target_industries: Vec<String>,
    /// From this score on a lead is worth a call.
    pub threshold: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let industries = ["software", "financial services", "logistics", "manufacturing"];
        Self { target_industries: industries.map(str::to_owned).to_vec(), threshold: 60 }
    }
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// 0 to 100.
    pub score: u32,
    pub grade: Grade,
    /// Whether the score reaches the threshold.
    pub qualified: bool,
    /// What the score is made of, most points first.
    pub reasons: Vec<Reason>,
}

#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    Hot,
    Warm,
    Cold,
}

/// Points, and what for.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reason {
    pub factor: &'static str,
    pub points: i32,
    pub text: String,
}

#[action]
pub fn score(lead: Lead) -> Result<Score, Failure> {
    if lead.settings.threshold > 100 {
        let message =
            format!("a threshold of {} is never reached: scores end at 100", lead.settings.threshold);
        return Err(Failure::new("invalid_settings", message));
    }
    let mut reasons = Vec::new();
    if let Some(company) = &lead.company {
        reasons.extend(fit::size(company));
        reasons.extend(fit::industry(company, &lead.settings.target_industries));
    }
    reasons.extend(lead.job_title.as_deref().and_then(fit::role));
    reasons.extend(behaviour::reasons(&lead.behaviour));
    // Equal points stay in the order of the factors.
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.points));

    let sum: i32 = reasons.iter().map(|reason| reason.points).sum();
    let score = if lead.behaviour.unsubscribed { 0 } else { sum.clamp(0, 100).unsigned_abs() };
    let threshold = lead.settings.threshold;
    let grade = match score {
        _ if score >= threshold => Grade::Hot,
        _ if score * 2 >= threshold => Grade::Warm,
        _ => Grade::Cold,
    };
    log::info!(score, reasons = reasons.len(); "scored");
    Ok(Score { score, qualified: score >= threshold, grade, reasons })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strong() -> Lead {
        Lead {
            company: Some(Company { employees: Some(500), industry: Some("Logistics".into()) }),
            job_title: Some("VP of Operations".into()),
            behaviour: Behaviour { demo_requested: true, pricing_views: 3, ..Behaviour::default() },
            settings: Settings::default(),
        }
    }

    #[test]
    fn points_add_up_to_the_score() {
        let scored = score(strong()).expect("a score");
        let sum: i32 = scored.reasons.iter().map(|reason| reason.points).sum();
        assert_eq!(i64::from(scored.score), i64::from(sum));
        assert_eq!((scored.grade, scored.qualified), (Grade::Hot, true));
        assert!(scored.reasons.is_sorted_by_key(|reason| -reason.points));
    }

    #[test]
    fn nothing_known_is_a_cold_lead() {
        let scored = score(Lead::default()).expect("a score");
        assert_eq!((scored.score, scored.grade, scored.reasons), (0, Grade::Cold, vec![]));
    }

    #[test]
    fn who_unsubscribed_is_left_alone() {
        let mut lead = strong();
        lead.behaviour.unsubscribed = true;
        let scored = score(lead).expect("a score");
        assert_eq!((scored.score, scored.qualified), (0, false));
    }

    #[test]
    fn a_score_never_leaves_its_range() {
        let mut lead = strong();
        lead.behaviour.page_views = u32::MAX;
        lead.behaviour.email_clicks = u32::MAX;
        lead.behaviour.form_submissions = u32::MAX;
        assert_eq!(score(lead).expect("a score").score, 100);
        let lead = Lead {
            behaviour: Behaviour { days_since_last_visit: Some(u32::MAX), ..Behaviour::default() },
            ..Lead::default()
        };
        assert_eq!(score(lead).expect("a score").score, 0);
    }

    #[test]
    fn a_threshold_out_of_reach_is_refused() {
        let mut lead = strong();
        lead.settings.threshold = 101;
        assert_eq!(score(lead).expect_err("too high").code, "invalid_settings");
    }
}
