//! How much work a JSON Schema can be for the validator, told before it is used. A schema may refer to itself, and to one
//! part from several places; then a small body can take for ever, or the stack.
//!
//! What a schema says is looked at as a graph: from each schema to those that it applies *here*, to the same value
//! (`$ref`, `anyOf`, …), and to those that it applies *inside*, to a part of the value (`properties`, `items`, …). A schema
//! that comes back to itself here never ends. One that comes back inside costs as much as the body is large, unless it
//! comes back twice to the same part: then each level of the body doubles the work.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

/// Schemas in a schema.
pub const MAX_SCHEMAS: usize = 2_000;
/// Schemas inside each other, references followed; and of those, that apply to one value.
pub const MAX_NESTING: usize = 64;
pub const MAX_HERE: usize = 20;
/// What is looked at for one value: schemas, names of properties, values of an `enum`.
pub const MAX_COST: u64 = 2_000;
/// The same for all values together, were each part of the schema used once for every way to it.
pub const MAX_UNFOLDED: u64 = 50_000;
/// What is looked at in one body.
pub const MAX_WORK: u64 = 50_000_000;
/// To read as many bytes of a text takes as long as to look at one thing.
const TEXT_PER_STEP: u64 = 16;

/// What a schema that is within the limits costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// At most, for one value of a body.
    pub per_value: u64,
    /// How often at most the whole of one text is read, patterns apart.
    pub per_text: u64,
    /// How many patterns at most the name of a property is held against, `propertyNames` apart.
    pub per_name: u64,
}

/// Why a schema is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TooCostly {
    pub message: String,
    /// JSON Pointer of the schema that is meant.
    pub pointer: String,
    pub hint: &'static str,
}

impl Cost {
    /// Whether a body is small enough for the schema.
    pub fn allows(self, body: &Value) -> bool {
        let mut work = 0u64;
        let mut open = vec![body];
        while let Some(value) = open.pop() {
            work = work.saturating_add(self.per_value.max(1));
            if let Value::String(text) = value {
                work = work.saturating_add((text.len() as u64 / TEXT_PER_STEP).saturating_mul(self.per_text));
            }
            if work > MAX_WORK {
                return false;
            }
            match value {
                Value::Array(items) => open.extend(items),
                Value::Object(fields) => open.extend(fields.values()),
                _ => {}
            }
        }
        true
    }
}

/// Where a schema applies another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'s> {
    /// To the same value.
    Here,
    Property(&'s str),
    /// To properties, except those that are named beside it.
    Properties,
    Item(usize),
    Items,
    /// To a text, which has no parts.
    Name,
}

struct Edge<'s> {
    place: Place<'s>,
    to: usize,
}

struct Node<'s> {
    pointer: String,
    edges: Vec<Edge<'s>>,
    /// Looked at by itself; and of that, what reads a text, and what reads the name of a property.
    own: u64,
    own_text: u64,
    own_name: u64,
    /// Asks again what the schemas here have said.
    asks_again: bool,
    names: Option<&'s Map<String, Value>>,
    words: Option<&'s Map<String, Value>>,
}

