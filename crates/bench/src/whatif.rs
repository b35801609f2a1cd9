//! Recorded connections judged again under other policies.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use netverdict_manifest::{FileId, Object, Spec, read};
use netverdict_policy::Compiler;
use netverdict_types::{
    Connection, ConnectionId, Endpoint, EndpointKind, Socket, TcpFlags, Timestamp, Verdict,
};
use netverdict_verdict::{Reach, northbounds};
use netverdict_whatif::{Recorded, whatif};

use crate::figure;
use crate::machine::thread_time;
use crate::policies::{cluster, objects, options};

const CONNECTIONS: usize = 10_000_000;
const KEYS: usize = 200_000;
const POLICIES: usize = 2_000;
const PODS: usize = 20_000;
const NODES: usize = 40;
/// Connections that are there at the same time, as they come from a decoder.
const BATCH: usize = 1_000;

/// What the cluster's default denies become: most connections are let through.
const OPEN: [&str; 2] = [
    "  podSelector: {}\n  policyTypes: [Ingress, Egress]\n",
    "  podSelector: {}\n  ingress: [{ports: [{port: 8080}, {port: 443}]}]\n",
];

/// What is changed: one namespace lets in no more but its own.
const CHANGE: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: policy-7, namespace: ns-7}
spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {}}]}]
";

pub(crate) fn run() -> Result<()> {
    let text = cluster(POLICIES, PODS, NODES).replace(OPEN[0], OPEN[1]);
    let all = objects(&text, POLICIES)?;
    let pods: Vec<(IpAddr, Arc<Endpoint>)> = all.iter().filter_map(pod).collect();
    let mut compiler = Compiler::new(options());
    for object in all {
        compiler.put(object);
    }
    compiler.compile();
    let zones = northbounds(&compiler);

    let mut recorded = Recorded::default();
    let mut taking = Duration::ZERO;
    let mut batch = Vec::with_capacity(BATCH);
    let mut random = 1_u64;
    for number in 0..CONNECTIONS {
        random = next(random);
        // Each pair comes at least once.
        let key = match number < KEYS {
            true => number,
            false => (random >> 33) as usize % KEYS,
        };
        batch.push(connection(&pods, key, number));
        if batch.len() == BATCH {
            let start = thread_time();
            recorded.take(&batch);
            taking += thread_time() - start;
            batch.clear();
        }
    }

    let start = thread_time();
    for object in read(FileId(1), CHANGE).objects {
        compiler.put(object);
    }
    compiler.compile();
    let changed = northbounds(&compiler);
    let compiling = thread_time() - start;
    let start = thread_time();
    let pairs = recorded.pairs();
    let grouping = thread_time() - start;
    let start = thread_time();
    let (before, after) = (Reach::new(&zones), Reach::new(&changed));
    let report = black_box(whatif(&pairs, &before, &after));
    let judging = thread_time() - start;
    ensure!(pairs.len() == KEYS, "{} pairs", pairs.len());
    ensure!(report.judged == KEYS, "{:?}", report.unjudged.first());
    ensure!(!report.changes.is_empty(), "nothing changed");
    let whole = taking + compiling + grouping + judging;
    eprintln!(
        "whatif_10m: {CONNECTIONS} connections of {PODS} pods with {KEYS} pairs, {POLICIES} NetworkPolicies, one of \
         which is changed: {} pairs fare otherwise; {:.0} ms to take the connections, {:.0} ms to compile the change, \
         {:.0} ms to name the pairs, {:.0} ms to judge them; one thread",
        report.changes.len(),
        taking.as_secs_f64() * 1e3,
        compiling.as_secs_f64() * 1e3,
        grouping.as_secs_f64() * 1e3,
        judging.as_secs_f64() * 1e3,
    );
    figure(
        "whatif_10m",
        format_args!("{:.2}", whole.as_secs_f64()),
        "s",
    );
    Ok(())
}

fn next(state: u64) -> u64 {
    state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}

fn pod(object: &Object) -> Option<(IpAddr, Arc<Endpoint>)> {
    let Spec::Pod(pod) = &object.spec else {
        return None;
    };
    let address = pod.addresses.iter().find(|address| address.is_ipv4())?;
    let endpoint = Endpoint {
        kind: EndpointKind::Pod,
        namespace: Some(object.key.namespace.to_string()),
        name: Some(object.key.name.to_string()),
        node: None,
    };
    Some((*address, Arc::new(endpoint)))
}

/// A connection of a pair: each key another client, server or port.
fn connection(pods: &[(IpAddr, Arc<Endpoint>)], key: usize, number: usize) -> Connection {
    let client = key % pods.len();
    let server = (client + 1 + 17 * (key / pods.len())) % pods.len();
    let port = [8_001, 8_080, 9_003, 443, 53][key % 5];
    let at = Timestamp(number as i64 * 1_000_000);
    let end = |pod: usize| pods.get(pod).map(|(_, endpoint)| endpoint.clone());
    let ip = |pod: usize| pods.get(pod).map_or(IpAddr::from([0; 4]), |(ip, _)| *ip);
    Connection {
        id: ConnectionId(number as u128),
        seq: 0,
        network: None,
        protocol: 6,
        client: Socket {
            ip: ip(client),
            port: Some(40_000),
        },
        server: Socket {
            ip: ip(server),
            port: Some(port),
        },
        icmp: None,
        src: end(client),
        dst: end(server),
        service: None,
        start: at,
        end: at,
        verdict: Verdict::Allowed,
        egress: None,
        ingress: None,
        tcp_flags: TcpFlags::default(),
        counts: Vec::new(),
        changes: Vec::new(),
    }
}
