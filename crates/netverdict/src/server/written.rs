//! Policies as they stand: what is written, and what OVN has of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use netverdict_manifest::{Key, Kind, Object, Span, Spec, read};
use netverdict_pipeline::Northbound;
use netverdict_policy::Origin;
use netverdict_server::{
    Asker, Isolated, Isolation, KnownAcl, KnownPolicy, PolicyName, Refusal, Written, WrittenAt,
    WrittenRule,
};
use netverdict_types::{Direction, EndpointKind, Owner, OwnerKind, Pipeline, Rule};
use netverdict_verdict::explain::Atlas;
use netverdict_verdict::{RuleId, document};
use uuid::Uuid;

use crate::compile::World;
use crate::twin::Twin;

const UNWRITTEN: &str = "only rows of OVN are known here: start the server with --manifests or --kubeconfig to see \
    how it is written";
const NO_OBJECT: &str = "it is not written as one object: its ACLs tell what they come from";
const GONE: &str = "there is no such object among those of --manifests or --kubeconfig";

/// What is known of a policy. Who does not see all is told of no text with other objects in it.
///
/// # Errors
/// If there is no such policy.
pub(super) fn policy(
    twin: &Twin,
    name: &PolicyName,
    asker: &Asker,
) -> Result<KnownPolicy, Refusal> {
    let kind = OwnerKind::parse(&name.kind);
    let is_of = |owner: &Owner| {
        owner.kind == kind && owner.namespace == name.namespace && owner.name == name.name
    };
    let object = key(name, &kind).and_then(|key| twin.world.as_ref()?.objects().object(&key));
    let acls = acls(twin, is_of);
    if acls.is_empty() && object.is_none() {
        return Err(Refusal::Unknown(format!(
            "there is no {} now: nothing is written of it, and no ACL is its",
            [
                Some(name.kind.as_str()),
                name.namespace.as_deref(),
                name.name.as_deref()
            ]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ")
        )));
    }
    let written = twin.world.as_ref().zip(object);
    let written = written.and_then(|(world, object)| self::written(twin, world, object, asker));
    let unwritten = match (&written, &twin.world, key(name, &kind)) {
        (Some(_), ..) => None,
        (None, None, _) => Some(UNWRITTEN),
        (None, Some(_), None) => Some(NO_OBJECT),
        (None, Some(_), Some(_)) => Some(GONE),
    };
    let isolates = match object.map(|object| &object.spec) {
        Some(Spec::NetworkPolicy(policy)) => {
            let ingress = policy.isolates_ingress.then_some(Direction::Ingress);
            let egress = policy.isolates_egress.then_some(Direction::Egress);
            ingress.into_iter().chain(egress).collect()
        }
        _ => Vec::new(),
    };
    Ok(KnownPolicy {
        unwritten: unwritten.map(str::to_owned),
        pods: pods(twin, object, &isolates, is_of),
        zones: twin.zones.iter().map(|zone| zone.name.clone()).collect(),
        written,
        isolates,
        acls,
    })
}

/// Who isolates a pod.
///
/// # Errors
/// If there is no such pod.
pub(super) fn isolation(twin: &Twin, pod: &str) -> Result<Isolation, Refusal> {
    let Some((namespace, name)) = pod.split_once('/') else {
        return Err(Refusal::Wrong(format!("{pod:?} is no NAMESPACE/POD")));
    };
    let atlas = Atlas::new(twin.northbounds());
    let is_it = |party: &&netverdict_verdict::explain::Party| {
        party.kind == EndpointKind::Pod
            && party.namespace.as_deref() == Some(namespace)
            && party.name.as_deref() == Some(name)
    };
    let ports: BTreeSet<Arc<str>> = atlas
        .parties()
        .iter()
        .filter(is_it)
        .filter_map(|party| party.port.clone())
        .collect();
    if ports.is_empty() {
        return Err(Refusal::Unknown(format!(
            "there is no pod {pod} in these rows"
        )));
    }
    let mut asked: [BTreeMap<(u8, String), Owner>; 2] = Default::default();
    let mut isolated = [false; 2];
    for zone in &twin.zones {
        let rows: BTreeSet<Uuid> = zone
            .ports
            .iter()
            .filter(|port| ports.contains(&port.name))
            .map(|port| port.uuid)
            .collect();
        let groups = zone.groups.values();
        let groups = groups.filter(|group| group.ports.iter().any(|port| rows.contains(port)));
        for row in groups
            .flat_map(|group| &group.acls)
            .filter_map(|uuid| zone.acls.get(uuid))
        {
            let owner = &row.acl.owner;
            let direction = direction(owner, row.acl.pipeline);
            let place = usize::from(direction == Direction::Egress);
            isolated[place] |= is_default_deny(owner);
            let whole = Owner {
                direction: None,
                rule: Rule::default(),
                ..owner.clone()
            };
            asked[place].insert((row.acl.tier, format!("{whole:?}")), whole);
        }
    }
    let [ingress, egress] = asked;
    let told = |direction, isolated, asked: BTreeMap<_, Owner>| {
        let asked: Vec<Owner> = asked.into_values().collect();
        let (by, complete) = isolating(
            twin,
            &Key::new(Kind::Pod, namespace, name),
            direction,
            &asked,
        );
        Isolated {
            isolated,
            by,
            complete,
            asked,
        }
    };
    Ok(Isolation {
        pod: pod.to_owned(),
        ingress: told(Direction::Ingress, isolated[0], ingress),
        egress: told(Direction::Egress, isolated[1], egress),
    })
}

