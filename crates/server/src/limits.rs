use std::time::Duration;

/// How much one who asks may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body: usize,
    /// Rows of a page.
    pub page: usize,
    /// Groups of an answer.
    pub groups: usize,
    /// Nanoseconds between `since` and `until`.
    pub range: i64,
    /// Questions to the store that are worked on at the same time.
    pub queries: usize,
    /// How long a question waits for its turn.
    pub patience: Duration,
    /// How long a question may take.
    pub timeout: Duration,
    /// Live streams at the same time.
    pub streams: usize,
    /// Rows of an export.
    pub export: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            page: 1_000,
            groups: 10_000,
            range: 400 * 86_400 * 1_000_000_000,
            queries: 8,
            patience: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            streams: 256,
            export: 10_000_000,
        }
    }
}
