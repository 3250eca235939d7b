//! From a call's templates to the call itself.

use std::collections::BTreeMap;
use std::fmt::Display;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::command::{
    Answer, Call, CodeCall, CreateCall, DeleteCall, EmailCall, HttpBody, HttpCall, IfUnchangedCall,
    InputCall, RunCall, SearchCall, SetStateCall, UpdateCall, UpsertCall,
};
use super::failure::{Failure, code};
use crate::expr::{Document, ExprError, ExprErrorKind, Filled, Scope, Template, Text};
use crate::graph::{
    AnswerPlan, BodyPlan, CallPlan, EmailPlan, HttpPlan, PairsPlan, UnchangedPlan, Undecided,
};

/// The longest idempotency key, in bytes.
pub const MAX_KEY: usize = 512;

/// Renders a call. `key` is the step's idempotency key, `action` what the run resolved an action to.
pub(super) fn call(
    plan: &CallPlan,
    scope: &dyn Scope,
    key: &str,
    action: &dyn Fn(&str) -> String,
) -> Result<Call, Failure> {
    Ok(match plan {
        CallPlan::Code { action: written, input, limits } => Call::Code(CodeCall {
            action: action(written),
            input: document("input", input, scope)?,
            limits: *limits,
        }),
        CallPlan::Search { object, view, filter, sort, limit } => Call::Search(SearchCall {
            object: object.clone(),
            view: view.clone(),
            filter: filter.as_ref().map(|plan| plan.render(scope)).transpose().map_err(filter_failure)?,
            sort: sort.clone(),
            limit: number("limit", limit.as_ref(), scope)?,
        }),
        CallPlan::Create { object, record } => {
            Call::Create(CreateCall { object: object.clone(), record: fields("record", record, scope)? })
        }
        CallPlan::Update { object, record_id, record, if_version, if_unchanged } => {
            let record_id = text("record_id", record_id, scope)?.text;
            let since = |plan: &UnchangedPlan| unchanged(plan, &record_id, scope);
            Call::Update(UpdateCall {
                object: object.clone(),
                record: fields("record", record, scope)?,
                if_version: number("if_version", if_version.as_ref(), scope)?,
                if_unchanged: if_unchanged.as_ref().map(since).transpose()?,
                record_id,
            })
        }
        CallPlan::Upsert { object, match_on, record, create_only } => Call::Upsert(UpsertCall {
            object: object.clone(),
            match_on: match_on.clone(),
            record: fields("record", record, scope)?,
            create_only: create_only.clone(),
        }),
        CallPlan::Delete { object, record_id, if_version } => Call::Delete(DeleteCall {
            object: object.clone(),
            record_id: text("record_id", record_id, scope)?.text,
            if_version: number("if_version", if_version.as_ref(), scope)?,
        }),
        CallPlan::SetState(values) => {
            Call::SetState(SetStateCall { values: fields("values", values, scope)? })
        }
        CallPlan::Run { workflow, input, wait } => Call::Run(RunCall {
            workflow: workflow.clone(),
            input: document("input", input, scope)?.value,
            wait: *wait,
            run: None,
        }),
        CallPlan::Input(plan) => Call::Input(Box::new(InputCall {
            title: optional_text("title", plan.title.as_ref(), scope)?,
            message: optional_text("message", plan.message.as_ref(), scope)?,
            schema: plan.schema.clone(),
        })),
        CallPlan::Http(plan) => Call::Http(Box::new(http(plan, scope, key)?)),
        CallPlan::Email(plan) => Call::Email(Box::new(email(plan, scope)?)),
    })
}

/// A template's error as the failure of its step.
pub(super) fn template_failure(error: ExprError) -> Failure {
    let code = match error.kind {
        ExprErrorKind::Limit => code::TEMPLATE_LIMIT,
        _ => code::TEMPLATE,
    };
    Failure { details: serde_json::to_value(&error).ok(), ..Failure::engine(code, error.to_string()) }
}

/// The failure of a step whose condition was not decided.
pub(super) fn condition_failure(place: &str, error: Undecided) -> Failure {
    match error {
        Undecided::Template(error) => template_failure(error.under(place)),
        Undecided::Filter(message) => Failure::engine(code::CONDITION, format!("{place}: {message}")),
    }
}

fn filter_failure(error: Undecided) -> Failure {
    condition_failure("filter", error)
}

pub(super) fn wrong(place: impl Display, wanted: &str, value: &Value) -> Failure {
    let shown: String = value.to_string().chars().take(80).collect();
    Failure::engine(code::INVALID_STEP, format!("{place} is {wanted}, not {shown}"))
}

