//! Finds summary, participants, decisions and action items in the transcript of a call.

mod actions;
mod dates;
mod summary;
mod transcript;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stepwell_action::{Failure, OrFail, action};

pub use actions::ActionItem;
pub use transcript::Participant;

/// So many of those who spoke, most words first, are known by name when something is asked of them: each sentence is held
/// against each name, and a transcript may have a line `Slide 1234: …` for every slide.
const ASKED: usize = 50;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    pub title: Option<String>,
    /// Lines such as `Ada: I will send it by Friday.`, with or without time stamps; WebVTT too.
    pub transcript: String,
    /// The day of the call as `2026-03-02`: what "by Friday" counts from.
    pub date: Option<String>,
    /// How many sentences the summary has.
    #[serde(default = "five")]
    pub summary_sentences: usize,
}

fn five() -> usize {
    5
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notes {
    pub title: Option<String>,
    /// The sentences that say most, in the order they were said.
    pub summary: Vec<String>,
    /// Who spoke, most words first.
    pub participants: Vec<Participant>,
    pub decisions: Vec<String>,
    pub action_items: Vec<ActionItem>,
}

#[action]
pub fn extract(recording: Recording) -> Result<Notes, Failure> {
    let date = match recording.date.as_deref() {
        Some(text) => {
            let message = || format!("{text:?} is not a date: write it as 2026-03-02");
            Some(dates::parse(text).or_fail_with("invalid_date", message)?)
        }
        None => None,
    };
    let turns = transcript::turns(&recording.transcript);
    if turns.is_empty() {
        return Err(Failure::new("empty_transcript", "there is nothing said in the transcript"));
    }
    let participants = transcript::participants(&turns);
    let names: Vec<&str> =
        participants.iter().take(ASKED).map(|participant| participant.name.as_str()).collect();
    let (action_items, decisions) = actions::find(&turns, &names, date);
    let summary = summary::of(&turns, recording.summary_sentences);
    log::info!(
        turns = turns.len(), participants = participants.len(), action_items = action_items.len();
        "transcript read"
    );
    let title = recording.title.map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
    let title = title.filter(|title| !title.is_empty());
    Ok(Notes { title, summary, decisions, action_items, participants })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_call_becomes_notes() {
        let notes = extract(Recording {
            title: Some("Kick-off".into()),
            transcript: "Ada: Welcome. We decided to start with the billing module.\n\
                         Grace: I'll send the contract by Friday.\n\
                         Ada: Grace, could you please book a room for the workshop?"
                .into(),
            date: Some("2026-03-02".into()),
            summary_sentences: 1,
        })
        .expect("notes");
        assert_eq!(notes.decisions, ["We decided to start with the billing module."]);
        let items: Vec<_> = notes
            .action_items
            .iter()
            .map(|item| (item.task.as_str(), item.owner.as_deref(), item.due.as_deref()))
            .collect();
        assert_eq!(
            items,
            [
                ("Send the contract by Friday", Some("Grace"), Some("2026-03-06")),
                ("Book a room for the workshop", Some("Grace"), None),
            ]
        );
        assert_eq!(notes.summary.len(), 1);
    }

    #[test]
    fn a_transcript_without_words_is_refused() {
        let failure = extract(Recording { transcript: " \n WEBVTT\n".into(), ..Recording::default() });
        assert_eq!(failure.expect_err("it is empty").code, "empty_transcript");
    }

    #[test]
    fn a_date_that_is_none_is_refused() {
        let recording = Recording {
            transcript: "Ada: Hi.".into(),
            date: Some("2026-02-30".into()),
            ..Recording::default()
        };
        assert_eq!(extract(recording).expect_err("no such day").code, "invalid_date");
    }

    #[test]
    fn those_who_say_most_are_known_by_name() {
        let mut transcript = "Ada: Zed, please call them.\nAda: Grace, please book a room.\n".to_owned();
        transcript.push_str("Grace: I see.\nZed: Hm.\n");
        for slide in 0..ASKED {
            transcript.push_str(&format!("Slide {slide}: So many words.\n"));
        }
        transcript.push_str("Grace: That is what I wanted to say.\n");
        let notes = extract(Recording { transcript, ..Recording::default() }).expect("notes");
        let owners: Vec<_> = notes.action_items.iter().map(|item| item.owner.as_deref()).collect();
        assert_eq!((owners, notes.participants.len()), (vec![Some("Grace")], ASKED + 3));
    }

    #[test]
    fn a_title_has_one_line() {
        let recording = Recording {
            title: Some(" Q1\r\n review ".into()),
            transcript: "Ada: Hi.".into(),
            ..Recording::default()
        };
        assert_eq!(extract(recording).expect("notes").title.as_deref(), Some("Q1 review"));
    }

    #[test]
    fn megabytes_are_read_in_one_call() {
        let mut transcript = String::new();
        let mut minute = 0;
        while transcript.len() < 4 << 20 {
            transcript.push_str(&format!(
                "[{:02}:{:02}:00] Ada: The renewal of contract {minute} depends on the price of the second module.\n\
                 [{:02}:{:02}:30] Grace: I will check number {minute} tomorrow.\n",
                minute / 60,
                minute % 60,
                minute / 60,
                minute % 60
            ));
            minute += 1;
        }
        let recording =
            Recording { transcript, date: Some("2026-03-02".into()), summary_sentences: 3, title: None };
        let notes = extract(recording).expect("notes");
        assert_eq!(notes.action_items.len(), actions::MOST);
        assert_eq!(notes.participants.len(), 2);
        assert_eq!(notes.summary.len(), 3);
    }
}
