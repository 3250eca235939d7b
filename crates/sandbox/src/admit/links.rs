//! Which functions of a component come from outside of it, and whether it lowers any: where a function that was lifted inside the
//! file is lowered inside it again, the engine carries strings over, and that has no price. Nor have resources of the file's own.

use std::collections::BTreeSet;
use std::rc::Rc;
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentExport, ComponentExternalKind,
    ComponentInstantiationArg as Argument, ExternalKind,
};

use super::Refusal;

/// Where a function or an instance comes from, in the order of what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// Whoever instantiates the component gives it: for the file as a whole that is the host.
    Outside,
    /// A component inside makes it that only traps: one call of it is the last. Build tools stub WASI so.
    Stub,
    /// The component makes it, or a component inside that could answer.
    Inside,
}

/// What counts of a component where it is instantiated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traits {
    /// It calls functions that are given to it.
    lowers: bool,
    /// It lifts a function that may do more than trap, or takes memory for it so, or something inside it does.
    answers: bool,
}

/// The functions and instances of one component, by index, as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Links<'a> {
    /// Whether each core function does nothing but trap.
    core_functions: Vec<bool>,
    /// The functions of each core instance that do nothing but trap.
    core_instances: Vec<Rc<BTreeSet<&'a str>>>,
    functions: Vec<Origin>,
    instances: Vec<Origin>,
    traits: Traits,
    busy: bool,
    makes_resources: bool,
}

impl<'a> Links<'a> {
    pub(super) fn traits(&self) -> Traits {
        self.traits
    }

    /// An instance of a core module, one call of whose functions may make several if it is busy.
    pub(super) fn instantiate_core(
        &mut self,
        busy: bool,
        traps: Rc<BTreeSet<&'a str>>,
    ) -> Result<(), Refusal> {
        self.core_instances.push(traps);
        self.busy |= busy;
        self.resources()
    }

    /// A core instance that is made of what is there. Nobody lifts what it only passes on.
    pub(super) fn gather_core(&mut self) {
        self.core_instances.push(Rc::default());
    }

    pub(super) fn alias_core(
        &mut self,
        kind: ExternalKind,
        instance: u32,
        name: &str,
    ) -> Result<(), Refusal> {
        if matches!(kind, ExternalKind::Func | ExternalKind::FuncExact) {
            let traps = find(&self.core_instances, instance, "core instance")?.contains(name);
            self.core_functions.push(traps);
        }
        Ok(())
    }

    /// Making a resource takes as long as hundreds of instructions and costs the fuel of one call: what may do so can do little else.
    fn resources(&self) -> Result<(), Refusal> {
        if self.busy && self.makes_resources {
            let message = "the component makes resources of its own, and has code that could do so in a loop";
            return Err(Refusal::new("own_resources", message)
                .hint("export the handler alone: what it takes and gives is text, and the host uses no resources of a guest"));
        }
        Ok(())
    }

    pub(super) fn import(&mut self, kind: ComponentExternalKind) {
        self.push(kind, Origin::Outside);
    }

    pub(super) fn canonical(&mut self, function: &CanonicalFunction) -> Result<(), Refusal> {
        match function {
            CanonicalFunction::Lift { core_func_index, options, .. } => {
                // A list of strings is brought over before the function is called, a `realloc` at a time.
                let realloc = options.iter().filter_map(|option| match option {
                    CanonicalOption::Realloc(index) => Some(*index),
                    _ => None,
                });
                for index in realloc.chain([*core_func_index]) {
                    self.traits.answers |= !find(&self.core_functions, index, "core function")?;
                }
                self.functions.push(Origin::Inside);
                return Ok(());
            }
            CanonicalFunction::Lower { func_index, .. } => {
                if find(&self.functions, *func_index, "function")? == Origin::Inside {
                    return Err(inner_call(&format!(
                        "the component lowers its own component function {func_index}"
                    )));
                }
                self.traits.lowers = true;
            }
            CanonicalFunction::ResourceNew { .. } | CanonicalFunction::ResourceRep { .. } => {
                self.makes_resources = true;
                self.resources()?;
            }
            _ => {}
        }
        // All but lifted functions are core functions.
        self.core_functions.push(false);
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
        let origin = self.last(exports.iter().map(|export| (export.kind, export.index)))?;
        self.instances.push(origin);
        Ok(())
    }

