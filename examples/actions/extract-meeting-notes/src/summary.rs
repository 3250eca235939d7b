//! The sentences that say most: those with many of the words that the call keeps coming back to.

use std::collections::HashMap;

use crate::transcript::{Turn, sentences};

/// Words that every call is full of.
const COMMON: [&str; 64] = [
    "about",
    "after",
    "again",
    "also",
    "another",
    "anything",
    "because",
    "been",
    "before",
    "being",
    "could",
    "does",
    "doing",
    "done",
    "down",
    "each",
    "even",
    "every",
    "from",
    "going",
    "gonna",
    "good",
    "great",
    "have",
    "here",
    "into",
    "just",
    "know",
    "like",
    "looks",
    "make",
    "maybe",
    "mean",
    "more",
    "much",
    "need",
    "okay",
    "only",
    "other",
    "over",
    "really",
    "right",
    "same",
    "should",
    "some",
    "something",
    "sure",
    "take",
    "than",
    "thank",
    "thanks",
    "that",
    "their",
    "them",
    "then",
    "there",
    "they",
    "thing",
    "things",
    "think",
    "this",
    "well",
    "will",
    "with",
];
/// A sentence outside these bounds summarises nothing.
const WORDS: std::ops::RangeInclusive<usize> = 5..=60;

/// So many sentences, in the order they were said.
pub fn of(turns: &[Turn<'_>], count: usize) -> Vec<String> {
    let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut key = Vec::new();
    for turn in turns {
        for word in words(turn.text) {
            if fold(word, &mut key) {
                if let Some(count) = seen.get_mut(&key) {
                    *count += 1;
                } else {
                    seen.insert(key.clone(), 1);
                }
            }
        }
    }
    let mut best: Vec<(u64, usize, &str)> = Vec::with_capacity(count + 1);
    let all = turns.iter().flat_map(|turn| sentences(turn.text));
    for (place, sentence) in all.enumerate() {
        if sentence.ends_with('?') || best.iter().any(|(_, _, known)| *known == sentence) {
            continue;
        }
        let (mut length, mut weight) = (0, 0);
        for word in words(sentence) {
            length += 1;
            if fold(word, &mut key) {
                weight += u64::from(seen.get(&key).copied().unwrap_or(0));
            }
        }
        if WORDS.contains(&length) && weight > 0 {
            // Per word, so that long sentences do not always win.
            keep(&mut best, (weight * 1_000 / length as u64, place, sentence), count);
        }
    }
    best.sort_by_key(|(_, place, _)| *place);
    best.into_iter().map(|(_, _, sentence)| sentence.to_owned()).collect()
}

/// Keeps the best; of equals, the one that came first.
fn keep<'a>(best: &mut Vec<(u64, usize, &'a str)>, candidate: (u64, usize, &'a str), count: usize) {
    let at = best.partition_point(|(weight, _, _)| *weight >= candidate.0);
    if at < count {
        best.insert(at, candidate);
        best.truncate(count);
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|char: char| !char.is_alphanumeric() && char != '\'').filter(|word| !word.is_empty())
}

/// The word in small letters; whether it can be a topic.
fn fold(word: &str, key: &mut Vec<u8>) -> bool {
    if word.len() < 4 {
        return false;
    }
    key.clear();
    key.extend(word.bytes().map(|byte| byte.to_ascii_lowercase()));
    COMMON.binary_search_by(|common| common.as_bytes().cmp(key)).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::turns;

    #[test]
    fn common_words_are_in_order() {
        assert!(COMMON.is_sorted());
    }

    #[test]
    fn the_sentences_about_the_topic_are_taken_in_order() {
        let turns = turns(
            "Ada: Hi there, how are you? It was raining all day here.\n\
             Grace: The migration of the billing system starts in June.\n\
             Ada: So billing depends on the migration of the old system.\n\
             Grace: My cat sleeps on the warm radiator.",
        );
        assert_eq!(
            of(&turns, 2),
            [
                "The migration of the billing system starts in June.",
                "So billing depends on the migration of the old system."
            ]
        );
        assert!(of(&turns, 0).is_empty());
    }

    #[test]
    fn a_sentence_said_twice_is_taken_once() {
        let turns = turns("Ada: The renewal depends on pricing.\nGrace: The renewal depends on pricing.");
        assert_eq!(of(&turns, 5), ["The renewal depends on pricing."]);
    }
}
