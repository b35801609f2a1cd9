//! What is assumed where manifests leave it out.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use netverdict_manifest::{Cidr, FileId, Key, Kind, Object, Severity, Spec, read};
use netverdict_policy::{Assumed, Options, assume, cluster_subnets};
use proptest::prelude::*;

fn objects(text: &str) -> Vec<Arc<Object>> {
    let reading = read(FileId(0), text);
    assert!(reading.diagnostics.is_empty(), "{:?}", reading.diagnostics);
    reading.objects.into_iter().map(Into::into).collect()
}

fn assumed(objects: &[Arc<Object>]) -> Assumed {
    let options = Options {
        cluster_subnets: cluster_subnets(objects.iter().map(AsRef::as_ref)),
        ..Options::default()
    };
    assume(objects, &options)
}

fn all(assumed: Assumed) -> BTreeMap<Key, Arc<Object>> {
    let objects = assumed.objects.into_iter();
    objects.map(|object| (object.key.clone(), object)).collect()
}

fn pod(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: ns1, labels: {{app: {name}}}}}\nspec:\n  containers: [{{name: c, ports: [{{name: web, containerPort: 8080}}]}}]\n{more}\n"
    )
}

fn subnets(text: &str) -> Vec<String> {
    let objects = objects(text);
    let subnets = cluster_subnets(objects.iter().map(AsRef::as_ref));
    subnets.iter().map(Cidr::to_string).collect()
}

#[test]
fn the_families_are_those_of_the_addresses() {
    let v4 = pod("a", "status: {podIPs: [{ip: 10.244.0.5}]}");
    let v6 = pod("b", "status: {podIPs: [{ip: 'fd00:10:244::5'}]}");
    assert_eq!(subnets(&pod("a", "")), ["10.244.0.0/16"]);
    assert_eq!(subnets(&v4), ["10.244.0.0/16"]);
    assert_eq!(subnets(&v6), ["fd00:10:244::/48"]);
    assert_eq!(subnets(&(v4 + &v6)), ["10.244.0.0/16", "fd00:10:244::/48"]);
    let policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: ns1}\nspec:\n  podSelector: {}\n  egress: [{to: [{ipBlock: {cidr: '2001:db8::/32'}}]}]\n  policyTypes: [Egress]\n";
    assert_eq!(subnets(policy), ["10.244.0.0/16", "fd00:10:244::/48"]);
}

#[test]
fn a_lone_pod_gets_a_node_and_an_address() {
    let Assumed {
        objects,
        diagnostics,
    } = assumed(&objects(&pod("a", "")));
    let told: Vec<&str> = diagnostics
        .iter()
        .map(|diagnostic| {
            assert_eq!(diagnostic.severity, Severity::Note);
            diagnostic.message.as_str()
        })
        .collect();
    assert_eq!(
        told,
        [
            "nodes are assumed: node-1",
            "addresses for pods are assumed on nodes: node-1",
            "addresses are assumed for pods: ns1/a",
        ]
    );
    let pod = objects.iter().find_map(|object| match &object.spec {
        Spec::Pod(pod) => Some(pod),
        _ => None,
    });
    let pod = pod.unwrap();
    assert_eq!(pod.node.as_deref(), Some("node-1"));
    assert!(pod.addresses[0].to_string().starts_with("10.244.0."));
}

#[test]
fn what_is_given_stays_as_it_is() {
    let given = objects(
        &("---\napiVersion: v1\nkind: Node\nmetadata: {name: node-7, annotations: {k8s.ovn.org/node-id: '7', k8s.ovn.org/node-subnets: '{\"default\": [\"10.244.9.0/24\"]}'}}\n"
            .to_owned()
            + &pod("a", "status: {podIPs: [{ip: 10.244.9.5}]}").replace("spec:", "spec:\n  nodeName: node-7")),
    );
    let before: BTreeMap<Key, Arc<Object>> = given
        .iter()
        .map(|object| (object.key.clone(), object.clone()))
        .collect();
    let after = all(assumed(&given));
    let key = Key::new(Kind::Pod, "ns1", "a");
    assert_eq!(before[&key], after[&key]);
    let node = Key::new(Kind::Node, "", "node-7");
    for (name, value) in &before[&node].meta.annotations {
        assert_eq!(after[&node].meta.annotations[name].value, value.value);
    }
}