/// The policies that isolate a pod, and whether these are all.
fn isolating(
    twin: &Twin,
    pod: &Key,
    direction: Direction,
    asked: &[Owner],
) -> (Vec<WrittenAt>, bool) {
    let Some(world) = &twin.world else {
        let policies = asked
            .iter()
            .filter(|owner| owner.kind == OwnerKind::NetworkPolicy);
        let places = policies.filter_map(|owner| {
            let (namespace, name) = (owner.namespace.as_ref()?, owner.name.as_ref()?);
            Some(WrittenAt {
                object: format!("NetworkPolicy {namespace}/{name}"),
                rule: None,
                file: None,
                line: None,
                column: None,
            })
        });
        return (places.collect(), false);
    };
    let objects = world.objects();
    let policies = objects.all(Kind::NetworkPolicy);
    let policies = policies.filter(|policy| objects.isolates(policy, pod, direction));
    let places = policies.map(|policy| {
        place(
            twin,
            &Origin {
                object: policy.key.clone(),
                rule: None,
                span: policy.meta.span,
            },
        )
    });
    (places.collect(), true)
}

/// The pods that a policy isolates, else those that its ACLs are on.
fn pods(
    twin: &Twin,
    object: Option<&Object>,
    isolates: &[Direction],
    is_of: impl Fn(&Owner) -> bool,
) -> Vec<String> {
    if let (Some(world), Some(policy), false) = (&twin.world, object, isolates.is_empty()) {
        let objects = world.objects();
        let pods = objects.all(Kind::Pod);
        let pods = pods.filter(|pod| {
            let mut directions = isolates.iter();
            directions.any(|direction| objects.isolates(policy, &pod.key, *direction))
        });
        return pods
            .map(|pod| format!("{}/{}", pod.key.namespace, pod.key.name))
            .collect();
    }
    let atlas = Atlas::new(twin.northbounds());
    let mut ports = BTreeSet::new();
    for zone in &twin.zones {
        let is_its = |uuid: &Uuid| zone.acls.get(uuid).is_some_and(|row| is_of(&row.acl.owner));
        let groups = zone.groups.values();
        let groups = groups.filter(|group| group.acls.iter().any(is_its));
        let rows: BTreeSet<Uuid> = groups
            .flat_map(|group| group.ports.iter().copied())
            .collect();
        ports.extend(
            zone.ports
                .iter()
                .filter(|port| rows.contains(&port.uuid))
                .map(|port| port.name.clone()),
        );
    }
    let parties = atlas.parties().iter();
    let pods: BTreeSet<String> = parties
        .filter(|party| party.kind == EndpointKind::Pod)
        .filter(|party| party.port.as_ref().is_some_and(|port| ports.contains(port)))
        .map(|party| party.label())
        .collect();
    pods.into_iter().collect()
}

/// ACLs of a policy, those that are equal in several zones once.
fn acls(twin: &Twin, is_of: impl Fn(&Owner) -> bool) -> Vec<KnownAcl> {
    let mut all: BTreeMap<_, KnownAcl> = BTreeMap::new();
    for zone in &twin.zones {
        let rows = zone.acls.iter();
        for (uuid, row) in rows.filter(|(_, row)| is_of(&row.acl.owner)) {
            let acl = &row.acl;
            let sampled_new = sampled(zone, row.sample_new);
            let sampled_est = sampled(zone, row.sample_est);
            let order = (
                acl.tier,
                std::cmp::Reverse(acl.priority),
                format!("{:?}", acl.owner),
                acl.matches.clone(),
                acl.action.as_str(),
                acl.pipeline.as_str(),
            );
            let known = all.entry(order).or_insert_with(|| KnownAcl {
                owner: acl.owner.clone(),
                id: row.id.as_deref().map(str::to_owned),
                action: acl.action,
                pipeline: acl.pipeline,
                tier: acl.tier,
                priority: acl.priority,
                matches: acl.matches.clone(),
                zones: Vec::new(),
                sampled_new,
                sampled_est,
                sources: twin
                    .origins(*uuid)
                    .iter()
                    .map(|origin| place(twin, origin))
                    .collect(),
            });
            known.zones.push(zone.name.clone());
            known.sampled_new = known.sampled_new.min(sampled_new);
            known.sampled_est = known.sampled_est.min(sampled_est);
        }
    }
    all.into_values().collect()
}

