//! What is looked at in the trigger, in every step, and in the steps that only steer.

use super::bounds::Type;
use super::checker::{Checker, Outcome};
use super::outside::Sender;
use super::scope::ListKind;
use super::types::{Rule, Ty};
use crate::document::Data;
use crate::expr::{Kinds, Mode};
use crate::model::{
    Answer, Branch, Delay, Given, Millis, Retry, SendEmail, SetState, Step, StepKind, Stop, StopStatus,
    Trigger, WaitForInput,
};
use serde_json::Value;
use stepwell_records::filter::{Allowed, Filter, Subject};

/// What `error` has, for `retry.on`.
const ERROR_FIELDS: &[&str] =
    &["source", "code", "message", "status", "retryable", "retry_after_ms", "limit", "used", "details"];

impl<'w> Checker<'w> {
    pub(super) fn trigger(&mut self, trigger: &'w Trigger) {
        if self.draft.broken_trigger {
            return;
        }
        self.trigger = Type::from(match trigger {
            Trigger::Webhook(webhook) => {
                let body = schema_or_any(webhook.body_schema.as_ref(), "the trigger's `body_schema`");
                super::webhook::trigger(body, &[])
            }
            Trigger::Schedule(schedule) => self.schedule(schedule),
            Trigger::RecordEvent(event) => self.record_event(event),
            Trigger::Manual(manual) => self.manual(manual),
        });
        if let Trigger::Webhook(webhook) = trigger {
            self.webhook(webhook);
        }
    }

    /// A secret is written down in one way only, so that no file ever holds one.
    pub(super) fn secret(&mut self, text: &'w str) {
        let before = self.problems.len();
        self.template(text, Mode::Secrets);
        let inner = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
        let named = inner.and_then(|inner| inner.strip_prefix("secrets."));
        if named.is_none_or(str::is_empty) && self.problems.len() == before {
            self.tell("invalid_value", "a secret does not stand in a workflow's file")
                .set_hint("keep it with the workspace, and refer to it: \"{{ secrets.NAME }}\"");
        }
    }

    pub(super) fn answer(&mut self, answer: &'w Answer) {
        self.under("status", |me| me.whole_number("status", &answer.status));
        self.under("headers", |me| me.headers(&answer.headers, Mode::Line, Sender::Answer));
        if let Some(body) = &answer.body {
            self.under("body", |me| me.value(body, Mode::Value));
        }
    }

    /// What every step may have.
    pub(super) fn common(&mut self, step: &'w Step) {
        if let Some(condition) = &step.condition {
            self.under("if", |me| me.condition(condition));
        }
        let known = self.known.get(step.id.as_str()).copied();
        if !step.needs.is_empty() && known.is_some_and(|known| known.list != ListKind::Parallel) {
            self.under("needs", |me| {
                me.tell_key("misplaced", "`needs` works only between the steps of a `parallel`")
                    .set_hint("steps of a list run from top to bottom: put the step after what it needs")
            });
        }
        let steers = matches!(
            step.kind,
            StepKind::Branch(_) | StepKind::Parallel(_) | StepKind::Iterator(_) | StepKind::Delay(_)
        );
        let waits = matches!(step.kind, StepKind::WaitForInput(_));
        for (key, there) in [("retry", step.retry.is_some()), ("timeout", step.timeout.is_some())] {
            if there && (steers || (waits && key == "retry")) {
                let message =
                    format!("`{}` has no attempts of its own, so no `{key}`", step.kind.type_name());
                self.under(key, |me| {
                    let told = me.tell_key("misplaced", message);
                    match step.kind {
                        StepKind::WaitForInput(_) => {
                            told.set_hint("leave it out; `timeout` says how long it waits")
                        }
                        StepKind::Delay(_) => {
                            told.set_hint("leave it out; `for` and `until` say how long it waits")
                        }
                        _ => told.set_hint(format!("give `{key}` to the steps inside")),
                    }
                });
            }
        }
        if let Some(retry) = &step.retry {
            self.under("retry", |me| me.retry(retry));
        }
    }