fn document(place: impl Display, plan: &Document, scope: &dyn Scope) -> Result<Filled, Failure> {
    plan.render(scope).map_err(|error| template_failure(error.under(&place.to_string())))
}

fn text(place: impl Display, template: &Template, scope: &dyn Scope) -> Result<Text, Failure> {
    template.render_text(scope).map_err(|error| template_failure(error.under(&place.to_string())))
}

/// The value of an HTTP header: what is no ASCII would be lost, or refused, on its way.
fn header(place: impl Display + Copy, template: &Template, scope: &dyn Scope) -> Result<Text, Failure> {
    let text = text(place, template, scope)?;
    match text.text.chars().find(|c| !matches!(c, ' '..='~' | '\t')) {
        None => Ok(text),
        Some(c) => {
            let message = format!(
                "{place} is a header, which is ASCII, and holds {c:?}; percent-encode other letters with `| urlencode`"
            );
            Err(Failure::engine(code::INVALID_STEP, message))
        }
    }
}

fn optional_text(
    place: &str,
    template: Option<&Template>,
    scope: &dyn Scope,
) -> Result<Option<String>, Failure> {
    template.map(|template| text(place, template, scope).map(|text| text.text)).transpose()
}

/// Values by name; one template may have given them all.
fn fields(place: &str, plan: &Document, scope: &dyn Scope) -> Result<Map<String, Value>, Failure> {
    match document(place, plan, scope)?.value {
        Value::Object(fields) => Ok(fields),
        other => Err(wrong(place, "an object", &other)),
    }
}

/// What the values of a `set` come to.
pub(super) fn values(plan: &Document, scope: &dyn Scope) -> Result<Value, Failure> {
    fields("values", plan, scope).map(Value::Object)
}

fn unchanged(plan: &UnchangedPlan, record_id: &str, scope: &dyn Scope) -> Result<IfUnchangedCall, Failure> {
    let since = fields("if_unchanged.since", &plan.since, scope)?;
    match since.get("id") {
        // An older look at another record would hold by chance, or never.
        Some(Value::String(id)) if !id.eq_ignore_ascii_case(record_id.trim()) => {
            let message = format!("if_unchanged.since is the record {id}, and record_id is {record_id}");
            Err(Failure::engine(code::INVALID_STEP, message))
        }
        _ => Ok(IfUnchangedCall { since, fields: plan.fields.clone() }),
    }
}

/// A whole number that is not negative, given as one or as a text of one; null is none.
fn number(place: &str, plan: Option<&Document>, scope: &dyn Scope) -> Result<Option<u64>, Failure> {
    let Some(plan) = plan else { return Ok(None) };
    let value = document(place, plan, scope)?.value;
    let number = match &value {
        Value::Null => return Ok(None),
        Value::Number(n) => n.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.map(Some).ok_or_else(|| wrong(place, "a whole number from 0", &value))
}

/// A value of a query or a form: once, several times for a list, not at all for null.
fn pairs(place: &str, plan: &PairsPlan, scope: &dyn Scope) -> Result<Vec<(String, Text)>, Failure> {
    let mut found = Vec::new();
    match plan {
        PairsPlan::Each(plans) => {
            for (name, plan) in plans {
                let place = format_args!("{place}.{name}");
                pair(place, name, &document(place, plan, scope)?, &mut found)?;
            }
        }
        // No secret stands in such a template.
        PairsPlan::Whole(plan) => {
            for (name, value) in fields(place, plan, scope)? {
                let filled = Filled { value, secrets: Vec::new() };
                pair(format_args!("{place}.{name}"), &name, &filled, &mut found)?;
            }
        }
    }
    Ok(found)
}

fn pair(
    place: impl Display + Copy,
    name: &str,
    filled: &Filled,
    pairs: &mut Vec<(String, Text)>,
) -> Result<(), Failure> {
    let secrets = |pointer: &str| {
        let found = filled.secrets.iter().find(|within| within.pointer == pointer);
        found.map(|within| within.secrets.clone()).unwrap_or_default()
    };
    let text = |value: &Value, pointer: &str| match value {
        Value::String(text) => Ok(Text { text: text.clone(), secrets: secrets(pointer) }),
        Value::Number(_) | Value::Bool(_) => Ok(Text::from(value.to_string())),
        other => Err(wrong(place, "a text, a number, true or false, or a list of those", other)),
    };
    match &filled.value {
        Value::Null => {}
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                pairs.push((name.to_owned(), text(item, &format!("/{i}"))?));
            }
        }
        value => pairs.push((name.to_owned(), text(value, "")?)),
    }
    Ok(())
}