    /// An instance of a component inside, which may lower what it is given only if that is the host's or ends the call.
    pub(super) fn instantiate(&mut self, part: Traits, arguments: &[Argument<'_>]) -> Result<(), Refusal> {
        let given = self.last(arguments.iter().map(|argument| (argument.kind, argument.index)))?;
        if part.lowers && given == Origin::Inside {
            return Err(inner_call(
                "a component inside lowers what it is given, and is given what another part makes",
            ));
        }
        self.traits.lowers |= part.lowers;
        self.traits.answers |= part.answers;
        self.instances.push(if part.answers { Origin::Inside } else { given.max(Origin::Stub) });
        Ok(())
    }

    /// Where that comes from of these items which may do most.
    fn last(&self, items: impl Iterator<Item = (ComponentExternalKind, u32)>) -> Result<Origin, Refusal> {
        let mut last = Origin::Outside;
        for (kind, index) in items {
            last = last.max(self.origin(kind, index)?.unwrap_or(Origin::Outside));
        }
        Ok(last)
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

fn find<T: Clone>(defined: &[T], index: u32, what: &str) -> Result<T, Refusal> {
    defined.get(index as usize).cloned().ok_or_else(|| {
        Refusal::new("invalid", format!("the component names {what} {index}, which it has not defined"))
    })
}

fn inner_call(what: &str) -> Refusal {
    let message = format!("{what}, so that parts of the file call each other through component types");
    Refusal::new("inner_call", message)
        .hint("strings that pass there cost no fuel, and resources next to none: link the parts into one core module and make one component of it")
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
    fn a_part_that_only_traps_may_be_called() {
        let stub = |realloc: &str, body: &str, more: &str| {
            let callee = CALLEE
                .replace(
                    r#"(export "f") (param i32 i32)"#,
                    &format!(r#"(export "f") (param i32 i32) {body}"#),
                )
                .replace("i32.const 0", realloc);
            rule(&format!(
                r#"{CALLER} (component $stub {callee}
                    (instance $made (instantiate $callee)) (alias export $made "f" (func $f)) (export "f" (func $f)) {more})
                (instance $made (instantiate $stub)) (instance (instantiate $caller (with "f" (func $made "f"))))"#
            ))
        };
        let called = |body: &str, more: &str| stub("unreachable", body, more);
        assert_eq!(called("unreachable", ""), "kind");
        assert_eq!(called("", ""), "inner_call");
        assert_eq!(called("(if (local.get 0) (then unreachable))", ""), "inner_call");
        // Before a function is called with a list of strings, each of them is brought over.
        assert_eq!(stub("i32.const 0", "unreachable", ""), "inner_call");
        // One function that answers is enough, wherever it comes from.
        let lifted = |core: &str| format!("{core} (func (canon lift (core func $g)))");
        let own = r#"(core module $n (func (export "g") (result i32) i32.const 0 return)) (core instance $n (instantiate $n))
            (alias core export $n "g" (core func $g))"#;
        assert_eq!(called("unreachable", &lifted(own)), "inner_call");
        let passed_on = r#"(type $t (resource (rep i32))) (core func $new (canon resource.drop $t))
            (core module $n (import "" "g" (func (param i32))) (func unreachable) (export "g" (func 0)))
            (core instance $n (instantiate $n (with "" (instance (export "g" (func $new))))))
            (alias core export $n "g" (core func $g))"#;
        assert_eq!(called("unreachable", &lifted(passed_on)), "inner_call");
    }

    #[test]
    fn resources_are_made_only_where_no_code_could_go_on_making_them() {
        let making = |operation: &str, body: &str| {
            rule(&format!(
                r#"(type $t (resource (rep i32))) (core func $f (canon {operation} $t))
                (core module $m (import "" "f" (func $f (param i32) (result i32))) (func {body}))
                (core instance (instantiate $m (with "" (instance (export "f" (func $f))))))"#
            ))
        };
        let (once, twice) = ("(drop (call $f (i32.const 1)))", "(drop (call $f (call $f (i32.const 1))))");
        for operation in ["resource.new", "resource.rep"] {
            assert_eq!(making(operation, "unreachable"), "kind");
            assert_eq!(making(operation, once), "kind");
            assert_eq!(making(operation, twice), "own_resources");
            assert_eq!(making(operation, &format!("(loop {once})")), "own_resources");
            let later = format!(
                r#"(core module $m (func (loop))) (core instance (instantiate $m))
                (type $t (resource (rep i32))) (core func (canon {operation} $t))"#
            );
            assert_eq!(rule(&later), "own_resources");
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
        insta::assert_snapshot!(refusal, @"the component lowers its own component function 0, so that parts of the file call each other through component types (strings that pass there cost no fuel, and resources next to none: link the parts into one core module and make one component of it)");
        let header = b"\0asm\x0d\0\x01\0";
        let unknown = scan(&[&header[..], &[8, 5, 1, 1, 0, 7, 0]].concat().into()).unwrap_err();
        insta::assert_snapshot!(unknown, @"the component names function 7, which it has not defined");
    }
}
