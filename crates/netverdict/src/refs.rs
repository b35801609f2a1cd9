//! How people name the ends of a connection, and who that is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use netverdict_types::{End, EndpointKind, Service};
use netverdict_verdict::explain::{Atlas, Party};

/// An end of a connection, as people name it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ref {
    kind: Kind,
    /// The network, where the user says so.
    network: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    Pod(String, String),
    Service(String, String),
    Node(String),
    Address(IpAddr),
}

/// Why nobody is found: what was looked for, and what is there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum RefError {
    /// There is nobody of that name.
    #[error("{0}")]
    Unknown(String),
    /// There are several.
    #[error("{wanted} is in several networks: name one, as in {}", .found.join(" or "))]
    Several { wanted: String, found: Vec<String> },
}

impl FromStr for Ref {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, network) = match text.rsplit_once('@') {
            Some((_, "")) => return Err(format!("{text:?} names no network behind the @")),
            Some((name, network)) => (name, Some(network.to_owned())),
            None => (text, None),
        };
        let parts: Vec<&str> = name.split('/').collect();
        let kind = match parts[..] {
            ["svc" | "service", namespace, name] if !(namespace.is_empty() || name.is_empty()) => {
                Kind::Service(namespace.to_owned(), name.to_owned())
            }
            ["svc" | "service", _] => {
                return Err(format!("{text:?}: a service is svc/NAMESPACE/NAME"));
            }
            ["node", name] if !name.is_empty() => Kind::Node(name.to_owned()),
            ["pod", namespace, name] | [namespace, name]
                if !(namespace.is_empty() || name.is_empty()) =>
            {
                Kind::Pod(namespace.to_owned(), name.to_owned())
            }
            [word] => match word.trim_matches(['[', ']']).parse() {
                Ok(ip) => Kind::Address(ip),
                Err(_) => return Err(format!("{text:?} is neither an address nor {FORMS}")),
            },
            _ => return Err(format!("{text:?} is none of {FORMS}, or an address")),
        };
        Ok(Self { kind, network })
    }
}

const FORMS: &str = "NAMESPACE/POD, svc/NAMESPACE/NAME, node/NAME";

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Pod(namespace, name) => write!(f, "{namespace}/{name}")?,
            Kind::Service(namespace, name) => write!(f, "svc/{namespace}/{name}")?,
            Kind::Node(name) => write!(f, "node/{name}")?,
            Kind::Address(ip) => write!(f, "{ip}")?,
        }
        match &self.network {
            Some(network) => write!(f, "@{network}"),
            None => Ok(()),
        }
    }
}

impl Ref {
    /// True if an end of a packet is who is named; `service` is the one that the packet is sent to or answers for.
    pub(crate) fn is(&self, end: &End<'_>, service: Option<&Service>) -> bool {
        let named = |kinds: &[EndpointKind], namespace: Option<&str>, name: &str| {
            end.endpoint.is_some_and(|endpoint| {
                kinds.contains(&endpoint.kind)
                    && endpoint.namespace.as_deref() == namespace
                    && endpoint.name.as_deref() == Some(name)
            })
        };
        match &self.kind {
            Kind::Pod(namespace, name) => named(&[EndpointKind::Pod], Some(namespace), name),
            Kind::Service(namespace, name) => {
                let is_behind = || {
                    let ip = end.ip?;
                    let service = service?;
                    let is_it = service.namespace.as_deref() == Some(namespace)
                        && service.name == *name
                        && service.backends.iter().any(|(backend, _)| *backend == ip);
                    is_it.then_some(())
                };
                named(&[EndpointKind::Service], Some(namespace), name) || is_behind().is_some()
            }
            Kind::Node(name) => named(&[EndpointKind::Node, EndpointKind::Management], None, name),
            Kind::Address(ip) => end.ip == Some(*ip),
        }
    }

    /// The service that is named.
    pub(crate) fn service(&self) -> Option<(&str, &str)> {
        match &self.kind {
            Kind::Service(namespace, name) => Some((namespace, name)),
            _ => None,
        }
    }