    fn retry(&mut self, retry: &'w Retry) {
        if retry.backoff.initial > retry.backoff.max {
            let message = format!(
                "the first wait ({}) is longer than the longest ({})",
                retry.backoff.initial, retry.backoff.max
            );
            self.under("backoff", |me| {
                me.tell("invalid_value", message);
            });
        }
        let Some(on) = &retry.on else { return };
        self.path.key("on");
        self.condition(on);
        if let Ok(filter) = Filter::parse(on, Allowed::BOTH) {
            filter.visit_conditions(&mut |at, condition| {
                let Subject::Field(name) = &condition.subject else { return };
                let head = name.split('.').next().unwrap_or(name);
                if ERROR_FIELDS.contains(&head) {
                    return;
                }
                let hint = match self.nearest(head, ERROR_FIELDS.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("a failure has {}", ERROR_FIELDS.join(", ")),
                };
                self.at_inner(at, "field", |me| {
                    me.tell("unknown_field", format!("a failure has no `{name}`")).set_hint(hint)
                });
            });
        }
        self.path.pop();
    }

    /// What a step's type asks for; gives what the step puts out.
    pub(super) fn kind(&mut self, step: &'w Step) -> Outcome {
        let output = match &step.kind {
            StepKind::Code(code) => self.code(code),
            StepKind::SearchRecords(search) => self.search(search),
            StepKind::CreateRecord(create) => self.create(create),
            StepKind::UpdateRecord(update) => self.update(update),
            StepKind::UpsertRecord(upsert) => self.upsert(upsert),
            StepKind::DeleteRecord(delete) => self.delete(delete),
            StepKind::Delay(delay) => self.delay(delay),
            StepKind::Branch(branch) => return self.branch(branch),
            StepKind::Parallel(parallel) => self.parallel(parallel),
            StepKind::Iterator(iterate) => self.iterator(iterate),
            StepKind::Filter(filter) => {
                self.not_here("filter");
                self.under("when", |me| me.condition(&filter.when));
                Type::from(Ty::Any)
            }
            StepKind::Set(set) => {
                self.under("values", |me| me.given("values", &set.values, Mode::Value));
                self.type_of_given(&set.values, &step.id)
            }
            StepKind::SetState(set) => {
                self.under("values", |me| me.kept(&set.values));
                self.type_of_given(&set.values, &step.id)
            }
            StepKind::Stop(stop) => {
                self.not_here("stop");
                self.stop(stop);
                return Outcome { output: Type::from(Ty::Any), ends: true };
            }
            StepKind::RunWorkflow(run) => self.run_workflow(run),
            StepKind::WaitForInput(wait) => self.wait_for_input(wait),
            StepKind::HttpRequest(request) => self.http(request),
            StepKind::SendEmail(email) => self.email(email),
        };
        Outcome { output, ends: false }
    }

    /// `filter` (outside an item) and `stop` end the run, which steps beside them or a failed run would not expect.
    fn not_here(&mut self, what: &'static str) {
        let ends_item = |list: &ListKind| what == "filter" && *list == ListKind::Item;
        let around = self.lists_around().take_while(|list| !ends_item(list));
        let place = around.into_iter().find(|list| matches!(list, ListKind::Parallel | ListKind::OnFailure));
        let (message, hint) = match place {
            Some(ListKind::Parallel) => (
                format!(
                    "`{what}` ends the run, so it cannot stand inside `parallel`, where other steps may be running"
                ),
                "put it after the `parallel`",
            ),
            Some(ListKind::OnFailure) => (
                format!("`{what}` ends the run, and in `on_failure` the run has ended"),
                "use `if` or `branch`",
            ),
            _ => return,
        };
        self.under("type", |me| me.tell("misplaced", message).set_hint(hint));
    }

    /// Values that are kept for later runs.
    fn kept(&mut self, given: &'w Given) {
        self.given("values", given, Mode::Value);
        let Given::Each(values) = given else { return };
        for name in values.keys().filter(|name| !SetState::is_name(name)) {
            self.under(name, |me| {
                me.tell_key("invalid_value", format!("{name:?} cannot name what a workflow keeps"))
                    .set_hint("lower case letters, digits and `_`, a letter first, at most 64");
            });
        }
        if values.len() > SetState::MAX_NAMES {
            let message =
                format!("a workflow keeps at most {} values, not {}", SetState::MAX_NAMES, values.len());
            self.tell("invalid_value", message).set_hint("what are many things are records");
        }
    }

