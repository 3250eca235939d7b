//! Benchmarks of Stepwell against bare lower bounds. `docs/performance.md` says what is measured and how to run it.

mod alone;
mod bare;
mod bare_rows;
mod check;
mod client;
mod code;
mod events;
mod fairness;
mod floor;
mod floor_store;
mod flow;
mod forms;
mod guest;
mod iterate;
mod load;
mod machine;
mod memory;
mod nodes;
mod product;
mod report;
mod rows;
mod search;
mod setup;
mod start;
mod stats;
mod upload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::{Parser, Subcommand};

use report::Report;

/// The allocator of the product, for both sides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Measures Stepwell against bare lower bounds, rounds of both taken in turns")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Fewer and shorter rounds: whether everything runs, not what it costs.
    #[arg(long, global = true)]
    quick: bool,
    /// Writes the figures there as JSON, too.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Where data folders are made: on the disk that is to be measured. The system's temporary folder unless given.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// MiB that the store may keep of its rows in memory, in `search`: the program's default unless given.
    #[arg(long, global = true)]
    cache: Option<u64>,
}

#[derive(Subcommand, Clone)]
enum Command {
    /// Everything below, in this order.
    All,
    /// The web form: HTTP request to durable answer, and runs to their end.
    Flow,
    /// A code step against bare wasmtime.
    Code,
    /// From the upload of a module to the answer of its first call.
    Upload,
    /// From the start of a process to its first answer, with 100 modules in the cache.
    Start,
    /// Resident memory, idle and under load.
    Memory,
    /// Search by index among 1,000, 100,000 and 1,000,000 records.
    Search,
    /// Short work beside 100 modules that never end.
    Fairness,
    /// An iterator over 100,000 records with a code step and an update each.
    Iterate,
    /// From a record event to its run, and what a write costs while a thousand workflows listen.
    Events,
    /// The check of a workflow of 500 steps.
    Check,
    /// A server of the product for the others to measure, until stdin ends.
    #[command(hide = true)]
    Product {
        data: PathBuf,
        /// Sends e-mail, to nobody, instead of catching it.
        #[arg(long)]
        send_mail: bool,
    },
    /// The same of the floor; without a module it only opens its data and listens.
    #[command(hide = true)]
    Floor {
        data: PathBuf,
        module: Option<PathBuf>,
        /// What it writes for a form; three rows of its own otherwise.
        rows: Option<PathBuf>,
    },
    /// The engine's own work for web forms, for a profiler.
    #[command(hide = true)]
    Alone { forms: u64 },
    /// Where the product compiles modules.
    #[command(hide = true)]
    Compile,
}

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    quick: bool,
}

impl Effort {
    /// `full`, or `quick` where little is wanted.
    fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// What every benchmark gets.
struct Bench<'a> {
    effort: Effort,
    /// For `search`: MiB of each store's cache.
    cache: Option<u64>,
    /// An empty folder of its own.
    dir: &'a Path,
    guest: &'a guest::Guest,
    report: &'a mut Report,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The compile helper limits itself before it does anything else: no runtime, no threads.
    if matches!(cli.command, Command::Compile) {
        return stepwell_sandbox::admit::compile_child_main();
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match &cli.command {
        Command::Product { data, send_mail } => server_runtime()?.block_on(product::serve(data, *send_mail)),
        Command::Floor { data, module, rows } => {
            server_runtime()?.block_on(floor::serve(data, module.as_deref(), rows.as_deref()))
        }
        Command::Alone { forms } => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(alone::run(*forms))
        }
        // One thread makes all the requests: what it takes is the same for product and floor, and it leaves them
        // as much of the machine as it can.
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(&cli)),
    }
}

/// The runtime of `stepwell serve`, and its pages of memory, for both sides.
fn server_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    rustix::thread::disable_transparent_huge_pages(true)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("server").build()
}

async fn measure(cli: &Cli) -> anyhow::Result<()> {
    if cfg!(debug_assertions) && !cli.quick {
        anyhow::bail!(
            "this is a dev build, whose figures mean nothing: cargo run --release -p stepwell-benches"
        );
    }
    let effort = Effort { quick: cli.quick };
    let dir = match &cli.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let dir = dir.context("no folder for the data")?;
    let mut report = Report::new(machine::describe(dir.path()), cli.quick);
    let started = Instant::now();
    let guest = guest::build(dir.path()).await?;
    let all = matches!(cli.command, Command::All);
    macro_rules! benchmark {
        ($($command:ident $module:ident)*) => {$(
            if all || matches!(cli.command, Command::$command) {
                let began = Instant::now();
                let folder = dir.path().join(stringify!($module));
                std::fs::create_dir_all(&folder)?;
                let bench = Bench { effort, cache: cli.cache, dir: &folder, guest: &guest, report: &mut report };
                $module::run(bench).await.context(stringify!($module))?;
                std::fs::remove_dir_all(&folder)?;
                report.took(stringify!($module), began.elapsed());
            }
        )*};
    }
    benchmark!(Flow flow Code code Upload upload Start start Memory memory Search search Fairness fairness
        Iterate iterate Events events Check check);
    report.finish(started.elapsed(), all);
    println!("\n{}", report.table());
    if let Some(path) = &cli.json {
        std::fs::write(path, report.json()?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
