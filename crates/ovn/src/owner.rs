use netverdict_ovsdb::Datum;
use netverdict_types::{Direction, Owner, OwnerKind, Rule};

use crate::ids::key;

/// Who made an ACL, by its `external_ids`.
///
/// Rows of other makers have no owner type; they keep their name where they have one.
pub fn owner(ids: &Datum, acl_name: Option<&str>) -> Owner {
    let text = |key: &str| ids.lookup(key).map(str::to_owned);
    let number = |key: &str| ids.lookup(key).and_then(|value| value.parse().ok());
    let kind = OwnerKind::parse(ids.lookup(key::OWNER_TYPE).unwrap_or_default());
    let name = ids.lookup(key::NAME);
    let (namespace, name) = match kind {
        OwnerKind::NetworkPolicy => match name.and_then(|name| name.split_once(':')) {
            Some((namespace, name)) => (Some(namespace), Some(name)),
            None => (None, name),
        },
        OwnerKind::EgressFirewall | OwnerKind::MulticastNS | OwnerKind::NetpolNamespace => {
            (name, None)
        }
        OwnerKind::Unowned => (None, acl_name.filter(|name| !name.is_empty())),
        _ => (None, name),
    };
    let direction = match kind {
        OwnerKind::EgressFirewall => Some(Direction::Egress),
        OwnerKind::NetpolNode => Some(Direction::Ingress),
        _ => ids.lookup(key::DIRECTION).and_then(Direction::parse),
    };
    Owner {
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        direction,
        rule: Rule {
            index: number(key::GRESS_INDEX).or_else(|| number(key::RULE_INDEX)),
            protocol: text(key::PORT_POLICY_PROTOCOL),
            ip_block: ids
                .lookup(key::IP_BLOCK_INDEX)
                .and_then(|value| value.parse().ok()),
            kind: text(key::TYPE),
        },
        network: ids
            .lookup(key::OWNER_CONTROLLER)
            .and_then(|controller| controller.strip_suffix("-network-controller"))
            .map(str::to_owned),
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(pairs: &[(&str, &str)]) -> Datum {
        Datum::Map(
            pairs
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
        )
    }

    #[test]
    fn every_owner_type_of_ovn_kubernetes() {
        let case = |kind: &str, pairs: &[(&str, &str)]| {
            let mut all = vec![
                (key::OWNER_TYPE, kind),
                (key::OWNER_CONTROLLER, "default-network-controller"),
            ];
            all.extend(pairs);
            let owner = owner(&ids(&all), None);
            assert_eq!(owner.network.as_deref(), Some("default"), "{kind}");
            assert_eq!(owner.kind.as_str(), kind);
            (
                owner.namespace.unwrap_or_default(),
                owner.name.unwrap_or_default(),
                owner.direction.map_or("", Direction::as_str),
                owner.rule,
            )
        };
        let name = key::NAME;
        let (namespace, policy, direction, rule) = case(
            "NetworkPolicy",
            &[
                (name, "blue:allow-server"),
                (key::DIRECTION, "Ingress"),
                (key::GRESS_INDEX, "2"),
                (key::PORT_POLICY_PROTOCOL, "tcp"),
                (key::IP_BLOCK_INDEX, "-1"),
            ],
        );
        assert_eq!(
            (namespace.as_str(), policy.as_str()),
            ("blue", "allow-server")
        );
        assert_eq!(
            (direction, rule.index, rule.ip_block),
            ("Ingress", Some(2), Some(-1))
        );
        assert_eq!(rule.protocol.as_deref(), Some("tcp"));

        let (namespace, policy, direction, rule) = case(
            "NetpolNamespace",
            &[
                (name, "blue"),
                (key::DIRECTION, "Egress"),
                (key::TYPE, "arpAllow"),
            ],
        );
        assert_eq!((namespace.as_str(), policy.as_str()), ("blue", ""));
        assert_eq!(
            (direction, rule.kind.as_deref()),
            ("Egress", Some("arpAllow"))
        );

        let (namespace, _, direction, rule) =
            case("EgressFirewall", &[(name, "blue"), (key::RULE_INDEX, "7")]);
        assert_eq!(
            (namespace.as_str(), direction, rule.index),
            ("blue", "Egress", Some(7))
        );

        let (_, node, direction, _) =
            case("NetpolNode", &[(name, "worker-1"), (key::IP, "10.244.0.2")]);
        assert_eq!((node.as_str(), direction), ("worker-1", "Ingress"));

        for kind in [
            "AdminNetworkPolicy",
            "BaselineAdminNetworkPolicy",
            "ClusterNetworkPolicy",
        ] {
            let (_, policy, direction, rule) = case(
                kind,
                &[
                    (name, "default"),
                    (key::DIRECTION, "Egress"),
                    (key::GRESS_INDEX, "0"),
                ],
            );
            assert_eq!(
                (policy.as_str(), direction, rule.index),
                ("default", "Egress", Some(0))
            );
        }
        let (namespace, ..) = case("MulticastNS", &[(name, "blue"), (key::DIRECTION, "Egress")]);
        assert_eq!(namespace, "blue");
        case(
            "MulticastCluster",
            &[(key::TYPE, "DefaultDeny"), (key::DIRECTION, "Ingress")],
        );
        for kind in [
            "UDNIsolation",
            "NetpolDefault",
            "AdvertisedNetwork",
            "ClusterNetworkConnect",
            "SomethingNew",
        ] {
            let (namespace, policy, ..) = case(kind, &[(name, "it")]);
            assert_eq!((namespace.as_str(), policy.as_str()), ("", "it"), "{kind}");
        }
    }

    #[test]
    fn a_foreign_acl_keeps_its_name() {
        let owner = owner(&ids(&[("neutron:id", "x")]), Some("fence"));
        assert_eq!(
            (owner.kind, owner.name.as_deref()),
            (OwnerKind::Unowned, Some("fence"))
        );
    }
}
