//! The smallest change that lets a connection through, found by trying.

use netverdict_manifest::Key;
use netverdict_types::Direction;

/// A change of objects that was tried: with it the connection is let through.
#[derive(Clone, Debug, PartialEq)]
pub struct Fix {
    /// What is changed: one part for each place where the connection was denied.
    pub parts: Vec<Part>,
    /// What else it opens, beside the connection that was asked about; by ends and ports.
    pub opens: Vec<Opened>,
    /// What it closes.
    pub closes: Vec<Opened>,
}

/// A change of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The direction that was denied without it.
    pub direction: Direction,
    /// The object; one that is not there yet if `is_new`.
    pub object: Key,
    /// Whether the object is a new one.
    pub is_new: bool,
    /// What is done, as a command: `add port 8080/tcp to ingress[0] of NetworkPolicy shop/web`.
    pub what: String,
    /// The change of the text that the object stands in, as `diff -u` shows it; for a new object its text. `None` if the text is not known, or
    /// could not be changed in place.
    pub diff: Option<String>,
    /// The change as a JSON patch (RFC 6902) of the object, for `kubectl patch --type=json`; for a new object the object.
    pub patch: serde_json::Value,
}

/// Ends and ports that a change opens or closes.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Opened {
    /// Who.
    pub from: String,
    /// Whom.
    pub to: String,
    /// On which ports: `8080/tcp`, `other udp`.
    pub ports: Vec<String>,
}
