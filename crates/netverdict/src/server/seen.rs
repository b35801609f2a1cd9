//! What a tenant is told of an explanation.

use netverdict_manifest::{FileId, read};
use netverdict_server::Asker;
use netverdict_types::EndpointKind;
use netverdict_verdict::explain::{Case, Explanation, Mend, Party, Way};

/// An explanation as one may see it who does not see all; `None` where it is about others.
///
/// Of policies it tells those of their namespaces, and those without a namespace that are about
/// their packets. Single flows and general notes may be about others, and are left out.
pub(super) fn seen(mut explanation: Explanation, asker: &Asker) -> Option<Explanation> {
    let is_theirs = |party: &Party| party.namespace.is_some() && may(asker, party);
    if !is_theirs(&explanation.from) || !is_theirs(&explanation.to) {
        return None;
    }
    explanation.left_out.retain(|it| is_own(asker, it));
    explanation.notes.clear();
    for case in &mut explanation.cases {
        if !show(case, asker) {
            return None;
        }
    }
    Some(explanation)
}

/// Leaves out of a case what is about others; false where all is.
fn show(case: &mut Case, asker: &Asker) -> bool {
    let backend = case.service.as_ref().and_then(|it| it.backend.as_ref());
    if backend.is_some_and(|party| !may(asker, party)) {
        return false;
    }
    let ways = std::iter::once(&mut case.request).chain(&mut case.reply);
    for way in ways {
        if !way_is_theirs(way, asker) {
            return false;
        }
        way.walk.clear();
    }
    if let Some(near) = &mut case.near {
        near.isolating.retain(|it| is_own(asker, &it.object));
        near.misses.retain(|it| is_own(asker, &it.source.object));
    }
    case.fix = case.fix.take().and_then(|fix| mended(fix, asker));
    true
}

fn way_is_theirs(way: &mut Way, asker: &Asker) -> bool {
    way.stations.iter_mut().all(|station| {
        let tiers = station.tiers.iter_mut();
        let refused = station.refused.iter_mut().map(|it| &mut it.ruling);
        let mut rulings = tiers.filter_map(|it| it.ruling.as_mut()).chain(refused);
        rulings.all(|ruling| {
            ruling
                .sources
                .retain(|it| is_own(asker, &it.object) || !it.object.contains('/'));
            let others = ruling.sources.iter_mut();
            let others = others.filter(|it| !is_own(asker, &it.object));
            // Where these are written is another's affair.
            others.for_each(|it| it.spot = None);
            let namespace = ruling.owner.namespace.as_deref();
            namespace.is_none_or(|it| asker.sees(Some(it)))
        })
    })
}

/// A change of objects of theirs, and what it does among them.
fn mended(mut fix: Mend, asker: &Asker) -> Option<Mend> {
    if !fix.parts.iter().all(|part| is_own(asker, &part.object)) {
        return None;
    }
    for part in &mut fix.parts {
        part.diff = changed(&part.diff);
        // A list may have objects of others.
        if read(FileId::default(), &part.text).objects.len() != 1 {
            part.text.clear();
        }
    }
    let of_all = fix.opens.len();
    let is_told = |pair: &String| {
        let ends = pair.split(" on ").next().unwrap_or_default();
        ends.split(" -> ").all(|end| {
            let end = end.strip_prefix("svc/").unwrap_or(end);
            let namespace = end.split_once('/').map(|(namespace, _)| namespace);
            asker.sees(namespace)
        })
    };
    fix.opens.retain(is_told);
    fix.closes.retain(is_told);
    fix.complete &= fix.opens.len() == of_all;
    Some(fix)
}

/// The lines of a diff that change: those around them may be of other objects in the same file.
fn changed(diff: &str) -> String {
    let hunks = diff.lines().skip_while(|line| !line.starts_with("@@"));
    let changed = hunks.filter(|line| line.starts_with(['+', '-']));
    changed.map(|line| format!("{line}\n")).collect()
}

fn may(asker: &Asker, party: &Party) -> bool {
    match party.namespace.as_deref() {
        None => party.kind == EndpointKind::External,
        namespace => asker.sees(namespace),
    }
}

/// True for an object of a namespace of theirs: `NetworkPolicy shop/web`.
fn is_own(asker: &Asker, object: &str) -> bool {
    let name = object.split_once(' ').map(|(_, name)| name);
    let namespace = name.and_then(|name| Some(name.split_once('/')?.0));
    asker.sees_all() || namespace.is_some_and(|it| asker.sees(Some(it)))
}
