//! The scan of one component: counts, the nesting of its types, and what it expands to when it is
//! instantiated. The engine expands every nested instantiation at compile time, so a few hundred
//! bytes can stand for megabytes of machine code.

use wasmparser::{
    BinaryReader, ComponentAlias, ComponentDefinedType, ComponentExternName, ComponentExternalKind,
    ComponentImport, ComponentInstance, ComponentOuterAliasKind, ComponentType, ComponentTypeRef, CoreType,
    Instance, Payload,
};

use super::Refusal;
use super::core_scan::CorePart;
use super::kind::{Item, Shape};
use super::links::{Links, Traits};
use super::rules;
use super::scan::{Cost, Totals, malformed, raw};

/// Component and instance types inside each other. The decoder of types recurses without a bound
/// of its own; WASI has two levels.
const TYPE_NESTING: u32 = 32;

/// What of a component counts where it is instantiated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    cost: Cost,
    traits: Traits,
}

/// What has been seen of one component.
#[derive(Default)]
pub(super) struct ComponentScan<'a> {
    /// Each core module defined so far, by index.
    pub(super) modules: Vec<CorePart<'a>>,
    /// Each component defined so far, by index.
    pub(super) components: Vec<Part>,
    /// What one instance of this component takes.
    cost: Cost,
    links: Links<'a>,
    imports: Vec<(&'a str, &'static str)>,
    exports: Vec<(&'a str, &'static str)>,
    items: u64,
}

impl<'a> ComponentScan<'a> {
    pub(super) fn payload<'s>(
        &mut self,
        module: &'a [u8],
        payload: Payload<'a>,
        totals: &mut Totals,
        outer: impl Fn(u32) -> Option<&'s ComponentScan<'a>>,
    ) -> Result<(), Refusal>
    where
        'a: 's,
    {
        match payload {
            Payload::CoreTypeSection(section) => {
                let mut reader = raw(module, section.range());
                for _ in 0..reader.read_var_u32().map_err(malformed)? {
                    core_type(&mut reader, totals)?;
                }
                Ok(())
            }
            Payload::ComponentTypeSection(section) => {
                let mut reader = raw(module, section.range());
                for _ in 0..reader.read_var_u32().map_err(malformed)? {
                    component_type(&mut reader, totals, 0)?;
                }
                Ok(())
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import.map_err(malformed)?;
                    let kind = import.ty.kind();
                    self.no_code("imports", import.name.name, kind)?;
                    self.links.import(kind);
                    // A type that is only a name for another one is no grant.
                    let named = match import.ty {
                        ComponentTypeRef::Type(wasmparser::TypeBounds::Eq(_)) => "type",
                        ComponentTypeRef::Type(_) => "resource",
                        _ => kind.desc(),
                    };
                    self.imports.push((import.name.name, named));
                    rules::IMPORTS.check(self.imports.len() as u64, String::new)?;
                }
                Ok(())
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export.map_err(malformed)?;
                    self.no_code("exports", export.name.name, export.kind)?;
                    self.links.export(&export)?;
                    self.exports.push((export.name.name, export.kind.desc()));
                    rules::EXPORTS.check(self.exports.len() as u64, String::new)?;
                }
                Ok(())
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    match instance.map_err(malformed)? {
                        Instance::Instantiate { module_index, args } => {
                            self.items(args.len())?;
                            let part = known(&self.modules, module_index, "core module")?;
                            self.cost.add(part.cost)?;
                            self.links.instantiate_core(part.busy, part.traps)?;
                        }
                        Instance::FromExports(exports) => {
                            self.items(exports.len())?;
                            self.links.gather_core();
                        }
                    }
                    self.items(1)?;
                }
                Ok(())
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    match instance.map_err(malformed)? {
                        ComponentInstance::Instantiate { component_index, args } => {
                            self.items(args.len())?;
                            let part = known(&self.components, component_index, "component")?;
                            self.cost.add(part.cost)?;
                            self.cost.add(Cost { component_instances: 1, ..Cost::default() })?;
                            self.links.instantiate(part.traits, &args)?;
                        }
                        ComponentInstance::FromExports(exports) => {
                            self.items(exports.len())?;
                            self.links.gather(&exports)?;
                        }
                    }
                    self.items(1)?;
                }
                Ok(())
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.items(1)?;
                    self.alias(alias.map_err(malformed)?, &outer)?;
                }
                Ok(())
            }
            Payload::ComponentCanonicalSection(section) => {
                self.items(section.count() as usize)?;
                for function in section {
                    self.links.canonical(&function.map_err(malformed)?)?;
                }
                Ok(())
            }
            // The rest holds nothing of which there could be too much.
            _ => Ok(()),
        }
    }

    fn alias<'s>(
        &mut self,
        alias: ComponentAlias<'a>,
        outer: impl Fn(u32) -> Option<&'s ComponentScan<'a>>,
    ) -> Result<(), Refusal>
    where
        'a: 's,
    {
        match alias {
            ComponentAlias::InstanceExport { kind, name, instance_index } => {
                self.no_code("takes from an instance", name, kind)?;
                self.links.alias(kind, instance_index)
            }
            ComponentAlias::Outer { kind, count, index } => {
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        let modules = match count {
                            0 => &self.modules,
                            count => &around(outer(count))?.modules,
                        };
                        let part = known(modules, index, "core module")?;
                        self.modules.push(part);
                    }
                    ComponentOuterAliasKind::Component => {
                        let components = match count {
                            0 => &self.components,
                            count => &around(outer(count))?.components,
                        };
                        let part = known(components, index, "component")?;
                        self.components.push(part);
                    }
                    ComponentOuterAliasKind::Type | ComponentOuterAliasKind::CoreType => {}
                }
                Ok(())
            }
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } => {
                self.links.alias_core(kind, instance_index, name)
            }
        }
    }

    /// Refuses code that goes in or out as a value: what it expands to could not be told.
    fn no_code(&self, verb: &str, name: &str, kind: ComponentExternalKind) -> Result<(), Refusal> {
        let what = match kind {
            ComponentExternalKind::Module => "a core module",
            ComponentExternalKind::Component => "a component",
            _ => return Ok(()),
        };
        let name = super::kind::shown(name);
        Err(Refusal::new("nested_import", format!("the component {verb} {what}, {name}"))
            .hint("link the parts into one core module and make one component of it"))
    }

    fn items(&mut self, more: usize) -> Result<(), Refusal> {
        self.items = self.items.saturating_add(more as u64);
        rules::COMPONENT_ITEMS.check(self.items, String::new)
    }

    /// What counts of the component in the one around it.
    pub(super) fn part(&self) -> Part {
        Part { cost: self.cost, traits: self.links.traits() }
    }

    /// What the component looks like from outside, if it is the whole file.
    pub(super) fn shape(&self) -> Shape {
        let item = |(name, kind): &(&str, &'static str)| Item {
            module: None,
            name: (*name).to_owned(),
            kind,
            arity: None,
        };
        Shape {
            component: true,
            component_types: false,
            imports: self.imports.iter().map(item).collect(),
            exports: self.exports.iter().map(item).collect(),
        }
    }
}

