//! Identifiers that ovn-kubernetes derives by hashing (go-controller, `libovsdb/ops` and
//! `util.HashForOVN`).

use netverdict_types::Action;

/// Keys of `external_ids` that ovn-kubernetes writes.
pub mod key {
    /// The controller that owns a row: `<network>-network-controller`.
    pub const OWNER_CONTROLLER: &str = "k8s.ovn.org/owner-controller";
    /// The kind of owner, such as `NetworkPolicy`.
    pub const OWNER_TYPE: &str = "k8s.ovn.org/owner-type";
    /// The primary id, all others joined by colons.
    pub const ID: &str = "k8s.ovn.org/id";
    /// The owner's name, `namespace:name` where it has a namespace.
    pub const NAME: &str = "k8s.ovn.org/name";
    /// `Ingress` or `Egress`.
    pub const DIRECTION: &str = "direction";
    /// Index of the rule in its list.
    pub const GRESS_INDEX: &str = "gress-index";
    /// Index of an EgressFirewall's rule.
    pub const RULE_INDEX: &str = "rule-index";
    /// Protocol that the ACL stands for.
    pub const PORT_POLICY_PROTOCOL: &str = "port-policy-protocol";
    /// -2 all IP blocks, -1 selectors or no peers, else an index.
    pub const IP_BLOCK_INDEX: &str = "ip-block-index";
    /// Kind of a default rule, such as `defaultDeny`.
    pub const TYPE: &str = "type";
    /// Address that a NetpolNode ACL stands for.
    pub const IP: &str = "ip";
    /// Network of a switch or a router.
    pub const NETWORK: &str = "k8s.ovn.org/network";
    /// `namespace/name` of the service behind a load balancer.
    pub const SERVICE_OWNER: &str = "k8s.ovn.org/owner";
    /// Kind of the object behind a load balancer.
    pub const SERVICE_KIND: &str = "k8s.ovn.org/kind";
}

/// FNV-1a with 32 bits.
pub fn fnv32a<'a>(parts: impl IntoIterator<Item = &'a str>) -> u32 {
    bytes(parts).fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// FNV-1a with 64 bits.
pub fn fnv64a<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    bytes(parts).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Name of the port group or address set with this primary id.
pub fn hashed_name(primary_id: &str) -> String {
    format!("a{}", fnv64a([primary_id]))
}

/// The observation point that ovn-kubernetes gives to an ACL: it changes with the match and the
/// action, so that a changed rule does not relabel old connections.
///
/// The space is 32 bits: two ACLs can share a point.
pub fn sample_point(primary_id: &str, matches: &str, action: Action) -> u32 {
    fnv32a([primary_id, matches, action.as_str()])
}

fn bytes<'a>(parts: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = u8> {
    parts.into_iter().flat_map(str::bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_ovn_kubernetes() {
        for (id, name) in [
            (
                "AdminNetworkPolicy:cluster-control",
                "a14645450421485494999",
            ),
            (
                "AdminNetworkPolicy:cluster-control:Ingress:0:v4",
                "a14545668191619617708",
            ),
            ("BaselineAdminNetworkPolicy:default", "a9550609891683691927"),
            ("NetpolNamespace:ns1:Ingress", "a8603207690598013362"),
            (
                "PodSelector:ns1_LS{ML:{app: web,},}:v4",
                "a6680671121466927706",
            ),
            ("PodSelector:LS{}_LS{}_LNM:v4", "a727259303241632365"),
        ] {
            assert_eq!(
                hashed_name(&format!("default-network-controller:{id}")),
                name
            );
        }
    }

    #[test]
    fn points_match_ovn_kubernetes() {
        for (id, matches, action, point) in [
            (
                "NetpolNamespace:ns1:Ingress:defaultDeny",
                "outport == @a8603207690598013362",
                Action::Drop,
                2_001_666_736,
            ),
            (
                "NetpolNode:node1:10.244.0.2",
                "ip4.src==10.244.0.2",
                Action::AllowRelated,
                1_178_310_523,
            ),
            (
                "EgressFirewall:ns1:0",
                "(ip4.dst == 1.2.3.0/24) && inport == @a9633447981174624809",
                Action::Allow,
                1_727_794_866,
            ),
        ] {
            let id = format!("default-network-controller:{id}");
            assert_eq!(sample_point(&id, matches, action), point, "{id}");
        }
    }
}