fn http(plan: &HttpPlan, scope: &dyn Scope, key: &str) -> Result<HttpCall, Failure> {
    let mut headers = BTreeMap::new();
    for (name, template) in &plan.headers {
        headers.insert(name.clone(), header(format_args!("headers.{name}"), template, scope)?);
    }
    Ok(HttpCall {
        connection: plan.connection.clone(),
        redirects: plan.redirects,
        page: None,
        method: plan.method,
        url: text("url", &plan.url, scope)?,
        headers,
        query: pairs("query", &plan.query, scope)?,
        body: match &plan.body {
            None => None,
            Some(BodyPlan::Json(value)) => Some(HttpBody::Json(document("body.json", value, scope)?)),
            Some(BodyPlan::Form(fields)) => Some(HttpBody::Form(pairs("body.form", fields, scope)?)),
            Some(BodyPlan::Text(template)) => Some(HttpBody::Text(text("body.text", template, scope)?)),
            Some(BodyPlan::Bytes(template)) => {
                Some(HttpBody::Bytes(base64("body.bytes", text("body.bytes", template, scope)?.text)?))
            }
        },
        response: plan.response.clone(),
        max_bytes: plan.max_bytes,
        idempotency_key: match &plan.idempotency_key {
            None => key.to_owned(),
            Some(template) => own_key(text("idempotency_key", template, scope)?.text)?,
        },
    })
}

/// Base64 without what editors put between.
fn base64(place: &str, text: String) -> Result<String, Failure> {
    let text: String = text.split_ascii_whitespace().collect();
    match STANDARD.decode(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::engine(code::INVALID_STEP, format!("{place} is no base64: {error}"))),
    }
}

/// The author's key: a header of its own, and part of what is stored with every attempt.
fn own_key(key: String) -> Result<String, Failure> {
    match key.len() {
        1..=MAX_KEY if key.trim() == key => Ok(key),
        1..=MAX_KEY => Err(wrong("idempotency_key", "without spaces around it", &Value::String(key))),
        0 => Err(wrong("idempotency_key", "not empty", &Value::String(key))),
        length => Err(Failure::engine(
            code::INVALID_STEP,
            format!(
                "idempotency_key has {length} bytes; it takes {MAX_KEY} at most (of a long value, use `| sha256`)"
            ),
        )),
    }
}

fn email(plan: &EmailPlan, scope: &dyn Scope) -> Result<EmailCall, Failure> {
    let mut headers = BTreeMap::new();
    for (name, template) in &plan.headers {
        headers.insert(name.clone(), text(format_args!("headers.{name}"), template, scope)?.text);
    }
    let to = addresses("to", &plan.to, scope)?;
    let cc = addresses("cc", &plan.cc, scope)?;
    let bcc = addresses("bcc", &plan.bcc, scope)?;
    if to.is_empty() && cc.is_empty() && bcc.is_empty() {
        return Err(Failure::engine(code::INVALID_STEP, "the e-mail has no recipient: `to` came out empty"));
    }
    Ok(EmailCall {
        to,
        cc,
        bcc,
        from: optional_text("from", plan.from.as_ref(), scope)?,
        reply_to: optional_text("reply_to", plan.reply_to.as_ref(), scope)?,
        subject: text("subject", &plan.subject, scope)?.text,
        text: optional_text("text", plan.text.as_ref(), scope)?,
        html: optional_text("html", plan.html.as_ref(), scope)?,
        headers,
    })
}

fn addresses(place: &str, plans: &[Document], scope: &dyn Scope) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for (i, plan) in plans.iter().enumerate() {
        let place = format_args!("{place}[{i}]");
        let list = match document(place, plan, scope)?.value {
            Value::Array(items) => items,
            one => vec![one],
        };
        for address in list {
            match address {
                Value::String(text) if text.contains(['\r', '\n', '\0']) => {
                    return Err(wrong(place, "an address of one line", &text.into()));
                }
                Value::String(text) if !text.trim().is_empty() => found.push(text.trim().to_owned()),
                other => return Err(wrong(place, "an address, or a list of them", &other)),
            }
        }
    }
    Ok(found)
}

