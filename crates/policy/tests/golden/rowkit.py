"""What golden cases are made of: names, rows and manifests, from the facts alone.

Nothing here comes from the compiler. Names are FNV-1a-64 of the primary id, sample ids
FNV-1a-32 of id, match and action; matches are written out by hand in cases.py.
"""

import json

C = "default-network-controller"
METER = "acl-logging"


# --- names ---------------------------------------------------------------------------------


def fnv64(text):
    h = 0xCBF29CE484222325
    for b in text.encode():
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def fnv32(text):
    h = 0x811C9DC5
    for b in text.encode():
        h = ((h ^ b) * 0x01000193) & 0xFFFFFFFF
    return h


def hashed(primary):
    return f"a{fnv64(primary)}"


def np_pg(ns, np):
    return hashed(f"{C}:NetworkPolicy:{ns}:{np}")


def deny_pg(ns, direction):
    return hashed(f"{C}:NetpolNamespace:{ns}:{direction}")


def ns_pg(ns):
    return hashed(f"{C}:Namespace:{ns}")


def admin_pg(owner, name):
    return hashed(f"{C}:{owner}:{name}")


def cluster_pg():
    return hashed(f"{C}:Cluster:clusterPortGroup")


def router_pg():
    return hashed(f"{C}:Cluster:clusterRtrPortGroup")


def udn_pg():
    return hashed(f"{C}:UDNIsolation:SecondaryPods")


def sel(key, family="v4"):
    """The set of a pod selector, by its key."""
    return hashed(f"{C}:PodSelector:{key}:{family}")


def peers(owner, name, direction, index, family="v4"):
    """The set of an administrator's rule."""
    return hashed(f"{C}:{owner}:{name}:{direction}:{index}:{family}")


# --- rows ----------------------------------------------------------------------------------

DIRECTIONS = {
    "Ingress": ("to-lport", None),
    "Egress": ("from-lport", {"apply-after-lb": "true"}),
    "Egress-before-lb": ("from-lport", None),
}


def ids(owner, pairs, controller=C):
    """external_ids of an owned row; `pairs` in the order of the primary id."""
    out = {
        "k8s.ovn.org/owner-controller": controller,
        "k8s.ovn.org/owner-type": owner,
        "k8s.ovn.org/id": ":".join([controller, owner] + [v for _, v in pairs]),
    }
    for key, value in pairs:
        out["k8s.ovn.org/name" if key == "name" else key] = value
    return out


def row(table, key, columns, zone="global", origins=None):
    out = {"zone": zone, "table": table, "key": key}
    out["columns"] = {k: v for k, v in columns.items() if v not in (None, False, "", [], {})}
    if origins is not None:
        out["origins"] = origins
    return out


def acl(owner, pairs, direction, priority, match, action, tier=2, name=None, log=None,
        sampled=False, zone="global", controller=C, origins=None):
    """An ACL; `direction` is Ingress, Egress or Egress-before-lb."""
    lport, options = DIRECTIONS[direction]
    external = ids(owner, pairs, controller)
    sample = str(fnv32(external["k8s.ovn.org/id"] + match + action)) if sampled else None
    return row("ACL", external["k8s.ovn.org/id"], {
        "name": name[:63] if name else None,
        "direction": lport,
        "options": options,
        "priority": priority,
        "tier": tier,
        "match": match,
        "action": action,
        "meter": METER,
        "log": log is not None,
        "severity": log,
        "sample_new": sample,
        "sample_est": sample,
        "external_ids": external,
    }, zone, origins)


def group(owner, pairs, ports=(), acls=(), zone="global", controller=C):
    external = ids(owner, pairs, controller)
    return row("Port_Group", hashed(external["k8s.ovn.org/id"]), {
        "name": hashed(external["k8s.ovn.org/id"]),
        "ports": sorted(ports),
        "acls": sorted(a["key"] for a in acls),
        "external_ids": external,
    }, zone)


def address_set(owner, pairs, addresses=(), zone="global", controller=C):
    external = ids(owner, pairs, controller)
    return row("Address_Set", hashed(external["k8s.ovn.org/id"]), {
        "name": hashed(external["k8s.ovn.org/id"]),
        "addresses": sorted(addresses),
        "external_ids": external,
    }, zone)


def selector_set(key, addresses=(), family="v4", zone="global"):
    return address_set("PodSelector", [("name", key), ("ip-family", family)], addresses, zone)