#[test]
fn endpoints_are_the_pods_that_a_service_selects() {
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: ns1}\nspec:\n  selector: {app: a}\n  ports: [{port: 80, targetPort: web}]\n";
    let other = pod("b", "status: {podIPs: [{ip: 10.244.0.6}]}");
    let text = service.to_owned() + &pod("a", "status: {podIPs: [{ip: 10.244.0.5}]}") + &other;
    let after = all(assumed(&objects(&text)));
    let Spec::EndpointSlice(slice) = &after[&Key::new(Kind::EndpointSlice, "ns1", "s-v4-0")].spec
    else {
        panic!();
    };
    assert_eq!(slice.service, "s");
    assert_eq!(slice.ports[0].port, Some(8080));
    let addresses: Vec<String> = slice
        .endpoints
        .iter()
        .map(|endpoint| endpoint.addresses[0].to_string())
        .collect();
    assert_eq!(addresses, ["10.244.0.5"]);
    let Spec::Service(service) = &after[&Key::new(Kind::Service, "ns1", "s")].spec else {
        panic!();
    };
    assert!(service.cluster_ips[0].to_string().starts_with("10.96."));
    assert_eq!(service.ports[0].node_port, None);
    // Given slices are all there are.
    let slice = "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: own, namespace: ns1, labels: {kubernetes.io/service-name: s}}\naddressType: IPv4\nendpoints: []\nports: []\n";
    let after = all(assumed(&objects(&(text + slice))));
    let slices = after.keys().filter(|key| key.kind == Kind::EndpointSlice);
    assert_eq!(slices.count(), 1);
}

#[test]
fn services_with_node_ports_get_some() {
    let service = |name: &str, kind: &str, port: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: ns1}}\nspec:\n  type: {kind}\n  ports: [{{port: 80{port}}}]\n"
        )
    };
    let text = service("given", "NodePort", ", nodePort: 30080")
        + &service("none", "ClusterIP", "")
        + &service("some", "NodePort", "")
        + &service("balanced", "LoadBalancer", "");
    let after = all(assumed(&objects(&text)));
    let port = |name| match &after[&Key::new(Kind::Service, "ns1", name)].spec {
        Spec::Service(service) => service.ports[0].node_port,
        _ => None,
    };
    assert_eq!(port("given"), Some(30080));
    assert_eq!(port("none"), None);
    assert!(port("some").is_some_and(|port| (30000..32768).contains(&port)));
    assert!(port("balanced").is_some() && port("balanced") != port("some"));
}

#[test]
fn a_primary_network_gets_addresses_of_its_own() {
    let text = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ns1, labels: {k8s.ovn.org/primary-user-defined-network: ''}}\n---\napiVersion: k8s.ovn.org/v1\nkind: UserDefinedNetwork\nmetadata: {name: net, namespace: ns1}\nspec: {topology: Layer3, layer3: {role: Primary, subnets: [{cidr: 10.100.0.0/16}]}}\n".to_owned()
        + &pod("a", "");
    let after = all(assumed(&objects(&text)));
    let Spec::Pod(pod) = &after[&Key::new(Kind::Pod, "ns1", "a")].spec else {
        panic!();
    };
    let networks: Vec<(&str, String)> = pod
        .attachments
        .iter()
        .map(|of| (of.network.as_str(), of.addresses[0].to_string()))
        .collect();
    assert_eq!(networks[0].0, "default");
    assert_eq!(networks[1].0, "ns1/net");
    assert!(networks[1].1.starts_with("10.100.0.") && networks[1].1.ends_with("/24"));
    let node = &after[&Key::new(Kind::Node, "", "node-1")].meta.annotations;
    assert!(
        node["k8s.ovn.org/node-subnets"]
            .value
            .contains("\"ns1_net\":[\"10.100.0.0/24\"]")
    );
}

fn addresses(objects: &BTreeMap<Key, Arc<Object>>) -> BTreeMap<Key, (Option<String>, Vec<IpAddr>)> {
    objects
        .iter()
        .filter_map(|(key, object)| match &object.spec {
            Spec::Pod(pod) => Some((key.clone(), (pod.node.clone(), pod.addresses.clone()))),
            _ => None,
        })
        .collect()
}

proptest! {
    #[test]
    fn order_does_not_matter_and_a_new_pod_moves_few(
        names in proptest::collection::btree_set("p[a-z]{1,2}", 2..40),
        seed in any::<u64>(),
    ) {
        let nodes = "---\napiVersion: v1\nkind: Node\nmetadata: {name: n1}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: n2}\n";
        let pods = |names: &BTreeSet<String>| -> String { names.iter().map(|name| pod(name, "")).collect() };
        let mut given = objects(&(nodes.to_owned() + &pods(&names)));
        let before = all(assumed(&given));
        let middle = usize::try_from(seed % 7).unwrap() % given.len();
        given.rotate_left(middle);
        given.reverse();
        prop_assert_eq!(&all(assumed(&given)), &before);

        let places: BTreeSet<IpAddr> = addresses(&before)
            .into_values()
            .flat_map(|(_, addresses)| addresses)
            .collect();
        prop_assert_eq!(places.len(), names.len());

        let mut more = names.clone();
        more.insert("pm-new".to_owned());
        let after = addresses(&all(assumed(&objects(&(nodes.to_owned() + &pods(&more))))));
        let mut moved = 0;
        for (key, place) in addresses(&before) {
            prop_assert_eq!(&after[&key].0, &place.0);
            moved += usize::from(after[&key].1 != place.1);
        }
        // Only who wanted the address of the new one moves, and who wanted theirs.
        prop_assert!(moved <= 6, "{moved} moved");
    }
}
