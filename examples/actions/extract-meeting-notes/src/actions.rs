//! What somebody promised or was asked to do, and what was decided.

use schemars::JsonSchema;
use serde::Serialize;

use crate::dates::{self, Day};
use crate::transcript::{Turn, sentences};

/// More items than anybody follows up on: the rest of a huge transcript is left out.
pub const MOST: usize = 200;
const LONGEST: usize = 300;

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct ActionItem {
    pub task: String,
    /// The participant who does it, if it is clear.
    pub owner: Option<String>,
    /// As `2026-03-06`, if a day was named and the day of the call is known.
    pub due: Option<String>,
}

/// Action items and decisions, in the order they were said; the same thing said twice counts once.
pub fn find(turns: &[Turn<'_>], names: &[&str], call: Option<Day>) -> (Vec<ActionItem>, Vec<String>) {
    let names: Vec<Name<'_>> = names.iter().map(|name| Name::of(name)).collect();
    let (mut items, mut decisions) = (Vec::<ActionItem>::new(), Vec::<String>::new());
    for turn in turns {
        for sentence in sentences(turn.text) {
            if sentence.len() > LONGEST {
                continue;
            }
            if let Some((task, owner)) = task(sentence, turn.speaker, &names) {
                let item = ActionItem {
                    task: tidy(task),
                    owner: owner.map(str::to_owned),
                    due: call.and_then(|call| dates::due(sentence, call)).map(Day::iso),
                };
                if items.len() < MOST && !item.task.is_empty() && !items.contains(&item) {
                    items.push(item);
                }
            } else if is_decision(sentence)
                && decisions.len() < MOST
                && !decisions.iter().any(|one| one == sentence)
            {
                decisions.push(sentence.to_owned());
            }
        }
    }
    (items, decisions)
}

fn is_decision(sentence: &str) -> bool {
    [
        "decision:",
        "we decided",
        "we've decided",
        "we have decided",
        "we agreed",
        "we've agreed",
        "it is decided",
    ]
    .iter()
    .any(|start| starts_with(sentence, start).is_some())
}

/// What is to be done, and by whom.
fn task<'a>(
    sentence: &'a str,
    speaker: Option<&'a str>,
    names: &[Name<'a>],
) -> Option<(&'a str, Option<&'a str>)> {
    for label in ["action item:", "action:", "todo:"] {
        if let Some(rest) = starts_with(sentence, label) {
            let rest = rest.trim_start();
            return Some(assigned(rest, names).unwrap_or((rest, None)));
        }
    }
    for promise in ["i'll ", "i’ll ", "i will ", "ok, i'll ", "okay, i'll ", "sure, i'll ", "yes, i'll "] {
        if let Some(rest) = starts_with(sentence, promise) {
            return is_doing(rest).then_some((rest, speaker));
        }
    }
    assigned(sentence, names)
}

/// A participant's, and what they are called by.
#[derive(Clone, Copy)]
struct Name<'a> {
    full: &'a str,
    first: &'a str,
}

impl<'a> Name<'a> {
    fn of(full: &'a str) -> Self {
        Self { full, first: full.split_whitespace().next().unwrap_or(full) }
    }
}

/// `Grace will …`, `Grace, can you …`, `Grace to …`: a participant and a task.
fn assigned<'a>(sentence: &'a str, names: &[Name<'a>]) -> Option<(&'a str, Option<&'a str>)> {
    names.iter().find_map(|&Name { full, first }| {
        let after_first = starts_with(sentence, first)?;
        let rest = starts_with(sentence, full).unwrap_or(after_first);
        // Somebody's name, not the start of a longer word.
        let rest = rest.strip_prefix(',').unwrap_or(rest).strip_prefix(' ')?;
        [
            "will ",
            "to ",
            "could you please ",
            "can you please ",
            "could you ",
            "can you ",
            "would you ",
            "please ",
        ]
        .iter()
        .find_map(|asked| starts_with(rest, asked))
        .filter(|task| is_doing(task))
        .map(|task| (task, Some(full)))
    })
}

/// `I'll be away` and `I will not` promise nothing to do.
fn is_doing(task: &str) -> bool {
    let verb = task.split(|char: char| !char.is_alphabetic()).next().unwrap_or_default().to_ascii_lowercase();
    !matches!(
        verb.as_str(),
        "" | "be" | "not" | "never" | "have" | "need" | "probably" | "say" | "admit" | "bet"
    )
}

/// What follows a beginning, whatever the case of its ASCII letters.
fn starts_with<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

/// A task as a line of its own: a capital first, no mark at the end.
fn tidy(task: &str) -> String {
    let task = task.trim().trim_end_matches(['.', '!', '?', ',', ';']);
    let mut chars = task.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["Ada King", "Grace"];

    fn found(sentence: &'static str) -> Option<(&'static str, Option<&'static str>)> {
        task(sentence, Some("Ada King"), &NAMES.map(Name::of))
    }

    #[test]
    fn promises_and_requests_are_tasks() {
        let cases = [
            ("I'll send the offer by Friday.", "send the offer by Friday.", Some("Ada King")),
            ("Okay, I'll call them.", "call them.", Some("Ada King")),
            ("Grace will prepare the demo.", "prepare the demo.", Some("Grace")),
            ("Ada, could you please check the numbers?", "check the numbers?", Some("Ada King")),
            ("Action item: Grace to update the plan", "update the plan", Some("Grace")),
            ("TODO: book a room", "book a room", None),
        ];
        for (sentence, task, owner) in cases {
            assert_eq!(found(sentence), Some((task, owner)), "{sentence}");
        }
    }

    #[test]
    fn talk_is_no_task() {
        for sentence in [
            "I'll be on holiday.",
            "I will not do that.",
            "Graceful degradation will help.",
            "Somebody will do it.",
            "Grace told me.",
            "I'll",
            "Ü",
        ] {
            assert_eq!(found(sentence), None, "{sentence}");
        }
    }

    #[test]
    fn what_is_said_twice_counts_once() {
        let turns = crate::transcript::turns(
            "Ada King: I'll call. We agreed on Monday.\nI'll call. We agreed on Monday.",
        );
        let (items, decisions) = find(&turns, &NAMES, None);
        assert_eq!((items.len(), decisions.len()), (1, 1));
        assert_eq!(items[0].task, "Call");
    }
}