def np_acl(ns, np, direction, index, protocol, block, match, action="allow-related", log=None,
           sampled=False, zone="global", origins=None):
    return acl("NetworkPolicy", [
        ("name", f"{ns}:{np}"), ("direction", direction), ("gress-index", str(index)),
        ("port-policy-protocol", protocol), ("ip-block-index", str(block)),
    ], direction, 1001, match, action, name=f"NP:{ns}:{np}:{direction}:{index}", log=log,
        sampled=sampled, zone=zone, origins=origins)


def np_rows(ns, np, ports, acls, zone="global"):
    """The policy's port group with its ACLs."""
    return [group("NetworkPolicy", [("name", f"{ns}:{np}")], ports, acls, zone)] + list(acls)


def deny_rows(ns, ingress, egress, icmp=False, log=None, sampled=False, zone="global"):
    """Both default deny groups of a namespace, with their ACLs."""
    out = []
    for direction, port, ports in [("Ingress", "outport", ingress), ("Egress", "inport", egress)]:
        pg = deny_pg(ns, direction)

        def one(kind, priority, action, term, severity=None):
            return acl("NetpolNamespace", [("name", ns), ("direction", direction), ("type", kind)],
                       direction, priority, f"{port} == @{pg}{term}", action,
                       name=f"NP:{ns}:{direction}", log=severity, sampled=sampled, zone=zone)

        acls = [one("defaultDeny", 1000, "drop", "", log),
                one("arpAllow", 1001, "allow", " && (arp || nd)")]
        if icmp:
            acls.append(one("icmpAllow", 1001, "allow", " && (icmp || icmp6)"))
        out += [group("NetpolNamespace", [("name", ns), ("direction", direction)], ports, acls,
                      zone)] + acls
    return out


def admin_acl(owner, name, direction, index, protocol, priority, match, action, log=None,
              sampled=False, zone="global"):
    short = {"AdminNetworkPolicy": "ANP", "BaselineAdminNetworkPolicy": "BANP"}[owner]
    return acl(owner, [
        ("name", name), ("direction", direction), ("gress-index", str(index)),
        ("port-policy-protocol", protocol),
    ], direction, priority, match, action, tier=1 if short == "ANP" else 3,
        name=f"{short}:{name}:{direction}:{index}", log=log, sampled=sampled, zone=zone)


def admin_set(owner, name, direction, index, addresses=(), family="v4", zone="global"):
    return address_set(owner, [("name", name), ("direction", direction),
                               ("gress-index", str(index)), ("ip-family", family)],
                       addresses, zone)


def admin_rows(owner, name, ports, acls, zone="global"):
    return [group(owner, [("name", name)], ports, acls, zone)] + list(acls)


def ef_acl(ns, index, match, action, log=None, sampled=False, zone="global"):
    return acl("EgressFirewall", [("name", ns), ("rule-index", str(index))], "Ingress",
               10000 - index, match, action, name=f"EF:{ns}:{index}", log=log, sampled=sampled,
               zone=zone)


LB_OPTIONS = {
    "reject": "true", "event": "false", "skip_snat": "false", "neighbor_responder": "none",
    "hairpin_snat_ip": "169.254.169.5 fd69::5",
}


def balancer(ns, name, protocol, scope, vips, selection=(), zone="global", **options):
    return row("Load_Balancer", f"Service_{ns}/{name}_{protocol}_{scope}", {
        "name": f"Service_{ns}/{name}_{protocol}_{scope}",
        "protocol": protocol.lower(),
        "vips": vips,
        "selection_fields": sorted(selection),
        "options": {**LB_OPTIONS, **options},
        "external_ids": {"k8s.ovn.org/kind": "Service", "k8s.ovn.org/owner": f"{ns}/{name}"},
    }, zone)


# --- manifests -----------------------------------------------------------------------------


def labels(pairs):
    return json.dumps(pairs or {})


def namespace(name, annotations=None, primary=False, **more):
    """`primary`: it may have a primary user-defined network."""
    pairs = {"kubernetes.io/metadata.name": name, **more}
    if primary:
        pairs["k8s.ovn.org/primary-user-defined-network"] = ""
    text = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels: {labels(pairs)}\n"
    if annotations:
        text += "  annotations:\n" + "".join(f"    {k}: {json.dumps(v)}\n" for k, v in annotations.items())
    return text


