//! Hostile modules against the sandbox, as sources, with what must happen to each. The program is
//! its own compile child, so it has a `main` of its own: started with `compile` it is the child,
//! with `digest` it tells what every module came to, for a second process to compare.

mod bombs;
mod burners;
mod check;
mod child;
mod corpus;
mod generate;
mod guest;
mod names;
mod refused;
mod runner;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("compile") => stepwell_sandbox::admit::compile_child_main(),
        Some("digest") => check::print_digests(),
        _ => {
            let mut tests = Vec::new();
            refused::tests(&mut tests);
            child::tests(&mut tests);
            check::tests(&mut tests);
            burners::tests(&mut tests);
            names::tests(&mut tests);
            runner::run(tests, &args)
        }
    }
}
