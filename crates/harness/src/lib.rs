//! Local building and testing of actions in the same sandbox as production.