/// What a schema costs, unless that is too much. References that lead nowhere are left to the validator.
pub fn cost(schema: &Value) -> Result<Cost, TooCostly> {
    let nodes = nodes(schema)?;
    let here: Vec<Vec<bool>> = reach(&nodes, |edge| edge.place == Place::Here);
    if let Some(node) = (0..nodes.len()).find(|node| here[*node][*node]) {
        return Err(refusal(
            &nodes[node],
            "refers to itself without going into a part of the value, so it never ends",
            "a schema may refer to itself below `properties` or `items` only",
        ));
    }
    let all: Vec<Vec<bool>> = reach(&nodes, |_| true);
    let recursive = |node: usize| all[node][node];
    let recurs: Vec<bool> = (0..nodes.len())
        .map(|node| recursive(node) || (0..nodes.len()).any(|to| all[node][to] && recursive(to)))
        .collect();

    let order = order(&nodes, |_, edge| edge.place == Place::Here);
    let mut chain = vec![0usize; nodes.len()];
    let mut per_value = vec![0u64; nodes.len()];
    let mut per_text = vec![0u64; nodes.len()];
    let mut per_name = vec![0u64; nodes.len()];
    for node in order.iter().copied() {
        let inside = nodes[node].edges.iter().filter(|edge| edge.place == Place::Here);
        let again = if nodes[node].asks_again { 2 } else { 1 };
        per_value[node] = nodes[node].own;
        per_text[node] = nodes[node].own_text;
        per_name[node] = nodes[node].own_name;
        for edge in inside {
            chain[node] = chain[node].max(chain[edge.to] + 1);
            for all in [&mut per_value, &mut per_text, &mut per_name] {
                all[node] = all[node].saturating_add(all[edge.to].saturating_mul(again));
            }
        }
        if chain[node] > MAX_HERE {
            let message = format!("applies more than {MAX_HERE} schemas inside each other to one value");
            return Err(refusal(&nodes[node], &message, "join what is said of one value"));
        }
        if per_value[node] > MAX_COST {
            let message =
                format!("says more than {MAX_COST} things of one value, what it refers to included");
            return Err(refusal(&nodes[node], &message, "check long lists in a code step"));
        }
    }

    let here_last: Vec<usize> = order.iter().rev().copied().collect();
    for node in (0..nodes.len()).filter(|node| recursive(*node)) {
        if returns_twice(&nodes, &here_last, node, &recurs) {
            return Err(refusal(
                &nodes[node],
                "refers to itself in several ways for the same part of the value, so the work doubles with every level",
                "say once what each part is, outside of `anyOf` and the like",
            ));
        }
    }

    // A circle counts as one schema, whichever way it is entered.
    let same = |a: usize, b: usize| a == b || (all[a][b] && all[b][a]);
    let order = self::order(&nodes, |from, edge| !same(from, edge.to));
    let mut depth = vec![0usize; nodes.len()];
    let mut unfolded = vec![0u64; nodes.len()];
    for node in order {
        let circle = (0..nodes.len()).filter(|other| same(node, *other));
        for member in circle {
            unfolded[node] = unfolded[node].saturating_add(nodes[member].own);
            for edge in nodes[member].edges.iter().filter(|edge| !same(node, edge.to)) {
                depth[node] = depth[node].max(depth[edge.to] + 1);
                unfolded[node] = unfolded[node].saturating_add(unfolded[edge.to]);
            }
        }
        if depth[node] > MAX_NESTING {
            let message = format!("nests deeper than {MAX_NESTING} levels, references followed");
            return Err(refusal(&nodes[node], &message, "leave the inner levels open"));
        }
        if unfolded[node] > MAX_UNFOLDED {
            let message = format!("says more than {MAX_UNFOLDED} things, each reference followed");
            return Err(refusal(&nodes[node], &message, "refer to large parts in fewer places"));
        }
    }
    let most = |all: Vec<u64>| all.into_iter().max().unwrap_or(0);
    Ok(Cost { per_value: most(per_value).max(1), per_text: most(per_text), per_name: most(per_name) })
}

fn refusal(node: &Node<'_>, message: &str, hint: &'static str) -> TooCostly {
    let place = match node.pointer.as_str() {
        "" => "the schema".to_owned(),
        pointer => format!("the schema at `{pointer}`"),
    };
    TooCostly { message: format!("{place} {message}"), pointer: node.pointer.clone(), hint }
}

/// Every schema that the first one leads to.
fn nodes(root: &Value) -> Result<Vec<Node<'_>>, TooCostly> {
    let mut found: Vec<(&Value, String)> = vec![(root, String::new())];
    let mut known: HashMap<*const Value, usize> = HashMap::from([(std::ptr::from_ref(root), 0)]);
    let mut anchors = None;
    let mut nodes = Vec::new();
    while nodes.len() < found.len() {
        let (schema, pointer) = found[nodes.len()].clone();
        let mut node = Node {
            pointer,
            edges: Vec::new(),
            own: 1,
            own_text: 0,
            own_name: 0,
            asks_again: false,
            names: None,
            words: None,
        };
        if let Value::Object(words) = schema {
            for reference in ["$dynamicRef", "$recursiveRef"] {
                if words.contains_key(reference) {
                    let message = format!("has `{reference}`");
                    return Err(refusal(&node, &message, "use `$ref`"));
                }
            }
            if !node.pointer.is_empty() && words.get("$id").is_some_and(Value::is_string) {
                return Err(refusal(
                    &node,
                    "has an `$id` of its own",
                    "leave it out, and refer with `#/$defs/NAME`",
                ));
            }
            node.words = Some(words);
            // A format takes a closer look than a length.
            let reads = [("format", 4), ("minLength", 1), ("maxLength", 1)];
            node.own_text =
                reads.iter().filter(|(word, _)| words.contains_key(*word)).map(|(_, times)| times).sum();
            // Once to find the schema of a property, and once more to find what has none.
            node.own_name = words.get("patternProperties").map_or(0, length) * 2;
            node.names = words.get("properties").and_then(Value::as_object);
            node.asks_again =
                ["unevaluatedProperties", "unevaluatedItems"].iter().any(|word| words.contains_key(*word));
            let listed = ["enum", "required", "properties", "patternProperties", "dependentRequired"];
            node.own += listed.iter().map(|word| words.get(*word).map_or(0, length)).sum::<u64>();
            for (place, schema, pointer) in applied(words, &node.pointer) {
                let to = add(&mut found, &mut known, schema, pointer);
                node.edges.push(Edge { place, to });
            }
            if let Some(Value::String(reference)) = words.get("$ref")
                && let Some((schema, pointer)) = resolve(root, reference, &mut anchors)
            {
                let to = add(&mut found, &mut known, schema, pointer);
                node.edges.push(Edge { place: Place::Here, to });
            }
        }
        if found.len() > MAX_SCHEMAS {
            let message = format!("has more than {MAX_SCHEMAS} schemas in it");
            return Err(refusal(&node, &message, "leave parts of the value open"));
        }
        nodes.push(node);
    }
    Ok(nodes)
}