/// The answer of a webhook's `respond: {status, headers, body}`.
pub(super) fn answer(plan: &AnswerPlan, scope: &dyn Scope) -> Result<Answer, Failure> {
    let code = number("respond.status", Some(&plan.status), scope)?.unwrap_or(200);
    let status = u16::try_from(code).ok().filter(|status| (200..=599).contains(status));
    let status =
        status.ok_or_else(|| wrong("respond.status", "an HTTP status from 200 to 599", &code.into()))?;
    let mut rendered = BTreeMap::new();
    for (name, template) in &plan.headers {
        rendered.insert(name.clone(), header(format_args!("respond.headers.{name}"), template, scope)?.text);
    }
    let body =
        plan.body.as_ref().map(|body| document("respond.body", body, scope).map(|filled| filled.value));
    Ok(Answer { status, headers: rendered, body: body.transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Mode, Values};
    use serde_json::json;

    fn compiled(value: Value) -> Document {
        Document::compile(&value, Mode::Secrets).unwrap()
    }

    #[test]
    fn query_values_may_be_repeated_or_left_out() {
        let scope = Values::new([("a", json!({"tags": ["x", 2], "none": null}))]);
        let plans = PairsPlan::Each(vec![
            ("tag".to_owned(), compiled(json!("{{ a.tags }}"))),
            ("none".to_owned(), compiled(json!("{{ a.none }}"))),
            ("key".to_owned(), compiled(json!(["{{ secrets.KEY }}"]))),
            ("on".to_owned(), compiled(json!(true))),
        ]);
        let pairs = pairs("query", &plans, &scope).unwrap();
        let shown: Vec<_> = pairs.iter().map(|(name, text)| (name.as_str(), text.text.as_str())).collect();
        assert_eq!(shown, [("tag", "x"), ("tag", "2"), ("key", "{{ secrets.KEY }}"), ("on", "true")]);
        assert_eq!(pairs[2].1.reveal(|_| Some("s".into())).unwrap(), "s");
        let nested = PairsPlan::Each(vec![("q".to_owned(), compiled(json!({"a": 1})))]);
        assert_eq!(super::pairs("query", &nested, &scope).unwrap_err().code, code::INVALID_STEP);
        let whole = PairsPlan::Whole(
            Document::compile(&json!("{{ {'q': a.tags, 'n': none} }}"), Mode::Value).unwrap(),
        );
        let pairs = super::pairs("query", &whole, &scope).unwrap();
        let shown: Vec<_> = pairs.iter().map(|(name, text)| (name.as_str(), text.text.as_str())).collect();
        assert_eq!(shown, [("q", "x"), ("q", "2")]);
        let list = PairsPlan::Whole(compiled(json!("{{ a.tags }}")));
        let failure = super::pairs("query", &list, &scope).unwrap_err();
        assert_eq!(failure.message, r#"query is an object, not ["x",2]"#);
    }

    #[test]
    fn headers_are_ascii() {
        let scope = Values::new([("a", json!({"name": "Zoë", "ok": "Zoe\t1"}))]);
        let template = |text: &str| Template::compile(text, Mode::Header).unwrap();
        assert_eq!(header("headers.x", &template("v {{ a.ok }}"), &scope).unwrap().text, "v Zoe\t1");
        let failure = header("headers.x", &template("{{ a.name }}"), &scope).unwrap_err();
        assert_eq!(failure.code, code::INVALID_STEP);
        assert!(
            failure.message.starts_with("headers.x is a header, which is ASCII, and holds 'ë'"),
            "{failure:?}"
        );
        assert!(header("headers.x", &template("{{ a.name | urlencode }}"), &scope).is_ok());
    }

    #[test]
    fn an_idempotency_key_is_short_and_not_empty() {
        assert_eq!(own_key("order-7".to_owned()).unwrap(), "order-7");
        assert!(own_key("k".repeat(MAX_KEY)).is_ok());
        for (key, message) in [
            (String::new(), "not empty"),
            ("k".repeat(MAX_KEY + 1), "has 513 bytes; it takes 512 at most"),
            (" key".to_owned(), "without spaces"),
        ] {
            let failure = own_key(key).unwrap_err();
            assert_eq!(failure.code, code::INVALID_STEP);
            assert!(failure.message.contains(message), "{}", failure.message);
        }
    }

    #[test]
    fn a_template_past_a_limit_has_a_code_of_its_own() {
        let scope = Values::new([("a", json!("x".repeat(1 << 20)))]);
        let many = json!((0..20).map(|_| "{{ a }}").collect::<Vec<_>>());
        let failure = document("input", &compiled(many), &scope).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.is_deterministic()), (code::TEMPLATE_LIMIT, true));
        assert!(
            failure.message.starts_with("input[15]: the template makes values of more than 16 MiB"),
            "{failure:?}"
        );
    }

    #[test]
    fn recipients_come_one_by_one_or_as_a_list() {
        let scope = Values::new([(
            "a",
            json!({"all": ["ann@x.org", " bob@x.org "], "bad": "a@x.org\nBcc: b@x.org"}),
        )]);
        let plan = |text: &str| vec![compiled(json!(text))];
        assert_eq!(addresses("to", &plan("{{ a.all }}"), &scope).unwrap(), ["ann@x.org", "bob@x.org"]);
        assert!(addresses("to", &plan("{{ a.bad }}"), &scope).unwrap_err().message.contains("one line"));
        assert!(addresses("to", &plan(""), &scope).is_err());
    }
}