def node(name, number=0, families="v4", zone=None, host=None, shares=None, annotations=None, **more):
    """A node whose subnets are 10.244.N.0/24 and fd00:10:244:N::/64, and `shares` in other networks."""
    subnets = {"v4": [f"10.244.{number}.0/24"], "v6": [f"fd00:10:244:{number}::/64"]}
    subnets["dual"] = subnets["v4"] + subnets["v6"]
    subnets = {"default": subnets[families], **(shares or {})}
    hosts = host or {"v4": [f"172.18.0.{number + 2}"], "v6": [f"fc00:f853:ccd:e793::{number + 2}"],
                     "dual": [f"172.18.0.{number + 2}", f"fc00:f853:ccd:e793::{number + 2}"]}[families]
    pairs = {"kubernetes.io/hostname": name, **more}
    cidrs = [h + ("/64" if ":" in h else "/16") for h in hosts]
    text = (
        f"apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\n  labels: {labels(pairs)}\n"
        "  annotations:\n"
        f"    k8s.ovn.org/node-subnets: '{json.dumps(subnets)}'\n"
        f"    k8s.ovn.org/host-cidrs: '{json.dumps(cidrs)}'\n"
    )
    for key, value in (annotations or {}).items():
        text += f"    {key}: '{value}'\n"
    if zone:
        text += f"    k8s.ovn.org/zone-name: {zone}\n"
    text += "status:\n  addresses:\n"
    for h in hosts:
        text += f"    - {{type: InternalIP, address: '{h}'}}\n"
    return text


def pod(ns, name, ips, node="node1", host=False, phase="Running", ports=(), annotations=None, uid=None, **more):
    ips = ips.split() if isinstance(ips, str) else ips
    text = f"apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: {ns}\n"
    if uid:
        text += f"  uid: {uid}\n"
    text += f"  labels: {labels(more)}\n"
    if annotations:
        text += "  annotations:\n" + "".join(f"    {k}: {json.dumps(v)}\n" for k, v in annotations.items())
    text += "spec:\n"
    if node:
        text += f"  nodeName: {node}\n"
    if host:
        text += "  hostNetwork: true\n"
    text += "  containers:\n    - name: main\n      image: example.com/main\n"
    if ports:
        text += "      ports:\n"
        for p in ports:
            port_name, protocol, number = p
            text += f"        - {{name: {port_name}, protocol: {protocol}, containerPort: {number}}}\n"
    text += f"status:\n  phase: {phase}\n"
    if ips:
        text += f"  podIP: '{ips[0]}'\n  podIPs:\n" + "".join(f"    - ip: '{i}'\n" for i in ips)
    return text


SUBNETS = {
    "v4": "10.244.0.0/16",
    "v6": "fd00:10:244::/48",
    "dual": "10.244.0.0/16,fd00:10:244::/48",
}

CASES = []


def case(name, about, fact, manifests, rows, families="v4", options="", tables=("ACL", "Port_Group"),
         owners=(), zones=(), keys=(), says=()):
    """Notes a case; `rows` are all rows of these tables, owners and zones, and no others."""
    assert all(c["name"] != name for c in CASES), name
    CASES.append(dict(name=name, about=about, fact=fact, manifests=manifests, rows=rows,
                      families=families, options=options, tables=tables, owners=owners,
                      zones=zones, keys=keys, says=says))


def wrapped(label, text):
    out, line = [], f"# {label}:"
    for word in text.split():
        if len(line) + 1 + len(word) > 98:
            out.append(line)
            line = "#   " + word
        else:
            line += " " + word
    return out + [line]


def texts(c):
    """The two files of a case."""
    head = wrapped("about", c["about"]) + wrapped("fact", c["fact"])
    options = f"cluster-subnet={SUBNETS[c['families']]} {c['options']}".strip()
    head.append(f"# options: {options}")
    head.append(f"# tables: {' '.join(c['tables'])}")
    for what in ("owners", "zones", "keys", "says"):
        if c[what]:
            head.append(f"# {what}: {' '.join(c[what])}")
    docs = [m.strip("\n") + "\n" for m in c["manifests"]]
    yaml = "\n".join(head) + "\n---\n" + "---\n".join(docs)
    for r in c["rows"]:
        for o in r.get("origins", []):
            # a place is told by the text that stands there, in the document that begins so
            if "at" in o:
                within, what = o.pop("at")
                start = yaml.index(what, yaml.index(within))
                o["line"] = yaml.count("\n", 0, start) + 1
                o["column"] = start - yaml.rfind("\n", 0, start)
    lines = [json.dumps(r, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
             for r in sorted(c["rows"], key=lambda r: (r["zone"], r["table"], r["key"]))]
    return yaml, "".join(line + "\n" for line in lines)
