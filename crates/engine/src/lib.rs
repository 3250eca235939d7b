//! Runs: journal, scheduler, triggers and step executors over store, records, sandbox and workflow.
