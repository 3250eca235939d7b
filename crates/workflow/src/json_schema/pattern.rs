//! A pattern of a schema: which engine reads it, how much memory it takes, and how many steps on a text.
//!
//! A pattern without look-around and back-references is read in one pass, which takes the length of the text times the
//! parts of the pattern; look-aheads that all stand at its start are such patterns of their own. Any other is tried at
//! every place, from where it may read on to the end, in every way that its parts allow.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fancy_regex::{Assertion, CompileError, Error, Expr, LookAround, Regex, RegexBuilder};
use jsonschema::{Keyword, ValidationError};
use jsonschema_regex::{RepeatedClass, Search};
use serde_json::Value;

use super::account::{self, MAX_STEPS};

/// Bytes that a pattern may take when it is compiled, and all of a schema.
pub const MAX_PATTERN: usize = 256 << 10;
pub const MAX_ALL_PATTERNS: usize = 1 << 20;
/// The shortest that is counted.
const MIN_PATTERN: usize = 1 << 10;
/// Bytes of a text that a pattern with look-around or back-references is for.
pub const MAX_LOOKED_AROUND: usize = 2 << 10;
/// Ways that such a pattern tries on one text.
pub(super) const BACKTRACK_LIMIT: usize = 10_000;
/// What an engine may remember of a pattern to be quicker.
pub(super) const DFA_BYTES: usize = 128 << 10;
/// Such a pattern is refused when a text of this length could take more than there is for all.
const USUAL: u64 = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Texts,
    /// By the validator, which knows fewer ways to read a pattern in one pass.
    Names,
}

#[derive(Debug)]
pub(super) struct Pattern {
    source: String,
    engine: Engine,
    /// That it takes when compiled, rounded up.
    pub bytes: usize,
}

#[derive(Debug)]
enum Engine {
    /// Characters of one kind are counted.
    Count(RepeatedClass),
    /// All of them match, each in one pass.
    Passes { all: Vec<Regex>, parts: u64 },
    /// Steps by length of the text: of 1, 2, 4 bytes and so on.
    Looks { regex: Regex, steps: Vec<u64> },
}

/// Why a pattern is refused.
pub(super) struct Wrong {
    pub message: String,
    pub hint: &'static str,
}

impl Wrong {
    fn new(source: &str, why: &str, hint: &'static str) -> Self {
        Self { message: format!("has the pattern `{}`, which {why}", shown(source)), hint }
    }

    fn none(source: &str) -> Self {
        Self::new(
            source,
            "is no \"regex\" of ECMA 262",
            "put a `\\` before a character that is meant as such",
        )
    }
}

impl Pattern {
    pub(super) fn compile(source: &str, used: Use) -> Result<Self, Wrong> {
        // A pattern is at most as long as what it may take: the rest is not read to be told so.
        if source.len() > MAX_PATTERN {
            return Err(too_big(source));
        }
        let parts = (used == Use::Texts)
            .then(|| jsonschema_regex::split_leading_lookaheads(source))
            .flatten()
            .and_then(|parts| parts.iter().map(|part| read(part)).collect::<Option<Vec<_>>>())
            .filter(|parts| parts.iter().all(|(_, expr)| !looks(expr)));
        if let Some(parts) = parts {
            return Self::of_passes(source, parts);
        }
        let translated = jsonschema_regex::to_rust_regex(source).map_err(|()| Wrong::none(source))?;
        let text = match jsonschema_regex::search_form(source, &translated) {
            Some(Search::RepeatedClass(class)) => {
                let source = source.to_owned();
                return Ok(Self { source, engine: Engine::Count(class), bytes: MIN_PATTERN });
            }
            Some(Search::Collapsed(text)) => text,
            None => translated.into_owned(),
        };
        let tree = Expr::parse_tree(&text).map_err(|_| Wrong::none(source))?;
        if !looks(&tree.expr) {
            return Self::of_passes(source, vec![(text, tree.expr)]);
        }
        if tree.contains_subroutines || tree.expr.has_descendant_or_self(is_foreign) {
            return Err(Wrong::none(source));
        }
        let lengths = 0..=MAX_LOOKED_AROUND.ilog2();
        let steps: Vec<u64> = lengths.map(|power| steps(&tree.expr, 1 << power)).collect();
        if steps[USUAL.ilog2() as usize] > MAX_STEPS {
            let why = format!(
                "looks around or refers back so that a text of {USUAL} bytes can take more than {MAX_STEPS} steps"
            );
            return Err(Wrong::new(source, &why, "put no counts around look-around and back-references"));
        }
        let (regex, bytes) = built(source, &text)?;
        // Each part may be an engine of its own.
        let bytes = bytes.saturating_mul(size(&tree.expr));
        Ok(Self { source: source.to_owned(), engine: Engine::Looks { regex, steps }, bytes })
    }

