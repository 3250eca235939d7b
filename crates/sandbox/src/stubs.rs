//! Interfaces that exist and refuse: files, sockets, HTTP, terminals, environment, arguments.
//!
//! Language runtimes import them without using them, so they have to be there; each is built from
//! the component's own type, whatever version of WASI it was made for. A function that can fail
//! fails, one that lists things lists none, and what cannot say no stops the guest with its name.

use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, Linker, Resource, ResourceType, Val};
use wasmtime::{AsContextMut, Result, StoreContextMut, format_err};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError};

use crate::failure::Stop;
use crate::state::CallState;

/// Interfaces that refuse, by the start of their names.
const REFUSING: [&str; 5] =
    ["wasi:filesystem/", "wasi:sockets/", "wasi:http/", "wasi:cli/terminal-", "wasi:cli/environment@"];

/// What stands behind every resource of a refusing interface.
struct Nothing;

/// Links a refusal for each function of a refusing interface that the component imports.
pub(crate) fn add_to_linker(linker: &mut Linker<CallState>, component: &Component) -> Result<()> {
    let engine = linker.engine().clone();
    // A resource belongs to the first interface that names it; the others only use it.
    let mut seen: Vec<ResourceType> = Vec::new();
    for (interface, import) in component.component_type().imports(&engine) {
        let ComponentItem::ComponentInstance(instance) = import.ty else { continue };
        let refuses = REFUSING.iter().any(|start| interface.starts_with(start));
        let mut link = if refuses { Some(linker.instance(interface)?) } else { None };
        for (name, export) in instance.exports(&engine) {
            match export.ty {
                ComponentItem::Resource(resource) if !seen.contains(&resource) => {
                    seen.push(resource);
                    if let Some(link) = &mut link {
                        link.resource(name, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
                    }
                }
                ComponentItem::ComponentFunc(_) => {
                    if let Some(link) = &mut link {
                        let full_name = format!("{interface}#{name}");
                        link.func_new(name, move |store, ty, params, results| {
                            refuse(store, &full_name, &ty, params, results)
                        })?;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn refuse(
    mut store: StoreContextMut<'_, CallState>,
    name: &str,
    ty: &ComponentFunc,
    params: &[Val],
    results: &mut [Val],
) -> Result<()> {
    drop(store.data_mut().host_call(size(params)));
    params.iter().try_for_each(|param| release(&mut store, param))?;
    for (result, ty) in results.iter_mut().zip(ty.results()) {
        *result = no(&mut store, &ty).ok_or_else(|| Stop::Refused(name.to_owned()))?;
    }
    Ok(())
}

/// Gives up the handles among the arguments: a borrow that is kept stops the guest.
fn release(store: &mut StoreContextMut<'_, CallState>, value: &Val) -> Result<()> {
    match value {
        Val::Resource(handle) => {
            let ty = handle.ty();
            if ty == ResourceType::host::<Nothing>() {
                handle.try_into_resource::<Nothing>(store).map(drop)
            } else if ty == ResourceType::host::<DynPollable>() {
                handle.try_into_resource::<DynPollable>(store).map(drop)
            } else if ty == ResourceType::host::<DynInputStream>() {
                handle.try_into_resource::<DynInputStream>(store).map(drop)
            } else if ty == ResourceType::host::<DynOutputStream>() {
                handle.try_into_resource::<DynOutputStream>(store).map(drop)
            } else {
                handle.try_into_resource::<IoError>(store).map(drop)
            }
        }
        Val::List(values) | Val::Tuple(values) => values.iter().try_for_each(|value| release(store, value)),
        Val::Record(fields) => fields.iter().try_for_each(|(_, value)| release(store, value)),
        Val::Variant(_, Some(value)) | Val::Option(Some(value)) | Val::Result(Ok(Some(value))) => {
            release(store, value)
        }
        Val::Result(Err(Some(value))) => release(store, value),
        _ => Ok(()),
    }
}

/// What each part of an argument counts for, in bytes: it is brought over by looking up its type.
const PART_BYTES: usize = 64;

/// About how many bytes the arguments took to bring over.
fn size<'a>(values: impl IntoIterator<Item = &'a Val>) -> usize {
    values.into_iter().map(|value| PART_BYTES + inside(value)).sum()
}

fn inside(value: &Val) -> usize {
    match value {
        Val::String(text) | Val::Enum(text) => text.len(),
        Val::Flags(names) => names.iter().map(String::len).sum(),
        Val::List(values) | Val::Tuple(values) => size(values),
        Val::Record(fields) => fields.iter().map(|(name, value)| name.len() + size([value])).sum(),
        Val::Variant(_, Some(value))
        | Val::Option(Some(value))
        | Val::Result(Ok(Some(value)) | Err(Some(value))) => size([&**value]),
        _ => 0,
    }
}

/// The value of a type that says no, if it has one.
fn no(store: &mut StoreContextMut<'_, CallState>, ty: &Type) -> Option<Val> {
    Some(match ty {
        Type::Result(result) => match result.err() {
            Some(error) => Val::Result(Err(Some(Box::new(error_value(store, &error)?)))),
            None => Val::Result(Err(None)),
        },
        Type::Option(_) => Val::Option(None),
        Type::List(_) => Val::List(Vec::new()),
        Type::Own(_) => nothing(store).ok()?,
        _ => return None,
    })
}

/// An error of the given type: the one that says "not allowed", if it has such a case.
fn error_value(store: &mut StoreContextMut<'_, CallState>, ty: &Type) -> Option<Val> {
    const NOT_ALLOWED: [&str; 6] =
        ["access-denied", "access", "not-permitted", "HTTP-request-denied", "not-supported", "unsupported"];
    Some(match ty {
        Type::Enum(cases) => {
            let named = NOT_ALLOWED.iter().find(|name| cases.names().any(|case| case == **name));
            Val::Enum(named.copied().or(cases.names().next())?.to_owned())
        }
        Type::Variant(variant) => {
            let plain = |name: &str| variant.cases().any(|case| case.name == name && case.ty.is_none());
            match NOT_ALLOWED.iter().find(|name| plain(name)) {
                Some(name) => Val::Variant((*name).to_owned(), None),
                None => {
                    let case = variant.cases().find(|case| case.ty.is_none())?;
                    Val::Variant(case.name.to_owned(), None)
                }
            }
        }
        Type::Option(_) => Val::Option(None),
        Type::String => Val::String("not allowed in a code action".into()),
        Type::Own(_) => nothing(store).ok()?,
        _ => return None,
    })
}

fn nothing(store: &mut StoreContextMut<'_, CallState>) -> Result<Val> {
    let resource = Resource::<Nothing>::new_own(0);
    let any = resource.try_into_resource_any(store.as_context_mut());
    Ok(Val::Resource(any.map_err(|error| format_err!("no resource: {error}"))?))
}