fn around<'s, 'a>(component: Option<&'s ComponentScan<'a>>) -> Result<&'s ComponentScan<'a>, Refusal> {
    component.ok_or_else(|| Refusal::new("invalid", "an alias reaches outside of the component"))
}

fn known<T: Clone>(defined: &[T], index: u32, what: &str) -> Result<T, Refusal> {
    defined.get(index as usize).cloned().ok_or_else(|| {
        Refusal::new(
            "invalid",
            format!("the component instantiates or names {what} {index}, which it has not defined"),
        )
    })
}

fn core_type(reader: &mut BinaryReader<'_>, totals: &mut Totals) -> Result<(), Refusal> {
    count_type(totals)?;
    let mut ahead = reader.clone();
    match ahead.read_u8().map_err(malformed)? {
        0x50 => Err(Refusal::new(
            "nested_import",
            "the component describes the type of a core module, which only one that imports or \
             exports core modules needs",
        )),
        0x4e => {
            let claimed = ahead.read_var_u32().map_err(malformed)?;
            rules::TYPES.check(claimed.into(), String::new)?;
            count_declarations(totals, claimed as usize)?;
            reader.read::<CoreType<'_>>().map(drop).map_err(malformed)
        }
        _ => reader.read::<CoreType<'_>>().map(drop).map_err(malformed),
    }
}

/// Walks one type by its declarations, so that the decoder meets only types without nesting.
fn component_type(reader: &mut BinaryReader<'_>, totals: &mut Totals, depth: u32) -> Result<(), Refusal> {
    if depth == 0 {
        count_type(totals)?;
    }
    if depth > TYPE_NESTING {
        return Err(Refusal::new("invalid", format!("component types nest deeper than {TYPE_NESTING}")));
    }
    let mut ahead = reader.clone();
    if !matches!(ahead.read_u8().map_err(malformed)?, 0x41 | 0x42) {
        let ty = reader.read::<ComponentType<'_>>().map_err(malformed)?;
        return count_declarations(totals, 1 + parts(&ty));
    }
    let declarations = ahead.read_var_u32().map_err(malformed)?;
    *reader = ahead;
    for _ in 0..declarations {
        count_declarations(totals, 1)?;
        match reader.read_u8().map_err(malformed)? {
            0x00 => core_type(reader, totals)?,
            0x01 => component_type(reader, totals, depth + 1)?,
            0x02 => {
                reader.read::<ComponentAlias<'_>>().map_err(malformed)?;
            }
            0x03 => {
                reader.read::<ComponentImport<'_>>().map_err(malformed)?;
            }
            0x04 => {
                reader.read::<ComponentExternName<'_>>().map_err(malformed)?;
                reader.read::<ComponentTypeRef>().map_err(malformed)?;
            }
            other => {
                let message = format!("a component type declares something unknown: {other:#04x}");
                return Err(Refusal::new("not_wasm", message));
            }
        }
    }
    Ok(())
}

fn parts(ty: &ComponentType<'_>) -> usize {
    match ty {
        ComponentType::Func(ty) => ty.params.len(),
        ComponentType::Defined(ty) => match ty {
            ComponentDefinedType::Record(fields) => fields.len(),
            ComponentDefinedType::Variant(cases) => cases.len(),
            ComponentDefinedType::Tuple(types) => types.len(),
            ComponentDefinedType::Flags(names) | ComponentDefinedType::Enum(names) => names.len(),
            _ => 0,
        },
        _ => 0,
    }
}

fn count_type(totals: &mut Totals) -> Result<(), Refusal> {
    totals.component_types += 1;
    rules::COMPONENT_TYPES.check(totals.component_types, String::new)
}

fn count_declarations(totals: &mut Totals, more: usize) -> Result<(), Refusal> {
    totals.type_declarations = totals.type_declarations.saturating_add(more as u64);
    rules::TYPE_DECLARATIONS.check(totals.type_declarations, String::new)
}
