use std::path::PathBuf;
use std::str::FromStr;

use netverdict_types::ZoneId;

/// What to attach to.
#[derive(Clone, Debug)]
pub struct Options {
    /// The zone of this machine's OVN.
    pub zone: ZoneId,
    /// Whether to attach to samples: not where they come another way and only flows are counted.
    pub samples: bool,
    /// The sample groups to keep; none keeps all.
    pub groups: Vec<u32>,
    /// Interfaces whose flows are counted; none by default.
    pub interfaces: Interfaces,
    /// Flows of interfaces that the kernel keeps between two drains. What is more is handed over
    /// packet by packet as far as there is room, and counted.
    pub max_flows: u32,
    /// The same, of sampled flows times cookies.
    pub max_events: u32,
}

impl Default for Options {
    /// All groups, no interfaces, zone 0, 32,768 sampled flows (some 20 MB of kernel memory, taken
    /// at once) and 65,536 flows of interfaces (another 20 MB, where any are watched).
    fn default() -> Self {
        Self {
            zone: ZoneId(0),
            samples: true,
            groups: Vec::new(),
            interfaces: Interfaces::default(),
            max_flows: 1 << 16,
            max_events: 1 << 15,
        }
    }
}

/// Interfaces whose flows are counted, those that come later too.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Interfaces(pub Vec<Watched>);

/// Some interfaces of one network namespace.
///
/// As text `NAME`, or `NAMESPACE:NAME` with the path of a network namespace, where `*` in the name
/// stands for any characters: `*_?`, `/run/netns/blue:eth*`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Watched {
    /// The file of the network namespace; `None` for our own. Another one needs CAP_SYS_ADMIN to
    /// be entered.
    pub namespace: Option<PathBuf>,
    /// The interfaces' names: `*` stands for any characters, `?` for one.
    pub names: String,
}

impl Watched {
    /// True when an interface of that name is meant.
    pub fn matches(&self, name: &str) -> bool {
        glob(self.names.as_bytes(), name.as_bytes())
    }
}

/// Why a text names no interfaces.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} names no interfaces: give a name as eth0 or veth*, with /run/netns/NAME: before it for \
     another network namespace"
)]
pub struct WatchedError(String);

impl FromStr for Watched {
    type Err = WatchedError;

    fn from_str(text: &str) -> Result<Self, WatchedError> {
        let (namespace, names) = match text.rsplit_once(':') {
            Some((path, names)) if path.starts_with('/') => (Some(PathBuf::from(path)), names),
            Some(_) => return Err(WatchedError(text.to_owned())),
            None => (None, text),
        };
        // No interface has such a name (dev_valid_name in net/core/dev.c).
        if names.is_empty() || names.contains(['/', ' ']) {
            return Err(WatchedError(text.to_owned()));
        }
        Ok(Self {
            namespace,
            names: names.to_owned(),
        })
    }
}

/// `*` goes back to its last place when what follows does not fit: linear for names this short.
fn glob(mut pattern: &[u8], mut text: &[u8]) -> bool {
    let mut again = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (Some((b'*', rest)), _) => {
                pattern = rest;
                again = Some((pattern, text));
            }
            (None, None) => return true,
            (Some((wanted, rest)), Some((byte, after))) if *wanted == b'?' || wanted == byte => {
                pattern = rest;
                text = after;
            }
            _ => {
                let Some((from, [_, after @ ..])) = again else {
                    return false;
                };
                pattern = from;
                text = after;
                again = Some((from, after));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched() {
        for (names, name, matches) in [
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
            ("eth*", "eth", true),
            ("*_?", "frontend_client_3", true),
            ("*_?", "frontend_client", false),
            ("a*b*c", "aXbbYc", true),
            ("a*b*c", "aXbbYcd", false),
            ("*", "", true),
        ] {
            let watched: Watched = names.parse().unwrap();
            assert_eq!(watched.matches(name), matches, "{names} {name}");
        }
    }

    #[test]
    fn namespaces_are_paths() {
        let watched: Watched = "/run/netns/blue:eth*".parse().unwrap();
        assert_eq!(watched.namespace, Some(PathBuf::from("/run/netns/blue")));
        assert_eq!(watched.names, "eth*");
        for text in [
            "",
            "blue:eth0",
            "/run/netns/blue:",
            "a/b",
            "/run/netns/blue",
        ] {
            assert!(text.parse::<Watched>().is_err(), "{text}");
        }
    }
}
