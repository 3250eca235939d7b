//! `/inputs/{workspace}/{token}`: the page behind a link that a step waits with. It asks for no key: the token is signed.
//! Showing it does nothing, whoever follows links in e-mails; giving the input is a POST, of the form or of JSON.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Number, Value, json};
use std::collections::{HashMap, HashSet};
use stepwell_engine::{EngineError, ErrorKind, InputForm, Workspace};
use stepwell_workflow::distinct;

use crate::App;
use crate::body::{self, Sender};
use crate::path::Path;
use crate::problem::{Answer, Problem};

/// An input may have 256 KiB; a form writes it down less densely. Whoever sends it has no key, and perhaps no link.
const INPUT_BODY: usize = 1 << 20;
const FORM: &str = "application/x-www-form-urlencoded";

pub async fn show(
    State(app): State<App>,
    Path((workspace, token)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer<Response> {
    let form = match form(&app, &workspace, &token).await {
        Ok((_, form)) => form,
        Err(error) if wants_json(&headers) => return Err(error.into()),
        Err(error) => return Ok(refused(&error)),
    };
    match wants_json(&headers) {
        true => Ok(Json(form).into_response()),
        false => Ok(page(StatusCode::OK, &form.title, &form_html(&form, None, &[]))),
    }
}

pub async fn give(
    State(app): State<App>,
    Path((workspace, token)): Path<(String, String)>,
    request: Request,
) -> Answer<Response> {
    let headers = request.headers().clone();
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_form = kind == FORM;
    if kind.starts_with("multipart/") {
        let message = format!("`{kind}` is not read here; send a form as `{FORM}`, or JSON");
        return Err(Problem::bad_request("invalid_body", message));
    }
    // A body is read only for somebody who has a link that is good, and may be used now.
    let (workspace, form) = match form(&app, &workspace, &token).await {
        Ok(found) => found,
        Err(error) if is_form => return Ok(refused(&error)),
        Err(error) => return Err(error.into()),
    };
    let bytes = body::read(&app, Sender::Stranger, &headers, request.into_body(), INPUT_BODY).await?;
    if !is_form {
        let data = body::json_or(&bytes, "the input", json!({}))?;
        let taken = workspace.runs().give_input_by_link(&token, data).await?;
        return Ok(Json(taken).into_response());
    }
    let sent = Sent::read(&bytes);
    let again = |told: &[String]| {
        let html = form_html(&form, Some(&sent), told);
        Ok(page(StatusCode::UNPROCESSABLE_ENTITY, &form.title, &html))
    };
    let data = match given(&form, &sent) {
        Ok(data) => data,
        Err(why) => return again(&[why]),
    };
    match workspace.runs().give_input_by_link(&token, data).await {
        Ok(_) => Ok(page(StatusCode::OK, &form.title, "<p>Thank you: your answer has been taken.</p>")),
        Err(error) if error.code == "input_schema" => {
            let told = error.problems.iter().map(|problem| {
                let field = problem.path.as_deref().unwrap_or_default().trim_start_matches('/');
                if field.is_empty() {
                    problem.message.clone()
                } else {
                    format!("{field}: {}", problem.message)
                }
            });
            again(&told.collect::<Vec<String>>())
        }
        Err(error) => Ok(refused(&error)),
    }
}

async fn of(app: &App, workspace: &str) -> Result<Workspace, EngineError> {
    match app.engine().workspace(workspace).await {
        // Which workspaces there are is nobody's to find out.
        Err(error) if error.kind == ErrorKind::NotFound => {
            Err(EngineError::not_found("unknown_link", "this link is not valid; it may be incomplete"))
        }
        workspace => workspace,
    }
}

async fn form(app: &App, workspace: &str, token: &str) -> Result<(Workspace, InputForm), EngineError> {
    let workspace = of(app, workspace).await?;
    let form = workspace.runs().input_form(token).await?;
    Ok((workspace, form))
}

/// A program says that it wants JSON; a browser says that it wants HTML.
fn wants_json(headers: &HeaderMap) -> bool {
    let accept =
        headers.get(http::header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/html")
}

fn refused(error: &EngineError) -> Response {
    let (title, message) = match &*error.code {
        "unknown_link" => ("Not found", "This link is not valid. It may be incomplete: copy it whole."),
        "input_given" => ("Already answered", "This was answered before; a link can be used once."),
        "input_expired" => ("Over", "It is too late for an answer, or none is needed any more."),
        "input_not_awaited" => ("Not yet", "No answer is asked for yet. Come back later."),
        _ => ("Not now", "Your answer could not be taken. Try again in a moment."),
    };
    page(Problem::from(error.clone()).status, title, &format!("<p>{message}</p>"))
}

/// The fields of a form that somebody posted.
struct Sent(HashMap<String, Vec<String>>);

impl Sent {
    fn read(body: &[u8]) -> Sent {
        let mut fields = HashMap::<String, Vec<String>>::new();
        for (name, value) in url::form_urlencoded::parse(body) {
            fields.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        Sent(fields)
    }

    /// Why this is no form with fields of these names alone, in UTF-8.
    fn only<'s>(&self, names: impl Iterator<Item = &'s str>) -> Result<(), String> {
        let names: HashSet<&str> = names.collect();
        if let Some(name) = self.0.keys().find(|name| !names.contains(name.as_str())) {
            let name: String = name.chars().take(60).collect();
            return Err(format!("there is no field `{name}` here"));
        }
        let unread = |values: &Vec<String>| values.iter().any(|value| value.contains('\u{fffd}'));
        match self.0.iter().find(|(_, values)| unread(values)) {
            None => Ok(()),
            Some((name, _)) => Err(format!("{name}: this is not UTF-8 text")),
        }
    }

    fn once(&self, name: &str) -> Result<Option<&str>, String> {
        match self.0.get(name).map(Vec::as_slice) {
            None => Ok(None),
            Some([value]) => Ok(Some(value)),
            Some(_) => Err(format!("{name}: this comes more than once")),
        }
    }

    /// A box comes twice when it is ticked: a browser says nothing of one that is not, so the page says `no` before it.
    fn last(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|values| values.last()).map(String::as_str)
    }
}

/// What the form gave, as the schema types it. What the schema does not name is a mistake of whoever wrote the form.
fn given(form: &InputForm, sent: &Sent) -> Result<Value, String> {
    let Some(inputs) = simple(form.schema.as_ref()) else {
        sent.only(std::iter::once("data"))?;
        let text = sent.once("data")?.ok_or("data: the answer is missing")?;
        return distinct::from_slice(text.as_bytes()).map_err(|error| match error.is_data() {
            true => format!("data: {error}"),
            false => format!("data: this is not JSON: {error}"),
        });
    };
    sent.only(inputs.iter().map(|input| input.name))?;
    let mut data = Map::new();
    for input in inputs {
        let name = input.name;
        let text = match input.kind {
            Kind::Check => sent.last(name),
            _ => sent.once(name)?,
        };
        let choice = |text: &str| input.choices.iter().find(|choice| shown(choice) == text).cloned();
        let typed = match (input.kind, text) {
            (_, None) => None,
            (Kind::Check, Some(text)) => {
                let checked =
                    checked(text).ok_or_else(|| format!("{name}: {text:?} is not `yes` or `no`"))?;
                Some(Value::Bool(checked))
            }
            (Kind::Choice, Some("")) => choice(""),
            (Kind::Choice, Some(text)) => Some(choice(text).unwrap_or_else(|| text.into())),
            (Kind::Number, Some("")) => None,
            (Kind::Number, Some(text)) => {
                let number = number(text.trim()).ok_or_else(|| format!("{name}: {text:?} is no number"))?;
                Some(Value::Number(number))
            }
            // The empty text is one where a text must be given, and else none.
            (Kind::Text | Kind::Long, Some("")) if !input.required => None,
            (Kind::Text | Kind::Long, Some(text)) => Some(text.into()),
        };
        if let Some(typed) = typed {
            data.insert(name.to_owned(), typed);
        }
    }
    Ok(Value::Object(data))
}

fn number(text: &str) -> Option<Number> {
    let whole = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
    whole.ok().or_else(|| Number::from_f64(text.parse().ok()?))
}

fn checked(text: &str) -> Option<bool> {
    match text {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Long,
    Number,
    Check,
    Choice,
}

struct Input<'s> {
    name: &'s str,
    label: &'s str,
    hint: Option<&'s str>,
    kind: Kind,
    choices: &'s [Value],
    required: bool,
}

/// The fields of a schema that is an object of simple values; nothing for any other.
fn simple(schema: Option<&Value>) -> Option<Vec<Input<'_>>> {
    let Some(schema) = schema.filter(|schema| schema.as_object().is_none_or(|schema| !schema.is_empty()))
    else {
        return Some(Vec::new());
    };
    let object = schema.as_object()?;
    if object.get("type")?.as_str()? != "object" {
        return None;
    }
    let required: Vec<&str> = object
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut inputs = Vec::new();
    for (name, property) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let text = |key: &str| property.get(key).and_then(Value::as_str);
        let choices = property.get("enum").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let long = property.get("maxLength").and_then(Value::as_u64).is_some_and(|most| most > 200);
        let kind = match text("type") {
            _ if !choices.is_empty() => Kind::Choice,
            Some("string") if long => Kind::Long,
            Some("string") => Kind::Text,
            Some("integer" | "number") => Kind::Number,
            Some("boolean") => Kind::Check,
            _ => return None,
        };
        let label = text("title").unwrap_or(name);
        let required = required.contains(&name.as_str());
        inputs.push(Input { name, label, hint: text("description"), kind, choices, required });
    }
    // What is asked for and not described cannot be shown.
    required.iter().all(|name| inputs.iter().any(|input| input.name == *name)).then_some(inputs)
}