    fn of_passes(source: &str, texts: Vec<(String, Expr)>) -> Result<Self, Wrong> {
        let (mut all, mut parts, mut bytes) = (Vec::with_capacity(texts.len()), 0u64, 0);
        for (text, expr) in texts {
            let (regex, taken) = built(source, &text)?;
            parts = parts.saturating_add(self::parts(&expr) + 1);
            bytes += taken;
            all.push(regex);
        }
        Ok(Self { source: source.to_owned(), engine: Engine::Passes { all, parts }, bytes })
    }

    /// At most, for one text.
    pub(super) fn steps(&self, text: &str) -> u64 {
        let length = text.len() as u64 + 1;
        match &self.engine {
            Engine::Count(_) => length,
            Engine::Passes { parts, .. } => length.saturating_mul(*parts),
            Engine::Looks { steps, .. } => {
                let power = text.len().max(1).next_power_of_two().ilog2();
                steps.get(power as usize).copied().unwrap_or(u64::MAX)
            }
        }
    }

    /// Whether a text is short enough, and may be read so many times; else it is told why not.
    fn affords(&self, text: &str, times: u64, value: &Value) -> bool {
        self.takes(text, value) && account::charge(self.steps(text).saturating_mul(times), value)
    }

    fn takes(&self, text: &str, value: &Value) -> bool {
        if matches!(self.engine, Engine::Looks { .. }) && text.len() > MAX_LOOKED_AROUND {
            let why = format!(
                "there are {} bytes of text here; the pattern `{}` looks around or refers back, and is for at most \
                 {MAX_LOOKED_AROUND}",
                text.len(),
                shown(&self.source)
            );
            account::refuse(why, value);
            return false;
        }
        true
    }

    fn matches(&self, text: &str, value: &Value) -> bool {
        self.affords(text, 1, value) && self.found(text, value) == Some(true)
    }

    /// Nothing when it is not found out.
    fn found(&self, text: &str, value: &Value) -> Option<bool> {
        // The engines panic on some patterns (rust-lang/regex issue 1344).
        let found = catch_unwind(AssertUnwindSafe(|| match &self.engine {
            Engine::Count(class) => Ok(class.is_match(text)),
            Engine::Passes { all, .. } => {
                all.iter().try_fold(true, |all, one| if all { one.is_match(text) } else { Ok(false) })
            }
            Engine::Looks { regex, .. } => regex.is_match(text),
        }));
        let found = found.ok().and_then(Result::ok);
        if found.is_none() {
            let why = format!(
                "whether the pattern `{}` matches this is not found out in {BACKTRACK_LIMIT} ways",
                shown(&self.source)
            );
            account::refuse(why, value);
        }
        found
    }
}

/// Whether the validator may hold the name of a property against patterns, each of them once for every `times`. Those
/// that it would not come to an end with are found here first.
pub(super) fn admit(patterns: &[Arc<Pattern>], name: &str, times: u64, object: &Value) -> bool {
    let looking = || patterns.iter().filter(|one| matches!(one.engine, Engine::Looks { .. }));
    let most = patterns.iter().map(|one| one.steps(name)).max().unwrap_or(0);
    looking().all(|one| one.takes(name, object))
        && account::charge(most.saturating_mul(times), object)
        && looking().all(|one| one.affords(name, 1, object) && one.found(name, object).is_some())
}

/// The keyword `pattern`.
pub(super) struct OfTexts(pub Arc<Pattern>);

impl<'i> Keyword<'i> for OfTexts {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        let Value::String(text) = value else { return Ok(()) };
        if self.0.matches(text, value) || !account::quote(text.len()) {
            return Ok(());
        }
        let mut quoted: String = text.chars().take(200).collect();
        if quoted.len() < text.len() {
            quoted.push('…');
        }
        let message = format!("{} does not match \"{}\"", Value::String(quoted), self.0.source);
        Err(ValidationError::custom(message))
    }

    fn is_valid(&self, value: &'i Value) -> bool {
        match value {
            Value::String(text) => self.0.matches(text, value),
            _ => true,
        }
    }
}