/// The patterns in a schema that is within the limits, and where each stands; of those for the names of properties that
/// is said.
pub(crate) fn patterns(schema: &Value) -> Result<Vec<Found<'_>>, TooCostly> {
    let mut all = Vec::new();
    for node in nodes(schema)? {
        let Some(words) = node.words else { continue };
        if let Some(Value::String(pattern)) = words.get("pattern") {
            all.push(Found { pattern, pointer: format!("{}/pattern", node.pointer), of_names: false });
        }
        for pattern in
            words.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::keys)
        {
            let pointer = format!(
                "{}/patternProperties/{}",
                node.pointer,
                pattern.replace('~', "~0").replace('/', "~1")
            );
            all.push(Found { pattern, pointer, of_names: true });
        }
    }
    Ok(all)
}

/// A pattern in a schema.
pub(crate) struct Found<'s> {
    pub pattern: &'s str,
    pub pointer: String,
    pub of_names: bool,
}

fn length(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.len() as u64,
        Value::Object(fields) => fields.len() as u64,
        _ => 0,
    }
}

fn add<'s>(
    found: &mut Vec<(&'s Value, String)>,
    known: &mut HashMap<*const Value, usize>,
    schema: &'s Value,
    pointer: String,
) -> usize {
    *known.entry(std::ptr::from_ref(schema)).or_insert_with(|| {
        found.push((schema, pointer));
        found.len() - 1
    })
}

/// The schemas that stand in a schema, and what each is applied to.
fn applied<'s>(words: &'s Map<String, Value>, pointer: &str) -> Vec<(Place<'s>, &'s Value, String)> {
    let mut all = Vec::new();
    let is_schema = |value: &Value| value.is_object() || value.is_boolean();
    for (word, value) in words {
        let at = format!("{pointer}/{word}");
        let one = match word.as_str() {
            "not" | "if" | "then" | "else" => Some(Place::Here),
            "additionalProperties" | "unevaluatedProperties" => Some(Place::Properties),
            "propertyNames" => Some(Place::Name),
            "items" | "additionalItems" | "unevaluatedItems" | "contains" => Some(Place::Items),
            _ => None,
        };
        match (one, value) {
            (Some(place), value) if is_schema(value) => all.push((place, value, at)),
            (_, Value::Array(list)) => {
                for (index, schema) in list.iter().enumerate().filter(|(_, schema)| is_schema(schema)) {
                    let place = match word.as_str() {
                        "allOf" | "anyOf" | "oneOf" => Place::Here,
                        "prefixItems" | "items" => Place::Item(index),
                        _ => continue,
                    };
                    all.push((place, schema, format!("{at}/{index}")));
                }
            }
            (_, Value::Object(map)) => {
                for (key, schema) in map.iter().filter(|(_, schema)| is_schema(schema)) {
                    let place = match word.as_str() {
                        "dependentSchemas" | "dependencies" => Place::Here,
                        "properties" => Place::Property(key),
                        "patternProperties" => Place::Properties,
                        _ => continue,
                    };
                    all.push((place, schema, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))));
                }
            }
            _ => {}
        }
    }
    all
}

/// What `#`, `#/$defs/a` or `#anchor` names.
fn resolve<'s>(
    root: &'s Value,
    reference: &str,
    anchors: &mut Option<HashMap<&'s str, (&'s Value, String)>>,
) -> Option<(&'s Value, String)> {
    let fragment = reference.strip_prefix('#')?;
    let decoded = decoded(fragment);
    if decoded.is_empty() || decoded.starts_with('/') {
        return root.pointer(&decoded).map(|schema| (schema, decoded));
    }
    anchors.get_or_insert_with(|| all_anchors(root)).get(decoded.as_str()).cloned()
}

