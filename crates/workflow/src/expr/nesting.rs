//! How deep a template nests, measured on its words before the parser sees it: parser, tree and evaluation all recurse,
//! and none of them may come to the end of the stack.

use std::iter::Peekable;

use minijinja::machinery::{self, Token, WhitespaceConfig};

use super::error::ExprError;

/// How many blocks, brackets, operators and filters may stand inside or behind each other.
pub const MAX_NESTING: usize = 50;

/// Brackets count more: the parser goes through every precedence for each.
const BRACKET: usize = 3;

/// And so does a block, which has statements around its expressions.
const BLOCK: usize = 2;

/// Words and signs of a whole template.
pub const MAX_WORDS: usize = 20_000;

/// What is known of one list of parts between brackets, up to its comma.
#[derive(Default)]
struct Level {
    /// What is around it.
    base: usize,
    /// Operators between operands: each takes what stands before it inside.
    between: usize,
    /// The most `not` and `-` in front of one operand.
    prefixes: usize,
    /// The deepest operand, and the one being read.
    deepest: usize,
    operand: Operand,
    /// The deepest part before the last comma.
    before: usize,
}

#[derive(Default)]
struct Operand {
    prefixes: usize,
    /// Attributes, subscripts, calls, filters and tests behind it.
    behind: usize,
    inside: usize,
}

impl Level {
    fn operator(&mut self) {
        self.end_operand();
        self.between += 1;
    }

    fn end_operand(&mut self) {
        self.prefixes = self.prefixes.max(self.operand.prefixes);
        self.deepest = self.deepest.max(self.operand.behind + self.operand.inside);
        self.operand = Operand::default();
    }

    fn end_part(&mut self) {
        self.before = self.depth();
        (self.between, self.prefixes, self.deepest) = (0, 0, 0);
        self.operand = Operand::default();
    }

    /// What brackets opened here stand in.
    fn outside(&self) -> usize {
        self.base + self.between + self.prefixes.max(self.operand.prefixes)
    }

    fn depth(&self) -> usize {
        let prefixes = self.prefixes.max(self.operand.prefixes);
        let operand = self.deepest.max(self.operand.behind + self.operand.inside);
        self.before.max(self.between + prefixes + operand)
    }

    fn is_too_deep(&self) -> bool {
        self.base + self.depth() > MAX_NESTING
    }
}

/// What a word means for the next one.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Operator,
    Operand,
    /// `|` or `is`: a name follows that is no operand, and its brackets are part of it.
    Pipe,
    FilterName,
}

/// Refuses a template that nests too deep or is too long, with the place where it does.
pub(super) fn check(source: &str) -> Result<(), ExprError> {
    let words = machinery::tokenize(source, false, Default::default(), whitespace());
    // The parser tells what is wrong with a word, and comes no further.
    let mut words = words.map_while(Result::ok).peekable();
    let mut count = 0;
    // What every block that is open adds.
    let mut blocks: Vec<usize> = Vec::new();
    while let Some((word, span)) = words.next() {
        count += 1;
        let at = span.start_offset as usize;
        match word {
            Token::BlockStart => {
                let name = match words.peek() {
                    Some((Token::Ident(name), _)) => *name,
                    _ => "",
                };
                let opens = match name {
                    "elif" => {
                        if let Some(block) = blocks.last_mut() {
                            *block += BLOCK;
                        }
                        false
                    }
                    "else" | "do" => false,
                    name if name.starts_with("end") => {
                        blocks.pop();
                        false
                    }
                    _ => true,
                };
                let base = blocks.iter().sum::<usize>() + if opens { BLOCK } else { 0 };
                let assigns = expression(source, &mut words, base, &mut count)?;
                // `{% set a = 1 %}` has no body.
                if opens && !(name == "set" && assigns) {
                    blocks.push(BLOCK);
                }
            }
            Token::VariableStart => {
                expression(source, &mut words, blocks.iter().sum(), &mut count)?;
            }
            _ => {}
        }
        if count > MAX_WORDS {
            return Err(too_long(source, at));
        }
    }
    Ok(())
}

/// Reads up to the end of one tag; gives whether it holds a `=` outside brackets.
fn expression<'s>(
    source: &str,
    words: &mut Peekable<impl Iterator<Item = (Token<'s>, machinery::Span)>>,
    base: usize,
    count: &mut usize,
) -> Result<bool, ExprError> {
    let mut levels = vec![Level { base, ..Level::default() }];
    let mut after = After::Operator;
    let mut assigns = false;
    for (word, span) in words {
        *count += 1;
        let at = span.start_offset as usize;
        if *count > MAX_WORDS {
            return Err(too_long(source, at));
        }
        let brackets = levels.len();
        let Some(level) = levels.last_mut() else { break };
        let was = after;
        after = After::Operator;
        match word {
            Token::VariableEnd | Token::BlockEnd => break,
            Token::Dot => level.operand.behind += 1,
            Token::Pipe | Token::Ident("is") => {
                level.operand.behind += 1;
                after = After::Pipe;
            }
            Token::Ident("not") if was == After::Pipe => {
                level.operand.behind += 1;
                after = After::Pipe;
            }
            Token::Ident("not") => level.operand.prefixes += 1,
            Token::Minus | Token::Plus if was != After::Operand && was != After::FilterName => {
                level.operand.prefixes += 1;
            }
            Token::Ident("and" | "or" | "in" | "if" | "else")
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::FloorDiv
            | Token::Pow
            | Token::Mod
            | Token::Tilde
            | Token::Eq
            | Token::Ne
            | Token::Gt
            | Token::Gte
            | Token::Lt
            | Token::Lte => level.operator(),
            Token::Comma | Token::Colon => level.end_part(),
            Token::Assign => {
                assigns |= brackets == 1;
                level.end_part();
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                if was == After::Operand {
                    level.operand.behind += 1;
                }
                let base = level.outside() + BRACKET;
                levels.push(Level { base, ..Level::default() });
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                let inside = level.depth() + BRACKET;
                if brackets > 1 {
                    levels.pop();
                }
                if let Some(level) = levels.last_mut() {
                    level.operand.inside = level.operand.inside.max(inside);
                }
                after = After::Operand;
            }
            _ if was == After::Pipe => after = After::FilterName,
            _ => after = After::Operand,
        }
        if levels.last().is_some_and(Level::is_too_deep) {
            return Err(too_deep(source, at));
        }
    }
    Ok(assigns)
}

/// As the parser splits a template.
pub(super) fn whitespace() -> WhitespaceConfig {
    WhitespaceConfig { keep_trailing_newline: true, ..WhitespaceConfig::default() }
}

fn too_deep(source: &str, at: usize) -> ExprError {
    let message = format!(
        "the template nests too deep: at most {MAX_NESTING} operators and filters may stand inside or behind each other; a bracket counts as {BRACKET} of them, a block as {BLOCK}"
    );
    placed(message, source, at)
        .hint("take it apart with a `set` step, write texts as `{{ a }}{{ b }}`, compare with `in [a, b]`")
}

fn too_long(source: &str, at: usize) -> ExprError {
    placed(format!("the template is too long: at most {MAX_WORDS} words and signs are read"), source, at)
        .hint("make long texts of data in a code step")
}

fn placed(message: String, source: &str, at: usize) -> ExprError {
    let line = source.get(at..).and_then(|rest| rest.lines().next()).unwrap_or("");
    ExprError::syntax(message).in_part(&line.chars().take(60).collect::<String>(), at)
}
