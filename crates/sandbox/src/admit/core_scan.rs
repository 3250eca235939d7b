//! The scan of one core module: counts, and the shape of every function body.

use wasmparser::{
    DataKind, Element, ElementItems, ElementKind, ExternalKind, FunctionBody, Operator, Payload, RecGroup,
    TypeRef,
};

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Refusal;
use super::kind::{Item, Shape};
use super::rules;
use super::scan::{Cost, malformed, raw};

/// Parameters and results of a function type; both 0 for types that are none.
type Arity = (u32, u32);

/// What of a core module counts where it is instantiated.
#[derive(Clone, Debug)]
pub(super) struct CorePart<'a> {
    pub(super) cost: Cost,
    /// Whether one call of a function may make more than one.
    pub(super) busy: bool,
    /// The functions it exports that do nothing but trap.
    pub(super) traps: Rc<BTreeSet<&'a str>>,
}

/// What has been seen of one core module.
#[derive(Default)]
pub(super) struct CoreScan<'a> {
    /// Which core module of a component this is, counted from 1; `None` if it is the whole file.
    number: Option<u64>,
    types: Vec<Arity>,
    /// The type of every function, imported ones first.
    functions: Vec<u32>,
    /// The function whose body comes next.
    next_body: usize,
    imports: Vec<(&'a str, &'a str, &'static str)>,
    exports: Vec<(&'a str, ExternalKind, u32)>,
    code_bytes: u64,
    /// Targets of `br_table` times locals, of all functions so far.
    table_edges: u64,
    memories: u64,
    tables: u64,
    globals: u64,
    /// Only what the module itself defines counts in every instance.
    own: Cost,
    /// The functions that do nothing but trap.
    traps: BTreeSet<usize>,
    /// Whether a function has a loop or more than one call.
    busy: bool,
    /// First and last byte that data segments set, by memory.
    image: Option<(u64, u64)>,
}

impl<'a> CoreScan<'a> {
    pub(super) fn new(number: Option<u64>) -> Self {
        Self { number, ..Self::default() }
    }

    pub(super) fn place(&self) -> String {
        self.number.map(|number| format!("core module {number}")).unwrap_or_default()
    }

    pub(super) fn payload(&mut self, module: &'a [u8], payload: Payload<'a>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(section) => self.types(module, section.range()),
            Payload::ImportSection(section) => {
                rules::IMPORTS.check(section.count().into(), || self.place())?;
                for import in section.into_imports() {
                    let import = import.map_err(malformed)?;
                    rules::IMPORTS.check(self.imports.len() as u64 + 1, || self.place())?;
                    self.import(import.module, import.name, import.ty)?;
                }
                Ok(())
            }
            Payload::FunctionSection(section) => {
                rules::FUNCTIONS.check(section.count().into(), || self.place())?;
                self.next_body = self.functions.len();
                for index in section {
                    self.functions.push(index.map_err(malformed)?);
                }
                Ok(())
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table.map_err(malformed)?;
                    self.own.tables += 1;
                    self.table(table.ty.initial)?;
                }
                Ok(())
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory.map_err(malformed)?;
                    self.own.memories += 1;
                    let page = 1u64 << memory.page_size_log2.unwrap_or(16).min(63);
                    let bytes = memory.initial.saturating_mul(page);
                    self.own.memory_bytes = self.own.memory_bytes.saturating_add(bytes);
                    self.memory()?;
                }
                Ok(())
            }
            Payload::GlobalSection(section) => self.globals(section.count().into()),
            Payload::ExportSection(section) => {
                rules::EXPORTS.check(section.count().into(), || self.place())?;
                for export in section {
                    let export = export.map_err(malformed)?;
                    self.exports.push((export.name, export.kind, export.index));
                }
                Ok(())
            }
            Payload::ElementSection(section) => {
                rules::ELEMENT_SEGMENTS.check(section.count().into(), || self.place())?;
                let mut items = 0;
                for element in section {
                    items += element_items(&element.map_err(malformed)?);
                    rules::ELEMENT_ITEMS.check(items, || self.place())?;
                }
                Ok(())
            }
            Payload::DataSection(section) => {
                rules::DATA_SEGMENTS.check(section.count().into(), || self.place())?;
                for data in section {
                    let data = data.map_err(malformed)?;
                    self.data(&data.kind, data.data.len() as u64)?;
                }
                Ok(())
            }
            Payload::CodeSectionEntry(body) => self.body(&body),
            // The rest holds nothing of which there could be too much.
            _ => Ok(()),
        }
    }

    /// Types are counted before they are decoded: a group reserves room for as many as it claims.
    fn types(&mut self, module: &'a [u8], range: std::ops::Range<usize>) -> Result<(), Refusal> {
        let mut reader = raw(module, range);
        let groups = reader.read_var_u32().map_err(malformed)?;
        rules::TYPES.check(groups.into(), || self.place())?;
        for _ in 0..groups {
            let mut ahead = reader.clone();
            if ahead.read_u8().map_err(malformed)? == 0x4e {
                let claimed = ahead.read_var_u32().map_err(malformed)?;
                let all = self.types.len() as u64 + u64::from(claimed);
                rules::TYPES.check(all, || self.place())?;
            }
            let group: RecGroup = reader.read().map_err(malformed)?;
            for ty in group.into_types() {
                let arity = match ty.composite_type.inner {
                    wasmparser::CompositeInnerType::Func(ty) => {
                        let number = self.types.len();
                        let place = || format!("{} type {number}", self.place()).trim().to_owned();
                        rules::PARAMS.check(ty.params().len() as u64, place)?;
                        rules::RESULTS.check(ty.results().len() as u64, place)?;
                        (ty.params().len() as u32, ty.results().len() as u32)
                    }
                    _ => (0, 0),
                };
                self.types.push(arity);
                rules::TYPES.check(self.types.len() as u64, || self.place())?;
            }
        }
        Ok(())
    }

    fn import(&mut self, module: &'a str, name: &'a str, ty: TypeRef) -> Result<(), Refusal> {
        let kind = match ty {
            TypeRef::Func(index) | TypeRef::FuncExact(index) => {
                self.functions.push(index);
                "func"
            }
            TypeRef::Table(ty) => {
                self.table(ty.initial)?;
                "table"
            }
            TypeRef::Memory(_) => {
                self.memory()?;
                "memory"
            }
            TypeRef::Global(_) => {
                self.globals(1)?;
                "global"
            }
            TypeRef::Tag(_) => "tag",
        };
        self.imports.push((module, name, kind));
        Ok(())
    }

    fn table(&mut self, elements: u64) -> Result<(), Refusal> {
        self.tables += 1;
        rules::TABLES.check(self.tables, || self.place())?;
        rules::TABLE_ELEMENTS.check(elements, || self.place())
    }

    fn memory(&mut self) -> Result<(), Refusal> {
        self.memories += 1;
        rules::MEMORIES.check(self.memories, || self.place())
    }

    fn globals(&mut self, more: u64) -> Result<(), Refusal> {
        self.globals += more;
        rules::GLOBALS.check(self.globals, || self.place())
    }

    fn data(&mut self, kind: &DataKind<'_>, bytes: u64) -> Result<(), Refusal> {
        let DataKind::Active { offset_expr, .. } = kind else { return Ok(()) };
        let mut expression = offset_expr.get_operators_reader();
        // Only segments at a constant place become part of the image.
        if let Ok(Operator::I32Const { value }) = expression.read() {
            let start = u64::from(value.cast_unsigned());
            let end = start + bytes;
            let (first, last) = self.image.unwrap_or((start, end));
            let (first, last) = (first.min(start), last.max(end));
            self.image = Some((first, last));
            rules::DATA_IMAGE_BYTES.check(last - first, || self.place())?;
        }
        Ok(())
    }

    fn body(&mut self, body: &FunctionBody<'a>) -> Result<(), Refusal> {
        let number = self.next_body;
        self.next_body += 1;
        let bytes = body.range().len() as u64;
        self.code_bytes += bytes;
        rules::CODE_BYTES.check(self.code_bytes, || self.place())?;
        let place = || format!("{} function {number}", self.place()).trim().to_owned();
        rules::FUNCTION_BYTES.check(bytes, place)?;

        let arity = self.functions.get(number).and_then(|ty| self.types.get(*ty as usize));
        let mut locals = arity.map_or(0, |(params, _)| u64::from(*params));
        for group in body.get_locals_reader().map_err(malformed)? {
            let (count, _) = group.map_err(malformed)?;
            locals += u64::from(count);
            rules::LOCALS.check(locals, place)?;
        }

        let (mut depth, mut blocks, mut targets) = (0u64, 0u64, 0u64);
        let (mut calls, mut loops) = (0u64, false);
        let mut traps = None;
        let mut operators = body.get_operators_reader().map_err(malformed)?;
        while !operators.eof() {
            let operator = operators.read().map_err(malformed)?;
            traps.get_or_insert(matches!(operator, Operator::Unreachable));
            match operator {
                Operator::Loop { .. } => loops = true,
                Operator::Call { .. }
                | Operator::CallIndirect { .. }
                | Operator::CallRef { .. }
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::ReturnCallRef { .. } => calls += 1,
                _ => {}
            }
            match operator {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. }
                | Operator::Try { .. } => {
                    depth += 1;
                    blocks += 1;
                    rules::NESTING.check(depth, place)?;
                    rules::BLOCKS_TIMES_LOCALS.check(blocks.saturating_mul(locals), place)?;
                }
                Operator::End | Operator::Delegate { .. } => depth = depth.saturating_sub(1),
                Operator::BrTable { targets: table } => {
                    rules::BR_TABLE.check(table.len().into(), place)?;
                    targets += u64::from(table.len());
                    rules::BR_TABLE_TOTAL.check(targets, place)?;
                    rules::BR_TABLE_TIMES_LOCALS.check(targets.saturating_mul(locals), place)?;
                }
                _ => {}
            }
        }
        self.busy |= loops || calls > 1;
        if traps == Some(true) {
            self.traps.insert(number);
        }
        self.table_edges = self.table_edges.saturating_add(targets.saturating_mul(locals));
        rules::BR_TABLE_TIMES_LOCALS_TOTAL.check(self.table_edges, || self.place())
    }

    /// What counts of the module in the component around it.
    pub(super) fn part(&self) -> Result<CorePart<'a>, Refusal> {
        let traps = self.exports.iter().filter(|(_, kind, index)| {
            matches!(kind, ExternalKind::Func) && self.traps.contains(&(*index as usize))
        });
        let traps = Rc::new(traps.map(|(name, ..)| *name).collect());
        Ok(CorePart { cost: self.cost()?, busy: self.busy, traps })
    }

    /// What one instance of this module takes.
    fn cost(&self) -> Result<Cost, Refusal> {
        let mut cost = Cost::default();
        cost.add(Cost { core_instances: 1, ..self.own })?;
        Ok(cost)
    }

    /// What the module looks like from outside, if it is the whole file.
    pub(super) fn shape(&self) -> Result<Shape, Refusal> {
        self.cost()?;
        let imports = self.imports.iter().map(|(module, name, kind)| Item {
            module: Some((*module).to_owned()),
            name: (*name).to_owned(),
            kind,
            arity: None,
        });
        let exports = self.exports.iter().map(|(name, kind, index)| Item {
            module: None,
            name: (*name).to_owned(),
            kind: external(*kind),
            arity: match kind {
                ExternalKind::Func | ExternalKind::FuncExact => {
                    let ty = self.functions.get(*index as usize);
                    ty.and_then(|ty| self.types.get(*ty as usize)).copied()
                }
                _ => None,
            },
        });
        Ok(Shape {
            component: false,
            component_types: false,
            imports: imports.collect(),
            exports: exports.collect(),
        })
    }
}

fn element_items(element: &Element<'_>) -> u64 {
    // A declaration only says what `ref.func` may name.
    if matches!(element.kind, ElementKind::Declared) {
        return 0;
    }
    match &element.items {
        ElementItems::Functions(functions) => functions.count().into(),
        ElementItems::Expressions(_, expressions) => expressions.count().into(),
    }
}

fn external(kind: ExternalKind) -> &'static str {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => "func",
        ExternalKind::Table => "table",
        ExternalKind::Memory => "memory",
        ExternalKind::Global => "global",
        ExternalKind::Tag => "tag",
    }
}
