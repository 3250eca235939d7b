//! The workflows, connection and modules that the simulation drives.

use crate::support::Module;

pub const OUTSIDE: &str = r#"
name: outside
trigger: { type: webhook, path: outside }
steps:
  - id: both
    type: parallel
    steps:
      - id: call
        type: http_request
        method: POST
        url: "https://api.example.com/{{ trigger.body.n }}"
        body: { json: { n: "{{ trigger.body.n }}" } }
        retry: { attempts: 40, backoff: { initial: 1s, factor: 1 } }
      - { id: slow, type: code, action: slow, input: { ms: "{{ trigger.body.ms }}", n: "{{ trigger.body.n }}" } }
      - id: note
        type: create_record
        needs: [slow]
        object: note
        record: { title: "Note {{ trigger.body.n }}" }
  - id: list
    type: http_request
    url: "https://pages.example.com/{{ trigger.body.n }}"
    pagination: { next: { page: {} }, items: body.items, more: body.more }
    retry: { attempts: 40, backoff: { initial: 1s, factor: 1 } }
  - { id: whole, type: filter, when: "{{ list['items'] == [1, 2, 3] }}" }
  - { id: after, type: create_record, object: task, record: { title: "After {{ trigger.body.n }}" } }
"#;

pub const FAILING: &str = r#"
name: failing
trigger: { type: webhook, path: failing }
steps:
  - { id: before, type: create_record, object: task, record: { title: "Before {{ trigger.body.n }}" } }
  - { id: moody, type: code, action: moody, input: { fails: "{{ trigger.body.fails }}", n: "{{ trigger.body.n }}" },
      retry: { attempts: 3, backoff: { initial: 2s, factor: 2 } } }
on_failure:
  - { id: tell, type: create_record, object: note, record: { title: "Failed {{ trigger.body.n }}" } }
"#;

pub const MANY: &str = r#"
name: many
trigger: { type: webhook, path: many }
steps:
  - id: rows
    type: iterator
    over: "{{ range(trigger.body.rows) }}"
    concurrency: 3
    tolerate: { failures: 100 }
    totals: { sum: "{{ item }}", even: "{{ item % 2 == 0 }}" }
    do:
      - { id: odd, type: filter, when: "{{ item % 4 != 3 }}" }
      - id: try
        type: code
        action: moody
        input: { fails: "{{ 99 if item % 3 == 2 else item % 3 }}", n: "{{ trigger.body.n }}-{{ item }}" }
        retry: { attempts: 2, backoff: { initial: 1s } }
      - { id: row, type: create_record, object: note, record: { title: "Row {{ trigger.body.n }}-{{ item }}" } }
      - id: again
        type: iterator
        search: { object: note, filter: { field: title, is: "Row {{ trigger.body.n }}-{{ item }}" } }
        do:
          - { id: say, type: http_request, method: POST, connection: many, url: "/{{ trigger.body.n }}/{{ item.title | urlencode }}", retry: { attempts: 40, backoff: { initial: 1s, factor: 1 } } }
  - { id: done, type: create_record, object: task, record: { title: "Rows {{ trigger.body.n }}: {{ rows.succeeded }}, {{ rows.failed }}, {{ rows.skipped }}; {{ rows.totals.sum }}, {{ rows.totals.even }}" } }
"#;

pub const TOGETHER: &str = r#"
name: together
trigger: { type: webhook, path: together }
steps:
  - id: rows
    type: iterator
    over: "{{ range(trigger.body.rows) }}"
    atomic: true
    concurrency: 2
    on_error: continue
    do:
      - { id: try, type: code, action: moody, input: { fails: "{{ 99 if item == trigger.body.bad else 0 }}", n: "{{ trigger.body.n }}-{{ item }}" } }
      - { id: slow, type: code, action: slow, input: { ms: "{{ item * 20 }}", n: "{{ trigger.body.n }}" } }
      - { id: row, type: create_record, object: note, record: { title: "Together {{ trigger.body.n }}" } }
  - { id: done, type: create_record, object: task, record: { title: "Together {{ trigger.body.n }} {{ steps.rows.status }}" } }
"#;

