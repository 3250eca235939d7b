//! Who said what: transcripts as plain lines with names, with time stamps, or as WebVTT.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// A name is no longer than this; a longer text before a colon is a sentence.
const NAME_WORDS: usize = 4;
const NAME_BYTES: usize = 60;

/// What one person said without a break.
#[derive(Debug, PartialEq)]
pub struct Turn<'a> {
    /// Nobody where the transcript does not say.
    pub speaker: Option<&'a str>,
    pub text: &'a str,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Participant {
    pub name: String,
    pub turns: u32,
    pub words: u32,
}

/// The lines of a transcript with their speakers; a line without a name goes on with the last one.
pub fn turns(transcript: &str) -> Vec<Turn<'_>> {
    let mut turns = Vec::new();
    let mut speaker = None;
    for line in transcript.lines() {
        let line = without_time(line.trim());
        if line.is_empty()
            || line == "WEBVTT"
            || line.contains("-->")
            || line.bytes().all(|byte| byte.is_ascii_digit())
        {
            continue;
        }
        let (name, text) = split(line);
        speaker = name.or(speaker);
        if !text.is_empty() {
            turns.push(Turn { speaker, text });
        }
    }
    turns
}

fn split(line: &str) -> (Option<&str>, &str) {
    if let Some((name, text)) = line.strip_prefix("<v ").and_then(|rest| rest.split_once('>')) {
        return (Some(name.trim()), text.trim_end_matches("</v>").trim());
    }
    match line.split_once(':') {
        Some((name, text)) if is_name(name) => (Some(name.trim()), text.trim()),
        _ => (None, line),
    }
}

fn is_name(text: &str) -> bool {
    let words = || text.split_whitespace();
    text.len() <= NAME_BYTES
        && (1..=NAME_WORDS).contains(&words().count())
        && words().next().is_some_and(|first| first.starts_with(char::is_uppercase))
        && text.chars().all(|char| char.is_alphanumeric() || " .'’-()".contains(char))
        // These stand before a colon as well, and are nobody's name.
        && !["action", "action item", "todo", "decision", "note", "next steps"]
            .iter()
            .any(|word| text.trim().eq_ignore_ascii_case(word))
}

/// A line without the time it starts with: `[00:01:02]`, `(1:02)`, `00:01:02.500`.
fn without_time(line: &str) -> &str {
    let bare = line.trim_start_matches(['[', '(']);
    let end =
        bare.find(|char: char| !char.is_ascii_digit() && char != ':' && char != '.').unwrap_or(bare.len());
    let time = &bare[..end];
    let rest = &bare[end..];
    let is_time = time.contains(':') && time.starts_with(|char: char| char.is_ascii_digit());
    // `10: that was the number` is no time: a colon ends it.
    if !is_time || time.ends_with(':') || rest.trim_start().starts_with("-->") {
        return line;
    }
    rest.trim_start_matches([']', ')', ' ', '-', '\t'])
}

/// Everybody who spoke, most words first, then by name.
pub fn participants(turns: &[Turn<'_>]) -> Vec<Participant> {
    let mut spoken: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut last = None;
    for turn in turns {
        let Some(speaker) = turn.speaker else { continue };
        let (turns, words) = spoken.entry(speaker).or_default();
        *turns += u32::from(last != Some(speaker));
        *words += u32::try_from(turn.text.split_ascii_whitespace().count()).unwrap_or(u32::MAX);
        last = Some(speaker);
    }
    let mut participants: Vec<_> = spoken
        .into_iter()
        .map(|(name, (turns, words))| Participant { name: name.to_owned(), turns, words })
        .collect();
    participants.sort_by_key(|participant| std::cmp::Reverse(participant.words));
    participants
}

/// The sentences of a text, with the mark that ends them.
pub fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        let end = end_of_sentence(rest);
        let (sentence, after) = rest.split_at(end);
        rest = after;
        Some(sentence.trim_end())
    })
}

/// A mark ends a sentence if space or nothing follows; `Dr.` and `e.g.` do not.
fn end_of_sentence(text: &str) -> usize {
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        if !matches!(byte, b'.' | b'!' | b'?')
            || bytes.get(at + 1).is_some_and(|next| !next.is_ascii_whitespace())
        {
            continue;
        }
        let word = text[..at].rsplit(char::is_whitespace).next().unwrap_or_default();
        let is_short = *byte == b'.'
            && (matches!(word, "Dr" | "Mr" | "Mrs" | "Ms" | "Prof" | "vs" | "No") || word.contains('.'));
        if !is_short {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(transcript: &str) -> Vec<(Option<&str>, &str)> {
        turns(transcript).into_iter().map(|turn| (turn.speaker, turn.text)).collect()
    }

    #[test]
    fn speakers_are_found_in_every_form() {
        let expected =
            [(Some("Ada King"), "Hello."), (Some("Ada King"), "Again."), (Some("Grace"), "Hi: you.")];
        assert_eq!(said("Ada King: Hello.\nAgain.\n\nGrace: Hi: you."), expected);
        assert_eq!(
            said("[00:00:01] Ada King: Hello.\n(0:02) Again.\n00:00:03.5 - Grace: Hi: you."),
            expected
        );
        let vtt = "WEBVTT\n\n1\n00:00:01.000 --> 00:00:02.000\n<v Ada King>Hello.</v>\n\n2\n00:00:02.000 --> 00:00:03.000\n\
                   Again.\n\n00:00:03.000 --> 00:00:04.000\n<v Grace>Hi: you.</v>";
        assert_eq!(said(vtt), expected);
    }

    #[test]
    fn a_colon_does_not_make_a_name() {
        assert_eq!(said("the plan is this: we go"), [(None, "the plan is this: we go")]);
        assert_eq!(
            said("Ada: ok\nAction item: send it"),
            [(Some("Ada"), "ok"), (Some("Ada"), "Action item: send it")]
        );
        assert_eq!(said("10: that is it"), [(None, "10: that is it")]);
    }

    #[test]
    fn participants_are_counted() {
        let turns = turns("Ada: one two\nand three\nGrace: four\nAda: five");
        let counted: Vec<_> =
            participants(&turns).into_iter().map(|one| (one.name, one.turns, one.words)).collect();
        assert_eq!(counted, [("Ada".to_owned(), 2, 5), ("Grace".to_owned(), 1, 1)]);
    }

    #[test]
    fn sentences_end_where_people_stop() {
        let text = "Dr. Who pays 3.5 million, e.g. today. Really? Yes! and more";
        let expected = ["Dr. Who pays 3.5 million, e.g. today.", "Really?", "Yes!", "and more"];
        assert_eq!(sentences(text).collect::<Vec<_>>(), expected);
        assert_eq!(sentences("Ünïcödé ends… Here.").collect::<Vec<_>>(), ["Ünïcödé ends… Here."]);
    }
}
