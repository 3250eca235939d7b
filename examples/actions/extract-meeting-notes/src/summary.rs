//! The sentences that say most: those with many of the words that the call keeps coming back to.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

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
/// In bytes: shorter words are no topic.
const SHORTEST: usize = 4;
/// A sentence outside these bounds summarises nothing.
const WORDS: std::ops::RangeInclusive<usize> = 5..=60;

/// How often each word was said, by the word's hash: a transcript of megabytes is read without
/// keeping a word. Two words with one hash would only weigh each other's sentences up.
type Counts = HashMap<u64, u32, BuildHasherDefault<Identity>>;

/// So many sentences, in the order they were said.
pub fn of(turns: &[Turn<'_>], count: usize) -> Vec<String> {
    let mut seen = Counts::default();
    for turn in turns {
        for (topic, _) in words(turn.text) {
            *seen.entry(topic).or_default() += 1;
        }
    }
    for common in COMMON {
        seen.extend(words(common).map(|(topic, _)| (topic, 0)));
    }
    let mut best: Vec<(u64, usize, &str)> = Vec::with_capacity(count.min(100) + 1);
    let all = turns.iter().flat_map(|turn| sentences(turn.text));
    for (place, sentence) in all.enumerate().filter(|(_, sentence)| !sentence.ends_with('?')) {
        let (mut length, mut weight) = (0, 0);
        for (topic, bytes) in words(sentence) {
            length += 1;
            if bytes >= SHORTEST {
                weight += u64::from(seen.get(&topic).copied().unwrap_or(0));
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
    if at < count && !best.iter().any(|(_, _, known)| *known == candidate.2) {
        best.insert(at, candidate);
        best.truncate(count);
    }
}

/// Each word's hash (FNV-1a of its small letters) and its length in bytes. Bytes that are not
/// ASCII are parts of words.
fn words(text: &str) -> impl Iterator<Item = (u64, usize)> {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    let mut bytes = text.bytes();
    std::iter::from_fn(move || {
        let (mut hash, mut length) = (START, 0);
        for byte in bytes.by_ref() {
            if byte.is_ascii_alphanumeric() || byte == b'\'' || byte >= 0x80 {
                hash = (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3);
                length += 1;
            } else if length > 0 {
                break;
            }
        }
        (length > 0).then_some((hash, length))
    })
}

/// Hashes that are keys already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::turns;

    #[test]
    fn a_word_is_one_topic_however_it_is_written() {
        let topics = |text: &str| words(text).collect::<Vec<_>>();
        assert_eq!(
            topics("Billing, (billing) BILLING")
                .iter()
                .filter(|topic| **topic == topics("billing")[0])
                .count(),
            3
        );
        assert_ne!(topics("billing"), topics("pricing"));
        assert_eq!(
            topics("  don't…-- ").iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(),
            ["don't…".len()]
        );
        assert_eq!(topics(" .,"), []);
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