fn shown(choice: &Value) -> String {
    choice.as_str().map_or_else(|| choice.to_string(), str::to_owned)
}

fn form_html(form: &InputForm, sent: Option<&Sent>, told: &[String]) -> String {
    let mut out = String::new();
    for line in form.message.iter().flat_map(|message| message.trim().split("\n\n")) {
        let _ = write!(out, "<p>{}</p>", escaped(line.trim()).replace('\n', "<br>"));
    }
    if !told.is_empty() {
        let items: String = told.iter().map(|why| format!("<li>{}</li>", escaped(why))).collect();
        let _ = write!(out, "<ul class=\"wrong\">{items}</ul>");
    }
    out.push_str("<form method=\"post\">");
    let was = |name: &str| sent.and_then(|sent| sent.last(name));
    match simple(form.schema.as_ref()) {
        Some(inputs) => inputs.iter().for_each(|input| field_html(input, was(input.name), &mut out)),
        None => {
            let data = escaped(was("data").unwrap_or("{}"));
            let _ = write!(
                out,
                "<label>Answer, as JSON<textarea name=\"data\" rows=\"10\">{data}</textarea></label>"
            );
        }
    }
    out.push_str("<button>Send</button></form>");
    if let Some(until) = form.until {
        let _ = write!(out, "<p class=\"until\">Until {} UTC.</p>", until.strftime("%Y-%m-%d %H:%M"));
    }
    out
}

