//! The table of symbols, and the cases that pin down OVN's ways.

use super::eval::expands;
use super::parse::{Condition, parse};
use super::symbols::{Base, Level, SYMBOLS, symbol};
use super::*;

#[test]
fn what_symbols_are_made_of_parses() {
    for known in SYMBOLS {
        if !known.prerequisite.is_empty() {
            assert!(expands(known.prerequisite), "{known:?}");
        }
        let Base::Predicate(text) = known.base else {
            continue;
        };
        assert!(expands(text), "{known:?}");
        let (_, terms) = parse(text, &Sets::new()).unwrap();
        let nominal = terms.iter().any(|term| match &term.condition {
            Condition::Compare(comparison) => comparison.subfield.symbol.level == Level::Nominal,
            Condition::Resident { .. } => false,
        });
        assert_eq!(nominal, known.level == Level::Nominal, "{known:?}");
    }
}

#[test]
fn symbols_are_distinct_and_within_their_fields() {
    for known in SYMBOLS {
        assert_eq!(symbol(known.name), Some(known));
        if let Base::Bits(field, low) = known.base {
            assert!(low + known.width <= field.width(), "{known:?}");
        }
    }
    for (place, field) in Field::ALL.into_iter().enumerate() {
        assert_eq!(field as usize, place);
        assert!(
            SYMBOLS
                .iter()
                .any(|known| known.base == Base::Bits(field, 0) && known.width == field.width()),
            "{field:?}"
        );
    }
}

fn sets() -> Sets {
    let mut sets = Sets::new();
    assert!(
        sets.set_addresses("hosts", ["10.0.0.3", "10.0.0.1"])
            .is_empty()
    );
    assert!(
        sets.set_addresses("nets", ["10.0.0.0/8", "9.0.0.1"])
            .is_empty()
    );
    assert!(sets.set_addresses("none", []).is_empty());
    assert_eq!(
        sets.set_addresses("odd", ["10.0.0.1", "x", "-"]),
        ["x", "-"]
    );
    assert!(
        sets.set_addresses("macs", ["0a:00:00:00:00:02", "0a:00:00:00:00:01"])
            .is_empty()
    );
    sets.set_ports(
        "web",
        [
            ("web-1", vec!["0a:00:00:00:00:02 10.0.0.8 fd00::8"]),
            ("web-0", vec!["dynamic", "0a:00:00:00:00:01 10.0.0.7/24"]),
            ("web-2", vec!["unknown", "router"]),
        ],
    );
    sets.set_resident("here");
    sets
}

#[track_caller]
fn prints(text: &str, canonical: &str) {
    match Match::parse(text, &sets()) {
        Ok(found) => assert_eq!(found.canonical(), canonical, "{text}"),
        Err(error) => panic!("{text}: {error}"),
    }
}

#[track_caller]
fn fails(text: &str, message: &str, place: &str) {
    let error = Match::parse(text, &sets()).expect_err(text);
    assert_eq!(error.to_string(), message, "{text}");
    assert_eq!(&text[error.span()], place, "{text}");
}