/// `%24defs` is `$defs`.
fn decoded(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let [first, after @ ..] = rest {
        let code = match (first, after) {
            (b'%', [high, low, ..]) => {
                let digits = [*high, *low];
                std::str::from_utf8(&digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
            }
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn all_anchors(root: &Value) -> HashMap<&str, (&Value, String)> {
    let mut anchors = HashMap::new();
    let mut open = vec![(root, String::new())];
    while let Some((value, pointer)) = open.pop() {
        match value {
            Value::Object(words) => {
                for word in ["$anchor", "$dynamicAnchor"] {
                    if let Some(name) = words.get(word).and_then(Value::as_str) {
                        anchors.insert(name, (value, pointer.clone()));
                    }
                }
                open.extend(words.iter().map(|(word, value)| (value, format!("{pointer}/{word}"))));
            }
            Value::Array(items) => {
                open.extend(items.iter().enumerate().map(|(i, value)| (value, format!("{pointer}/{i}"))));
            }
            _ => {}
        }
    }
    anchors
}

/// For every node, the nodes that it leads to, itself only by way of another or of its own edge.
fn reach(nodes: &[Node<'_>], counts: impl Fn(&Edge<'_>) -> bool) -> Vec<Vec<bool>> {
    let from = |start: usize| {
        let mut reached = vec![false; nodes.len()];
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            for edge in nodes[node].edges.iter().filter(|edge| counts(edge)) {
                if !std::mem::replace(&mut reached[edge.to], true) {
                    open.push(edge.to);
                }
            }
        }
        reached
    };
    (0..nodes.len()).map(from).collect()
}

/// The nodes, each after those that it leads to; the edges that count make no circle.
fn order(nodes: &[Node<'_>], counts: impl Fn(usize, &Edge<'_>) -> bool) -> Vec<usize> {
    let mut state = vec![0u8; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    for start in 0..nodes.len() {
        let mut open = vec![(start, 0)];
        while let Some((node, at)) = open.pop() {
            if at == 0 && std::mem::replace(&mut state[node], 1) != 0 {
                continue;
            }
            match nodes[node].edges[at..].iter().position(|edge| counts(node, edge)) {
                Some(next) => {
                    let next = at + next;
                    let to = nodes[node].edges[next].to;
                    // Entered again behind this edge, never at the first one.
                    open.push((node, next + 1));
                    if state[to] == 0 {
                        open.push((to, 0));
                    }
                }
                None => order.push(node),
            }
        }
    }
    order
}

/// Whether a schema of a circle applies schemas that can come back to it twice to one part of the value. `order`: every
/// node before those that it applies here.
fn returns_twice(nodes: &[Node<'_>], order: &[usize], start: usize, recurs: &[bool]) -> bool {
    // In how many ways each schema is applied here; there is no circle among them.
    let mut ways: BTreeMap<usize, u64> = BTreeMap::from([(start, 1)]);
    let mut named: BTreeMap<Place<'_>, u64> = BTreeMap::new();
    let mut open: Vec<(Option<&Map<String, Value>>, u64)> = Vec::new();
    let (mut items, mut most_items) = (0u64, BTreeMap::<usize, u64>::new());
    for node in order.iter().copied() {
        let Some(times) = ways.get(&node).copied() else { continue };
        let again = if nodes[node].asks_again { 2 } else { 1 };
        for edge in &nodes[node].edges {
            if edge.place == Place::Here {
                let more = times.saturating_mul(again);
                let known = ways.entry(edge.to).or_default();
                *known = known.saturating_add(more);
                continue;
            }
            if !recurs[edge.to] {
                continue;
            }
            match &edge.place {
                Place::Property(_) => *named.entry(edge.place.clone()).or_default() += times,
                Place::Properties => open.push((nodes[node].names, times)),
                Place::Item(index) => *most_items.entry(*index).or_default() += times,
                Place::Items => items = items.saturating_add(times),
                Place::Here | Place::Name => {}
            }
        }
    }
    let any = |name: Option<&str>| {
        let applies = open.iter().filter(|(names, _)| match (names, name) {
            (Some(names), Some(name)) => !names.contains_key(name),
            _ => true,
        });
        applies.map(|(_, times)| *times).fold(0u64, u64::saturating_add)
    };
    let named = named.iter().any(|(place, times)| match place {
        Place::Property(name) => times.saturating_add(any(Some(name))) > 1,
        _ => false,
    });
    let indexed = most_items.values().copied().max().unwrap_or(0);
    named || any(None) > 1 || items.saturating_add(indexed) > 1
}

#[cfg(test)]
mod tests;
