//! What holding one value against a schema may use up, told by the keywords that are checked here. It is kept by thread:
//! the validator calls a keyword with a value and nothing else, and never leaves the thread that it was called on.

use std::cell::RefCell;

use serde_json::Value;

/// Steps of patterns and of `uniqueItems` in one body. A step is to look at one byte by one part of a pattern, which
/// takes some nanoseconds.
pub const MAX_STEPS: u64 = 400_000_000;
/// The values that misfits quote are copied, each for itself: no more than this, but one of any length.
const MAX_QUOTED: u64 = 1 << 20;

/// Why a value cannot be told to fit.
pub(super) struct Refused {
    pub why: String,
    /// Where the text is that it is about.
    pub text: Option<*const Value>,
}

struct Account {
    left: u64,
    quoted: u64,
    refused: Option<Refused>,
}

impl Account {
    const fn full() -> Self {
        Self { left: MAX_STEPS, quoted: 0, refused: None }
    }
}

thread_local! {
    static ACCOUNT: RefCell<Account> = const { RefCell::new(Account::full()) };
}

/// Does the work on a full account, and tells whether it was refused.
pub(super) fn opened<T>(work: impl FnOnce() -> T) -> (T, Option<Refused>) {
    ACCOUNT.replace(Account::full());
    let done = work();
    (done, ACCOUNT.replace(Account::full()).refused)
}

/// Whether so many steps may be taken. Once a value is refused nothing more is.
pub(super) fn charge(steps: u64, text: &Value) -> bool {
    ACCOUNT.with_borrow_mut(|account| {
        if account.refused.is_some() {
            return false;
        }
        match account.left.checked_sub(steps) {
            Some(left) => account.left = left,
            None => {
                let used = (MAX_STEPS - account.left).saturating_add(steps);
                account.refused = Some(Refused {
                    why: format!(
                        "to check this takes {used} steps with what comes before it; for the patterns and `uniqueItems` \
                         of a schema there are {MAX_STEPS}"
                    ),
                    text: Some(std::ptr::from_ref(text)),
                });
            }
        }
        account.refused.is_none()
    })
}

pub(super) fn refuse(why: String, text: &Value) {
    ACCOUNT.with_borrow_mut(|account| {
        account.refused.get_or_insert(Refused { why, text: Some(std::ptr::from_ref(text)) });
    });
}

/// Whether one more misfit may quote so many bytes.
pub(super) fn quote(bytes: usize) -> bool {
    ACCOUNT.with_borrow_mut(|account| {
        let first = account.quoted == 0;
        account.quoted = account.quoted.saturating_add(bytes as u64 + 64);
        first || account.quoted <= MAX_QUOTED
    })
}
