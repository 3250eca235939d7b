//! How well company and role fit what is sold.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Reason, counts};

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Company {
    #[serde(default, deserialize_with = "counts::maybe")]
    #[schemars(with = "Option<f64>")]
    pub employees: Option<u32>,
    pub industry: Option<String>,
}

/// Up to 30 points; the middle of the market buys most.
pub fn size(company: &Company) -> Option<Reason> {
    let employees = company.employees?;
    let (points, band) = match employees {
        0..=9 => (5, "a very small company"),
        10..=49 => (15, "a small company"),
        50..=249 => (25, "a medium-sized company"),
        250..=999 => (30, "a company in the middle of the market"),
        1_000..=9_999 => (20, "a large company"),
        _ => (10, "a very large company, slow to buy"),
    };
    Some(Reason { factor: "size", points, text: format!("{employees} employees: {band}") })
}

/// 20 points for a target industry, 5 for any other that is known.
pub fn industry(company: &Company, targets: &[String]) -> Option<Reason> {
    let industry = company.industry.as_deref().map(str::trim).filter(|industry| !industry.is_empty())?;
    let is_target = targets.iter().any(|target| target.trim().to_lowercase() == industry.to_lowercase());
    let (points, text) = if is_target { (20, "a target industry") } else { (5, "not a target industry") };
    Some(Reason { factor: "industry", points, text: format!("{industry}: {text}") })
}

/// Up to 20 points by how much the role decides.
pub fn role(title: &str) -> Option<Reason> {
    let words: Vec<String> = title
        .split(|char: char| !char.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let (points, text) =
        if has(&["ceo", "cto", "cfo", "coo", "cio", "cmo", "chief", "founder", "owner", "president"])
            && !has(&["vice"])
        {
            (20, "decides")
        } else if has(&["vp", "vice", "director", "head"]) {
            (16, "decides in a department")
        } else if has(&["manager", "lead"]) {
            (10, "influences the decision")
        } else if has(&["student", "intern", "retired"]) {
            (-10, "unlikely to buy")
        } else if words.is_empty() {
            return None;
        } else {
            (4, "uses, and may recommend")
        };
    Some(Reason { factor: "role", points, text: format!("{}: {text}", title.trim()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn company(employees: Option<u32>, industry: Option<&str>) -> Company {
        Company { employees, industry: industry.map(str::to_owned) }
    }

    #[test]
    fn sizes_fall_into_bands() {
        for (employees, points) in
            [(0, 5), (9, 5), (10, 15), (249, 25), (250, 30), (5_000, 20), (u32::MAX, 10)]
        {
            assert_eq!(size(&company(Some(employees), None)).map(|reason| reason.points), Some(points));
        }
        assert_eq!(size(&company(None, None)), None);
    }

    #[test]
    fn industries_are_compared_without_case() {
        let targets = ["Software".to_owned()];
        let points = |name| industry(&company(None, Some(name)), &targets).map(|reason| reason.points);
        assert_eq!(points(" SOFTWARE "), Some(20));
        assert_eq!(points("Fishing"), Some(5));
        assert_eq!(points(" "), None);
    }

    #[test]
    fn roles_count_by_what_they_decide() {
        for (title, points) in [
            ("Founder & CEO", Some(20)),
            ("Vice President Sales", Some(16)),
            ("Head of IT", Some(16)),
            ("Account manager", Some(10)),
            ("Student", Some(-10)),
            ("Engineer", Some(4)),
            ("Codirector", Some(4)),
            (" - ", None),
        ] {
            assert_eq!(role(title).map(|reason| reason.points), points, "{title}");
        }
    }
}
