//! Definition → graph.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use stepwell_records::filter::Allowed;

use super::{
    AnswerPlan, Arm, BodyPlan, CallPlan, CompileError, Condition, DelayPlan, EmailPlan, FilterPlan, Graph,
    HttpPlan, InputPlan, ItemsPlan, IteratorPlan, List, ListId, Node, NodeId, NodeKind, OnErrorPlan, Owner,
    PairsPlan, RespondPlan, RetryPlan, UnchangedPlan,
};
use crate::expr::{Document, Mode, Template};
use crate::machine::{StepPath, Taken};
use crate::model::{
    Body, Given, HttpRequest, OnError, Respond, SendEmail, Step, StepKind, Trigger, WaitForInput, Workflow,
};

impl Graph {
    /// Compiles a definition; every template and filter that cannot be is reported.
    pub fn compile(workflow: &Workflow) -> Result<Graph, Vec<CompileError>> {
        let mut compiler = Compiler::default();
        let root = compiler.list(Owner::Run, "", &workflow.steps);
        let on_failure = match workflow.on_failure.as_slice() {
            [] => None,
            steps => Some(compiler.list(Owner::OnFailure, StepPath::ON_FAILURE, steps)),
        };
        compiler.step.clear();
        let output = compiler.optional("output", workflow.output.as_ref(), Mode::Value);
        let respond = compiler.respond(&workflow.trigger);
        if !compiler.errors.is_empty() {
            return Err(compiler.errors);
        }
        // A step is listed before the steps inside it, which were compiled first.
        let nodes: Vec<Node> = compiler.nodes.into_iter().flatten().collect();
        Ok(Graph {
            name: workflow.name.clone(),
            has_atomic: nodes.iter().any(Node::is_atomic),
            nodes,
            lists: compiler.lists,
            root,
            on_failure,
            output,
            respond,
            by_path: compiler.by_path,
            by_id: compiler.by_id,
        })
    }
}

#[derive(Default)]
struct Compiler {
    /// `None` while the steps inside are compiled.
    nodes: Vec<Option<Node>>,
    lists: Vec<List>,
    by_path: HashMap<StepPath, NodeId>,
    by_id: HashMap<String, NodeId>,
    errors: Vec<CompileError>,
    /// The path of the step in hand.
    step: String,
}

/// Stands in for what could not be compiled: the graph is not given out then.
fn nothing() -> Document {
    Document::literal(Value::Null)
}

impl Compiler {
    fn list(&mut self, owner: Owner, around: &str, steps: &[Step]) -> ListId {
        let id = ListId(self.lists.len() as u32);
        self.lists.push(List { owner, steps: Vec::new() });
        let nodes: Vec<NodeId> =
            steps.iter().enumerate().map(|(place, step)| self.node(id, place, around, step)).collect();
        for (step, node) in steps.iter().zip(&nodes) {
            let needs = step.needs.iter().filter_map(|need| {
                steps.iter().position(|sibling| sibling.id == *need).map(|place| nodes[place])
            });
            let needs: Vec<NodeId> = needs.collect();
            if needs.len() != step.needs.len() {
                let path =
                    self.nodes[node.0 as usize].as_ref().map_or("", |node| node.path.as_str()).to_owned();
                let message = "names a step that does not stand beside this one".to_owned();
                self.errors.push(CompileError { step: path, place: "needs".to_owned(), message });
            }
            if let Some(node) = &mut self.nodes[node.0 as usize] {
                node.needs = needs;
            }
        }
        self.lists[id.0 as usize].steps = nodes;
        id
    }

