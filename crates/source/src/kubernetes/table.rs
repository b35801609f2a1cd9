use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use netverdict_manifest::{Key, Kind};
use netverdict_types::Endpoint;
use netverdict_verdict::NameChange;

use super::object::{self, Facts, Place};

/// Who has which address, by all objects together.
///
/// Where two objects claim one address, a node is believed before a pod before a service, and of
/// two alike the younger: an address of a pod that is going away may have a new owner already.
/// The outcome does not depend on the order in which objects came.
#[derive(Debug, Default)]
pub(crate) struct Table {
    objects: HashMap<Key, Held>,
    addresses: HashMap<Address, BTreeMap<Claimant, Endpoint>>,
    /// The network of each attachment that is known.
    networks: HashMap<String, String>,
    /// Who had the addresses that changed, before they did.
    before: BTreeMap<Address, Option<Endpoint>>,
}

/// Network and address.
type Address = (String, IpAddr);

/// The first is believed.
type Claimant = (Kind, Reverse<String>, Key);

#[derive(Debug)]
struct Held {
    claims: Vec<object::Claim>,
    born: String,
    /// Where the claims stand in the table.
    addresses: Vec<Address>,
}

impl Table {
    /// Takes an object as it is now.
    pub(crate) fn put(&mut self, key: Key, facts: Facts) {
        if key.kind == Kind::NetworkAttachmentDefinition {
            self.set_network(&key, facts.network);
        }
        self.withdraw(&key);
        let held = Held {
            claims: facts.claims,
            born: facts.born,
            addresses: Vec::new(),
        };
        self.objects.insert(key.clone(), held);
        self.claim(&key);
    }

    /// Forgets an object.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn remove(&mut self, key: &Key) {
        if key.kind == Kind::NetworkAttachmentDefinition {
            self.set_network(key, None);
        }
        self.withdraw(key);
        self.objects.remove(key);
    }

    /// Forgets the objects of a kind that a whole list did not name.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn keep(&mut self, kind: Kind, named: &HashSet<Key>) {
        let is_gone = |key: &&Key| key.kind == kind && !named.contains(key);
        let gone: Vec<Key> = self.objects.keys().filter(is_gone).cloned().collect();
        for key in gone {
            self.remove(&key);
        }
    }

    /// What changed since this was last asked.
    pub(crate) fn changes(&mut self) -> Vec<NameChange> {
        let before = std::mem::take(&mut self.before);
        let changed = before.into_iter().filter_map(|(address, old)| {
            let new = self.owner(&address);
            (old.as_ref() != new).then(|| NameChange {
                endpoint: new.cloned(),
                network: address.0,
                ip: address.1,
            })
        });
        changed.collect()
    }

    fn owner(&self, address: &Address) -> Option<&Endpoint> {
        Some(self.addresses.get(address)?.first_key_value()?.1)
    }

    fn set_network(&mut self, definition: &Key, network: Option<String>) {
        let attachment = &format!("{}/{}", definition.namespace, definition.name);
        let before = match network {
            Some(network) if self.networks.get(attachment) == Some(&network) => return,
            Some(network) => self.networks.insert(attachment.clone(), network),
            None => match self.networks.remove(attachment) {
                None => return,
                before => before,
            },
        };
        drop(before);
        let attached = |held: &Held| {
            let mut places = held.claims.iter().map(|claim| &claim.place);
            places.any(|place| matches!(place, Place::Attachment(name) if name == attachment))
        };
        let moved: HashSet<Key> = self
            .objects
            .iter()
            .filter(|(_, held)| attached(held))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &moved {
            self.withdraw(id);
            self.claim(id);
        }
    }

    fn withdraw(&mut self, id: &Key) {
        let Some(held) = self.objects.get_mut(id) else {
            return;
        };
        let claimant = claimant(id, &held.born);
        for address in std::mem::take(&mut held.addresses) {
            self.note(&address);
            if let Some(claims) = self.addresses.get_mut(&address) {
                claims.remove(&claimant);
                if claims.is_empty() {
                    self.addresses.remove(&address);
                }
            }
        }
    }

    fn claim(&mut self, id: &Key) {
        let Some(held) = self.objects.get_mut(id) else {
            return;
        };
        let claimant = claimant(id, &held.born);
        let mut claims = Vec::with_capacity(held.claims.len());
        for claim in &held.claims {
            let network = match &claim.place {
                Place::Network(network) => network.clone(),
                Place::Attachment(attachment) => match self.networks.get(attachment) {
                    Some(network) => network.clone(),
                    None => attachment.replacen('/', "_", 1),
                },
            };
            let address = (network, claim.ip);
            held.addresses.push(address.clone());
            claims.push((address, claim.endpoint.clone()));
        }
        for (address, endpoint) in claims {
            self.note(&address);
            let claims = self.addresses.entry(address).or_default();
            claims.insert(claimant.clone(), endpoint);
        }
    }

    fn note(&mut self, address: &Address) {
        if !self.before.contains_key(address) {
            let owner = self.owner(address).cloned();
            self.before.insert(address.clone(), owner);
        }
    }
}

fn claimant(key: &Key, born: &str) -> Claimant {
    (key.kind, Reverse(born.to_owned()), key.clone())
}