    /// Who that is; in several networks, in the one that it has first. An address that nobody has is somebody outside.
    ///
    /// # Errors
    /// If there is nobody of that name, or several.
    pub(crate) fn find(&self, atlas: &Atlas) -> Result<Party, RefError> {
        let found: Vec<Party> = match &self.kind {
            Kind::Pod(namespace, name) => {
                let is_it = |party: &&Party| {
                    party.kind == EndpointKind::Pod
                        && party.namespace.as_deref() == Some(namespace)
                        && party.name.as_deref() == Some(name)
                };
                let found = atlas.parties().iter().filter(is_it);
                found.cloned().collect()
            }
            Kind::Service(namespace, name) => {
                let services = atlas.services().iter();
                let is_it = |service: &&netverdict_verdict::explain::Serving| {
                    *service.namespace == **namespace && *service.name == **name
                };
                let found = services.filter(is_it).map(|service| service.party());
                found.collect()
            }
            Kind::Node(name) => {
                let of = |kind| {
                    let is_it = move |party: &&Party| {
                        party.kind == kind && party.name.as_deref() == Some(name)
                    };
                    atlas.parties().iter().filter(is_it)
                };
                let nodes = of(EndpointKind::Management).chain(of(EndpointKind::Node));
                nodes.take(1).cloned().collect()
            }
            Kind::Address(ip) => {
                let network = self.network.as_deref();
                let of = |party: &&Party| network.is_none_or(|network| *party.network == *network);
                let mut found: Vec<Party> = atlas.having(*ip).filter(of).cloned().collect();
                if found.is_empty() {
                    found.push(atlas.who(network.unwrap_or("default"), *ip));
                }
                for party in &mut found {
                    party.addresses = vec![*ip];
                }
                found
            }
        };
        self.one(found, atlas)
    }

    /// The one that is meant: of the network that was named, and rather a port that is there than one of another zone.
    fn one(&self, mut found: Vec<Party>, atlas: &Atlas) -> Result<Party, RefError> {
        if let Some(network) = &self.network {
            found.retain(|party| *party.network == **network);
        }
        if found.iter().any(|party| party.place.is_some()) {
            found.retain(|party| party.place.is_some());
        }
        // A pod's traffic is in its first network. An address may be that of different pods.
        if !matches!(self.kind, Kind::Address(_)) {
            let networks = found.iter().map(|party| &party.network);
            let primary = networks.clone().find(|network| atlas.is_primary(network));
            let default = || networks.clone().find(|network| ***network == *"default");
            if let Some(first) = primary.or_else(default).cloned() {
                found.retain(|party| party.network == first);
            }
        }
        let mut networks: Vec<&str> = found.iter().map(|party| &*party.network).collect();
        networks.sort_unstable();
        networks.dedup();
        if networks.len() > 1 {
            let names = networks.into_iter();
            return Err(RefError::Several {
                wanted: self.to_string(),
                found: names.map(|network| format!("{self}@{network}")).collect(),
            });
        }
        match found.into_iter().next() {
            Some(party) => Ok(party),
            None => Err(RefError::Unknown(self.unknown(atlas))),
        }
    }

    fn unknown(&self, atlas: &Atlas) -> String {
        let (what, wanted, mut known): (_, String, Vec<String>) = match &self.kind {
            Kind::Pod(..) | Kind::Address(_) => (
                "logical switch port of a pod",
                self.to_string(),
                labels(atlas, EndpointKind::Pod),
            ),
            Kind::Service(..) => (
                "load balancer of a service",
                self.to_string(),
                atlas
                    .services()
                    .iter()
                    .map(|service| service.party().label())
                    .collect(),
            ),
            Kind::Node(_) => (
                "node's management port",
                self.to_string(),
                labels(atlas, EndpointKind::Management),
            ),
        };
        known.sort_unstable();
        known.dedup();
        let bare = wanted.split('@').next().unwrap_or_default();
        let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let mut near: Vec<(u32, &String)> = known
            .iter()
            .filter_map(|name| {
                let whole = strsim::jaro_winkler(bare, name);
                let alone = 0.99 * strsim::jaro_winkler(&last(bare), &last(name));
                let like = whole.max(alone);
                (like > 0.8).then_some(((1e6 * (1.0 - like)) as u32, name))
            })
            .collect();
        near.sort_unstable();
        let near: Vec<&str> = near.iter().take(3).map(|(_, name)| name.as_str()).collect();
        let mut text = format!(
            "cannot know: there is no {wanted}: no {what} of that name among {} in these rows",
            known.len()
        );
        if !near.is_empty() {
            text.push_str(&format!("; is it {}?", near.join(" or ")));
        }
        text
    }
}

fn labels(atlas: &Atlas, kind: EndpointKind) -> Vec<String> {
    let parties = atlas.parties().iter();
    let of_kind = parties.filter(|party| party.kind == kind);
    of_kind.map(Party::label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        for text in [
            "shop/web-1",
            "svc/shop/web",
            "node/n1",
            "10.0.0.1",
            "fd00::1",
            "10.0.0.1@blue",
            "shop/web@blue",
        ] {
            let read: Ref = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        assert_eq!(
            "pod/shop/web".parse::<Ref>().unwrap().to_string(),
            "shop/web"
        );
        assert_eq!("[fd00::1]".parse::<Ref>().unwrap().to_string(), "fd00::1");
        for text in ["", "web", "/web", "shop/", "svc/web", "a/b/c", "10.0.0.1@"] {
            assert!(text.parse::<Ref>().is_err(), "{text}");
        }
    }
}
