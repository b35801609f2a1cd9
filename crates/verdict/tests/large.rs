//! Fixes among hundreds of policies: what is offered harms nobody, and what was tried leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Of helpers; tests may anyway.

mod common;

use std::fmt::Write as _;

use common::World;
use netverdict_manifest::{Key, Kind, Protocol, Spec};
use netverdict_verdict::{
    Ask, Decided, End, Objects, Reach, Space, Transport, best_fix, changes, container_ports,
    zone_rows,
};

/// Pods of ten workloads in ten namespaces, each with policies for others of them, on ports that nothing says is used.
fn texts(policies: usize) -> Vec<(String, String)> {
    let mut text = String::from("{apiVersion: v1, kind: Node, metadata: {name: n1}}\n");
    for number in 0..10 {
        let _ = write!(
            text,
            "---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: ns{number}, labels: {{t: t{number}}}}}}}\n"
        );
    }
    for number in 0..50 {
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{namespace: ns{}, name: p{number}, labels: {{app: a{}}}}}\n\
             spec: {{nodeName: n1, containers: [{{name: c}}]}}\n",
            number % 10,
            number % 7
        );
    }
    for number in 0..policies {
        let _ = write!(
            text,
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{namespace: ns{}, name: np{number}}}\n\
             spec:\n  podSelector: {{matchLabels: {{app: a{}}}}}\n  policyTypes: [Ingress]\n  ingress:\n    - from:\n        \
             - namespaceSelector: {{matchLabels: {{t: t{}}}}}\n          podSelector: {{matchLabels: {{app: a{}}}}}\n      \
             ports: [{{port: {}}}]\n",
            number % 10,
            number % 7,
            number % 9,
            number % 6,
            1000 + number
        );
    }
    vec![("all.yaml".to_owned(), text)]
}

fn pod(world: &World, namespace: &str, name: &str) -> End {
    let key = Key::new(Kind::Pod, namespace, name);
    match &world.objects[&key].spec {
        Spec::Pod(pod) => End {
            address: pod.addresses[0],
            pod: Some(key),
        },
        _ => panic!("{key} is no pod"),
    }
}

#[test]
fn a_fix_among_many_policies_harms_nobody() {
    let mut world = World::new(&texts(60));
    let zone = world.compiler.zones()[0].clone();
    let rows = zone_rows(&world.compiler, &zone);
    let before = world.rows();
    let mut denied = 0;
    for (from, to) in [((1, 1), (0, 0)), ((2, 12), (3, 23)), ((9, 49), (5, 45))] {
        let end = |(namespace, name)| pod(&world, &format!("ns{namespace}"), &format!("p{name}"));
        let ask = Ask {
            from: end(from),
            to: end(to),
            transport: Transport::Port(Protocol::Tcp, 80),
        };
        let is_denied = |reach: &Reach<'_>| reach.ask(&ask).unwrap().iter().any(Decided::denies);
        denied += usize::from(is_denied(&Reach::new(&before)));
        let objects = world.objects.clone();
        let options = world.options.clone();
        let of = Objects {
            objects: &objects,
            options: &options,
        };
        let fix = best_fix(of, &world.sources, &mut world.compiler, &ask).unwrap();
        assert!(fix.complete, "{fix:#?}");
        assert!(fix.opens.is_empty() && fix.closes.is_empty(), "{fix:#?}");
        // What was tried is gone again.
        assert_eq!(zone_rows(&world.compiler, &zone), rows);

        // The text that it shows does what it says.
        let [part] = &fix.parts[..] else {
            panic!("{fix:#?}");
        };
        let mut texts = texts(60);
        match part.is_new {
            true => texts.push(("new.yaml".to_owned(), part.diff.clone())),
            false => {
                let text = &mut texts[0].1;
                let lines = part.diff.lines().skip(3);
                let (mut old, mut new) = (String::new(), String::new());
                for line in lines {
                    let (mark, rest) = line.split_at(1);
                    if mark != "+" {
                        let _ = writeln!(old, "{rest}");
                    }
                    if mark != "-" {
                        let _ = writeln!(new, "{rest}");
                    }
                }
                assert_eq!(text.matches(&old).count(), 1, "{old}");
                *text = text.replace(&old, &new);
            }
        }
        let mended = World::new(&texts);
        let after = mended.rows();
        let (one, other) = (Reach::new(&before), Reach::new(&after));
        assert!(!is_denied(&other), "{fix:#?}");
        let space = Space::new(&[&one, &other], container_ports(mended.objects()));
        let changes = changes(&one, &other, &space);
        assert_eq!(changes.len(), 1, "{fix:#?}");
        assert!(changes[0].closed.is_empty(), "{fix:#?}");
    }
    assert_eq!(denied, 3);
}
