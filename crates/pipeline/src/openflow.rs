//! From a sampled ACL down to the datapath: its Sample rows, the logical flows that sample for it, the OpenFlow actions that ovn-controller makes of them,
//! and the datapath actions that Open vSwitch makes of those.

use netverdict_ovn::expr::Field;
use netverdict_types::{Action as Act, App, Pipeline};
use uuid::Uuid;

use crate::actions::{Action, Part, Sample, Source, parse};
use crate::flow::{LogicalFlow, Release};
use crate::walk::app;
use crate::{Northbound, Stage};

/// A logical flow that samples for an ACL.
#[derive(Clone, Debug)]
pub struct Link<'a> {
    /// For new or for established connections.
    pub app: App,
    /// The observation point: `metadata` of the Sample row, or the ACL's label if it has one.
    pub point: u32,
    /// True where packets of the reply direction are sampled.
    pub reply: bool,
    /// The flow.
    pub flow: &'a LogicalFlow,
    /// Its action for one of the Sample's collectors.
    pub sample: Sample,
}

/// A row of `Flow_Sample_Collector_Set` in Open vSwitch (ovs-vswitchd.conf.db(5)): where samples of a set go.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CollectorSet {
    /// `id`.
    pub id: u32,
    /// `local_group_id`: the group of psample.
    pub group: Option<u32>,
    /// Whether an IPFIX exporter belongs to the bridge: then Open vSwitch sends each sample to user space, whether its set has one or not.
    pub ipfix: bool,
}

/// All flows of a switch that sample for one of its ACLs, in their order; `flows` are the switch's.
///
/// An ACL whose Sample has one collector shares its flows with all others of that collector: the point is in a register that the ACL's own flow
/// sets, or in the connection's label.
pub fn chain<'a>(
    northbound: &Northbound,
    release: Release,
    flows: &'a [LogicalFlow],
    acl: Uuid,
) -> Vec<Link<'a>> {
    let Some(row) = northbound.acls.get(&acl) else {
        return Vec::new();
    };
    let (own, opposite) = match row.acl.pipeline {
        Pipeline::FromLport => (Stage::InAclSample, Stage::OutAclSample),
        Pipeline::FromLportAfterLb => (Stage::InAclAfterLbSample, Stage::OutAclSample),
        Pipeline::ToLport => (Stage::OutAclSample, Stage::InAclSample),
    };
    // Only who is allowed has an established connection.
    let established = matches!(row.acl.action, Act::Allow | Act::AllowRelated);
    let mut links = Vec::new();
    for (wanted, uuid) in [
        (App::AclNew, row.sample_new),
        (App::AclEst, row.sample_est.filter(|_| established)),
    ] {
        let Some(sampling) = uuid.and_then(|uuid| northbound.samples.get(&uuid)) else {
            continue;
        };
        // A label takes the place of the point.
        let point = match row.acl.label {
            0 => sampling.point,
            label => label,
        };
        let collectors = || {
            let known = sampling.collectors.iter();
            known.filter_map(|uuid| northbound.collectors.get(uuid))
        };
        for flow in flows {
            let reply = flow.stage != own;
            if reply && (wanted != App::AclEst || flow.stage != opposite) {
                continue;
            }
            // In the opposite table are also the flows of ACLs that are at home there.
            if wanted == App::AclEst && is_for_replies(flow) != reply {
                continue;
            }
            let Ok(actions) = parse(&flow.actions) else {
                continue;
            };
            for action in actions {
                let Action::Sample(sample) = action else {
                    continue;
                };
                let fits = collectors().any(|collector| {
                    let set = collector.set_id & set_bits(release);
                    (set, collector.probability) == (sample.set, sample.probability)
                        && match &sample.point {
                            Source::Number(number) => *number == u128::from(point),
                            Source::Part(_) => {
                                row.acl.label == 0
                                    && sampling.collectors.len() == 1
                                    && asks_for(flow, collector.id)
                            }
                            Source::Cookie => false,
                        }
                });
                let own_flow = flow.acl.is_none_or(|of| of == acl);
                if fits && own_flow && app(northbound, &sample, flow) == wanted {
                    links.push(Link {
                        app: wanted,
                        point,
                        reply,
                        flow,
                        sample,
                    });
                }
            }
        }
    }
    links
}

/// The OpenFlow table of a stage (controller/lflow.h).
pub fn table(release: Release, stage: Stage) -> u8 {
    let first = match (stage.is_ingress(), release) {
        (true, _) => 8,
        (false, Release::R25_03) => 45,
        (false, Release::R26_03) => 48,
    };
    first + release.table(stage)
}

/// The OpenFlow action, as `ovs-ofctl -O OpenFlow15 dump-flows` prints it; `key` is the datapath's (`Datapath_Binding.tunnel_key`).
/// ovn-controller makes none as long as Open vSwitch has no collector set of that id.
pub fn action(sample: &Sample, key: u32) -> String {
    let point = match &sample.point {
        Source::Number(number) => number.to_string(),
        Source::Part(part) => subfield(part),
        Source::Cookie => "$cookie".to_owned(),
    };
    format!(
        "sample(probability={},collector_set_id={},obs_domain_id={},obs_point_id={point})",
        sample.probability,
        sample.set,
        domain(sample, key)
    )
}