    fn node(&mut self, list: ListId, place: usize, around: &str, step: &Step) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(None);
        let path = if around.is_empty() { step.id.clone() } else { format!("{around}.{}", step.id) };
        self.step.clone_from(&path);
        self.by_path.insert(StepPath::new(&path), id);
        if self.by_id.insert(step.id.clone(), id).is_some() {
            self.error("", format!("there are two steps `{}`", step.id));
        }
        let condition = step.condition.as_ref().and_then(|condition| self.condition("if", condition));
        let retry = step.retry.as_ref().map(|retry| RetryPlan {
            attempts: retry.attempts.max(1),
            backoff: retry.backoff,
            within_ms: retry.within.map(|within| within.0),
            on: retry.on.as_ref().and_then(|on| self.filter("retry.on", on, Allowed::BOTH)),
        });
        let kind = self.kind(id, &path, &step.kind);
        let on_error = self.handler(id, &path, &step.on_error, Taken::OnError);
        let on_timeout = match &step.kind {
            StepKind::WaitForInput(wait) => wait.on_timeout.as_ref(),
            _ => None,
        };
        let on_timeout = on_timeout.map(|handler| self.handler(id, &path, handler, Taken::OnTimeout));
        let waits = matches!(step.kind, StepKind::WaitForInput(_));
        let timeout = step.timeout.or(waits.then_some(WaitForInput::DEFAULT_TIMEOUT));
        self.nodes[id.0 as usize] = Some(Node {
            id: step.id.clone(),
            path: StepPath::new(path),
            type_name: step.kind.type_name(),
            kind,
            list,
            place,
            needs: Vec::new(),
            condition,
            retry,
            timeout_ms: timeout.map(|timeout| timeout.0),
            on_error,
            on_timeout,
        });
        id
    }

    fn handler(&mut self, id: NodeId, path: &str, handler: &OnError, taken: Taken) -> OnErrorPlan {
        match handler {
            OnError::Fail => OnErrorPlan::Fail,
            OnError::Continue => OnErrorPlan::Continue,
            OnError::Pause => OnErrorPlan::Pause,
            OnError::Do { steps } => OnErrorPlan::Do(self.list(Owner::Step(id, taken), path, steps)),
        }
    }

    fn kind(&mut self, id: NodeId, path: &str, kind: &StepKind) -> NodeKind {
        match kind {
            StepKind::Code(code) => NodeKind::Call(CallPlan::Code {
                action: code.action.to_string(),
                input: self.document("input", &code.input, Mode::Secrets),
                limits: code.limits,
            }),
            StepKind::SearchRecords(search) => NodeKind::Call(CallPlan::Search {
                object: search.object.clone(),
                view: search.view.clone(),
                filter: search.filter.as_ref().and_then(|f| self.filter("filter", f, Allowed::FIELDS)),
                sort: search.sort.clone(),
                limit: self.optional("limit", search.limit.as_ref(), Mode::Value),
            }),
            StepKind::CreateRecord(create) => NodeKind::Call(CallPlan::Create {
                object: create.object.clone(),
                record: self.given("record", &create.record),
            }),
            StepKind::UpdateRecord(update) => NodeKind::Call(CallPlan::Update {
                object: update.object.clone(),
                record_id: self.template("record_id", &update.record_id, Mode::Line),
                record: self.given("record", &update.record),
                if_version: self.optional("if_version", update.if_version.as_ref(), Mode::Value),
                if_unchanged: update.if_unchanged.as_ref().map(|unchanged| UnchangedPlan {
                    since: self.given("if_unchanged.since", &unchanged.since),
                    fields: unchanged.fields.clone(),
                }),
            }),
            StepKind::UpsertRecord(upsert) => NodeKind::Call(CallPlan::Upsert {
                object: upsert.object.clone(),
                match_on: upsert.match_on.clone(),
                record: self.given("record", &upsert.record),
                create_only: upsert.create_only.clone(),
            }),
            StepKind::DeleteRecord(delete) => NodeKind::Call(CallPlan::Delete {
                object: delete.object.clone(),
                record_id: self.template("record_id", &delete.record_id, Mode::Line),
                if_version: self.optional("if_version", delete.if_version.as_ref(), Mode::Value),
            }),
            StepKind::Delay(delay) => NodeKind::Delay(match (&delay.span, &delay.until) {
                (Some(span), None) => DelayPlan::For(self.template("for", span, Mode::Line)),
                (None, Some(until)) => DelayPlan::Until(self.template("until", until, Mode::Line)),
                _ => {
                    self.error("", "a delay has one of `for` and `until`");
                    DelayPlan::For(Template::empty())
                }
            }),
            StepKind::WaitForInput(wait) => NodeKind::Call(CallPlan::Input(Box::new(InputPlan {
                schema: wait.schema.clone(),
                title: wait.title.as_ref().map(|text| self.template("title", text, Mode::Line)),
                message: wait.message.as_ref().map(|text| self.template("message", text, Mode::Body)),
            }))),
            StepKind::RunWorkflow(run) => NodeKind::Call(CallPlan::Run {
                workflow: run.workflow.clone(),
                input: self.document("input", &run.input, Mode::Value),
                wait: run.wait,
            }),
            StepKind::HttpRequest(http) => NodeKind::Call(CallPlan::Http(Box::new(self.http(http)))),
            StepKind::SendEmail(email) => NodeKind::Call(CallPlan::Email(Box::new(self.email(email)))),
            StepKind::Set(set) => NodeKind::Set(self.given("values", &set.values)),
            StepKind::SetState(set) => NodeKind::Call(CallPlan::SetState(self.given("values", &set.values))),
            StepKind::Stop(stop) => NodeKind::Stop {
                status: stop.status,
                message: stop.message.as_ref().map(|text| self.template("message", text, Mode::Body)),
                output: self.optional("output", stop.output.as_ref(), Mode::Value),
            },
            StepKind::Filter(filter) => match self.condition("when", &filter.when) {
                Some(condition) => NodeKind::Filter(condition),
                None => NodeKind::Set(nothing()),
            },
            StepKind::Branch(branch) => {
                let mut arms = Vec::new();
                for (place, arm) in branch.branches.iter().enumerate() {
                    let owner = Owner::Step(id, Taken::Arm(place as u32));
                    let at = format!("branches[{place}]");
                    let when = self.condition(&format!("{at}.when"), &arm.when);
                    let output = self.optional(&format!("{at}.output"), arm.output.as_ref(), Mode::Value);
                    let list = self.list(owner, path, &arm.steps);
                    path.clone_into(&mut self.step);
                    arms.push(Arm { when, list, output });
                }
                let otherwise = branch.otherwise.as_ref().map(|block| {
                    let output = self.optional("else.output", block.output.as_ref(), Mode::Value);
                    let list = self.list(Owner::Step(id, Taken::Else), path, &block.steps);
                    Arm { when: None, list, output }
                });
                path.clone_into(&mut self.step);
                NodeKind::Branch { arms, otherwise }
            }
            StepKind::Parallel(parallel) => {
                let list = self.list(Owner::Step(id, Taken::Steps), path, &parallel.steps);
                path.clone_into(&mut self.step);
                NodeKind::Parallel(list)
            }
            StepKind::Iterator(iterate) => {
                let items = match (&iterate.over, &iterate.search) {
                    (Some(over), None) => ItemsPlan::List(self.document("over", over, Mode::Value)),
                    (None, Some(search)) => ItemsPlan::Search {
                        object: search.object.clone(),
                        view: search.view.clone(),
                        filter: search
                            .filter
                            .as_ref()
                            .and_then(|f| self.filter("search.filter", f, Allowed::FIELDS)),
                        sort: search.sort.clone(),
                    },
                    _ => {
                        self.error("", "an iterator has one of `over` and `search`");
                        ItemsPlan::List(nothing())
                    }
                };
                let output = self.optional("output", iterate.output.as_ref(), Mode::Value);
                let totals = iterate.totals.iter().map(|(name, value)| {
                    (name.clone(), self.document(&format!("totals.{name}"), value, Mode::Value))
                });
                let totals = totals.collect();
                let list = self.list(Owner::Step(id, Taken::Item), path, &iterate.steps);
                path.clone_into(&mut self.step);
                NodeKind::Iterator(Box::new(IteratorPlan {
                    items,
                    list,
                    output,
                    totals,
                    concurrency: iterate.concurrency.max(1),
                    batch: iterate.batch.map(|batch| batch.max(1)),
                    tolerate: iterate.tolerate,
                    atomic: iterate.atomic,
                }))
            }
        }
    }

    fn http(&mut self, http: &HttpRequest) -> HttpPlan {
        HttpPlan {
            method: http.method,
            url: self.template("url", &http.url, http.url_mode()),
            connection: http.connection.clone(),
            redirects: http.redirects,
            pagination: http.pagination.clone(),
            headers: self.headers(&http.headers, Mode::Header),
            query: self.pairs("query", &http.query),
            body: http.body.as_ref().map(|body| match body {
                Body::Json(value) => BodyPlan::Json(self.document("body.json", value, Mode::Secrets)),
                Body::Form(fields) => BodyPlan::Form(self.pairs("body.form", fields)),
                Body::Text(text) => BodyPlan::Text(self.template("body.text", text, Mode::Secrets)),
                Body::Bytes(text) => BodyPlan::Bytes(self.template("body.bytes", text, Mode::Value)),
            }),
            response: http.response.clone(),
            max_bytes: http.max_bytes.0,
            idempotency_key: http
                .idempotency_key
                .as_ref()
                .map(|key| self.template("idempotency_key", key, Mode::Line)),
        }
    }

    fn email(&mut self, email: &SendEmail) -> EmailPlan {
        let mut addresses = |place: &str, list: &[String]| {
            let each = list.iter().enumerate();
            each.map(|(i, text)| {
                self.document(&format!("{place}[{i}]"), &Value::String(text.clone()), Mode::Value)
            })
            .collect()
        };
        EmailPlan {
            to: addresses("to", &email.to),
            cc: addresses("cc", &email.cc),
            bcc: addresses("bcc", &email.bcc),
            from: email.from.as_ref().map(|text| self.template("from", text, Mode::Line)),
            reply_to: email.reply_to.as_ref().map(|text| self.template("reply_to", text, Mode::Line)),
            subject: self.template("subject", &email.subject, Mode::Line),
            text: email.text.as_ref().map(|text| self.template("text", text, Mode::Body)),
            html: email.html.as_ref().map(|text| self.template("html", text, Mode::Html)),
            headers: self.headers(&email.headers, Mode::Line),
        }
    }

    fn respond(&mut self, trigger: &Trigger) -> RespondPlan {
        let Trigger::Webhook(webhook) = trigger else { return RespondPlan::Nothing };
        match &webhook.respond {
            Respond::Accepted => RespondPlan::Nothing,
            Respond::Result => RespondPlan::Result,
            Respond::Answer(answer) => RespondPlan::Answer(Box::new(AnswerPlan {
                status: self.document("trigger.respond.status", &answer.status, Mode::Value),
                headers: self.headers(&answer.headers, Mode::Line),
                body: self.optional("trigger.respond.body", answer.body.as_ref(), Mode::Value),
            })),
        }
    }

    fn error(&mut self, place: &str, message: impl Into<String>) {
        let (step, place) = (self.step.clone(), place.to_owned());
        self.errors.push(CompileError { step, place, message: message.into() });
    }

    fn document(&mut self, place: &str, value: &Value, mode: Mode) -> Document {
        Document::compile(value, mode).unwrap_or_else(|error| {
            self.error("", error.under(place).to_string());
            nothing()
        })
    }

    fn optional(&mut self, place: &str, value: Option<&Value>, mode: Mode) -> Option<Document> {
        value.map(|value| self.document(place, value, mode))
    }

    fn given(&mut self, place: &str, given: &Given) -> Document {
        self.document(place, &given.to_value(), Mode::Value)
    }

    fn pairs(&mut self, place: &str, given: &Given) -> PairsPlan {
        let Given::Each(fields) = given else {
            return PairsPlan::Whole(self.given(place, given));
        };
        let pair = |(name, value): (&String, &Value)| {
            (name.clone(), self.document(&format!("{place}.{name}"), value, Mode::Secrets))
        };
        PairsPlan::Each(fields.iter().map(pair).collect())
    }

    fn headers(&mut self, headers: &BTreeMap<String, String>, mode: Mode) -> Vec<(String, Template)> {
        let header = |(name, text): (&String, &String)| {
            (name.clone(), self.template(&format!("headers.{name}"), text.trim_end(), mode))
        };
        headers.iter().map(header).collect()
    }

    fn template(&mut self, place: &str, text: &str, mode: Mode) -> Template {
        Template::compile(text, mode).unwrap_or_else(|error| {
            self.error("", error.under(place).to_string());
            Template::empty()
        })
    }

    fn condition(&mut self, place: &str, condition: &Value) -> Option<Condition> {
        Condition::compile(condition).map_err(|message| self.error(place, message)).ok()
    }

    fn filter(&mut self, place: &str, filter: &Value, allowed: Allowed) -> Option<FilterPlan> {
        FilterPlan::compile(filter, allowed).map_err(|message| self.error(place, message)).ok()
    }
}
