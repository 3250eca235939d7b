//! A run as a pure state machine: `(graph, state, event) -> (state, commands)`.
//!
//! No clock, no I/O, no randomness: the same events give the same state and the same commands, always. It is
//! what the engine drives, and what a run's history is folded from.
//!
//! - [`apply`]: one event. Events that no longer fit (a timer of an
//!   attempt that is over, an answer that comes twice, anything after the end) change nothing.
//! - [`outstanding`]: after a crash, what was asked for and is not done.
//! - [`call_now`]: a call made again, by what the run knows now.
//!
//! Steps without effects (`branch`, `filter`, `parallel`, `set`, `stop`, every `if`) run inside the machine, a `delay` is
//! a timer; the rest are [`Command::Execute`]s. A list of steps, wherever it stands (the workflow, an arm, a parallel, a `do`,
//! an iterator's item), is run by the same few functions.

mod advance;
mod apply;
mod attempt;
mod command;
mod delay;
mod derive;
mod event;
mod failing;
mod failure;
mod finish;
mod items;
mod iterate;
mod link;
mod lists;
mod pages;
mod path;
mod payload;
mod render;
mod retry;
mod scope;
mod state;
#[cfg(test)]
mod tests;
mod wait;
mod work;

pub use apply::{apply, call_now, needs_a_person, outstanding, step};

pub use command::{
    Answer, Call, CodeCall, Command, CreateCall, DeleteCall, EmailCall, Execute, Finished, HttpBody,
    HttpCall, IfUnchangedCall, InputCall, ItemCall, ItemDone, ItemRecords, ListCall, RunCall, RunFailure,
    SearchCall, SetStateCall, UpdateCall, UpsertCall,
};
pub(crate) use delay::time as time_of;
pub use event::{Event, Links, Resume, RunInfo, Start, Timer, TimerKind};
pub use failure::{Failure, Source, code};
pub use finish::ended;
pub use items::{Items, Kept};
pub use iterate::LEFT_OUT;
pub use link::{LinkToken, hide_links, token_of};
pub(crate) use pages::answer_path;
pub use pages::{Next, PageCall, Pages};
pub use path::StepPath;
pub use payload::{BlobRef, Payload};
pub use retry::attempts_left;
pub use state::{Output, RunStatus, State, StepState, StepStatus, Taken};
pub use wait::timed_out;
