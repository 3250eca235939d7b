//! The scan of `name` sections. The engine keeps the names of functions and modules in the compiled code and copies those
//! of the functions on the stack at every trap, outside of a call's limits.

use wasmparser::{CustomSectionReader, KnownCustom, Name};

use super::Refusal;
use super::rules;

/// Refuses names that are too long, each or with all others. `all` counts those of the whole file.
pub(super) fn names(
    section: &CustomSectionReader<'_>,
    all: &mut u64,
    place: impl Fn() -> String,
) -> Result<(), Refusal> {
    let KnownCustom::Name(names) = section.as_known() else { return Ok(()) };
    let mut count = |bytes: usize, function: Option<u32>| {
        let bytes = bytes as u64;
        *all = all.saturating_add(bytes);
        let place = || match function {
            Some(index) => format!("{} function {index}", place()).trim().to_owned(),
            None => place(),
        };
        let one = rules::NAME_BYTES.check(bytes, place);
        one.and_then(|()| rules::NAMES_BYTES.check(*all, String::new)).map_err(|refusal| {
            refusal.hint("leave the section out, with `wasm-strip` for example: only traps show what it says")
        })
    };
    // A section that cannot be read to its end is no fault: the engine takes the names before that place too.
    for part in names {
        match part {
            Ok(Name::Function(functions)) => {
                for function in functions {
                    let Ok(function) = function else { return Ok(()) };
                    count(function.name.len(), Some(function.index))?;
                }
            }
            Ok(Name::Module { name, .. }) => count(name.len(), None)?,
            // The engine keeps no others.
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::samples::wat;
    use super::super::scan;
    use super::*;

    fn refuse(text: &str) -> Refusal {
        scan(&wat(text)).unwrap_err()
    }

    #[test]
    fn a_name_that_is_too_long_is_refused_wherever_it_stands() {
        let named = |bytes: usize| format!(r#"(func (@name "{}"))"#, "x".repeat(bytes));
        let command = r#"(func (export "_start"))"#;
        assert!(scan(&wat(&format!("(module {command} {})", named(64 << 10)))).is_ok());
        let refusal = refuse(&format!("(module {command} {})", named((64 << 10) + 1)));
        insta::assert_snapshot!(refusal, @"bytes in the name of a function or module, in the section `name` (function 1): 65537, and at most 65536 is let in (leave the section out, with `wasm-strip` for example: only traps show what it says)");
        assert_eq!(
            (refusal.rule.as_str(), refusal.limit, refusal.found),
            ("name_bytes", Some(65_536), Some(65_537))
        );

        let nested = format!("(component (component (core module) (core module {})))", named(70_000));
        let refusal = refuse(&nested);
        insta::assert_snapshot!(refusal.message, @"bytes in the name of a function or module, in the section `name` (core module 2 function 0): 70000, and at most 65536 is let in");
        let module = format!(r#"(module (@name "{}") {command})"#, "x".repeat(70_000));
        assert_eq!(refuse(&module).rule, "name_bytes");
    }

    #[test]
    fn all_names_together_have_a_bound_too() {
        let module = |id: usize| {
            let functions: String =
                (0..44).map(|at| format!(r#"(func (@name "{}{id}.{at}"))"#, "x".repeat(65_000))).collect();
            format!("(core module {functions})")
        };
        let modules = |count: usize| format!("(component {})", (0..count).map(module).collect::<String>());
        assert_eq!(refuse(&modules(2)).rule, "kind");
        let refusal = refuse(&modules(3));
        assert_eq!((refusal.rule.as_str(), refusal.limit), ("names_bytes", Some(8 << 20)));
        assert!(refusal.found > refusal.limit);
    }
}
