//! `/inputs/{workspace}/{token}`: the page behind a link that a step waits with. It asks for no key: the token is signed.
//! Showing it does nothing, whoever follows links in e-mails; giving the input is a POST, of the form or of JSON.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Number, Value, json};
use stepwell_engine::{EngineError, ErrorKind, InputForm, Workspace};

use crate::App;
use crate::body::{self, Sender};
use crate::path::Path;
use crate::problem::{Answer, Problem};

/// An input may have 256 KiB; a form writes it down less densely. Whoever sends it has no key, and perhaps no link.
const INPUT_BODY: usize = 1 << 20;

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
    let is_form = kind.starts_with("application/x-www-form-urlencoded");
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
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(&bytes).into_owned().collect();
    let data = match given(&form, &fields) {
        Ok(data) => data,
        Err(why) => {
            return Ok(page(
                StatusCode::UNPROCESSABLE_ENTITY,
                &form.title,
                &form_html(&form, Some(&fields), &[why]),
            ));
        }
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
            let told: Vec<String> = told.collect();
            Ok(page(StatusCode::UNPROCESSABLE_ENTITY, &form.title, &form_html(&form, Some(&fields), &told)))
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

/// What the form gave, as the schema types it. What the schema does not name is a mistake of whoever wrote the form.
fn given(form: &InputForm, fields: &[(String, String)]) -> Result<Value, String> {
    let Some(inputs) = simple(form.schema.as_ref()) else {
        only(fields, &["data"])?;
        let text = once(fields, "data")?.ok_or("data: the answer is missing")?;
        return serde_json::from_str(text).map_err(|error| format!("data: this is not JSON: {error}"));
    };
    only(fields, &inputs.iter().map(|input| input.name).collect::<Vec<_>>())?;
    let mut data = Map::new();
    for input in inputs {
        let name = input.name;
        let text = match input.kind {
            Kind::Check => last(fields, name),
            _ => once(fields, name)?,
        };
        let typed = match (input.kind, text) {
            (_, None) => None,
            (Kind::Check, Some(text)) => {
                let checked =
                    checked(text).ok_or_else(|| format!("{name}: {text:?} is not `yes` or `no`"))?;
                Some(Value::Bool(checked))
            }
            // Of a text that must be given the empty one is one; of anything else it is none.
            (_, Some("")) if !input.required || !matches!(input.kind, Kind::Text | Kind::Long) => None,
            (Kind::Number, Some(text)) => {
                let number = text.trim().parse::<i64>().map(Number::from).ok();
                let number = number.or_else(|| Number::from_f64(text.trim().parse().ok()?));
                let number = number.ok_or_else(|| format!("{name}: {text:?} is no number"))?;
                Some(Value::Number(number))
            }
            (Kind::Choice, Some(text)) => {
                let choice = input.choices.iter().find(|choice| shown(choice) == text);
                Some(choice.cloned().unwrap_or_else(|| text.into()))
            }
            (Kind::Text | Kind::Long, Some(text)) => Some(text.into()),
        };
        if let Some(typed) = typed {
            data.insert(name.to_owned(), typed);
        }
    }
    Ok(Value::Object(data))
}

fn only(fields: &[(String, String)], names: &[&str]) -> Result<(), String> {
    match fields.iter().find(|(name, _)| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => Err(format!("there is no field `{name}` here")),
    }
}

fn all<'f>(fields: &'f [(String, String)], name: &str) -> impl Iterator<Item = &'f str> {
    fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
}

fn once<'f>(fields: &'f [(String, String)], name: &str) -> Result<Option<&'f str>, String> {
    let mut values = all(fields, name);
    let value = values.next();
    match values.next() {
        None => Ok(value),
        Some(_) => Err(format!("{name}: this comes more than once")),
    }
}

/// A box comes twice when it is ticked: a browser says nothing of one that is not, so the page says `no` for it before.
fn last<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    all(fields, name).last()
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

fn form_html(form: &InputForm, fields: Option<&[(String, String)]>, told: &[String]) -> String {
    let mut out = String::new();
    for line in form.message.iter().flat_map(|message| message.trim().split("\n\n")) {
        let _ = write!(out, "<p>{}</p>", escaped(line.trim()).replace('\n', "<br>"));
    }
    if !told.is_empty() {
        let items: String = told.iter().map(|why| format!("<li>{}</li>", escaped(why))).collect();
        let _ = write!(out, "<ul class=\"wrong\">{items}</ul>");
    }
    out.push_str("<form method=\"post\">");
    let was = |name: &str| last(fields.unwrap_or_default(), name);
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

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
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
            given(&form(schema.clone()), &[]).unwrap(),
            json!({}),
            "nothing was said of the box either"
        );
        for (text, is) in [("no", false), ("false", false), ("true", true), ("on", true)] {
            let data = given(&form(schema.clone()), &fields(&[("sure", text)])).unwrap();
            assert_eq!(data, json!({"sure": is}), "{text}");
        }
        for (wrong, says) in [
            (vec![("n", "many")], "n: \"many\" is no number"),
            (vec![("sure", "0")], "sure: \"0\" is not `yes` or `no`"),
            (vec![("n", "1"), ("n", "2")], "n: this comes more than once"),
            (vec![("m", "1")], "there is no field `m` here"),
        ] {
            assert_eq!(given(&form(schema.clone()), &fields(&wrong)).unwrap_err(), says);
        }
        assert_eq!(given(&form(Value::Null), &[]).unwrap(), json!({}));
        let list = form(json!({"type": "array"}));
        assert_eq!(given(&list, &fields(&[("data", "[1]")])).unwrap(), json!([1]));
        for wrong in [vec![], vec![("data", "[1")], vec![("data", "1"), ("more", "2")]] {
            assert!(given(&list, &fields(&wrong)).is_err(), "{wrong:?}");
        }
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
