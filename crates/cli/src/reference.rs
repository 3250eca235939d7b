//! The reference of the command line is what clap knows.
//! `STEPWELL_WRITE_DOCS=1 cargo test -p stepwell --bin stepwell reference` writes it.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory};

const BEGIN: &str = "<!-- made from the code: commands -->\n";
const END: &str = "<!-- end -->";

#[test]
fn every_command_is_in_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let mut cli = crate::args::Cli::command();
    cli.build();
    let mut made = format!("{before}{BEGIN}\n## Everywhere\n\n");
    rows(&mut made, cli.get_arguments().filter(|arg| arg.is_global_set()));
    for command in cli.get_subcommands() {
        add(&mut made, command, "stepwell");
    }
    made.push_str(END);
    made.push_str(after);
    if std::env::var_os("STEPWELL_WRITE_DOCS").is_some() {
        return std::fs::write(path, made).unwrap();
    }
    assert!(
        made == page,
        "docs/reference/cli.md is not what the code says; write it with\n  \
         STEPWELL_WRITE_DOCS=1 cargo test -p stepwell --bin stepwell reference"
    );
}

fn add(out: &mut String, command: &Command, above: &str) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{above} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let under: Vec<&Command> = command.get_subcommands().filter(|c| c.get_name() != "help").collect();
    let positional: Vec<&Arg> = command.get_positionals().collect();
    if !under.is_empty() {
        let _ = write!(out, "## `{name}`\n\n{about}.\n\n");
        // What the commands under it are about comes before their own names.
        let places: String = positional.iter().map(|arg| format!(" {}", place(arg))).collect();
        for command in under {
            add(out, command, &format!("{name}{places}"));
        }
        return;
    }
    let level = if above == "stepwell" { "##" } else { "###" };
    let places: String = positional.iter().map(|arg| format!(" {}", place(arg))).collect();
    let _ = write!(out, "{level} `{name}{places}`\n\n{about}.\n\n");
    let options = command.get_arguments().filter(|arg| {
        let own = !arg.is_global_set() && !matches!(arg.get_id().as_str(), "help" | "version");
        own && !(arg.is_positional() && told(arg).is_empty())
    });
    rows(out, options);
}

/// `DIR`, `[DIR]` or `FILE…`
fn place(arg: &Arg) -> String {
    let name = value_names(arg);
    let many = if matches!(arg.get_action(), ArgAction::Append) { "…" } else { "" };
    if arg.is_required_set() { format!("{name}{many}") } else { format!("[{name}{many}]") }
}

fn value_names(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" ")
}

/// What is said of an argument: its help, its values, its default, its variable.
fn told(arg: &Arg) -> String {
    let mut said: Vec<String> = arg.get_help().map(ToString::to_string).into_iter().collect();
    let values: Vec<String> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if !values.is_empty() && arg.get_action().takes_values() {
        said.push(format!("one of {}", values.join(", ")));
    }
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        said.push(format!("{} unless given", defaults.join(" ")));
    }
    if let Some(variable) = arg.get_env() {
        said.push(format!("or the variable `{}`", variable.to_string_lossy()));
    }
    said.join("; ").replace('|', "\\|")
}

fn rows<'a>(out: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let rows: Vec<String> = arguments
        .map(|arg| {
            let name = match arg.get_long() {
                Some(long) if arg.get_action().takes_values() => format!("--{long} {}", value_names(arg)),
                Some(long) => format!("--{long}"),
                None => value_names(arg),
            };
            format!("| `{name}` | {} |\n", told(arg))
        })
        .collect();
    if !rows.is_empty() {
        let _ = write!(out, "| | |\n|---|---|\n{}\n", rows.concat());
    }
}