/// The datapath's actions for a packet with this point, as `ofproto/trace` and `dpctl/dump-flows` print them; `None` if nothing
/// takes the samples of the set. `pid` is whom user space listens as: 0 in the datapath in user space, else the kernel's affair.
pub fn datapath(
    sample: &Sample,
    key: u32,
    point: u32,
    set: &CollectorSet,
    pid: u32,
) -> Option<String> {
    let domain = domain(sample, key);
    let psample = set.group.filter(|_| set.id == sample.set).map(|group| {
        let cookie = u64::from(domain) << 32 | u64::from(point);
        format!("psample(group={group},cookie={cookie:#x})")
    });
    let userspace = set.ipfix.then(|| {
        format!(
            "userspace(pid={pid},flow_sample(probability={},collector_set_id={},obs_domain_id={domain},obs_point_id={point},output_port={}))",
            sample.probability,
            sample.set,
            u32::MAX
        )
    });
    let actions: Vec<String> = psample.into_iter().chain(userspace).collect();
    if actions.is_empty() {
        return None;
    }
    let actions = actions.join(",");
    if sample.probability == u16::MAX {
        return Some(actions);
    }
    let share = 100.0 * f64::from(sample.probability) / f64::from(u16::MAX);
    Some(format!("sample(sample={share:.1}%,actions({actions}))"))
}

/// What northd keeps of a collector set's id: the low eight bits before OVN 25.09.
fn set_bits(release: Release) -> u32 {
    match release {
        Release::R25_03 => 0xff,
        Release::R26_03 => u32::MAX,
    }
}

/// ovn-controller: the application's number above 24 bits of the key.
fn domain(sample: &Sample, key: u32) -> u32 {
    u32::from(sample.domain) << 24 | key & 0x00ff_ffff
}

/// nx-match.c, `mf_format_subfield`.
fn subfield(part: &Part) -> String {
    let name = match part.field {
        Field::XxReg0 => "NXM_NX_XXREG0",
        Field::XxReg1 => "NXM_NX_XXREG1",
        Field::XReg4 => "OXM_OF_PKT_REG4",
        Field::CtLabel => "NXM_NX_CT_LABEL",
        Field::CtMark => "NXM_NX_CT_MARK",
        _ => "?",
    };
    match part.width {
        all if all == part.field.width() => format!("{name}[]"),
        1 => format!("{name}[{}]", part.low),
        width => format!("{name}[{}..{}]", part.low, part.low + width - 1),
    }
}

fn is_for_replies(flow: &LogicalFlow) -> bool {
    flow.matches.contains("ct.rpl") && !flow.matches.contains("!ct.rpl")
}

/// Whether a flow that many ACLs share is that of a collector.
fn asks_for(flow: &LogicalFlow, collector: u8) -> bool {
    ["reg8[0..7] == ", "ct_mark.obs_collector_id == "]
        .iter()
        .filter_map(|field| flow.matches.split_once(field))
        .any(|(_, rest)| {
            let number = rest.split(|c: char| !c.is_ascii_digit()).next();
            number.is_some_and(|number| number.parse() == Ok(collector))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &str) -> Sample {
        match &parse(text).unwrap()[0] {
            Action::Sample(sample) => sample.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn actions_are_as_open_vswitch_prints_them() {
        let est = sample(
            "sample(probability=65535,collector_set=42,obs_domain=3,obs_point=ct_label.obs_point_id); next;",
        );
        assert_eq!(
            action(&est, 1),
            "sample(probability=65535,collector_set_id=42,obs_domain_id=50331649,obs_point_id=NXM_NX_CT_LABEL[96..127])"
        );
        let new =
            sample("sample(probability=6553,collector_set=42,obs_domain=2,obs_point=reg3); next;");
        assert_eq!(
            action(&new, 0xff_0003),
            "sample(probability=6553,collector_set_id=42,obs_domain_id=50266115,obs_point_id=NXM_NX_XXREG0[0..31])"
        );
        let mut set = CollectorSet {
            id: 42,
            group: Some(10),
            ipfix: false,
        };
        assert_eq!(
            datapath(&est, 1, 0x7b, &set, 0).unwrap(),
            "psample(group=10,cookie=0x30000010000007b)"
        );
        set.ipfix = true;
        assert_eq!(
            datapath(&new, 5, 123, &set, 7).unwrap(),
            "sample(sample=10.0%,actions(psample(group=10,cookie=0x20000050000007b),\
             userspace(pid=7,flow_sample(probability=6553,collector_set_id=42,obs_domain_id=33554437,obs_point_id=123,output_port=4294967295))))"
        );
        let other = CollectorSet {
            id: 41,
            group: Some(1),
            ipfix: false,
        };
        assert_eq!(datapath(&new, 5, 123, &other, 0), None);
        assert_eq!(table(Release::R25_03, Stage::OutAclSample), 52);
        assert_eq!(table(Release::R25_03, Stage::InAclAfterLbSample), 27);
    }
}
