//! A request whose answer comes in pages: each page is an attempt of its own, under the same rules as any other, and what
//! came before it is in the state. So a page that fails is asked for again and not those before it, also after a crash.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::advance::Machine;
use super::command::HttpCall;
use super::failure::Failure;
use super::items::listed_bytes;
use super::path::StepPath;
use super::payload::Payload;
use super::state::{Output, StepState};
use crate::expr::{Segment, Text};
use crate::graph::{CallPlan, NodeId, NodeKind};
use crate::model::{NextPage, Pagination};

/// How far a step has come with its pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pages {
    /// The page that is asked for, from 1.
    pub number: u32,
    /// Attempts that the pages before it took.
    pub before: u32,
    pub next: Option<Next>,
    /// The answers so far.
    pub taken: Vec<Payload>,
    /// Of their items.
    pub bytes: u64,
}

/// How a page is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// By a query parameter and its value.
    Query(String, String),
    /// By its address, which may be relative to that of the first.
    Url(String),
}

/// Which page a call asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageCall {
    pub number: u32,
    pub next: Option<Next>,
    /// Where a page has its items: a path in the answer.
    pub items: String,
}

impl PageCall {
    /// An answer without items, for a test that sends nothing.
    pub fn empty_answer(&self) -> Value {
        let mut value = json!([]);
        for key in self.items.split('.').rev() {
            value = json!({ key: value });
        }
        value["status"] = json!(200);
        value["headers"] = json!({});
        value
    }
}

impl Pages {
    fn first(plan: &Pagination) -> Pages {
        let next = match &plan.next {
            NextPage::Page { query, first } => Some(Next::Query(query.clone(), first.to_string())),
            NextPage::Cursor { .. } | NextPage::Link(_) => None,
        };
        Pages { number: 1, before: 0, next, taken: Vec::new(), bytes: 0 }
    }
}

/// Makes a call one for the page that the step is at.
pub(super) fn apply(plan: &Pagination, step: &StepState, call: &mut HttpCall) {
    let first = || Box::new(Pages::first(plan));
    let pages = step.pages.clone().unwrap_or_else(first);
    if let Some(Next::Query(name, value)) = &pages.next {
        call.query.retain(|(known, _)| known != name);
        call.query.push((name.clone(), Text::from(value.clone())));
    }
    if pages.number > 1 {
        // Another request than the first, so with another key.
        call.idempotency_key.push_str(&format!(":{}", pages.number));
    }
    call.page = Some(PageCall { number: pages.number, next: pages.next, items: plan.items.clone() });
}

/// What an answer says of the page after it.
fn next(plan: &Pagination, pages: &Pages, answer: &Value, items: usize) -> Result<Option<Next>, String> {
    if let Some(more) = &plan.more
        && !matches!(at(answer, more), Some(value) if is_yes(value))
    {
        return Ok(None);
    }
    let told = match &plan.next {
        NextPage::Page { query, first } => {
            if items == 0 {
                return Ok(None);
            }
            return Ok(Some(Next::Query(query.clone(), (first + u64::from(pages.number)).to_string())));
        }
        NextPage::Link(rel) => match answer["headers"]["link"].as_str().map(|link| link_to(link, rel)) {
            Some(Ok(Some(url))) => Next::Url(url),
            Some(Err(why)) => return Err(why),
            Some(Ok(None)) | None => return Ok(None),
        },
        NextPage::Cursor { path, query } => {
            let value = match at(answer, path) {
                None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
                Some(Value::String(text)) if text.is_empty() => return Ok(None),
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                Some(other) => {
                    let shown: String = other.to_string().chars().take(80).collect();
                    return Err(format!("`{path}` is to be a text or a number, not {shown}"));
                }
            };
            match query {
                Some(query) => Next::Query(query.clone(), value),
                None => Next::Url(value),
            }
        }
    };
    if pages.next.as_ref() == Some(&told) {
        return Err("the answer leads to the page that it is: it would never end".into());
    }
    Ok(Some(told))
}

fn is_yes(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && value != &json!("") && value != &json!(0)
}

/// The value at a path such as `body.results` or `body.pages[0].next`.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    answer_path(path)?.iter().try_fold(value, |value, segment| match segment {
        Segment::Key(key) => value.get(key),
        Segment::Index(index) => value.get(usize::try_from(*index).ok()?),
    })
}