#[test]
fn prints_as_ovn_does() {
    for (text, canonical) in [
        ("tcp", "tcp"),
        ("udp.dst==53 // DNS", "udp.dst == 0x35"),
        ("ct.est == 1", "ct.est"),
        ("!(ct.est && !ct.new)", "!ct.est || ct.new"),
        ("reg0[7] == 1", "reg0[7]"),
        ("reg0[7] != 1", "!reg0[7]"),
        ("!reg0", "reg0 == 0"),
        ("1 <= tcp.dst < 1024", "tcp.dst >= 0x1 && tcp.dst < 0x400"),
        ("!(9 > tcp.dst > 7)", "tcp.dst >= 0x9 || tcp.dst <= 0x7"),
        (
            "tcp.dst != {80, 443,}",
            "tcp.dst != 0x50 && tcp.dst != 0x1bb",
        ),
        (
            "!(tcp.dst == {80 443})",
            "tcp.dst != 0x50 && tcp.dst != 0x1bb",
        ),
        (
            "ip4.src == 10.1.0.0/255.255.0.0",
            "ip4.src[16..31] == 0xa01",
        ),
        (
            "ip4.src == 10.0.0.1/255.0.0.255",
            "ip4.src == 0xa000001/0xff0000ff",
        ),
        ("ip4.src == 0.0.0.0/0", "ip4.src == 0/0"),
        ("ip6.dst == fd00::/8", "ip6.dst[120..127] == 0xfd"),
        ("eth.src == 0a:00:00:00:00:01", "eth.src == 0xa0000000001"),
        (
            "ip4.src == $nets",
            "ip4.src == 0x9000001 || ip4.src[24..31] == 0xa",
        ),
        ("ip4.src == $odd", "ip4.src == 0xa000001"),
        (
            "ip4.src > $hosts",
            "ip4.src > 0xa000001 && ip4.src > 0xa000003",
        ),
        (
            "!(ip4.src > $hosts)",
            "ip4.src <= 0xa000001 || ip4.src <= 0xa000003",
        ),
        ("ip4.src == $none && tcp", "0 && tcp"),
        ("ip4.src != $none", "1"),
        (
            "ip4.src == $web_ip4",
            "ip4.src == 0xa000007 || ip4.src == 0xa000008",
        ),
        (
            "ip6.src == $web_ip6",
            "ip6.src == 0xfd000000000000000000000000000008",
        ),
        (
            "inport == {@web, \"a\\\"b\"}",
            "inport == \"web-0\" || inport == \"web-1\" || inport == \"web-2\" || inport == \"a\\\"b\"",
        ),
        ("inport == {$none, \"p\"}", "inport == \"p\""),
        ("tcp.dst[0..7] == 0x1234", "tcp.dst[0..7] == 0x34"),
        (
            "tcp && (udp && (icmp || arp))",
            "tcp && udp && (icmp || arp)",
        ),
        ("!(1 && !0)", "0 || 0"),
        ("!is_chassis_resident(\"p\")", "!is_chassis_resident(\"p\")"),
        ("ip4.src == 1.2.3.4/4294967297", "!ip4.src[31]"),
        ("tcp /* that\tis */ .tcp", ""),
    ] {
        if canonical.is_empty() {
            assert!(Match::parse(text, &sets()).is_err());
        } else {
            prints(text, canonical);
        }
    }
}

#[test]
fn tells_ovns_mistakes_and_their_place() {
    for (text, message, place) in [
        ("", "Syntax error at end of input expecting constant.", ""),
        (
            "tcp && udp || arp",
            "&& and || must be parenthesized when used together.",
            "||",
        ),
        (
            "!tcp.dst == 80",
            "Missing parentheses around operand of !.",
            "!tcp.dst == 80",
        ),
        (
            "ip && tcp.port == 80",
            "Syntax error at `tcp.port' expecting field name.",
            "tcp.port",
        ),
        (
            "ip4.src == $nobody",
            "Syntax error at `$nobody' expecting address set name.",
            "$nobody",
        ),
        (
            "inport == @nobody",
            "Syntax error at `@nobody' expecting port group name.",
            "@nobody",
        ),
        (
            "inport == $1",
            "`$' must be followed by a valid identifier.",
            "$",
        ),
        (
            "ip4.src == fd00::1",
            "128-bit constant is not compatible with 32-bit field ip4.src.",
            "ip4.src == fd00::1",
        ),
        (
            "ip4.src == $macs",
            "48-bit constant is not compatible with 32-bit field ip4.src.",
            "ip4.src == $macs",
        ),
        (
            "!tcp",
            "Nominal predicate tcp may only be tested positively, e.g. `tcp' or `tcp == 1' but not `!tcp' or `tcp == 0'.",
            "tcp",
        ),
        (
            "tcp && inport != \"p\"",
            "Nominal field inport may only be tested for equality (taking enclosing `!' operators into account).",
            "inport != \"p\"",
        ),
        (
            "tcp.dst > $none",
            "Only == and != operators may be used to compare a field against an empty value set.",
            "tcp.dst > $none",
        ),
        (
            "tcp.dst",
            "Explicit `!= 0' is required for inequality test of multibit field against 0.",
            "tcp.dst",
        ),
        (
            "tcp.dst == 65536",
            "17-bit constant is not compatible with 16-bit field tcp.dst.",
            "tcp.dst == 65536",
        ),
        (
            "tcp.dst == 080",
            "Decimal constants must not have leading zeros.",
            "080",
        ),
        (
            "tcp.dst == 80 & udp",
            "`&' is only valid as part of `&&'.",
            "&",
        ),
        (
            "ip4.src == 1.2.3.4/0xff",
            "Value and mask have incompatible formats.",
            "1.2.3.4/0xff",
        ),
        ("inport == \"p", "Input ends inside quoted string.", "\"p"),
        ("tcp && /* x", "`/*' without matching `*/'.", "/* x"),
        ("tcp && ^x", "Unexpanded template.", "^x"),
        (
            "tcp.dst == {80, \"x\"}",
            "Syntax error at `\"x\"' expecting integer.",
            "\"x\"",
        ),
        (
            "tcp.dst[0..16] == 1",
            "Cannot select bits 0 to 16 of 16-bit field tcp.dst.",
            "tcp.dst[0..16]",
        ),
        ("nosuch(1)", "parsing function name", "nosuch"),
        ("tcp é", "Invalid byte 0x-61 in input.", "é"),
    ] {
        fails(text, message, place);
    }
}