/// As the engine reads it.
fn read(source: &str) -> Option<(String, Expr)> {
    let text = jsonschema_regex::to_rust_regex(source).ok()?.into_owned();
    let expr = Expr::parse_tree(&text).ok()?.expr;
    Some((text, expr))
}

/// Compiled, and the bytes that it takes: the least limit that it keeps. Who goes over a limit is stopped there, so it
/// costs no more than twice the last attempt.
fn built(source: &str, text: &str) -> Result<(Regex, usize), Wrong> {
    let mut limit = MIN_PATTERN;
    loop {
        let built = RegexBuilder::new(text)
            .backtrack_limit(BACKTRACK_LIMIT)
            .delegate_size_limit(limit)
            .delegate_dfa_size_limit(DFA_BYTES)
            .build();
        match built {
            Ok(regex) => return Ok((regex, limit)),
            Err(error) if !is_too_big(&error) => return Err(Wrong::none(source)),
            Err(_) if limit >= MAX_PATTERN => return Err(too_big(source)),
            Err(_) => limit *= 2,
        }
    }
}

fn is_too_big(error: &Error) -> bool {
    match error {
        Error::CompileError(error) => match &**error {
            CompileError::InnerError(error) => error.size_limit().is_some(),
            _ => true,
        },
        _ => false,
    }
}

fn too_big(source: &str) -> Wrong {
    let why = format!("takes more than {MAX_PATTERN} bytes when it is compiled");
    Wrong::new(
        source,
        &why,
        "say how long a text may be with `minLength` and `maxLength` rather than with counts",
    )
}

fn shown(source: &str) -> String {
    let mut text: String = source.chars().take(100).collect();
    if text.len() < source.len() {
        text.push('…');
    }
    text
}

/// Whether a pattern needs more than one pass.
fn looks(expr: &Expr) -> bool {
    expr.has_descendant_or_self(|expr| match expr {
        Expr::Empty
        | Expr::Any { .. }
        | Expr::Literal { .. }
        | Expr::Concat(_)
        | Expr::Alt(_)
        | Expr::Group(_)
        | Expr::Repeat { .. }
        | Expr::Delegate { .. } => false,
        Expr::Assertion(assertion) => matches!(assertion, Assertion::EndTextIgnoreTrailingNewlines { .. }),
        _ => true,
    })
}

/// What no pattern of ECMA 262 has, though the engine would know it.
fn is_foreign(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::SubroutineCall(_)
            | Expr::BackrefWithRelativeRecursionLevel { .. }
            | Expr::BacktrackingControlVerb(_)
            | Expr::Absent(_)
            | Expr::DefineGroup { .. }
            | Expr::AstNode(..)
            | Expr::Conditional { .. }
            | Expr::BackrefExistsCondition { .. }
    )
}

/// A part that takes one character, or none.
fn leaf(expr: &Expr) -> u64 {
    match expr {
        Expr::Literal { val, casei } => val.len() as u64 * if *casei { 4 } else { 1 },
        Expr::Delegate { inner, casei } if *casei || inner.contains("\\p") || inner.contains("\\P") => 8,
        Expr::Any { .. } | Expr::Delegate { .. } => 4,
        _ => 2,
    }
}

/// The parts of a pattern, those that are repeated once for every time.
fn parts(expr: &Expr) -> u64 {
    match expr {
        Expr::Repeat { child, lo, hi, .. } => {
            let times = if *hi == usize::MAX { (*lo).max(1) } else { (*hi).max(1) };
            parts(child).saturating_add(1).saturating_mul(times as u64)
        }
        _ if expr.is_leaf_node() => leaf(expr),
        _ => expr.children_iter().map(parts).fold(1, u64::saturating_add),
    }
}

/// How many parts are written.
fn size(expr: &Expr) -> usize {
    expr.children_iter().map(size).fold(1, usize::saturating_add)
}

/// In how many ways a part may go on, and the steps of all of them.
#[derive(Clone, Copy)]
struct Tries {
    ways: f64,
    steps: f64,
}

