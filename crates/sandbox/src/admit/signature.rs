//! Holds the type of a guest's entry point against the contract's, and shows both where they
//! differ.

use wasmparser::component_types::{
    ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType, ComponentFuncTypeId, ComponentValType,
};
use wasmparser::types::TypesRef;

use super::kind::shown;
use super::{GuestKind, Refusal};

/// The entry point of a kind of guest: its name in the interface, and its type.
struct Entry {
    interface: &'static str,
    function: &'static str,
    ty: &'static str,
}

const HANDLER: Entry = Entry {
    interface: "stepwell:action/handler@1",
    function: "run",
    ty: "func(string) -> result<string, record { code: string, message: string, retryable: bool, \
         retry-after-ms: option<u64>, details: option<string> }>",
};

const COMMAND: Entry = Entry { interface: "wasi:cli/run@0.2", function: "run", ty: "func() -> result" };

/// Checks the entry point of a valid component whose exports are `exports`.
pub(super) fn check(types: TypesRef<'_>, kind: GuestKind, exports: &[String]) -> Result<(), Refusal> {
    let entry = match kind {
        GuestKind::Component => HANDLER,
        GuestKind::WasiCommandP2 => COMMAND,
        // Its type is checked in the core module.
        GuestKind::WasiCommandP1 => return Ok(()),
    };
    let name = exports.iter().find(|name| name.starts_with(entry.interface));
    let item = name.and_then(|name| types.component_item_for_export(name));
    let found = match item.map(|item| item.ty) {
        Some(ComponentEntityType::Instance(id)) => {
            match types[id].exports.get(entry.function).map(|item| item.ty) {
                Some(ComponentEntityType::Func(id)) => function(types, id),
                Some(_) => "no function".to_owned(),
                None => "nothing".to_owned(),
            }
        }
        _ => "nothing".to_owned(),
    };
    if found == entry.ty {
        return Ok(());
    }
    let name = shown(name.map_or(entry.interface, String::as_str));
    let found = crate::names::shown(&found, LONGEST + 1);
    Err(Refusal::new("handler_type", format!("`{}` of {name} is {found}", entry.function))
        .hint(format!("expected: {}: {}", entry.function, entry.ty)))
}

/// The text of a function's type, without the names of parameters: callers do not see those.
fn function(types: TypesRef<'_>, id: ComponentFuncTypeId) -> String {
    let ty = &types[id];
    let mut text = Text { types, text: String::new() };
    text.put(if ty.async_ { "async func(" } else { "func(" });
    text.list(ty.params.iter().map(|(_, ty)| *ty));
    text.put(")");
    if let Some(result) = ty.result {
        text.put(" -> ");
        text.value(result);
    }
    text.text
}

/// Writes types as WIT does. A few bytes can describe a type of any size, so it stops at a length
/// that no type of the contract has.
struct Text<'a> {
    types: TypesRef<'a>,
    text: String,
}

const LONGEST: usize = 600;

impl Text<'_> {
    fn full(&self) -> bool {
        self.text.len() > LONGEST
    }

    fn put(&mut self, text: &str) {
        if !self.full() {
            self.text.push_str(text);
            if self.full() {
                self.text.push('…');
            }
        }
    }

    fn list(&mut self, values: impl Iterator<Item = ComponentValType>) {
        for (at, value) in values.enumerate() {
            if self.full() {
                return;
            }
            self.put(if at > 0 { ", " } else { "" });
            self.value(value);
        }
    }

    fn value(&mut self, ty: ComponentValType) {
        match ty {
            ComponentValType::Primitive(ty) => self.put(&ty.to_string()),
            ComponentValType::Type(id) => self.defined(id),
        }
    }

    fn of(&mut self, name: &str, values: impl Iterator<Item = ComponentValType>) {
        self.put(name);
        self.put("<");
        self.list(values);
        self.put(">");
    }

    fn defined(&mut self, id: ComponentDefinedTypeId) {
        // The nesting of valid types is bounded, and a full text goes no deeper.
        if self.full() {
            return;
        }
        let types = self.types;
        match &types[id] {
            ComponentDefinedType::Primitive(ty) => self.put(&ty.to_string()),
            ComponentDefinedType::Record(record) => {
                self.fields("record", record.fields.iter().map(|(name, ty)| (name.as_str(), Some(*ty))));
            }
            ComponentDefinedType::Variant(variant) => {
                self.fields("variant", variant.cases.iter().map(|(name, case)| (name.as_str(), case.ty)));
            }
            ComponentDefinedType::Flags(names) => {
                self.fields("flags", names.iter().map(|name| (name.as_str(), None)));
            }
            ComponentDefinedType::Enum(names) => {
                self.fields("enum", names.iter().map(|name| (name.as_str(), None)));
            }
            ComponentDefinedType::List { element, .. } => self.of("list", [*element].into_iter()),
            ComponentDefinedType::Option { ty, .. } => self.of("option", [*ty].into_iter()),
            ComponentDefinedType::Tuple(tuple) => self.of("tuple", tuple.types.iter().copied()),
            ComponentDefinedType::Result { ok, err, .. } => match (ok, err) {
                (None, None) => self.put("result"),
                (Some(ok), None) => self.of("result", [*ok].into_iter()),
                (Some(ok), Some(err)) => self.of("result", [*ok, *err].into_iter()),
                (None, Some(err)) => {
                    self.put("result<_, ");
                    self.value(*err);
                    self.put(">");
                }
            },
            ComponentDefinedType::Own(_) => self.put("own<resource>"),
            ComponentDefinedType::Borrow(_) => self.put("borrow<resource>"),
            // Proposals that are switched off.
            _ => self.put("(other)"),
        }
    }

    fn fields<'n>(
        &mut self,
        keyword: &str,
        fields: impl Iterator<Item = (&'n str, Option<ComponentValType>)>,
    ) {
        self.put(keyword);
        for (at, (name, ty)) in fields.enumerate() {
            if self.full() {
                return;
            }
            self.put(if at > 0 { ", " } else { " { " });
            self.put(name);
            if let Some(ty) = ty {
                self.put(": ");
                self.value(ty);
            }
        }
        self.put(" }");
    }
}