/// The share of packets that a Sample row stands for.
fn sampled(zone: &Northbound, sample: Option<Uuid>) -> f64 {
    let collectors = sample.and_then(|sample| zone.samples.get(&sample));
    let shares = collectors.into_iter().flat_map(|sample| &sample.collectors);
    let shares = shares.filter_map(|collector| zone.collectors.get(collector));
    let most = shares.map(|collector| collector.probability).max();
    f64::from(most.unwrap_or(0)) / f64::from(u16::MAX)
}

/// How an object is written.
fn written(twin: &Twin, world: &World, object: &Object, asker: &Asker) -> Option<Written> {
    let span = object.meta.span;
    let text = world.text(span)?;
    let range = document(text, span.start as usize);
    let (before, document) = (text.get(..range.start)?, text.get(range)?);
    if !asker.sees_all() && read(span.file, document).objects.len() != 1 {
        return None;
    }
    // The mark between documents is not part of them.
    let mark = match document.strip_prefix("---") {
        Some(rest) => {
            document.len()
                - rest
                    .trim_start_matches([' ', '\r'])
                    .trim_start_matches('\n')
                    .len()
        }
        None => 0,
    };
    let skipped = [before, document.get(..mark)?].concat();
    let objects = world.objects();
    let rules = [Direction::Ingress, Direction::Egress]
        .into_iter()
        .flat_map(|direction| {
            (0..).map_while(move |index| {
                let policy = object.key.clone();
                let rule = RuleId {
                    policy,
                    direction,
                    index,
                };
                Some((direction, index, objects.rule(&rule)?))
            })
        });
    let is_firewall = object.key.kind == Kind::EgressFirewall;
    let rules = rules
        .filter(|(direction, ..)| !is_firewall || *direction == Direction::Egress)
        .map(|(direction, index, span)| WrittenRule {
            direction,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            line: span.line,
            end_line: last_line(text, span),
        });
    Some(Written {
        object: object.key.to_string(),
        file: twin.names.file(span.file)?.to_owned(),
        first_line: lines(&skipped) + 1,
        text: document.get(mark..)?.trim_end().to_owned() + "\n",
        rules: rules.collect(),
    })
}

/// The line of a place's last letter.
fn last_line(text: &str, span: Span) -> u32 {
    let place = text.get(span.start as usize..span.end as usize);
    span.line + place.map_or(0, |place| lines(place.trim_end()))
}

fn lines(text: &str) -> u32 {
    let breaks = text.bytes().filter(|byte| *byte == b'\n').count();
    u32::try_from(breaks).unwrap_or(u32::MAX)
}

fn place(twin: &Twin, origin: &Origin) -> WrittenAt {
    let file = twin.names.file(origin.span.file);
    WrittenAt {
        object: origin.object.to_string(),
        rule: origin.rule.as_deref().map(str::to_owned),
        line: file.map(|_| origin.span.line),
        column: file.map(|_| origin.span.column),
        file: file.map(str::to_owned),
    }
}

/// The object behind an owner, if one object is.
fn key(name: &PolicyName, kind: &OwnerKind) -> Option<Key> {
    let (namespace, known) = (name.namespace.as_deref(), name.name.as_deref());
    Some(match kind {
        OwnerKind::EgressFirewall => {
            Key::new(Kind::EgressFirewall, namespace?, known.unwrap_or("default"))
        }
        OwnerKind::NetworkPolicy => Key::new(Kind::NetworkPolicy, namespace?, known?),
        _ => Key::new(
            Kind::parse(kind.as_str()).filter(|kind| kind.is_policy())?,
            "",
            known?,
        ),
    })
}

fn direction(owner: &Owner, pipeline: Pipeline) -> Direction {
    owner.direction.unwrap_or(match pipeline {
        Pipeline::ToLport => Direction::Ingress,
        Pipeline::FromLport | Pipeline::FromLportAfterLb => Direction::Egress,
    })
}

fn is_default_deny(owner: &Owner) -> bool {
    owner.kind == OwnerKind::NetpolNamespace && owner.rule.kind.as_deref() == Some("defaultDeny")
}
