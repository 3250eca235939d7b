//! What a template may take: stack, steps, bytes, depth.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::depth::MAX_DEPTH;

/// A thread with less stack than any that runs the product has; a debug build needs the most of it.
const SMALL_STACK: usize = 256 << 10;

fn on_a_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(SMALL_STACK).spawn_scoped(scope, work).unwrap();
        thread.join().unwrap()
    })
}

fn scope() -> Values {
    let row = |n: usize| json!({"id": format!("p{n}"), "n": n, "city": "Zürich"});
    Values::new([(
        "t",
        json!({
            "rows": (0..1000).map(row).collect::<Vec<_>>(),
            "text": "a b ".repeat(100_000),
            "commas": ",".repeat(1_000_000),
            "one": "x",
            "none": null,
        }),
    )])
}

/// Every way in which a template can nest, `n` times over.
fn nested(n: usize) -> Vec<(&'static str, String)> {
    let around = |open: &str, inside: &str, close: &str| {
        format!("{{{{ {}{inside}{} }}}}", open.repeat(n), close.repeat(n))
    };
    vec![
        ("filters", around("", "t.one", " | string")),
        ("tests", around("", "t.one", " is string")),
        ("sums", around("1 + ", "1", "")),
        ("texts", around("t.one ~ ", "t.one", "")),
        ("powers", around("1 ** ", "1", "")),
        ("conditions", around("true and ", "true", "")),
        ("comparisons", around("1 < ", "2", "")),
        ("choices", around("1 if false else ", "2", "")),
        ("choices before", around("", "1", " if true else 2")),
        ("attributes", around("", "t", ".b")),
        ("attributes of a call", around("", "range(3)", ".b")),
        ("subscripts", around("", "t", "['b']")),
        ("subscripts inside", around("t[", "'one'", "]")),
        ("slices", around("", "t.text", "[0:]")),
        ("calls", around("", "range", "()")),
        ("parentheses", around("(", "1", ")")),
        ("lists", around("[", "1", "]")),
        ("tuples", around("(", "1", ",)")),
        ("objects", around("{'a': ", "1", "}")),
        ("nots", around("not ", "true", "")),
        ("minuses", around("-", "1", "")),
        ("nots in brackets", around("not not not (", "true", ")")),
        ("arguments", around("t.one | default(", "t.none", ")")),
        ("defaults", around("", "t.nothing", " | default(1)")),
    ]
}

/// The same for what stands in the bodies of e-mails.
fn nested_blocks(n: usize) -> Vec<(&'static str, String)> {
    let around =
        |open: &str, inside: &str, close: &str| format!("{}{inside}{}", open.repeat(n), close.repeat(n));
    vec![
        ("ifs", around("{% if true %}", "x", "{% endif %}")),
        ("elifs", format!("{{% if false %}}a{}{{% endif %}}", "{% elif false %}b".repeat(n))),
        ("fors", around("{% for a in [1] %}", "x", "{% endfor %}")),
        ("withs", around("{% with a = 1 %}", "x", "{% endwith %}")),
        ("targets", format!("{{% for {}a{} in [1] %}}{{% endfor %}}", "(".repeat(n), ")".repeat(n))),
        ("sets", around("{% set a %}", "x", "{% endset %}")),
        ("unclosed", around("{% if true %}", "x", "")),
    ]
}

#[test]
fn nothing_that_nests_comes_to_the_end_of_the_stack() {
    on_a_small_stack(|| {
        let scope = scope();
        for n in [1, 5, 10, 15, 16, 17, 20, 25, 40, 45, 48, 49, 50, 51, 60, 150, 1000, 5000] {
            let single = nested(n).into_iter().map(|it| (Mode::Value, it));
            for (mode, (what, text)) in single.chain(nested_blocks(n).into_iter().map(|it| (Mode::Body, it)))
            {
                match Template::compile(&text, mode) {
                    // Whether it makes sense is another matter.
                    Ok(template) => {
                        let _ = template.render(&scope);
                        assert!(n <= MAX_NESTING, "{n} {what} were accepted");
                    }
                    Err(error) => assert!(error.at <= text.len(), "{n} {what}"),
                }
            }
        }
    });
}

