//! The demo's cluster: manifests as rows, rows as a twin, and the files by which any command can look at it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use netverdict_manifest::{Key, Kind, Protocol, Spec};
use netverdict_ovsdb::{Datum, Replica, Row};
use netverdict_pipeline::emit::Node;
use netverdict_pipeline::journey::Twin;
use netverdict_pipeline::{Lport, Northbound, Packet, Stages};

use super::traffic::{CALLS, Call, Start, Target};
use crate::bundle::write_dump;
use crate::compile::World;
use crate::databases::{Databases, Remote};

/// The shop, as it is in the repository.
const SHOP: [(&str, &str); 4] = [
    (
        "1-nodes.yaml",
        include_str!("../../../../demo/shop/1-nodes.yaml"),
    ),
    (
        "2-namespaces.yaml",
        include_str!("../../../../demo/shop/2-namespaces.yaml"),
    ),
    (
        "3-workloads.yaml",
        include_str!("../../../../demo/shop/3-workloads.yaml"),
    ),
    (
        "4-policies.yaml",
        include_str!("../../../../demo/shop/4-policies.yaml"),
    ),
];

/// Writes the shop's manifests into a directory.
pub(super) fn write_shop(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    for (name, text) in SHOP {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Makes the databases of a zone and their dumps, as `ovsdb-client dump -f json` prints them.
pub(super) fn write_dumps(
    rows: &[Row],
    northbound: &Northbound,
    node: &Node,
    directory: &Path,
    databases: &mut Databases,
) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let bindings = northbound.switches().map(|(id, switch)| {
        let ids = [
            ("name", &*switch.name),
            ("logical-switch", &switch.uuid.to_string()),
        ];
        let columns = [
            ("tunnel_key", Datum::from(i64::from(node.key(id)))),
            ("external_ids", Datum::map_of(ids)),
        ];
        Row::new("Datapath_Binding", switch.uuid, columns)
    });
    let ports = northbound.ports.iter().enumerate().skip(1);
    let interfaces = ports.filter_map(|(number, port)| {
        let interface = node.interface(Lport(number as u32))?;
        let columns = [
            ("name", Datum::from(&*interface.name)),
            ("ifindex", Datum::from(i64::from(interface.index))),
            ("external_ids", Datum::map_of([("iface-id", &*port.name)])),
        ];
        Some(Row::new("Interface", port.uuid, columns))
    });
    databases.nb.push(dump(
        directory,
        "nb.json",
        "OVN_Northbound",
        rows.iter().cloned(),
    )?);
    databases
        .sb
        .push(dump(directory, "sb.json", "OVN_Southbound", bindings)?);
    databases.ovs.push(dump(
        directory,
        "ovs.json",
        "Open_vSwitch",
        interfaces.chain(bridge(northbound, node)),
    )?);
    Ok(())
}

/// The node's bridge, and where it sends samples.
fn bridge(northbound: &Northbound, node: &Node) -> Vec<Row> {
    let Some((_, switch)) = northbound.switches().next() else {
        return Vec::new();
    };
    // A row of another database lends its id.
    let uuid = switch.uuid;
    let capabilities = Datum::map_of([("psample", "true")]);
    let datapaths = Datum::map_of([("system", uuid)]);
    let mut rows = vec![
        Row::new("Open_vSwitch", uuid, [("datapaths", datapaths)]),
        Row::new("Datapath", uuid, [("capabilities", capabilities)]),
        Row::new("Bridge", uuid, [("name", Datum::from("br-int"))]),
    ];
    let mut told = BTreeSet::new();
    for (id, collector) in &northbound.collectors {
        let set = collector.set_id;
        if let Some(group) = node.group(set)
            && told.insert(set)
        {
            let columns = [
                ("id", Datum::from(i64::from(set))),
                ("bridge", Datum::from(uuid)),
                ("local_group_id", Datum::from(i64::from(group))),
                (
                    "external_ids",
                    Datum::map_of([("owner", "netverdict demo")]),
                ),
            ];
            rows.push(Row::new("Flow_Sample_Collector_Set", *id, columns));
        }
    }
    rows
}

fn dump(
    directory: &Path,
    name: &str,
    database: &str,
    rows: impl IntoIterator<Item = Row>,
) -> Result<Remote> {
    let path = directory.join(name);
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    let mut out = BufWriter::new(file);
    write_dump(&mut out, &Replica::from_rows(database, rows))?;
    out.flush().with_context(|| path.display().to_string())?;
    Ok(Remote::Dump(path))
}

/// The connections that the pods want to make, by what their annotations say; without any such annotation each pod calls some services.
pub(super) fn wishes(world: &World, seed: u64) -> Result<Vec<(Key, Call)>> {
    let mut wishes = Vec::new();
    let mut services = Vec::new();
    let mut pods = Vec::new();
    for object in world.objects().objects.values() {
        match &object.spec {
            Spec::Pod(pod) if !pod.host_network && !pod.completed => pods.push(&object.key),
            Spec::Service(service) if !service.cluster_ips.is_empty() => {
                let ports = service.ports.iter().map(|port| (port.protocol, port.port));
                services.extend(ports.map(|port| (&object.key, port)));
            }
            _ => {}
        }
        for text in object
            .meta
            .annotations
            .get(CALLS)
            .iter()
            .flat_map(|text| text.value.split_whitespace())
        {
            let call = text
                .parse()
                .map_err(|why| anyhow!("{}: {why}", object.key))?;
            wishes.push((object.key.clone(), call));
        }
    }
    if wishes.is_empty() {
        let mut random = fastrand::Rng::with_seed(seed);
        for pod in pods {
            for _ in 0..4 {
                let Some((service, (protocol, port))) = random.choice(&services) else {
                    break;
                };
                let call = Call {
                    target: Target::Service {
                        namespace: service.namespace.to_string(),
                        name: service.name.to_string(),
                    },
                    protocol: match protocol {
                        Protocol::Tcp => 6,
                        Protocol::Udp => 17,
                        Protocol::Sctp => 132,
                    },
                    port: *port,
                    rate: 0.5,
                };
                wishes.push((pod.clone(), call));
            }
        }
    }
    Ok(wishes)
}

/// Where a connection begins and its first packet, in each IP family that both ends have.
pub(super) fn starts(
    world: &World,
    twin: &Twin<impl Stages>,
    from: &Key,
    call: &Call,
) -> Vec<Start> {
    let Some(place) = twin.place(&format!("{}_{}", from.namespace, from.name)) else {
        return Vec::new();
    };
    let targets = match &call.target {
        Target::Address(address) => vec![*address],
        Target::Pod { namespace, name } => addresses(world, Kind::Pod, namespace, name),
        Target::Service { namespace, name } => addresses(world, Kind::Service, namespace, name),
    };
    let sources = addresses(world, Kind::Pod, &from.namespace, &from.name);
    let starts = targets.into_iter().filter_map(|dst| {
        let src = *sources.iter().find(|src| src.is_ipv4() == dst.is_ipv4())?;
        let (src, dst) = (SocketAddr::new(src, 0), SocketAddr::new(dst, call.port));
        let packet = match call.protocol {
            17 => Packet::udp(src, dst),
            132 => Packet::sctp(src, dst),
            1 => Packet::icmp_echo(src.ip(), dst.ip(), 0),
            _ => Packet::tcp(src, dst),
        };
        Some(Start {
            place,
            packet,
            bulk: from.name.starts_with("iperf"),
        })
    });
    starts.collect()
}

fn addresses(world: &World, kind: Kind, namespace: &str, name: &str) -> Vec<IpAddr> {
    let key = Key {
        kind,
        namespace: namespace.into(),
        name: name.into(),
    };
    match world.objects().objects.get(&key).map(|object| &object.spec) {
        Some(Spec::Pod(pod)) => pod.addresses.clone(),
        Some(Spec::Service(service)) => service.cluster_ips.clone(),
        _ => Vec::new(),
    }
}
