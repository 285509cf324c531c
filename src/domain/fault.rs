//! Why a value was refused: a machine code and a sentence that never repeats the value.

/// A refused value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Stable code for programs, e.g. `too_long`.
    pub code: &'static str,
    /// What is wrong and what to do, for people. Never holds the refused value.
    pub detail: String,
}

impl Fault {
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}