fn field_html(input: &Input<'_>, was: Option<&str>, out: &mut String) {
    let (name, label) = (escaped(input.name), escaped(input.label));
    let required = if input.required { " required" } else { "" };
    let value = escaped(was.unwrap_or_default());
    let _ = match input.kind {
        Kind::Check => {
            let checked = if was.and_then(checked) == Some(true) { " checked" } else { "" };
            write!(
                out,
                "<input type=\"hidden\" name=\"{name}\" value=\"no\">\
                 <label class=\"check\"><input type=\"checkbox\" name=\"{name}\" value=\"yes\"{checked}> {label}</label>"
            )
        }
        Kind::Choice => {
            let mut options = String::from("<option value=\"\"></option>");
            for choice in input.choices {
                let text = shown(choice);
                let selected = if was == Some(text.as_str()) { " selected" } else { "" };
                let _ = write!(options, "<option value=\"{0}\"{selected}>{0}</option>", escaped(&text));
            }
            write!(out, "<label>{label}<select name=\"{name}\"{required}>{options}</select></label>")
        }
        Kind::Long => write!(
            out,
            "<label>{label}<textarea name=\"{name}\" rows=\"6\"{required}>{value}</textarea></label>"
        ),
        Kind::Number => {
            write!(
                out,
                "<label>{label}<input type=\"number\" step=\"any\" name=\"{name}\" value=\"{value}\"{required}></label>"
            )
        }
        Kind::Text => {
            write!(out, "<label>{label}<input name=\"{name}\" value=\"{value}\"{required}></label>")
        }
    };
    if let Some(hint) = input.hint {
        let _ = write!(out, "<p class=\"hint\">{}</p>", escaped(hint));
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:3rem auto;padding:0 1rem;color:#222}\
    label{display:block;margin:1rem 0 .25rem}input:not([type=checkbox]),select,textarea{display:block;width:100%;\
    box-sizing:border-box;padding:.5rem;font:inherit}button{margin-top:1.5rem;padding:.5rem 2rem;font:inherit}\
    .hint,.until{color:#666;font-size:.9rem}.wrong{color:#a00}";

fn page(status: StatusCode, title: &str, inner: &str) -> Response {
    let title = escaped(title);
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>{inner}</body></html>"
    );
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (REFERRER_POLICY, "same-origin"),
        (X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(schema: Value) -> InputForm {
        let schema = Some(schema).filter(|schema| !schema.is_null());
        let (run_id, step) = ("r".to_owned(), "s".to_owned());
        InputForm {
            run_id,
            step,
            title: "T".into(),
            message: Some("Is <b>it</b>?".into()),
            schema,
            until: None,
        }
    }

    fn fields(pairs: &[(&str, &str)]) -> Sent {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        Sent::read(form.as_bytes())
    }

    #[test]
    fn a_form_gives_what_its_schema_types() {
        let schema = json!({"type": "object", "required": ["decision"], "properties": {
            "decision": {"enum": ["approve", "reject"]}, "amount": {"type": "number"}, "n": {"type": "integer"},
            "sure": {"type": "boolean"}, "note": {"type": "string", "maxLength": 1000}, "name": {"type": "string"}}});
        let sent = fields(&[
            ("decision", "approve"),
            ("amount", "1.5"),
            ("n", ""),
            ("sure", "no"),
            ("sure", "yes"),
            ("note", "a\nb"),
            ("name", ""),
        ]);
        let data = given(&form(schema.clone()), &sent).unwrap();
        assert_eq!(data, json!({"decision": "approve", "amount": 1.5, "sure": true, "note": "a\nb"}));
        assert_eq!(
            given(&form(schema.clone()), &fields(&[])).unwrap(),
            json!({}),
            "nothing was said of the box either"
        );
        let large = given(&form(schema.clone()), &fields(&[("n", "12345678901234567890")])).unwrap();
        assert_eq!(large, json!({"n": 12_345_678_901_234_567_890u64}));
        for (text, is) in [("no", false), ("false", false), ("true", true), ("on", true)] {
            let data = given(&form(schema.clone()), &fields(&[("sure", text)])).unwrap();
            assert_eq!(data, json!({"sure": is}), "{text}");
        }
        for (wrong, says) in [
            (vec![("n", "many")], "n: \"many\" is no number"),
            (vec![("sure", "0")], "sure: \"0\" is not `yes` or `no`"),
            (vec![("n", "1"), ("n", "2")], "n: this comes more than once"),
            (vec![("m", "1")], "there is no field `m` here"),
            (vec![("name", "\u{fffd}")], "name: this is not UTF-8 text"),
        ] {
            assert_eq!(given(&form(schema.clone()), &fields(&wrong)).unwrap_err(), says);
        }
        assert_eq!(given(&form(Value::Null), &fields(&[])).unwrap(), json!({}));
        let list = form(json!({"type": "array"}));
        assert_eq!(given(&list, &fields(&[("data", "[1]")])).unwrap(), json!([1]));
        for wrong in [
            vec![],
            vec![("data", "[1")],
            vec![("data", "{\"a\":1,\"a\":2}")],
            vec![("data", "1"), ("more", "2")],
        ] {
            assert!(given(&list, &fields(&wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_empty_choice_is_one_where_the_schema_has_it() {
        let schema = |choices: Value| json!({"type": "object", "properties": {"c": {"enum": choices}}});
        let of = |choices| given(&form(schema(choices)), &fields(&[("c", "")])).unwrap();
        assert_eq!(of(json!(["a", "b"])), json!({}));
        assert_eq!(of(json!(["a", ""])), json!({"c": ""}));
    }

    #[test]
    fn a_box_that_is_left_empty_is_said_to_be() {
        let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}});
        let html = |sent: &[(&str, &str)]| form_html(&form(schema.clone()), Some(&fields(sent)), &[]);
        let unticked = html(&[("ok", "no")]);
        let no = unticked.find("name=\"ok\" value=\"no\"").unwrap();
        assert!(no < unticked.find("name=\"ok\" value=\"yes\">").unwrap(), "{unticked}");
        assert!(html(&[("ok", "no"), ("ok", "yes")]).contains("value=\"yes\" checked>"));
    }

    #[test]
    fn what_is_shown_is_text() {
        let schema = json!({"type": "object", "properties": {"a\"b": {"type": "string", "title": "<i>", "description": "x & y"}}});
        let html = form_html(&form(schema), Some(&fields(&[("a\"b", "\"><script>")])), &["<u>".into()]);
        for part in [
            "Is &lt;b&gt;it&lt;/b&gt;?",
            "name=\"a&quot;b\"",
            "value=\"&quot;&gt;&lt;script&gt;\"",
            "&lt;i&gt;",
            "x &amp; y",
            "<li>&lt;u&gt;</li>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
