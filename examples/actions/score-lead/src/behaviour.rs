//! What a lead did: counted, with a cap each, and less the longer it is ago.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Reason, counts};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Behaviour {
    #[serde(deserialize_with = "counts::count")]
    #[schemars(with = "Option<f64>")]
    pub page_views: u32,
    #[serde(deserialize_with = "counts::count")]
    #[schemars(with = "Option<f64>")]
    pub pricing_views: u32,
    #[serde(deserialize_with = "counts::count")]
    #[schemars(with = "Option<f64>")]
    pub email_opens: u32,
    #[serde(deserialize_with = "counts::count")]
    #[schemars(with = "Option<f64>")]
    pub email_clicks: u32,
    #[serde(deserialize_with = "counts::count")]
    #[schemars(with = "Option<f64>")]
    pub form_submissions: u32,
    #[serde(deserialize_with = "counts::flag")]
    #[schemars(with = "Option<bool>")]
    pub demo_requested: bool,
    /// Days since the last sign of interest.
    #[serde(deserialize_with = "counts::maybe")]
    #[schemars(with = "Option<f64>")]
    pub days_since_last_visit: Option<u32>,
    #[serde(deserialize_with = "counts::flag")]
    #[schemars(with = "Option<bool>")]
    pub unsubscribed: bool,
}

/// Points for each, and the most that one kind gives.
const KINDS: [(&str, &str, u32, u32); 5] = [
    ("page_views", "pages viewed", 1, 8),
    ("pricing_views", "price pages viewed", 4, 12),
    ("email_opens", "e-mails opened", 1, 4),
    ("email_clicks", "links in e-mails followed", 3, 9),
    ("form_submissions", "forms sent", 5, 10),
];

pub fn reasons(behaviour: &Behaviour) -> Vec<Reason> {
    let counts = [
        behaviour.page_views,
        behaviour.pricing_views,
        behaviour.email_opens,
        behaviour.email_clicks,
        behaviour.form_submissions,
    ];
    let mut reasons: Vec<Reason> = KINDS
        .iter()
        .zip(counts)
        .filter(|(_, count)| *count > 0)
        .map(|(&(factor, what, each, most), count)| Reason {
            factor,
            points: count.saturating_mul(each).min(most).cast_signed(),
            text: format!("{what}: {count}"),
        })
        .collect();
    if behaviour.demo_requested {
        reasons.push(Reason { factor: "demo_requested", points: 20, text: "asked for a demo".to_owned() });
    }
    if let Some(days) = behaviour.days_since_last_visit
        && let points @ 1.. = staleness(days)
    {
        let text = format!("{days} days without a sign of interest");
        reasons.push(Reason { factor: "staleness", points: -points, text });
    }
    if behaviour.unsubscribed {
        reasons.push(Reason { factor: "unsubscribed", points: 0, text: "asked to be left alone".to_owned() });
    }
    reasons
}

/// Interest fades: nothing in the first two weeks, then five points every two weeks, up to 25.
fn staleness(days: u32) -> i32 {
    (days / 14).saturating_mul(5).min(25).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_cap() {
        let all = Behaviour {
            page_views: u32::MAX,
            pricing_views: 2,
            email_opens: 1,
            email_clicks: 0,
            form_submissions: 3,
            ..Behaviour::default()
        };
        let points: Vec<_> = reasons(&all).iter().map(|reason| (reason.factor, reason.points)).collect();
        assert_eq!(
            points,
            [("page_views", 8), ("pricing_views", 8), ("email_opens", 1), ("form_submissions", 10)]
        );
    }

    #[test]
    fn interest_fades() {
        assert_eq!([0, 13, 14, 28, 365, u32::MAX].map(staleness), [0, 0, 5, 10, 25, 25]);
    }
}