    fn wait_for_input(&mut self, wait: &'w WaitForInput) -> Type {
        for (key, text, mode) in [("title", &wait.title, Mode::Line), ("message", &wait.message, Mode::Body)]
        {
            if let Some(text) = text {
                self.under(key, |me| me.template(text, mode));
            }
        }
        Type::from(schema_or_any(wait.schema.as_ref(), "the step's `schema`"))
    }

    fn delay(&mut self, delay: &'w Delay) -> Type {
        match (&delay.span, &delay.until) {
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) => {
                self.tell("missing_key", "the delay has neither `for` nor `until`")
                    .set_hint("write `for: 30s`, or `until: \"{{ … }}\"`");
            }
            (Some(_), Some(_)) => self.under("until", |me| {
                me.tell_key("misplaced", "a delay has one of `for` and `until`")
                    .set_hint("leave one of them out");
            }),
        }
        if let Some(span) = &delay.span {
            self.under("for", |me| {
                me.template(span, Mode::Line);
                let kinds = me.kinds_shown(span);
                if !kinds.may_be(Kinds::TEXT) {
                    let message = format!("`for` is a duration, and this is {}", kinds.describe());
                    me.tell("wrong_type", message).set_hint(
                        "a unit comes behind the number: `{{ … }}s`, `{{ … }}m`, `{{ … }}h` or `{{ … }}d`",
                    );
                }
                match span.trim().parse::<Millis>() {
                    _ if span.contains("{{") => {}
                    Ok(span) if span <= Delay::LONGEST => {}
                    Ok(_) => {
                        let message = format!("a delay is at most {} long", Delay::LONGEST);
                        me.tell("invalid_value", message).set_hint("start a run later instead");
                    }
                    Err(_) => {
                        me.tell("invalid_value", format!("`for` is a duration, not {span:?}"))
                            .set_hint("durations are `500ms`, `30s`, `5m`, `2h`, `7d` or `1h30m`");
                    }
                }
            });
        }
        if let Some(until) = &delay.until {
            self.under("until", |me| {
                me.template(until, Mode::Line);
                let kinds = me.kinds_shown(until);
                // Digits may be a date.
                if !kinds.may_be(Kinds::TEXT.or(Kinds::NUMBER)) {
                    me.tell("wrong_type", format!("`until` is a time, and this is {}", kinds.describe()));
                }
                if !until.contains("{{") && crate::machine::time_of(until).is_none() {
                    me.tell("invalid_value", format!("`until` is a time, not {until:?}"))
                        .set_hint("write `2026-03-31T09:00:00Z`, with an offset, or a date: `2026-03-31`");
                }
            });
        }
        Type::from(Ty::object("a delay", vec![("until", Ty::Text)]))
    }

    fn stop(&mut self, stop: &'w Stop) {
        if let Some(message) = &stop.message {
            self.under("message", |me| {
                if stop.status == StopStatus::Completed {
                    me.tell_key("misplaced", "`message` says why a run failed, and this one is completed")
                        .set_hint("add `status: failed`, or use `output`");
                }
                me.template(message, Mode::Value);
            });
        }
        if let Some(output) = &stop.output {
            self.under("output", |me| {
                if stop.status == StopStatus::Failed {
                    me.tell_key("misplaced", "a failed run has no `output`").set_hint("use `message`");
                }
                me.value(output, Mode::Value);
            });
        }
    }

    fn branch(&mut self, branch: &'w Branch) -> Outcome {
        let mut outputs = Vec::new();
        let mut all_end = branch.otherwise.is_some();
        self.path.key("branches");
        for (index, arm) in branch.branches.iter().enumerate() {
            self.path.index(index);
            self.under("when", |me| me.condition(&arm.when));
            let mark = self.scope.mark();
            let outcome = self.under("do", |me| me.list(&arm.steps));
            let output = self.arm_output(outcome.output, arm.output.as_ref());
            self.scope.back_to(mark);
            self.path.pop();
            all_end &= outcome.ends;
            if !outcome.ends {
                outputs.push(output);
            }
        }
        self.path.pop();
        if let Some(block) = &branch.otherwise {
            let mark = self.scope.mark();
            let outcome = self.else_list(|me| me.list(&block.steps));
            let output = self.under("else", |me| me.arm_output(outcome.output, block.output.as_ref()));
            self.scope.back_to(mark);
            all_end &= outcome.ends;
            if !outcome.ends {
                outputs.push(output);
            }
        }
        Outcome { output: Type::one_of(outputs, Rule::Every), ends: all_end }
    }

    pub(super) fn arm_output(&mut self, last: Type, output: Option<&'w Value>) -> Type {
        match output {
            None => last,
            Some(value) => {
                self.under("output", |me| me.value(value, Mode::Value));
                self.type_of(value)
            }
        }
    }

    fn email(&mut self, email: &'w SendEmail) -> Type {
        if email.text.is_none() && email.html.is_none() {
            self.tell("missing_key", "the e-mail has neither `text` nor `html`")
                .set_hint("add one of them, or both");
        }
        for (key, addresses) in [("to", &email.to), ("cc", &email.cc), ("bcc", &email.bcc)] {
            self.path.key(key);
            for (index, address) in addresses.iter().enumerate() {
                self.path.index(index);
                self.address(address);
                let kinds = self.kinds_shown(address);
                if !kinds.may_be(Kinds::TEXT.or(Kinds::LIST)) {
                    let message = format!(
                        "`{key}` takes addresses, or a list of them, and this is {}",
                        kinds.describe()
                    );
                    self.tell("wrong_type", message);
                }
                self.path.pop();
            }
            self.path.pop();
        }
        for (key, address) in [("from", &email.from), ("reply_to", &email.reply_to)] {
            if let Some(address) = address {
                self.under(key, |me| me.address(address));
            }
        }
        self.under("subject", |me| {
            me.template(&email.subject, Mode::Line);
            if email.subject.trim().contains(['\r', '\n']) {
                me.tell("invalid_value", "a subject is one line")
                    .set_hint("a long one can be folded with `>-`");
            }
        });
        for (key, body, mode) in [("text", &email.text, Mode::Body), ("html", &email.html, Mode::Html)] {
            if let Some(body) = body {
                self.under(key, |me| me.template(body, mode));
            }
        }
        self.under("headers", |me| me.headers(&email.headers, Mode::Line, Sender::Mail));
        Type::from(Ty::object(
            "a send_email step",
            vec![("message_id", Ty::Text), ("accepted", Ty::list(Ty::Text))],
        ))
    }

    fn address(&mut self, text: &'w str) {
        self.template(text, Mode::Value);
        if text.contains("{{") || text.contains("{%") {
            return;
        }
        let bare = match (text.find('<'), text.trim_end().strip_suffix('>')) {
            (Some(start), Some(rest)) => &rest[start + 1..],
            _ => text.trim(),
        };
        let fits = bare.rsplit_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && !host.is_empty() && !bare.contains(char::is_whitespace)
        });
        if !fits {
            self.tell("invalid_value", format!("{text:?} is no e-mail address"))
                .set_hint("an address is `ann@example.com` or `Ann <ann@example.com>`");
        }
    }

    /// One key of a condition that a filter problem names by its path (`all[1]`).
    pub(super) fn at_inner<R>(&mut self, at: &str, key: &str, then: impl FnOnce(&mut Self) -> R) -> R {
        let depth = self.path.0.len();
        let node = self.node();
        // The path's parts live in the document, so that they can be kept: find them there.
        let mut here = node;
        for part in at.split(['.', '[', ']']).filter(|part| !part.is_empty()) {
            match (&here.data, part.parse::<usize>()) {
                (Data::List(items), Ok(index)) if index < items.len() => {
                    self.path.index(index);
                    here = &items[index];
                }
                (Data::Map(entries), _) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == part) else { break };
                    self.path.key(&entry.key);
                    here = &entry.value;
                }
                // A list stands for `all`: the word is not in the document.
                _ => {}
            }
        }
        if let Some(entry) = here.get(key) {
            self.path.key(&entry.key);
        }
        let result = then(self);
        self.path.0.truncate(depth);
        result
    }
}

pub(super) fn open(ty: Ty) -> Ty {
    Ty::Object(super::types::Object {
        label: None,
        fields: Vec::new(),
        required: Vec::new(),
        rest: super::types::Rest::Open(Type::from(ty)),
    })
}

pub(super) fn schema_or_any(schema: Option<&Value>, label: &str) -> Ty {
    schema.map_or(Ty::Any, |schema| Ty::of_schema(schema, label))
}

pub(super) fn open_texts() -> Ty {
    open(Ty::Text)
}
