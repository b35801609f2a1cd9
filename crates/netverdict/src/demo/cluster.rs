//! The demo's cluster: manifests as rows, rows as a twin, and the files by which any command can look at it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use netverdict_manifest::{Key, Object, Spec};
use netverdict_ovsdb::{Atom, Datum, Replica, Row};
use netverdict_pipeline::journey::Place;
use netverdict_pipeline::{L4, Packet};
use uuid::Uuid;

use super::traffic::{CALLS, Call, Start, Target};
use crate::bundle::write_dump;

/// The shop, as it is in the repository.
const SHOP: [(&str, &str); 4] = [
    ("1-nodes.yaml", include_str!("../../../../demo/shop/1-nodes.yaml")),
    ("2-namespaces.yaml", include_str!("../../../../demo/shop/2-namespaces.yaml")),
    ("3-workloads.yaml", include_str!("../../../../demo/shop/3-workloads.yaml")),
    ("4-policies.yaml", include_str!("../../../../demo/shop/4-policies.yaml")),
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

/// A zone of the cluster and its rows.
pub(super) struct Zone {
    pub(super) name: Arc<str>,
    pub(super) rows: Vec<Row>,
    pub(super) northbound: Northbound,
}

impl Zone {
    /// All zones of a compiled world.
    pub(super) fn all(world: &World) -> Result<Vec<Self>> {
        let zones = world.zones_named(None)?.into_iter();
        Ok(zones.map(|name| Self::new(world, name)).collect())
    }

    fn new(world: &World, name: Arc<str>) -> Self {
        let compiled = world.rows(&name).into_iter();
        let mut rows: Vec<Row> = compiled
            .map(|row| Row::new(row.table.as_str(), row.uuid, row.columns_in(&name)))
            .collect();
        let global = [("name", Datum::from(&*name))];
        rows.push(Row::new("NB_Global", Uuid::from_u128(1), global));
        let northbound = Northbound::new(&rows);
        Self {
            name,
            rows,
            northbound,
        }
    }

    /// The key of a switch's datapath: what northd would choose is not ours to know.
    pub(super) fn datapath_key(switch: SwitchId) -> u32 {
        switch.0 + 1
    }

    /// The index of the interface that carries a port.
    pub(super) fn interface_index(port: Lport) -> u16 {
        port.0.try_into().unwrap_or(u16::MAX)
    }

    /// Writes the zone's databases as dumps, as `ovsdb-client dump -f json` prints them.
    pub(super) fn write(&self, directory: &Path, databases: &mut Databases) -> Result<()> {
        let bindings = self.northbound.switches().map(|(id, switch)| {
            let ids = [
                ("name", &*switch.name),
                ("logical-switch", &switch.uuid.to_string()),
            ];
            let columns = [
                ("tunnel_key", Datum::from(i64::from(Self::datapath_key(id)))),
                ("external_ids", Datum::map_of(ids)),
            ];
            Row::new("Datapath_Binding", switch.uuid, columns)
        });
        let interfaces = self.northbound.ports.iter().enumerate().skip(1);
        let interfaces = interfaces.map(|(number, port)| {
            let index = Self::interface_index(Lport(number as u32));
            let columns = [
                ("name", Datum::from(&*port.name)),
                ("ifindex", Datum::from(i64::from(index))),
                ("external_ids", Datum::map_of([("iface-id", &*port.name)])),
            ];
            Row::new("Interface", port.uuid, columns)
        });
        databases.nb.push(dump(directory, "nb.json", "OVN_Northbound", self.rows.clone())?);
        databases.sb.push(dump(directory, "sb.json", "OVN_Southbound", bindings)?);
        databases.ovs.push(dump(directory, "ovs.json", "Open_vSwitch", interfaces)?);
        Ok(())
    }
}

fn dump(
    directory: &Path,
    name: &str,
    database: &str,
    rows: impl IntoIterator<Item = Row>,
) -> Result<Remote> {
    let path = directory.join(name);
    let written = File::create(&path).map_err(Into::into).and_then(|file| {
        let mut out = BufWriter::new(file);
        write_dump(&mut out, &Replica::from_rows(database, rows))?;
        Ok(out.flush()?)
    });
    written.with_context(|| path.display().to_string())?;
    Ok(Remote::Dump(path))
}

/// The connections that the pods want to make, by what their annotations say; without any such annotation each pod calls some services.
pub(super) fn wishes(world: &World, seed: u64) -> Result<Vec<(Key, Call)>> {
    let mut wishes = Vec::new();
    let mut services = Vec::new();
    let mut pods = Vec::new();
    for object in world.objects() {
        match &object.spec {
            Spec::Pod(pod) if !pod.host_network && !pod.completed => pods.push(&object.key),
            Spec::Service(service) if !service.cluster_ips.is_empty() => {
                let ports = service.ports.iter().map(|port| (port.protocol, port.port));
                services.extend(ports.map(|port| (&object.key, port)));
            }
            _ => {}
        }
        for text in object.meta.annotations.get(CALLS).iter().flat_map(|text| text.value.split_whitespace()) {
            let call = text.parse().map_err(|why| anyhow!("{}: {why}", object.key))?;
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
                    protocol: protocol.number(),
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
pub(super) fn starts(world: &World, zones: &[Zone], from: &Key, call: &Call) -> Vec<Start> {
    let addresses: Vec<IpAddr> = match &call.target {
        Target::Address(address) => vec![*address],
        Target::Pod { namespace, name } => world
            .object(Kind::Pod, namespace, name)
            .map(|object| addresses(&object.spec))
            .unwrap_or_default(),
        Target::Service { namespace, name } => world
            .object(Kind::Service, namespace, name)
            .map(|object| addresses(&object.spec))
            .unwrap_or_default(),
    };
    let port_name = format!("{}_{}", from.namespace, from.name);
    let mut places = zones.iter().enumerate().filter_map(|(zone, it)| {
        Some((it, Place { zone, port: it.northbound.port_named(&port_name)? }))
    });
    let Some((zone, place)) = places.next() else {
        return Vec::new();
    };
    let Some(port) = zone.northbound.port(place.port) else {
        return Vec::new();
    };
    let hosts: Vec<IpAddr> = port.hosts().flat_map(|(_, addresses)| addresses).collect();
    let pairs = addresses.iter().filter_map(|dst| {
        let src = hosts.iter().find(|src| src.is_ipv4() == dst.is_ipv4())?;
        Some((*src, *dst))
    });
    pairs
        .map(|(src, dst)| Start {
            place,
            packet: first_packet(src, dst, call),
            bulk: from.name.starts_with("iperf"),
        })
        .collect()
}

fn addresses(spec: &Spec) -> Vec<IpAddr> {
    match spec {
        Spec::Pod(pod) => pod.addresses.clone(),
        Spec::Service(service) => service.cluster_ips.clone(),
        _ => Vec::new(),
    }
}