#[test]
fn a_number_of_more_than_128_bits_fits_nothing_but_under_a_mask() {
    let long = format!("0x1{}", "0".repeat(40));
    let message = "161-bit constant is not compatible with 128-bit field ct_label.";
    let text = format!("ct_label == {long}");
    fails(&text, message, &text);
    prints(&format!("ct_label == {long}/0xff"), "ct_label[0..7] == 0");
    let longer = format!("ct_label == 0x1{}", "0".repeat(256));
    let place = &longer[12..];
    fails(
        &longer,
        "Hexadecimal constant requires more than 1024 bits.",
        place,
    );
}

#[test]
fn parentheses_nest_a_hundred_deep() {
    let nested = |depth| format!("{}tcp{}", "(".repeat(depth), ")".repeat(depth));
    prints(&nested(100), "tcp");
    fails(&nested(101), "Parentheses nested too deeply.", "(");
}

fn tcp(port: u128) -> Fields<'static> {
    Fields::new("web-0", "here")
        .with(Field::EthType, 0x800)
        .with(Field::IpProto, 6)
        .with(Field::Ip4Src, 0x0a00_0001)
        .with(Field::TcpDst, port)
}

#[test]
fn says_which_terms_fail_and_why() {
    let failures = |text: &str| -> Vec<(String, Reason)> {
        let found = Match::parse(text, &sets()).unwrap();
        let compiled = found.compile();
        let failures = compiled.failures(&tcp(80));
        assert!(failures.is_empty() || !compiled.matches(&tcp(80)), "{text}");
        failures
            .iter()
            .map(|failure| {
                (
                    found.terms()[failure.term].text(text).into(),
                    failure.reason,
                )
            })
            .collect()
    };
    assert_eq!(failures("tcp.dst == 80 && inport == @web"), []);
    assert_eq!(
        failures("tcp && (tcp.dst == 81 || udp.dst == 80) && ip4.src == $hosts"),
        [
            ("tcp.dst == 81".into(), Reason::Value),
            ("udp.dst == 80".into(), Reason::Prerequisite("udp"))
        ]
    );
    assert_eq!(failures("tcp || arp"), []);
    assert_eq!(
        failures("1 && ip4.src == $none"),
        [("ip4.src == $none".into(), Reason::Value)]
    );
}

#[test]
fn evaluates_as_ovn_does_where_it_surprises() {
    for (text, holds) in [
        // A comparison asks for its header, whichever way it is asked; a predicate is negated with all it asks for.
        ("udp.dst != 80", false),
        ("!(udp.dst == 80)", false),
        ("!ip6.mcast", true),
        ("!vlan.present", true),
        ("!vlan.pcp", false),
        // Nothing is asked of a field that is compared with nothing.
        ("ip6.src != $none", true),
        ("ip4.src == 0.0.0.0/0", true),
        ("ip6.src == ::/0", false),
        ("ip4.src != 0.0.0.0/0", false),
        ("outport == \"none\"", false),
        (
            "is_chassis_resident(\"here\") && !is_chassis_resident(\"there\")",
            true,
        ),
        ("tcp == {0, 1}", true),
    ] {
        match Match::parse(text, &sets()) {
            Ok(found) => assert_eq!(found.compile().matches(&tcp(80)), holds, "{text}"),
            Err(error) => assert!(text.starts_with("tcp =="), "{text}: {error}"),
        }
    }
    let nowhere = Fields::new("web-0", "");
    let none = Match::parse("outport == \"none\"", &sets()).unwrap();
    assert!(none.compile().matches(&nowhere));
}
