//! Which functions of a component come from outside of it, and whether it lowers any: where a function that was lifted inside the
//! file is lowered inside it again, the engine writes the code that carries strings over, and that code has no price.

use wasmparser::{
    CanonicalFunction, ComponentExport, ComponentExternalKind, ComponentInstantiationArg as Argument,
};

use super::Refusal;

/// Where a function or an instance comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Whoever instantiates the component gives it: for the file as a whole that is the host.
    Outside,
    /// The component makes it, or instantiates what makes it.
    Inside,
}

/// The functions and instances of one component, by index, as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Links {
    functions: Vec<Origin>,
    instances: Vec<Origin>,
    lowers: bool,
}

impl Links {
    /// Whether the component calls functions that are given to it.
    pub(super) fn lowers(&self) -> bool {
        self.lowers
    }

    pub(super) fn import(&mut self, kind: ComponentExternalKind) {
        self.push(kind, Origin::Outside);
    }

    pub(super) fn canonical(&mut self, function: &CanonicalFunction) -> Result<(), Refusal> {
        match function {
            CanonicalFunction::Lift { .. } => self.functions.push(Origin::Inside),
            CanonicalFunction::Lower { func_index, .. } => {
                if find(&self.functions, *func_index, "function")? == Origin::Inside {
                    return Err(inner_call(&format!(
                        "the component lowers its own component function {func_index}"
                    )));
                }
                self.lowers = true;
            }
            // The others make core functions of no component function.
            _ => {}
        }
        Ok(())
    }

    /// An export of an instance comes from where the instance does.
    pub(super) fn alias(&mut self, kind: ComponentExternalKind, instance: u32) -> Result<(), Refusal> {
        let origin = find(&self.instances, instance, "instance")?;
        self.push(kind, origin);
        Ok(())
    }

    /// What is exported is the component's under a further index from then on.
    pub(super) fn export(&mut self, export: &ComponentExport<'_>) -> Result<(), Refusal> {
        if let Some(origin) = self.origin(export.kind, export.index)? {
            self.push(export.kind, origin);
        }
        Ok(())
    }