/// At most, on a text of so many bytes: from each place in all ways, or as many ways as are tried.
fn steps(expr: &Expr, length: u64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "a measure, not an account")]
    let (places, limit) = (length as f64 + 1.0, BACKTRACK_LIMIT as f64);
    let all = places * (tries(expr, places, true).steps + 1.0);
    let limited = limit * (tries(expr, places, false).steps + 1.0);
    let least = all.min(limited);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is positive, and what is too large is the largest"
    )]
    let least = if least.is_nan() { u64::MAX } else { least as u64 };
    least
}

/// Of what is read in one pass, which may go on for nothing as far as it could match.
fn pass(all: &[&Expr], places: f64) -> Tries {
    let parts = all.iter().map(|one| parts(one)).fold(1, u64::saturating_add);
    let length = all.iter().map(|one| longest(one)).fold(1, u64::saturating_add);
    #[expect(clippy::cast_precision_loss, reason = "a measure, not an account")]
    let (parts, length) = (parts as f64, length as f64);
    Tries { ways: 1.0, steps: parts * length.min(places) }
}

/// Bytes that a part matches at most.
fn longest(expr: &Expr) -> u64 {
    match expr {
        Expr::Literal { val, .. } => val.len() as u64 * 4,
        Expr::Any { .. } | Expr::Delegate { .. } => 4,
        Expr::Repeat { hi, .. } if *hi == usize::MAX => u64::MAX,
        Expr::Repeat { child, hi, .. } => longest(child).saturating_mul(*hi as u64),
        Expr::Alt(all) => all.iter().map(longest).max().unwrap_or(0),
        _ => expr.children_iter().map(longest).fold(0, u64::saturating_add),
    }
}

/// `back`: whether what fails later is tried in other ways.
fn tries(expr: &Expr, places: f64, back: bool) -> Tries {
    if !back && !looks(expr) {
        return pass(std::slice::from_ref(&expr), places);
    }
    if !back && let Expr::Concat(all) = expr {
        let (looking, plain): (Vec<&Expr>, Vec<&Expr>) = all.iter().partition(|one| looks(one));
        let plain = pass(&plain, places);
        let steps = looking.iter().map(|one| tries(one, places, back).steps).fold(plain.steps, |a, b| a + b);
        return Tries { ways: 1.0, steps };
    }
    match expr {
        Expr::Concat(all) => all.iter().fold(Tries { ways: 1.0, steps: 1.0 }, |done, next| {
            let next = tries(next, places, back);
            Tries { ways: done.ways * next.ways, steps: done.steps + done.ways * next.steps }
        }),
        Expr::Alt(all) => {
            let sum = all.iter().map(|one| tries(one, places, back)).fold(
                Tries { ways: 0.0, steps: 1.0 },
                |sum, next| Tries { ways: sum.ways + next.ways, steps: sum.steps + next.steps },
            );
            Tries { ways: if back { sum.ways.max(1.0) } else { 1.0 }, ..sum }
        }
        Expr::Repeat { child, lo, hi, .. } => {
            let one = tries(child, places, back);
            #[expect(clippy::cast_precision_loss, reason = "a measure, not an account")]
            let (lo, hi) = (*lo as f64, *hi as f64);
            let times = hi.min(places).max(lo).max(1.0);
            if one.ways > 1.0 {
                let ways = one.ways.powf(times);
                Tries { ways: ways * times, steps: (one.steps + 1.0) * ways * times }
            } else {
                Tries { ways: if back { times + 1.0 } else { 1.0 }, steps: (one.steps + 1.0) * times }
            }
        }
        // What is behind may begin at any place.
        Expr::LookAround(inner, LookAround::LookBehind | LookAround::LookBehindNeg) => {
            Tries { ways: 1.0, steps: (tries(inner, places, back).steps + 1.0) * places }
        }
        Expr::LookAround(inner, _) | Expr::AtomicGroup(inner) => {
            Tries { ways: 1.0, steps: tries(inner, places, back).steps + 1.0 }
        }
        Expr::Group(inner) => tries(inner, places, back),
        Expr::Backref { .. } => Tries { ways: 1.0, steps: places },
        #[expect(clippy::cast_precision_loss, reason = "a measure, not an account")]
        _ => Tries { ways: 1.0, steps: leaf(expr) as f64 },
    }
}