/// Its limits hold across crashes.
pub const CONNECTION: &str =
    "base_url: https://many.example.com\nrate: { requests: 3, per: 2s }\nconcurrency: 2\n";

pub const COUNTED: &str = r#"
name: counted
trigger: { type: webhook, path: counted }
steps:
  - { id: slow, type: code, action: slow, input: { ms: "{{ trigger.body.ms }}", n: "{{ trigger.body.n }}" } }
  - { id: ticket, type: set_state, values: { last: "{{ state.last | default(0) + 1 }}" } }
  - { id: task, type: create_record, object: task, record: { title: "Ticket {{ ticket.last }}" } }
"#;

pub const PARENT: &str = r#"
name: parent
trigger: { type: webhook, path: parent }
steps:
  - { id: sub, type: run_workflow, workflow: child, input: { fails: "{{ trigger.body.fails }}", n: "{{ trigger.body.n }}" },
      retry: { attempts: 3, backoff: { initial: 1s } }, on_error: continue }
  - { id: after, type: create_record, object: task, record: { title: "Parent {{ trigger.body.n }} {{ steps.sub.status }}" } }
"#;

pub const CHILD: &str = r#"
name: child
trigger: { type: manual }
steps:
  - { id: before, type: create_record, object: note, record: { title: "Child {{ trigger.input.n }}" } }
  - { id: moody, type: code, action: moody, input: { fails: "{{ trigger.input.fails }}", n: "{{ trigger.input.n }}" } }
  - { id: wait, type: delay, for: 2s }
output: "{{ trigger.input.n }}"
"#;

pub const ASKING: &str = r#"
name: asking
trigger: { type: webhook, path: asking }
steps:
  - { id: ask, type: wait_for_input, timeout: 4s, on_timeout: continue, schema: { type: object, required: [n] } }
  - { id: task, type: create_record, object: task, record: { title: "Asked {{ trigger.body.n }}" } }
"#;

/// Runs of a key go one after the other.
pub const ORDERED: &str = r#"
name: ordered
trigger: { type: webhook, path: ordered }
concurrency: { key: "{{ trigger.body.n % 2 }}" }
steps:
  - { id: begin, type: create_record, object: note, record: { title: "Began {{ trigger.body.n }}" } }
  - { id: wait, type: delay, for: "{{ trigger.body.ms }}ms" }
  - { id: moody, type: code, action: moody, input: { fails: "{{ trigger.body.fails }}", n: "{{ trigger.body.n }}" } }
"#;

/// Two of a key at once, and the newest.
pub const NEWEST: &str = r#"
name: newest
trigger: { type: webhook, path: newest }
concurrency: { key: "{{ trigger.body.n % 2 }}", limit: 2, when_full: replace }
steps:
  - { id: begin, type: create_record, object: note, record: { title: "Began {{ trigger.body.n }}" } }
  - { id: wait, type: delay, for: "{{ trigger.body.ms }}ms" }
"#;

/// One at a time, and no others.
pub const LONELY: &str = r#"
name: lonely
trigger: { type: webhook, path: lonely }
concurrency: { when_full: skip }
steps:
  - { id: begin, type: create_record, object: note, record: { title: "Began {{ trigger.body.n }}" } }
  - { id: wait, type: delay, for: "{{ trigger.body.ms }}ms" }
"#;

pub const SEEN: &str = r#"
name: seen
trigger: { type: record_event, object: task, on: created }
steps:
  - { id: note, type: create_record, object: note, record: { title: "Seen {{ trigger.after.title }}" } }
"#;

pub const SETTLED: &str = r#"
name: settled
trigger: { type: record_event, object: person, on: upserted, settle: 2s }
steps:
  - { id: version, type: set, values: { after: "{{ trigger.after.version }}" } }
"#;

pub const TICKING: &str = r#"
name: ticking
trigger: { type: schedule, every: 37s, missed: run_all }
steps:
  - { id: at, type: set, values: { at: "{{ trigger.scheduled_at }}" } }
"#;

pub const MODULES: [Module; 3] = [
    Module::new("normalize-lead", "1.0.0", "normalize"),
    Module::new("slow", "1.0.0", "slow"),
    Module::new("moody", "1.0.0", "moody"),
];