    /// An instance that is made of what is there.
    pub(super) fn gather(&mut self, exports: &[ComponentExport<'_>]) -> Result<(), Refusal> {
        let items = exports.iter().map(|export| (export.kind, export.index));
        let origin = if self.any_inside(items)? { Origin::Inside } else { Origin::Outside };
        self.instances.push(origin);
        Ok(())
    }

    /// An instance of a component inside, which may lower what it is given only if that came from outside.
    pub(super) fn instantiate(&mut self, lowers: bool, arguments: &[Argument<'_>]) -> Result<(), Refusal> {
        if lowers && self.any_inside(arguments.iter().map(|argument| (argument.kind, argument.index)))? {
            return Err(inner_call(
                "a component inside lowers what it is given, and is given what the component around it makes",
            ));
        }
        self.lowers |= lowers;
        self.instances.push(Origin::Inside);
        Ok(())
    }

    fn any_inside(&self, items: impl Iterator<Item = (ComponentExternalKind, u32)>) -> Result<bool, Refusal> {
        let mut inside = false;
        for (kind, index) in items {
            inside |= self.origin(kind, index)? == Some(Origin::Inside);
        }
        Ok(inside)
    }

    /// Where that comes from; nothing for what cannot be called and holds nothing that can.
    fn origin(&self, kind: ComponentExternalKind, index: u32) -> Result<Option<Origin>, Refusal> {
        match kind {
            ComponentExternalKind::Func => find(&self.functions, index, "function").map(Some),
            ComponentExternalKind::Instance => find(&self.instances, index, "instance").map(Some),
            _ => Ok(None),
        }
    }

    fn push(&mut self, kind: ComponentExternalKind, origin: Origin) {
        match kind {
            ComponentExternalKind::Func => self.functions.push(origin),
            ComponentExternalKind::Instance => self.instances.push(origin),
            _ => {}
        }
    }
}

fn find(origins: &[Origin], index: u32, what: &str) -> Result<Origin, Refusal> {
    origins.get(index as usize).copied().ok_or_else(|| {
        Refusal::new("invalid", format!("the component names {what} {index}, which it has not defined"))
    })
}

fn inner_call(what: &str) -> Refusal {
    let message = format!("{what}, so that parts of the file call each other through component types");
    Refusal::new("inner_call", message)
        .hint("strings that pass there cost no fuel: link the parts into one core module and make one component of it")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{CORE_HANDLER, component, wat, with_types_of};
    use super::super::scan;
    use wit_component::ComponentEncoder;

    /// A component that calls a function it is given.
    const CALLER: &str = r#"(component $caller
        (import "f" (func $f (param "s" string)))
        (core module $m (memory (export "memory") 1))
        (core instance $m (instantiate $m))
        (core func (canon lower (func $f) (memory $m "memory"))))"#;
    /// One that makes such a function.
    const CALLEE: &str = r#"(component $callee
        (core module $m (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
            (func (export "f") (param i32 i32)))
        (core instance $m (instantiate $m))
        (func $f (param "s" string)
            (canon lift (core func $m "f") (memory $m "memory") (realloc (func $m "realloc"))))
        (export "f" (func $f)))"#;

    /// The rule that such a component breaks; `kind` is said of one that is only no guest.
    fn rule(fields: &str) -> String {
        let refusal = scan(&wat(&format!("(component {fields})"))).unwrap_err();
        refusal.rule
    }

    #[test]
    fn parts_may_call_what_the_host_gives_and_be_called_by_it() {
        assert_eq!(rule(&format!("{CALLEE} (instance $i (instantiate $callee))")), "kind");
        let through = |argument: &str| {
            rule(&format!(
                r#"{CALLER} {CALLEE} (import "f" (func $f (param "s" string)))
                (import "i" (instance $i (export "f" (func (param "s" string)))))
                (alias export $i "f" (func $g)) (instance $bag (export "f" (func $f)))
                (alias export $bag "f" (func $h)) (instance $made (instantiate $callee))
                (alias export $made "f" (func $own))
                (instance (instantiate $caller (with "f" (func {argument}))))"#
            ))
        };
        // The imports are nobody's, which is looked at after that.
        for given in ["$f", "$g", "$h"] {
            assert_eq!(through(given), "import", "{given}");
        }
        assert_eq!(through("$own"), "inner_call");
    }

    #[test]
    fn a_part_may_not_call_another_however_the_function_gets_there() {
        let made = format!("{CALLER} {CALLEE} (instance $made (instantiate $callee))");
        let bag = r#"(alias export $made "f" (func $f)) (instance $bag (export "f" (func $f)))"#;
        let around = r#"(component $around (import "i" (instance $i (export "f" (func (param "s" string)))))
            (alias outer 1 $caller (component $inner))
            (instance (instantiate $inner (with "f" (func $i "f")))))"#;
        for call in [
            r#"(instance (instantiate $caller (with "f" (func $made "f"))))"#.to_owned(),
            // By an instance made of it, by a further name, through a component between.
            format!(r#"{bag} (instance (instantiate $caller (with "f" (func $bag "f"))))"#),
            format!(
                r#"{bag} (export $again "f" (func $f)) (instance (instantiate $caller (with "f" (func $again))))"#
            ),
            format!(r#"{around} (instance (instantiate $around (with "i" (instance $made))))"#),
            format!(r#"{around} {bag} (instance (instantiate $around (with "i" (instance $bag))))"#),
            // And the component around is no exception.
            r#"(core module $m (memory (export "memory") 1)) (core instance $m (instantiate $m))
            (core func (canon lower (func $made "f") (memory $m "memory")))"#
                .to_owned(),
        ] {
            assert_eq!(rule(&format!("{made} {call}")), "inner_call", "{call}");
        }
    }

    #[test]
    fn what_toolchains_make_of_one_module_is_let_in() {
        // A shim for functions that need the module's memory, a module that fills it in, and a component inside for the export.
        let log = r#"(import "stepwell:action/log@1.0.0" (instance (export "log" (func
            (param "level" u8) (param "message" string) (param "fields" string)))))"#;
        let run =
            component("stepwell:action/handler@1.0.0", log, "string", "(result string (error $failure))");
        let import = r#"(import "stepwell:action/log@1.0.0" "log" (func (param i32 i32 i32 i32 i32)))"#;
        let module = with_types_of(&run, &format!("{import} {CORE_HANDLER}"));
        let made = ComponentEncoder::default().module(&module).unwrap().encode().unwrap();
        let payloads = wasmparser::Parser::new(0).parse_all(&made);
        let inside = payloads
            .filter(|payload| matches!(payload, Ok(wasmparser::Payload::ComponentSection { .. })))
            .count();
        assert!(inside > 0);
        assert_eq!(scan(&made.into()).map(|admitted| admitted.imports.len()), Ok(2));
    }

    #[test]
    fn the_refusal_says_what_would_be_right() {
        let fields = r#"(core module $m (func (export "f"))) (core instance $m (instantiate $m))
            (func $f (canon lift (core func $m "f"))) (core func (canon lower (func $f)))"#;
        let refusal = scan(&wat(&format!("(component {fields})"))).unwrap_err();
        insta::assert_snapshot!(refusal, @"the component lowers its own component function 0, so that parts of the file call each other through component types (strings that pass there cost no fuel: link the parts into one core module and make one component of it)");
        let header = b"\0asm\x0d\0\x01\0";
        let unknown = scan(&[&header[..], &[8, 5, 1, 1, 0, 7, 0]].concat().into()).unwrap_err();
        insta::assert_snapshot!(unknown, @"the component names function 7, which it has not defined");
    }
}