/// The segments of a path in an answer: names with `.` between, and indexes in brackets; nothing when it is none.
pub(crate) fn answer_path(path: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    for part in path.split('.') {
        let (key, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
        if key.is_empty() || key.contains(']') {
            return None;
        }
        segments.push(Segment::Key(key.to_owned()));
        while !rest.is_empty() {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            if !index.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            segments.push(Segment::Index(index.parse().ok()?));
            rest = after;
        }
    }
    Some(segments)
}

/// The address of a relation in a `Link` header (RFC 8288). What cannot be read might have led to it.
fn link_to(header: &str, rel: &str) -> Result<Option<String>, String> {
    let broken = |at: &str, why: &str| {
        let shown: String = at.chars().take(80).collect();
        format!("the header `link` cannot be read: {why} at {shown:?}")
    };
    let spaced = |c: char| c.is_ascii_whitespace() || c == ',';
    let mut rest = header.trim_start_matches(spaced);
    while !rest.is_empty() {
        let link = rest.strip_prefix('<').ok_or_else(|| broken(rest, "`<` is expected"))?;
        let (url, mut after) = link.split_once('>').ok_or_else(|| broken(rest, "`<` has no `>`"))?;
        // Only the first counts.
        let mut is_it = None;
        while let Some(parameter) = after.trim_start().strip_prefix(';') {
            let end = parameter.find(['=', ';', ',']).unwrap_or(parameter.len());
            let (name, mut value) = parameter.split_at(end);
            let mut text = String::new();
            if let Some(given) = value.strip_prefix('=') {
                (text, value) = parameter_value(given).ok_or_else(|| broken(parameter, "`\"` has no end"))?;
            }
            if name.trim().eq_ignore_ascii_case("rel") {
                is_it.get_or_insert_with(|| {
                    text.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(rel))
                });
            }
            after = value;
        }
        if is_it == Some(true) {
            return Ok(Some(url.trim().to_owned()));
        }
        let next = after.trim_start();
        rest = match next.strip_prefix(',') {
            Some(next) => next.trim_start_matches(spaced),
            None if next.is_empty() => next,
            None => return Err(broken(next, "`;` or `,` is expected")),
        };
    }
    Ok(None)
}

/// The value of a link's parameter, quoted or not, and what stands behind it; nothing when a quote has no end.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([';', ',']).unwrap_or(text.len()));
        return Some((value.trim_end().to_owned(), rest));
    };
    let (mut value, mut chars) = (String::new(), quoted.chars());
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

impl Machine<'_> {
    /// How the answers of a step come in pages, if they do.
    pub(super) fn pagination(&self, id: NodeId) -> Option<&Pagination> {
        match &self.graph.node(id).kind {
            NodeKind::Call(CallPlan::Http(plan)) => plan.pagination.as_ref(),
            _ => None,
        }
    }

    /// A page has come: the next one, or the end.
    pub(super) fn page_done(&mut self, id: NodeId, path: StepPath, answer: Payload) {
        let graph = self.graph;
        let NodeKind::Call(CallPlan::Http(plan)) = &graph.node(id).kind else { return };
        let (Some(plan), Some(step)) = (plan.pagination.as_ref(), self.state.step(&path)) else { return };
        let attempt = step.attempt;
        let mut pages = step.pages.clone().unwrap_or_else(|| Box::new(Pages::first(plan)));
        match turn(plan, &mut pages, answer) {
            Ok(Some(next)) => {
                pages.number += 1;
                pages.before = attempt;
                pages.next = Some(next);
                self.set(&path, |step| {
                    step.pages = Some(pages);
                    step.first_sent = None;
                });
                self.attempt(id, path, attempt + 1);
            }
            Ok(None) => {
                let items: Vec<Value> = (pages.taken.iter())
                    .filter_map(|answer| at(answer.value()?, &plan.items)?.as_array().cloned())
                    .flatten()
                    .collect();
                let output = json!({ "items": items, "pages": pages.number });
                self.complete(id, path, Output::Own(Payload::new(output)));
            }
            Err(failure) => self.attempt_failed(id, path, failure),
        }
    }
}

