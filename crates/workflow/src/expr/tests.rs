//! What expressions promise, by example.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::scope::{Found, Scope};
use super::*;

fn scope() -> Values {
    let mut values = Values::new([
        (
            "normalize",
            json!({"email": "ann@example.com", "firstName": "Ann", "nick": null, "tags": ["a", "b"]}),
        ),
        ("known", json!({"total": 2, "records": [{"id": "p1", "n": 3}, {"id": "p2", "n": 1}]})),
        (
            "trigger",
            json!({"body": {"amount": "10", "big": u64::MAX, "small": i64::MIN, "half": 0.5, "empty": []}}),
        ),
    ]);
    values.now = "2026-03-31T22:30:00Z".parse().unwrap();
    values
}

fn try_value(text: &str) -> Result<Value, ExprError> {
    render_value(&json!(text), &scope(), Mode::Value).map(|filled| filled.value)
}

fn value(text: &str) -> Value {
    try_value(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The value of an expression.
fn eval(expression: &str) -> Value {
    value(&format!("{{{{ {expression} }}}}"))
}

fn error(text: &str) -> String {
    match try_value(text) {
        Ok(value) => panic!("{text} gave {value}"),
        Err(error) => error.to_string(),
    }
}

fn render_in(mode: Mode, text: &str) -> Result<Text, ExprError> {
    Template::compile(text, mode)?.render_text(&scope())
}

#[test]
fn exactly_one_expression_keeps_its_type() {
    assert_eq!(value("{{ known.total }}"), json!(2));
    assert_eq!(value("\n{{ known.records[0] }}\n"), json!({"id": "p1", "n": 3}));
    assert_eq!(value("{{ normalize.nick }}"), json!(null));
    assert_eq!(value("{{ trigger.body.big }}"), json!(u64::MAX));
    assert_eq!(value("{{ trigger.body.small }}"), json!(i64::MIN));
    assert_eq!(value("{{- known.total -}}"), json!(2));
    assert_eq!(value(" {{ known.total }}"), json!(" 2"));
    assert_eq!(value("{{ known.total }}{{ known.total }}"), json!("22"));
    assert_eq!(value("{{ known.total }}\n{{ known.total }}\n"), json!("2\n2\n"));
    assert_eq!(
        value("total: {{ known.total }}, {{ true }}, {{ trigger.body.half }}"),
        json!("total: 2, true, 0.5")
    );
    assert_eq!(value("no template } } {"), json!("no template } } {"));
    assert_eq!(value(""), json!(""));
}

#[test]
fn documents_are_rendered_whole_and_errors_say_where() {
    let document =
        json!({"name": {"first": "{{ normalize.firstName }}"}, "n": [1, "{{ known.total }}"], "flag": true});
    let filled = render_value(&document, &scope(), Mode::Value).unwrap();
    assert_eq!(filled.value, json!({"name": {"first": "Ann"}, "n": [1, 2], "flag": true}));
    let wrong = json!({"record": {"list": ["x", {"a": "{{ normalize.emial }}"}]}});
    let error = render_value(&wrong, &scope(), Mode::Value).unwrap_err();
    assert_eq!(error.path, "record.list[1].a");
    insta::assert_snapshot!(error, @"record.list[1].a: `normalize` has email, firstName, nick, tags; no `emial` (did you mean `email`?) (in `normalize.emial`)");
}

#[test]
fn what_is_missing_is_an_error_wherever_it_is_used() {
    for used in [
        "{{ normalize.emial }}",
        "{{ [1, normalize.emial] }}",
        "{{ {\"a\": normalize.emial} }}",
        "Hi {{ normalize.emial }}",
        "{{ normalize.emial == 1 }}",
        "{{ not normalize.emial }}",
        "{{ normalize.emial or 1 }}",
        "{{ 1 if normalize.emial else 2 }}",
        "{{ normalize.emial | lower }}",
        "{{ normalize.emial in [1] }}",
        "{{ \"x\" | replace(\"x\", normalize.emial) }}",
        "{{ normalize.emial ~ \"x\" }}",
        "{{ normalize.emial is none }}",
        "{{ known.records | map(attribute=\"emial\") }}",
    ] {
        let text = error(used);
        assert!(text.contains("no `emial`"), "{used}: {text}");
    }
}

#[test]
fn the_sentences_for_what_is_missing() {
    insta::assert_snapshot!(error("{{ known.records[2].id }}"), @"`known.records` has 2 items; no [2] (in `known.records[2].id`)");
    insta::assert_snapshot!(error("{{ trigger.body.empty[0] }}"), @"`trigger.body.empty` is an empty list; no [0] (in `trigger.body.empty[0]`)");
    insta::assert_snapshot!(error("{{ known.records.id }}"), @"`known.records` is a list; no `id` (an item is `[0]`, or `| first`) (in `known.records.id`)");
    insta::assert_snapshot!(error("{{ normalize.nick.short }}"), @"`normalize.nick` is null; it has no `short` (in `normalize.nick.short`)");
    insta::assert_snapshot!(error("{{ normalise.email }}"), @"there is no `normalise` here, but known, normalize, trigger (did you mean `normalize`?) (in `normalise.email`)");
    insta::assert_snapshot!(error("{{ trigger.body.empty | first }}"), @"`first`: the list is empty (in `trigger.body.empty | first`)");
    insta::assert_snapshot!(error("{{ (known.records | first).name }}"), @"it has id, n; no `name` (in `(known.records | first).name`)");
}

#[test]
fn default_deals_with_what_is_missing_at_any_depth() {
    assert_eq!(eval("normalize.emial | default(\"x\")"), json!("x"));
    assert_eq!(eval("normalize.a.b.c[0] | default(\"x\")"), json!("x"));
    assert_eq!(eval("normalize.nick.short | d(1)"), json!(1));
    assert_eq!(eval("normalize.nick | default(\"x\")"), json!("x"));
    assert_eq!(eval("nowhere.at.all | default(none)"), json!(null));
    assert_eq!(eval("known.total | default(\"x\")"), json!(2));
    assert_eq!(eval("\"\" | default(\"x\")"), json!(""));
    assert_eq!(eval("\"\" | default(\"x\", true)"), json!("x"));
    assert_eq!(eval("(trigger.body.empty | first).name | default(\"x\")"), json!("x"));
    assert_eq!(eval("normalize.emial is defined"), json!(false));
    assert_eq!(eval("normalize.email is defined and normalize.emial is undefined"), json!(true));
    assert_eq!(eval("known.records | map(attribute=\"x\", default=0)"), json!([0, 0]));
    assert!(error("{{ normalize.emial | default(normalize.emial) }}").contains("no `emial`"));
}

#[test]
fn null_lists_and_objects_have_no_text() {
    insta::assert_snapshot!(error("Hi {{ normalize.nick }}"), @r#"null has no text; say what stands for it with `| default("…")` (in `normalize.nick`)"#);
    insta::assert_snapshot!(error("Hi {{ normalize.tags }}"), @r#"a list has no text; use `| join(", ")`, or `| tojson` for JSON (in `normalize.tags`)"#);
    assert!(error("Hi {{ normalize }}").contains("an object has no text"));
    assert!(error("{{ \"a\" ~ normalize.nick }}").contains("null has no text"));
    assert!(error("{{ normalize.nick | lower }}").contains("null has no text"));
    assert!(error("{{ [none] | join }}").contains("null has no text"));
    assert_eq!(value("{{ normalize.tags | join(\", \") }} {{ true }}"), json!("a, b true"));
}

struct Skipped;

impl Scope for Skipped {
    fn get(&self, _: &str) -> Found {
        Found::Nothing("was skipped".to_owned())
    }
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

#[test]
fn a_skipped_step_has_no_attributes_and_says_so_used_bare() {
    let render = |text: &str| render_value(&json!(text), &Skipped, Mode::Value).map(|filled| filled.value);
    assert_eq!(render("{{ touch }}").unwrap_err().to_string(), "`touch` was skipped (in `touch`)");
    assert_eq!(render("{{ touch.record.id }}").unwrap_err().message, "`touch` was skipped");
    assert_eq!(render("{{ touch.record.id | default(\"none\") }}").unwrap(), json!("none"));
    assert_eq!(render("{{ touch is defined }}").unwrap(), json!(false));
}

#[test]
fn numbers_are_exact_or_errors() {
    assert_eq!(eval("9007199254740993 + 1"), json!(9_007_199_254_740_994_i64));
    assert_eq!(eval("trigger.body.big - 1"), json!(u64::MAX - 1));
    assert_eq!(eval("[7 // 2, 7 % 2, 7 / 2, 2 ** 10]"), json!([3, 1, 3.5, 1024]));
    // Down, and with the sign of the divisor, as in Jinja.
    assert_eq!(eval("[7 // -2, -7 // 2, -7 // -2, 6 // -3, -1 // 9]"), json!([-4, -4, 3, -2, -1]));
    assert_eq!(eval("[7 % -2, -7 % 3, -7 % -3, 6 % -3, 0 % -3]"), json!([-1, 2, -1, 0, 0]));
    assert_eq!(
        eval("[7.5 // -2, -7.5 // 2, -7.5 // -2, 1 // 0.1, -5 // 1e308]"),
        json!([-4.0, -4.0, 3.0, 9.0, -1.0])
    );
    assert_eq!(eval("[7.5 % -2, -7.5 % 2, -7.5 % -2, 6.0 % 3]"), json!([-0.5, 0.5, -1.5, 0.0]));
    assert_eq!(
        eval("[-9223372036854775808 // -1, -9223372036854775808 % -1]"),
        json!([9_223_372_036_854_775_808_u64, 0])
    );
    assert_eq!(eval("4 / 2"), json!(2.0));
    assert_eq!(eval("0.1 + 1"), json!(1.1));
    assert_eq!(eval("-known.total"), json!(-2));
    assert_eq!(eval("1 == 1.0 and 1 != \"1\""), json!(true));
    assert!(error("{{ trigger.body.big + 1 }}").contains("too large"));
    assert!(error("{{ 2 ** 300 }}").contains("too large"));
    assert!(error("{{ 1 // 0 }}").contains("division by zero"));
    assert!(error("{{ 1.0 / 0 }}").contains("division by zero"));
    assert!(error("{{ 1e300 * 1e300 }}").contains("finite"));
    insta::assert_snapshot!(error("{{ trigger.body.amount > 5 }}"), @"a text and a number have no order; make a number of the text with `| int` or `| float` (in `trigger.body.amount > 5`)");
    assert_eq!(eval("trigger.body.amount | int > 5"), json!(true));
    assert!(error("{{ \"a\" + 1 }}").contains("`~` joins texts"));
    assert!(error("{{ \"abc\" * 1000 }}").contains("cannot be calculated with"));
}

#[test]
fn logic_slices_and_literals() {
    assert_eq!(eval("1 < known.total <= 2"), json!(true));
    assert_eq!(eval("\"a\" in normalize.tags and \"nn\" in normalize.firstName"), json!(true));
    assert_eq!(eval("\"email\" in normalize"), json!(true));
    assert_eq!(eval("none or \"x\""), json!("x"));
    assert_eq!(
        eval("[[1, 2, 3][1:], \"héllo\"[1:3], [1, 2, 3][-1], \"héllo\"[1]]"),
        json!([[2, 3], "él", 3, "é"])
    );
    assert_eq!(eval("{\"a\": [true, none]}"), json!({"a": [true, null]}));
    assert_eq!(eval("known.records[known.total - 1].id"), json!("p2"));
    assert_eq!(eval("\"yes\" if known.total > 1 else nowhere.x"), json!("yes"));
    assert_eq!(value("{# a comment #}x"), json!("x"));
}

#[test]
fn filters_by_example() {
    for (expression, wanted) in [
        ("\" Ab \" | trim | lower", json!("ab")),
        ("\"ärger & CO\" | slugify", json!("ärger-co")),
        ("\"Ann <ann@Example.COM>\" | email_domain", json!("example.com")),
        ("\"a,b,c\" | split(\",\", 1)", json!(["a", "b,c"])),
        ("\"ann-marie smith\" | title", json!("Ann-Marie Smith")),
        ("\"abcdef\" | truncate(4)", json!("abc…")),
        ("known.records | map(attribute=\"id\") | join(\",\")", json!("p1,p2")),
        ("known.records | sort(\"n\") | map(attribute=\"id\")", json!(["p2", "p1"])),
        ("known.records | selectattr(\"n\", \"gt\", 2) | length", json!(1)),
        ("known.records | rejectattr(\"n\", \"eq\", 3) | map(attribute=\"n\")", json!([1])),
        ("known.records | sum(\"n\")", json!(4)),
        ("known.records | max(\"n\")", json!({"id": "p1", "n": 3})),
        ("[1, 1.0, \"1\", 2] | unique", json!([1, "1", 2])),
        ("[1, 2, 3] | batch(2)", json!([[1, 2], [3]])),
        ("[[1], 2, [3]] | flatten", json!([1, 2, 3])),
        ("[\"a\", none] | compact", json!(["a"])),
        ("[\"a\", \"b\"] | map(\"upper\")", json!(["A", "B"])),
        ("[\"a\"] | map(\"replace\", \"a\", \"z\")", json!(["z"])),
        ("[1, 2, 3] | select(\"odd\") | list", json!([1, 3])),
        ("[{\"k\": 1}, {\"k\": 2}, {\"k\": 1}] | groupby(\"k\") | map(attribute=\"key\")", json!([1, 2])),
        ("{\"a\": 1} | items", json!([["a", 1]])),
        ("[\" 12 \" | int, 3.9 | int, true | int]", json!([12, 3, 1])),
        ("[2.5 | round, 2.345 | round(2), 7 | round]", json!([3, 2.35, 7])),
        ("[\"yes\" | bool, 0 | bool]", json!([true, false])),
        ("[\"1234.5\" | to_micros, \"-0.000001\" | to_micros]", json!([1_234_500_000, -1])),
        (
            "[1234500000 | from_micros, -1 | from_micros(6), 5000000 | from_micros(0)]",
            json!(["1234.50", "-0.000001", "5"]),
        ),
        ("[{\"a\": [1]} | tojson, \"[1]\" | fromjson]", json!(["{\"a\":[1]}", [1]])),
        ("[\"ü\" | b64encode, \"w7w=\" | b64decode]", json!(["w7w=", "ü"])),
        ("\"abc\" | sha256", json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")),
        (
            "[\"a b&c\" | urlencode, {\"q\": \"a b\", \"n\": 1} | urlencode]",
            json!(["a%20b%26c", "n=1&q=a%20b"]),
        ),
        ("[now(), range(2, 4)]", json!(["2026-03-31T22:30:00Z", [2, 3]])),
        (
            "[now() | date, now() | date(\"%d.%m.%Y %H:%M\", tz=\"Europe/Berlin\")]",
            json!(["2026-03-31", "01.04.2026 00:30"]),
        ),
        (
            "[\"2026-01-31\" | date_add(\"1 month\"), now() | date_add(\"-2h30m\")]",
            json!(["2026-02-28", "2026-03-31T20:00:00Z"]),
        ),
        (
            "[now() | date_diff(\"2026-03-01\"), \"2026-03-01\" | date_diff(now(), \"weeks\")]",
            json!([30, -4]),
        ),
        ("\"x\" is string and 1 is integer and [] is empty and none is none", json!(true)),
        ("\"abc\" is startingwith(\"ab\") and 6 is divisibleby(3) and 2 is in([1, 2])", json!(true)),
    ] {
        assert_eq!(eval(expression), wanted, "{expression}");
    }
}

#[test]
fn filters_refuse_what_they_cannot_do() {
    for (expression, message) in [
        ("\"x\" | int", "not a whole number"),
        ("\"1e999\" | float", "is not a number"),
        ("\"1.2345678\" | to_micros", "6 digits"),
        ("1234567 | from_micros", "more than 2 decimals"),
        ("\"ann\" | email_domain", "not an e-mail address"),
        ("\"{\" | fromjson", "not JSON"),
        ("\"é\" | b64decode", "not base64"),
        ("\"2026-13-01\" | date", "neither a date"),
        ("now() | date(\"%Y\", tz=\"Mars/Base\")", "no time zone"),
        ("now() | date_add(\"soon\")", "no span"),
        ("[1, \"a\"] | sort", "have no order"),
        ("[\"a\"] | sum", "item[0] is a text"),
        ("5 | length", "has no length"),
        ("range(1000000)", "at most 10,000"),
        ("[1, 2] | map(\"lower\") | map(\"nothing\")", "no filter `nothing`"),
        ("1 in \"x1\"", "cannot be looked for"),
    ] {
        let text = error(&format!("{{{{ {expression} }}}}"));
        assert!(text.contains(message), "{expression}: {text}");
    }
}

#[test]
fn templates_that_are_wrong_are_refused_with_their_place() {
    for (text, message, at) in [
        ("Hi {{ a | lowr }}", "there is no filter `lowr`; did you mean `lower`?", 6),
        ("{{ a is emptyy }}", "there is no test `emptyy`; did you mean `empty`?", 3),
        ("{{ noww() }}", "there is no function `noww`; did you mean `now`?", 3),
        ("{{ now }}", "`now` is a function; write `now()`", 3),
        ("{{ a.upper() }}", "values have no methods; use a filter", 3),
        ("{{ a if b }}", "an `if` without `else`", 3),
        ("{{ a | split(1, 2, 3) }}", "takes 2 arguments at most", 3),
        ("{{ a | replace(\"x\") }}", "needs its argument `new`", 3),
        ("{{ a | sort(by=1) }}", "has no argument `by`, but attribute, reverse", 3),
        ("{{ a | safe }}", "`safe` is for HTML bodies", 3),
        ("x {% if a %}y{% endif %}", "bodies of e-mails only", 2),
        ("{{ secrets.KEY }}", "a secret cannot stand here", 3),
    ] {
        let error = Template::compile(text, Mode::Value).unwrap_err();
        assert!(error.to_string().contains(message), "{text}: {error}");
        assert_eq!(error.at, at, "{text}: {error}");
        assert_eq!(error.kind, ExprErrorKind::Syntax);
    }
    for broken in [
        "{{ a",
        "{{ }}",
        "{{ a b }}",
        "{{ a + }}",
        "{{ [1 }}",
        "{{ \"x }}",
        "{{ 99999999999999999999 }}",
        "{{ a | map(*b) }}",
    ] {
        let error = Template::compile(broken, Mode::Value).unwrap_err();
        assert_eq!(error.kind, ExprErrorKind::Syntax, "{broken}");
        assert!(error.at <= broken.len());
    }
    assert!(Template::compile("{% include \"x\" %}", Mode::Body).is_err());
    assert!(Template::compile("{% macro a() %}{% endmacro %}", Mode::Body).is_err());
}

#[test]
fn references_name_what_is_read() {
    let text = "Hi {{ a.b[0]['c d'] | default(\"x\") }} {{ d is defined }} {{ e[f].g }} {{ now() }}";
    let shown: Vec<_> = references(text, Mode::Value)
        .unwrap()
        .iter()
        .map(|r| (r.to_string(), r.guarded, text[r.at..].starts_with(&r.root)))
        .collect();
    let wanted = [("a.b[0].c d", true), ("d", true), ("e", false), ("f", false)];
    assert_eq!(shown, wanted.map(|(path, guarded)| (path.to_owned(), guarded, true)));
    let body = "{% for t in tasks %}{{ t.title }}{{ loop.index }}{{ other }}{% endfor %}{{ t }}";
    let roots: Vec<_> = references(body, Mode::Body).unwrap().into_iter().map(|r| r.root).collect();
    assert_eq!(roots, ["tasks", "other", "t"]);
    let secret = references("\n{{ secrets.KEY }}\n", Mode::Secrets).unwrap();
    assert_eq!((secret[0].to_string().as_str(), secret[0].at), ("secrets.KEY", 4));
}

#[test]
fn secrets_are_references_and_nothing_else() {
    let document =
        json!({"auth": "Bearer {{ secrets.KEY }}", "note": "{{ normalize.firstName }}{{ secrets.B }}"});
    let filled = render_value(&document, &scope(), Mode::Secrets).unwrap();
    assert_eq!(filled.value, json!({"auth": "Bearer {{ secrets.KEY }}", "note": "Ann{{ secrets.B }}"}));
    let sent = filled.reveal(|name| Some(format!("<{name}>"))).unwrap();
    assert_eq!(sent, json!({"auth": "Bearer <KEY>", "note": "Ann<B>"}));
    for changed in [
        "{{ secrets.KEY | b64encode }}",
        "{{ secrets.KEY ~ \"x\" }}",
        "{{ secrets }}",
        "{{ secrets.A.B }}",
        "{{ [secrets.A] }}",
        "{{ secrets[\"A\"] }}",
    ] {
        let error = Template::compile(changed, Mode::Secrets).unwrap_err();
        assert!(error.to_string().contains("alone"), "{changed}: {error}");
    }
    // What data says is never taken for a reference.
    let data = Values::new([("trigger", json!({"body": "{{ secrets.KEY }}"}))]);
    let filled = render_value(&json!("{{ trigger.body }} {{ secrets.KEY }}"), &data, Mode::Secrets).unwrap();
    assert_eq!(filled.reveal(|_| Some("s3".into())).unwrap(), json!("{{ secrets.KEY }} s3"));
}

#[test]
fn urls_take_parts_and_no_hosts() {
    let url = |text: &str| render_in(Mode::Url, text).map(|text| text.text);
    assert_eq!(
        url("https://x.org/p/{{ normalize.email }}?q={{ \"a b/ü\" }}").unwrap(),
        "https://x.org/p/ann%40example.com?q=a%20b%2F%C3%BC"
    );
    assert_eq!(url("https://x.org/p?q={{ \"\" }}").unwrap(), "https://x.org/p?q=");
    assert!(url("https://x.org/p/{{ \"\" }}/y").unwrap_err().message.contains("empty"));
    assert!(url("https://x.org/p/{{ \"..\" }}/y").unwrap_err().message.contains("`..`"));
    assert!(url("https://x.org/p/.{{ \".\" }}").unwrap_err().message.contains("`..`"));
    assert!(url("https://x.org/{{ normalize.tags }}").is_err());
    for host in ["{{ trigger.url }}", "https://{{ a }}.org/", "https://x.org{{ a }}", "{{ a }}://x.org/"] {
        assert!(url(host).unwrap_err().message.contains("must be literal"), "{host}");
    }
}

#[test]
fn headers_are_one_line() {
    assert_eq!(render_in(Mode::Line, "Hi {{ normalize.firstName }}").unwrap().text, "Hi Ann");
    let error = render_in(Mode::Line, "Hi {{ \"a\\nBcc: b@x.org\" }}").unwrap_err();
    assert!(error.message.contains("line break"), "{error}");
    assert!(render_in(Mode::Header, "a\r\nb").is_err());
    assert_eq!(render_in(Mode::Line, "{{ known.total }}").unwrap().text, "2");
}

#[test]
fn html_bodies_escape_and_have_blocks() {
    let body = "<ul>{% for r in known.records if r.n > 0 %}<li>{{ loop.index }}: {{ r.id }}</li>{% else %}none{% endfor %}</ul>";
    assert_eq!(render_in(Mode::Html, body).unwrap().text, "<ul><li>1: p1</li><li>2: p2</li></ul>");
    assert_eq!(
        render_in(Mode::Html, "{{ \"<b>&'\" }}|{{ \"<b>\" | safe }}").unwrap().text,
        "&lt;b&gt;&amp;&#x27;|<b>"
    );
    assert_eq!(
        render_in(Mode::Body, "{{ \"<b>\" }}{% if known.total > 1 %} many{% else %} few{% endif %}\n")
            .unwrap()
            .text,
        "<b> many\n"
    );
    assert_eq!(render_in(Mode::Body, "{% set a = 1 %}{% with b = a + 1 %}{{ b }}{% endwith %}{% for k, v in {\"x\": 1} | items %}{{ k }}{{ v }}{% endfor %}").unwrap().text, "2x1");
    assert_eq!(render_in(Mode::Body, "{% if true %}{% set a = 5 %}{% endif %}{{ a }}").unwrap().text, "5");
    assert!(
        render_in(Mode::Body, "{% if false %}{% set a = 5 %}{% endif %}{{ a }}")
            .unwrap_err()
            .message
            .contains("was not set")
    );
    assert!(render_in(Mode::Body, "{% for x in known.total %}{% endfor %}").is_err());
    assert!(render_in(Mode::Body, "{% if normalize.emial %}x{% endif %}").is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((".{0,6}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever data holds comes out as it went in: exactly, and never as a template.
    #[test]
    fn values_pass_through_unchanged(data in any_json()) {
        let scope = Values::new([("trigger", json!({"body": data.clone()}))]);
        let filled = render_value(&json!({"copy": "{{ trigger.body }}"}), &scope, Mode::Value).unwrap();
        prop_assert_eq!(&filled.value["copy"], &data);
        let listed = render_value(&json!("{{ [trigger.body] | first }}"), &scope, Mode::Value).unwrap();
        prop_assert_eq!(&listed.value, &data);
    }

    /// No text of a user is anything but a template or an error.
    #[test]
    fn any_text_compiles_or_is_refused(text in "[ -~\\n]{0,20}(\\{\\{[ -~]{0,24}\\}\\})?[ -~]{0,8}", html in any::<bool>()) {
        let mode = if html { Mode::Html } else { Mode::Value };
        match Template::compile(&text, mode) {
            Ok(template) => {
                // Whether it renders depends on the data; that it does not panic does not.
                let _ = template.render(&scope());
                for reference in template.references() {
                    prop_assert!(text[reference.at..].starts_with(&reference.root));
                }
            }
            Err(error) => prop_assert!(error.at <= text.len()),
        }
    }

    /// Nothing that is filled into a URL leaves its place.
    #[test]
    fn url_parts_stay_parts(part in ".{1,12}") {
        let scope = Values::new([("trigger", json!({"part": part}))]);
        let template = Template::compile("https://x.org/a/{{ trigger.part }}/b", Mode::Url).unwrap();
        if let Ok(rendered) = template.render_text(&scope) {
            let url = url::Url::parse(&rendered.text).unwrap();
            prop_assert_eq!(url.host_str(), Some("x.org"));
            prop_assert_eq!(url.path_segments().unwrap().count(), 3);
            prop_assert_eq!(url.query(), None);
        } else {
            prop_assert!(part == "." || part == "..");
        }
    }

    /// What is filled into HTML is text there.
    #[test]
    fn html_parts_stay_text(part in "[ -~]{0,20}") {
        let scope = Values::new([("trigger", json!({"part": part}))]);
        let rendered = Template::compile("<p title=\"{{ trigger.part }}\">", Mode::Html).unwrap().render_text(&scope).unwrap();
        let inner = &rendered.text[10..rendered.text.len() - 2];
        prop_assert!(!inner.contains(['<', '>', '"', '\'']));
    }
}
