use std::sync::LazyLock;

use netverdict_ovn::expr::{Fault, Field, Fields, Match, Sets};

static SETS: LazyLock<Sets> = LazyLock::new(|| {
    let mut sets = Sets::new();
    sets.set_addresses(
        "as",
        ["10.0.0.1", "10.0.0.0/8", "fd00::/64", "nothing", "7"],
    );
    sets.set_addresses("none", []);
    sets.set_ports("pg", [("p1", ["0a:00:00:00:00:01 10.0.0.1 fd00::1"])]);
    sets
});

/// What must hold for any text; the fuzz target and the corpus test share it.
pub fn check(text: &str) {
    let sets = &*SETS;
    let found = match Match::parse(text, sets) {
        Ok(found) => found,
        Err(error) => {
            assert!(text.get(error.span()).is_some(), "{error:?}");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let compiled = found.compile();
    for packet in packets() {
        let failures = compiled.failures(&packet);
        assert!(failures.is_empty() || !compiled.matches(&packet), "{text}");
        for failure in failures {
            assert!(!found.terms()[failure.term].text(text).is_empty());
        }
    }
    let canonical = found.canonical();
    match Match::parse(&canonical, sets) {
        Ok(again) => {
            assert_eq!(again.canonical(), canonical, "{text}");
            let again = again.compile();
            for packet in packets() {
                // A set without members is printed as what it amounts to.
                assert_eq!(again.matches(&packet), compiled.matches(&packet), "{text}");
            }
        }
        // What OVN prints and does not take either; chassis change no text.
        Err(error) => assert!(
            matches!(error.fault(), Fault::SubfieldOfNominal(_) | Fault::Depth),
            "{text}: {canonical}: {error}"
        ),
    }
}

fn packets() -> [Fields<'static>; 3] {
    let tcp = Fields::new("p1", "p2")
        .with(Field::EthType, 0x800)
        .with(Field::IpProto, 6)
        .with(Field::Ip4Src, 0x0a00_0001)
        .with(Field::TcpDst, 80)
        .with(Field::CtState, 0x21);
    let nd = Fields::new("", "p1")
        .with(Field::EthType, 0x86dd)
        .with(Field::EthDst, 0x3333_0000_0001)
        .with(Field::IpProto, 58)
        .with(Field::IpTtl, 255)
        .with(Field::Icmp6Type, 135);
    [tcp, nd, Fields::new("", "")]
}