/// Takes a page in; gives the one after it.
fn turn(plan: &Pagination, pages: &mut Pages, answer: Payload) -> Result<Option<Next>, Failure> {
    let invalid = |message: String| Failure::engine("invalid_response", message);
    let Some(value) = answer.value().cloned() else {
        return Err(Failure::engine("internal", "a page's answer is not at hand"));
    };
    let items: &[Value] = match at(&value, &plan.items) {
        Some(Value::Array(items)) => items,
        // Many a server writes an empty list so.
        Some(Value::Null) => &[],
        _ => {
            let path = &plan.items;
            return Err(invalid(format!("`pagination.items` is `{path}`, where the answer has no list")));
        }
    };
    pages.bytes += items.iter().map(listed_bytes).sum::<u64>();
    if pages.bytes > plan.max_bytes.0 {
        let message = format!("the items of all pages have more than {} together", plan.max_bytes);
        return Err(Failure::engine("response_too_large", message));
    }
    let next = next(plan, pages, &value, items.len()).map_err(invalid)?;
    if next.is_some() && pages.number >= plan.max_pages {
        let message = format!("there are more than {} pages (`pagination.max_pages`)", plan.max_pages);
        return Err(Failure::engine("too_many_pages", message));
    }
    pages.taken.push(answer);
    Ok(next)
}

/// Says which page it was.
pub(super) fn tell(step: &StepState, failure: Failure) -> Failure {
    let number = step.pages.as_ref().map_or(1, |pages| pages.number);
    let mut details = failure.details.unwrap_or_else(|| json!({}));
    if let Value::Object(details) = &mut details {
        details.insert("page".into(), number.into());
    }
    Failure { message: format!("page {number}: {}", failure.message), details: Some(details), ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_by_their_relation() {
        let header = "<https://x.org/a?page=1>; rel=\"prev\", <https://x.org/a?page=3,4>; title=\"x\"; rel=\"last next\"";
        let to = |header: &str, rel: &str| link_to(header, rel).unwrap();
        assert_eq!(to(header, "next").as_deref(), Some("https://x.org/a?page=3,4"));
        assert_eq!(to("</a?p=2>; rel=next", "next").as_deref(), Some("/a?p=2"));
        assert_eq!(
            to(", </a> ;title=\"<b>; rel=next, \\\" \"; REL = Next , ", "next").as_deref(),
            Some("/a")
        );
        assert_eq!(to("</a>; rel=prev; rel=next, </b>; x; ; rel=next", "next").as_deref(), Some("/b"));
        assert_eq!(to("</a>; rel=next, what follows", "next").as_deref(), Some("/a"));
        assert_eq!(to(header, "first"), None);
        assert_eq!((to("", "next"), to(" , ", "next"), to("</a>", "next")), (None, None, None));
    }

    #[test]
    fn a_link_header_that_cannot_be_read_is_not_the_end() {
        for (broken, says) in [
            ("nonsense", "`<` is expected at \"nonsense\""),
            ("</a?p=2; rel=next", "`<` has no `>`"),
            ("</a>; rel=prev, /b; rel=next", "`<` is expected at \"/b; rel=next\""),
            ("</a>; rel=\"next", "`\"` has no end"),
            ("</a> rel=next", "`;` or `,` is expected at \"rel=next\""),
        ] {
            let why = link_to(broken, "next").unwrap_err();
            assert!(why.contains(says), "{broken}: {why}");
        }
    }

    #[test]
    fn paths_lead_into_answers() {
        let value = json!({"body": {"pages": [{"next": "c"}], "list": [1]}});
        assert_eq!(at(&value, "body.pages[0].next"), Some(&json!("c")));
        assert_eq!(at(&value, "body.list"), Some(&json!([1])));
        assert_eq!(at(&value, "body.none.at.all"), None);
        for wrong in [
            "",
            "body.",
            "body[results]",
            "body.pages[0",
            "body.pages]0[",
            "body.pages[0]x",
            "body.pages[99999999999999999999]",
        ] {
            assert_eq!(answer_path(wrong), None, "{wrong}");
        }
        let call = PageCall { number: 1, next: None, items: "body.list".into() };
        assert_eq!(at(&call.empty_answer(), "body.list"), Some(&json!([])));
    }
}