#[test]
fn what_people_write_nests_far_less() {
    for (what, text) in nested(9) {
        if !["calls", "choices before", "nots in brackets"].contains(&what) {
            let compiled = Template::compile(&text, Mode::Value);
            assert!(compiled.is_ok(), "{what}: {}", compiled.unwrap_err());
        }
    }
    let joined = vec!["t.rows[0].id"; 40].join(" ~ ");
    assert!(Template::compile(&format!("{{{{ {joined} }}}}"), Mode::Value).is_ok());
    let list = (0..3000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    assert!(Template::compile(&format!("{{{{ 7 in [{list}] }}}}"), Mode::Value).is_ok());
    let paragraphs =
        "{% if t.one == 'x' %}{{ t.rows | map(attribute='id') | join(', ') }}{% endif %}\n".repeat(500);
    assert!(Template::compile(&paragraphs, Mode::Body).is_ok());
}

#[test]
fn a_template_past_a_limit_is_refused_with_its_place() {
    let text = format!("Hi {{{{ 'x'{} }}}}", " | lower".repeat(60));
    let error = Template::compile(&text, Mode::Value).unwrap_err();
    assert_eq!(error.kind, ExprErrorKind::Syntax);
    assert!(error.to_string().contains("nests too deep: at most 50"), "{error}");
    assert_eq!(error.at, 9 + 50 * " | lower".len() + 1, "the pipe that is too much");
    let long = "{{ 1 }}".repeat(10_000);
    let error = Template::compile(&long, Mode::Value).unwrap_err();
    assert!(error.to_string().contains("at most 20000 words"), "{error}");
    assert!(error.at > 0);
}

/// Nothing of the parser's own calculating with constants is used: it knows no bounds.
#[test]
fn constants_are_not_calculated_before_they_are_needed() {
    let start = Instant::now();
    let error = render_value(&json!("{{ t['ab' * 4000000000] }}"), &scope(), Mode::Value).unwrap_err();
    assert!(error.to_string().contains("cannot be calculated"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(Template::compile("{{ t.rows[9 ** 9 ** 9] }}", Mode::Value).is_ok());
}

fn over(body: &str) -> String {
    let start = Instant::now();
    let template = Template::compile(body, Mode::Body).unwrap();
    let error = match template.render(&scope()) {
        Ok(rendered) => panic!("{body} gave {} bytes", rendered.value.to_string().len()),
        Err(error) => error,
    };
    assert_eq!(error.kind, ExprErrorKind::Limit, "{body}: {error}");
    // A generous bound for a debug build on a busy machine; without the limits these take hours.
    assert!(start.elapsed() < Duration::from_secs(120), "{body} took {:?}", start.elapsed());
    error.message
}

#[test]
fn a_rendering_has_a_budget_of_steps() {
    for body in [
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{% for b in range(9999) if false %}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{% if a in t.rows %}{% endif %}{% endfor %}",
        "{% for a in range(9999) %}{% if 'b b' in t.text %}{% endif %}{% endfor %}",
        "{% for a in range(9999) %}{{ t.text[399999] }}{% endfor %}",
        "{% for a in range(9999) %}{% if t.rows == t.rows %}{% endif %}{% endfor %}",
        "{% for a in range(9999) %}{% if t.rows is in([t.rows]) %}{% endif %}{% endfor %}",
        "{% for a in range(9999) %}{% set b = t.rows | sort(attribute='n') | length %}{% endfor %}",
        "{% for a in range(9999) %}{% set b = t.text | sha256 %}{% endfor %}",
        "{% for a in range(9999) %}{% set b = t.text | trim('ab ') %}{% endfor %}",
        "{% set b = range(9999) %}{% for a in b %}{% set c = b | map('string') | length %}{% endfor %}",
        "{% set b = range(9999) %}{% for a in b %}{% set c = b | select('in', b) | length %}{% endfor %}",
    ] {
        let message = over(body);
        assert!(message.contains("1,000,000 steps") || message.contains("16 MiB"), "{body}: {message}");
    }
}

#[test]
fn a_rendering_has_a_budget_of_bytes() {
    let doubled = |first: &str, again: &str| format!("{first}{}", again.repeat(24));
    let bodies = [
        "{% for a in range(9999) %}{% set b = t.rows + t.rows %}{% endfor %}".to_owned(),
        "{% for a in range(9999) %}{% set b = [t.rows, t.rows, t.rows] %}{% endfor %}".to_owned(),
        "{% for a in range(9999) %}{% set b = {'a': t.rows} %}{% endfor %}".to_owned(),
        "{% for a in range(9999) %}{% set b = t.rows[1:] %}{% endfor %}".to_owned(),
        "{% for a in range(9999) %}{% for b in t.rows %}{% endfor %}{% endfor %}".to_owned(),
        "{% for a in range(9999) %}{{ t.text }}{% endfor %}".to_owned(),
        doubled("{% set a = t.rows %}", "{% set a = a + a %}"),
        doubled("{% set a = t.rows %}", "{% set a = [a, a] | flatten %}"),
        doubled("{% set a = t.rows %}", "{% set a = [a, a] %}"),
        doubled("{% set a = 'aaaa' %}", "{% set a = a ~ a %}"),
        doubled("{% set a = 'aaaa' %}", "{% set a = a + a %}"),
        doubled("{% set a = 'aaaa' %}", "{% set a = [a, a] | join(a) %}"),
        doubled("{% set a = 'aaaa' %}", "{% set a = a | replace('a', a) %}"),
        doubled(
            "{% set a = '<<<<' %}",
            "{% set a = (a ~ a) | escape %}{% set a = a | replace('&lt;', '<') %}",
        ),
        doubled("{% set a = ['\"'] %}", "{% set a = [a | tojson] %}"),
        "{{ t.commas | split(',') | length }}".to_owned(),
        "{{ t.commas | replace(',', '\\n') | lines | length }}".to_owned(),
        "{{ (t.commas ~ t.commas) | list | length }}".to_owned(),
        "{{ range(9999) | map('replace', '1', t.text) | length }}".to_owned(),
        "{{ t.commas | replace(',', ' a') | slugify(t.text) }}".to_owned(),
        "{{ t.rows | join(t.text, attribute='id') }}".to_owned(),
    ];
    for body in bodies {
        let message = over(&body);
        assert!(message.contains("16 MiB") || message.contains("1,000,000 steps"), "{body}: {message}");
    }
}

/// Numbers are as long as their digits, and a value takes memory however short it is.
#[test]
fn numbers_count_as_what_they_are() {
    let lists = |range: &str, n: usize| json!(format!("{{{{ [{}] }}}}", vec![range; n].join(", ")));
    let (long, short) = ("range(9000000000000000000, 9000000000000010000)", "range(0, 10000)");
    for (range, fits, too_many) in [(long, 80, 90), (short, 200, 215)] {
        assert!(render_value(&lists(range, fits), &scope(), Mode::Value).is_ok(), "{fits} times {range}");
        let error = render_value(&lists(range, too_many), &scope(), Mode::Value).unwrap_err();
        assert!(error.to_string().contains("16 MiB"), "{error}");
    }
}

#[test]
fn the_templates_of_a_document_share_one_budget() {
    let document = json!((0..5_000).map(|_| "{{ t.text }}").collect::<Vec<_>>());
    let error = render_value(&document, &scope(), Mode::Value).unwrap_err();
    assert_eq!(error.kind, ExprErrorKind::Limit, "{error}");
    assert_eq!(error.path, "[41]");
}

/// What a run takes in, it can hand on.
#[test]
fn a_large_body_fits_through() {
    let rows: Vec<Value> = (0..100_000)
        .map(|n| json!({"id": n, "name": "Ann Example", "email": "ann@example.com", "city": "Zürich"}))
        .collect();
    let places: Vec<Value> = (0..500_000).map(|n| json!([8.541_69, 47.376_89 + f64::from(n)])).collect();
    let numbers: Vec<u32> = (1_000_000..2_000_000).collect();
    let scope = Values::new([(
        "trigger",
        json!({"body": rows, "text": "x".repeat(8 << 20), "places": places, "numbers": numbers}),
    )]);
    for name in ["body", "places", "numbers"] {
        let rendered =
            render_value(&json!({"all": format!("{{{{ trigger.{name} }}}}")}), &scope, Mode::Value);
        assert!(rendered.is_ok(), "{name}: {}", rendered.unwrap_err());
    }
    assert!(render_value(&json!("{{ trigger.text }}"), &scope, Mode::Value).is_ok());
    let counted = render_value(&json!("{{ trigger.body | length }}"), &scope, Mode::Value).unwrap();
    assert_eq!(counted.value, json!(100_000));
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(json!(1), |value, _| json!([value]))
}

#[test]
fn values_are_at_most_64_levels_deep() {
    let scope =
        Values::new([("t", json!({"deep": deep(MAX_DEPTH - 1), "text": "[".repeat(70) + &"]".repeat(70)}))]);
    let render = |value: Value| render_value(&value, &scope, Mode::Value);
    assert!(render(json!(["{{ t.deep }}"])).is_ok());
    let error = render(json!({"a": {"b": ["{{ t.deep }}"]}})).unwrap_err();
    assert_eq!(error.kind, ExprErrorKind::Limit);
    insta::assert_snapshot!(error, @"a.b[0][0]…: the value is nested deeper than 64 levels");
    for made in [
        "{{ [[t.deep]] }}",
        "{{ {'a': {'b': t.deep}} }}",
        "{{ [t.deep, t.deep] | batch(1) }}",
        "{{ t.text | fromjson }}",
    ] {
        let error = render(json!(made)).unwrap_err();
        assert!(error.message.contains("nested deeper than 64 levels"), "{made}: {error}");
    }
    let body = format!("{{% set a = [] %}}{}", "{% set a = [a] %}".repeat(1000));
    let error =
        on_a_small_stack(|| Template::compile(&body, Mode::Body).unwrap().render(&scope).unwrap_err());
    assert!(error.message.contains("nested deeper"), "{error}");
}

/// `default` deals with what is missing without anybody looking for what there is instead.
#[test]
fn a_missing_value_that_is_dealt_with_costs_nothing() {
    let fields: serde_json::Map<String, Value> =
        (0..20_000).map(|n| (format!("field{n}"), json!(n))).collect();
    let scope = Values::new([("t", Value::Object(fields))]);
    let body = "{% for a in range(9999) %}{{ t.feld | default('') }}{% endfor %}";
    let start = Instant::now();
    assert!(Template::compile(body, Mode::Body).unwrap().render(&scope).is_ok());
    assert!(start.elapsed() < Duration::from_secs(60));
    let error = Template::compile("{{ t.feld1 }}", Mode::Body).unwrap().render(&scope).unwrap_err();
    assert!(error.message.len() < 400, "{error}");
}
