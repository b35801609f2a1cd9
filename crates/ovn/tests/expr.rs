//! Laws of the match language, against a second evaluator that knows no more than what matches are said to mean; and the corpus of the fuzz target.

#[path = "../fuzz/check.rs"]
mod check;

use std::fs;
use std::path::Path;

use std::sync::Arc;

use netverdict_ovn::expr::{
    AddressSet, Field, Fields, Glimpse, Match, Names, Packet, PortGroup, Sets,
};
use proptest::prelude::*;

/// A match as it was made, before it was text.
#[derive(Clone, Debug)]
enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    /// Of one of `SUBJECTS`, shifted and cut to some bits: an operator, and a set of numbers with masks.
    Compare(usize, (u32, u32), &'static str, Vec<(u128, u128)>),
    Range(usize, u128, u128),
    Bare(usize),
    Constant(bool),
}

/// Symbol, width, field, first bit, what a packet must be for it.
type Subject = (&'static str, u32, Field, u32, Is);

type Is = fn(&Fields<'_>) -> bool;

const SUBJECTS: &[Subject] = &[
    ("ip4.src", 32, Field::Ip4Src, 0, is_ip4),
    ("ip6.dst", 128, Field::Ip6Dst, 0, is_ip6),
    ("tcp.dst", 16, Field::TcpDst, 0, is_tcp),
    ("eth.src", 48, Field::EthSrc, 0, is_any),
    ("reg3", 32, Field::XxReg0, 0, is_any),
    ("reg4", 32, Field::XxReg1, 96, is_any),
    ("ct_label.acl_id", 16, Field::CtLabel, 80, is_any),
    ("vlan.pcp", 3, Field::VlanTci, 13, is_vlan),
];

/// Bits by themselves, and predicates.
const BARE: &[(&str, Is)] = &[
    ("ct.trk", |p| bit(p, Field::CtState, 5)),
    ("ct.est", |p| {
        bit(p, Field::CtState, 1) && bit(p, Field::CtState, 5)
    }),
    ("vlan.present", is_vlan),
    ("ip4.mcast", |p| {
        bit(p, Field::EthDst, 40) && is_ip4(p) && p.number(Field::Ip4Dst) >> 28 == 14
    }),
];

fn bit(packet: &Fields<'_>, field: Field, bit: u32) -> bool {
    packet.number(field) >> bit & 1 == 1
}

fn is_any(_: &Fields<'_>) -> bool {
    true
}

fn is_ip4(packet: &Fields<'_>) -> bool {
    packet.number(Field::EthType) == 0x800
}

fn is_ip6(packet: &Fields<'_>) -> bool {
    packet.number(Field::EthType) == 0x86dd
}

fn is_tcp(packet: &Fields<'_>) -> bool {
    (is_ip4(packet) || is_ip6(packet)) && packet.number(Field::IpProto) == 6
}

fn is_vlan(packet: &Fields<'_>) -> bool {
    bit(packet, Field::VlanTci, 12)
}

impl Expr {
    fn text(&self) -> String {
        let join = |parts: &[Expr], sign: &str| {
            let parts: Vec<_> = parts
                .iter()
                .map(|part| format!("({})", part.text()))
                .collect();
            parts.join(sign)
        };
        match self {
            Self::All(parts) => join(parts, " && "),
            Self::Any(parts) => join(parts, " || "),
            Self::Not(inner) => format!("!({})", inner.text()),
            Self::Compare(subject, (low, high), sign, numbers) => {
                let numbers: Vec<_> = numbers
                    .iter()
                    .map(|(value, mask)| {
                        if *mask == u128::MAX {
                            format!("{value:#x}")
                        } else {
                            format!("{value:#x}/{mask:#x}")
                        }
                    })
                    .collect();
                let set = match numbers.as_slice() {
                    [one] => one.clone(),
                    several => format!("{{{}}}", several.join(", ")),
                };
                format!("{}[{low}..{high}] {sign} {set}", SUBJECTS[*subject].0)
            }
            Self::Range(subject, low, high) => {
                format!("{low:#x} <= {} < {high:#x}", SUBJECTS[*subject].0)
            }
            Self::Bare(which) => BARE[*which].0.into(),
            Self::Constant(value) => u8::from(*value).to_string(),
        }
    }

    /// Whether it holds. A negation goes through to the comparisons; what a field asks for does not get negated.
    fn holds(&self, packet: &Fields<'_>, negated: bool) -> bool {
        match self {
            Self::All(parts) if negated => parts.iter().any(|part| part.holds(packet, true)),
            Self::Any(parts) if negated => parts.iter().all(|part| part.holds(packet, true)),
            Self::All(parts) => parts.iter().all(|part| part.holds(packet, false)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(packet, false)),
            Self::Not(inner) => inner.holds(packet, !negated),
            Self::Compare(subject, (low, high), sign, numbers) => {
                let (_, _, field, first, such) = SUBJECTS[*subject];
                let all = u128::MAX >> (127 - (high - low));
                let number = packet.number(field) >> (first + low) & all;
                let equal = |(value, mask): &(u128, u128)| (number ^ value) & mask & all == 0;
                let (value, _) = numbers[0];
                let value = value & all;
                let holds = match *sign {
                    "==" => numbers.iter().any(equal),
                    "!=" => !numbers.iter().any(equal),
                    "<" => number < value,
                    "<=" => number <= value,
                    ">" => number > value,
                    _ => number >= value,
                };
                such(packet) && holds != negated
            }
            Self::Range(subject, low, high) => {
                let (_, width, field, first, such) = SUBJECTS[*subject];
                let number = packet.number(field) >> first & u128::MAX >> (128 - width);
                such(packet) && (low..high).contains(&&number) != negated
            }
            // `ct.est` is a field that asks for `ct.trk`; the others are predicates.
            Self::Bare(1) => {
                bit(packet, Field::CtState, 5) && bit(packet, Field::CtState, 1) != negated
            }
            Self::Bare(which) => BARE[*which].1(packet) != negated,
            Self::Constant(value) => *value != negated,
        }
    }

    /// The terms that keep it from holding.
    fn failing(&self, packet: &Fields<'_>, negated: bool, found: &mut Vec<String>) {
        match self {
            _ if self.holds(packet, negated) => {}
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.failing(packet, negated, found);
                }
            }
            Self::Not(inner) => inner.failing(packet, !negated, found),
            Self::Constant(_) => {}
            Self::Range(subject, low, high) => {
                // Two terms with one place.
                let all = (0, SUBJECTS[*subject].1 - 1);
                for (sign, end) in [(">=", low), ("<", high)] {
                    let half = Self::Compare(*subject, all, sign, vec![(*end, u128::MAX)]);
                    if !half.holds(packet, negated) {
                        found.push(self.text());
                    }
                }
            }
            Self::Compare(..) | Self::Bare(_) => found.push(self.text()),
        }
    }
}

/// Few numbers, so that packets meet them.
fn number(width: u32) -> BoxedStrategy<u128> {
    let all = u128::MAX >> (128 - width);
    prop_oneof![
        3 => (0_u128..4).prop_map(move |n| n & all),
        1 => Just(all),
        1 => Just(all ^ 1),
        1 => any::<u128>().prop_map(move |n| n & all),
    ]
    .boxed()
}

fn comparison() -> impl Strategy<Value = Expr> {
    (0..SUBJECTS.len(), any::<(u32, u32)>()).prop_flat_map(|(subject, (a, b))| {
        let width = SUBJECTS[subject].1;
        let bits = if a % 2 == 0 {
            (0, width - 1)
        } else {
            let low = a % width;
            (low, low + b % (width - low))
        };
        let masked = (number(width), prop_oneof![Just(u128::MAX), number(width)])
            .prop_map(|(value, mask)| (value & mask, mask));
        let equality = (
            prop::sample::select(vec!["==", "!="]),
            prop::collection::vec(masked, 1..4),
        );
        let order = (
            prop::sample::select(vec!["<", "<=", ">", ">="]),
            number(width).prop_map(|value| vec![(value, u128::MAX)]),
        );
        prop_oneof![equality, order]
            .prop_map(move |(sign, numbers)| Expr::Compare(subject, bits, sign, numbers))
    })
}

fn expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        6 => comparison(),
        1 => (2..SUBJECTS.len()).prop_flat_map(|subject| {
            let width = SUBJECTS[subject].1;
            (Just(subject), number(width), number(width)).prop_map(|(s, low, high)| Expr::Range(s, low, high))
        }),
        2 => (0..BARE.len()).prop_map(Expr::Bare),
        1 => any::<bool>().prop_map(Expr::Constant),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let parts = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            parts.clone().prop_map(Expr::All),
            parts.prop_map(Expr::Any),
            inner.prop_map(|inner| Expr::Not(Box::new(inner))),
        ]
    })
}

fn packet() -> impl Strategy<Value = Fields<'static>> {
    let kind = prop::sample::select(vec![(0x800, 6), (0x800, 17), (0x86dd, 6), (0x806, 0)]);
    let numbers = Field::ALL.map(|field| number(field.width()));
    (kind, numbers, 0_u128..64, any::<bool>()).prop_map(
        |((ether, protocol), numbers, state, multicast)| {
            let mut packet = Fields::new("p1", "");
            for (field, number) in Field::ALL.into_iter().zip(numbers) {
                packet.set(field, number);
            }
            if multicast {
                packet.set(Field::EthDst, 0x0100_5e00_0001);
                packet.set(Field::Ip4Dst, 0xe000_0001);
            }
            packet
                .with(Field::EthType, ether)
                .with(Field::IpProto, protocol)
                .with(Field::CtState, state)
                // A register of 32 bits and one of the same number, not to be 0 throughout.
                .with(Field::XxReg1, state << 96)
        },
    )
}

/// A packet of which some bits and the ports are known.
struct Partly<'a> {
    packet: &'a Fields<'a>,
    known: &'a [u128],
    ports: Option<&'a [&'a str]>,
}

impl Glimpse for Partly<'_> {
    fn bits(&self, field: Field) -> (u128, u128) {
        let known = self.known[field as usize];
        // What is not known may be anything.
        (self.packet.number(field) | !known, known)
    }

    fn inports(&self) -> Option<&[&str]> {
        self.ports
    }

    fn outports(&self) -> Option<&[&str]> {
        self.ports
    }
}

/// All that is known of a packet, and of the rest what another one says.
fn completed(packet: &Fields<'static>, known: &[u128], rest: &Fields<'static>) -> Fields<'static> {
    let mut whole = packet.clone();
    for field in Field::ALL {
        let known = known[field as usize];
        whole.set(
            field,
            packet.number(field) & known | rest.number(field) & !known,
        );
    }
    whole
}

/// Knows of nothing what is in it.
struct Nothing;

impl Names for Nothing {
    fn address_set(&self, _: &str) -> Option<Arc<AddressSet>> {
        Some(Arc::new(AddressSet::unknown()))
    }

    fn port_group(&self, _: &str) -> Option<Arc<PortGroup>> {
        Some(Arc::new(PortGroup::unknown()))
    }

    fn is_resident(&self, _: &str) -> bool {
        false
    }
}

/// Knows of address sets one member.
struct One;

impl Names for One {
    fn address_set(&self, _: &str) -> Option<Arc<AddressSet>> {
        Some(Arc::new(AddressSet::new(["0.0.0.1"]).0.and_others()))
    }

    fn port_group(&self, name: &str) -> Option<Arc<PortGroup>> {
        Nothing.port_group(name)
    }

    fn is_resident(&self, _: &str) -> bool {
        false
    }
}

/// Matches with names in all places where they can stand.
const NAMING: [&str; 14] = [
    "ip4.src == $u",
    "ip4.src != $u",
    "!(ip4.src == $u)",
    "ip4.src == {$u, 0.0.0.1}",
    "ip4.src != {$u, 0.0.0.1}",
    "ip4.src == {$u, $v}",
    "ip4 && ip4.src != {$u, $v}",
    "ip4.src[0..7] == $u",
    "outport == @g",
    "inport == @g || outport == @g",
    "outport == {@g, \"p1\"}",
    "outport == {@g, \"p1\"} && !(ip4.src == $u && tcp.dst == 2)",
    "outport == @g || (ip4.src == $u && tcp.dst == 2)",
    "outport == @g && ip4.src == $u && ip6.dst == 1",
];

proptest! {
    #[test]
    fn what_is_known_in_part_holds_whatever_the_rest_is(
        expr in expr(),
        packet in packet(),
        rest in prop::collection::vec(packet(), 4),
        known in prop::collection::vec(prop_oneof![Just(0), Just(u128::MAX), any::<u128>(), number(8)], Field::ALL.len()),
    ) {
        let text = expr.text();
        let compiled = Match::parse(&text, &Sets::new()).unwrap().compile();
        let judged = |known: &[u128]| compiled.judge(&Partly { packet: &packet, known, ports: None });
        prop_assert_eq!(judged(&[u128::MAX; 41]), Some(compiled.matches(&packet)), "{}", text);
        if let Some(holds) = judged(&known) {
            for rest in rest {
                prop_assert_eq!(compiled.matches(&completed(&packet, &known, &rest)), holds, "{}", text);
            }
        }
    }

    #[test]
    fn what_holds_without_knowing_sets_holds_with_any(
        packet in packet(),
        outport in prop::sample::select(vec!["", "p1", "p2"]),
        among in prop::option::of(prop::sample::subsequence(vec!["", "p1", "p2"], 1..=3)),
        addresses in prop::collection::vec(prop::sample::subsequence(vec!["0.0.0.1", "0.0.0.2", "0.0.0.0/8"], 0..=3), 2),
        ports in prop::sample::subsequence(vec!["p1", "p2"], 0..=2),
    ) {
        let mut sets = Sets::new();
        sets.set_addresses("u", addresses[0].iter().copied());
        sets.set_addresses("v", addresses[1].iter().copied());
        sets.set_ports("g", ports.iter().map(|port| (*port, [""; 0])));
        let mut whole = Fields::new("", outport);
        for field in Field::ALL {
            whole.set(field, packet.number(field));
        }
        let among = among.map(|mut among| {
            among.push(outport);
            among
        });
        let partly = Partly { packet: &whole, known: &[u128::MAX; 41], ports: among.as_deref() };
        for text in NAMING {
            let holds = Match::parse(text, &sets).unwrap().compile().matches(&whole);
            let nothing = Match::parse(text, &Nothing).unwrap().compile().judge(&partly);
            prop_assert!(nothing.is_none_or(|judged| judged == holds), "{} {:?}", text, nothing);
            if addresses.iter().all(|set| set.contains(&"0.0.0.1")) {
                let one = Match::parse(text, &One).unwrap().compile().judge(&partly);
                prop_assert!(one.is_none_or(|judged| judged == holds), "{} {:?}", text, one);
                prop_assert!(one == nothing || nothing.is_none(), "{} {:?} {:?}", text, one, nothing);
            }
            let known = Partly { packet: &whole, known: &[u128::MAX; 41], ports: Some(&[outport]) };
            let known = Match::parse(text, &sets).unwrap().compile().judge(&known);
            prop_assert_eq!(known, Some(holds), "{}", text);
        }
    }

    #[test]
    fn means_what_a_plain_evaluator_says(expr in expr(), packets in prop::collection::vec(packet(), 8)) {
        let text = expr.text();
        let compiled = Match::parse(&text, &Sets::new()).unwrap().compile();
        for packet in packets {
            prop_assert_eq!(compiled.matches(&packet), expr.holds(&packet, false), "{}", text);
        }
    }

    #[test]
    fn what_is_printed_parses_into_the_same(expr in expr(), packets in prop::collection::vec(packet(), 8)) {
        let text = expr.text();
        let found = Match::parse(&text, &Sets::new()).unwrap();
        let canonical = found.canonical();
        let again = Match::parse(&canonical, &Sets::new()).unwrap();
        prop_assert_eq!(again.canonical(), canonical, "{}", text);
        for packet in packets {
            prop_assert_eq!(again.compile().matches(&packet), found.compile().matches(&packet), "{}", text);
        }
    }

    #[test]
    fn negation_changes_places_with_and_and_or(parts in prop::collection::vec(expr(), 2..4)) {
        let negated = |parts: &[Expr]| parts.iter().cloned().map(|part| Expr::Not(Box::new(part))).collect();
        let canonical = |expr: Expr| Match::parse(&expr.text(), &Sets::new()).unwrap().canonical();
        prop_assert_eq!(
            canonical(Expr::Not(Box::new(Expr::All(parts.clone())))),
            canonical(Expr::Any(negated(&parts)))
        );
        prop_assert_eq!(
            canonical(Expr::Not(Box::new(Expr::Any(parts.clone())))),
            canonical(Expr::All(negated(&parts)))
        );
    }

    #[test]
    fn terms_that_fail_are_those_that_matter(expr in expr(), packet in packet()) {
        let text = expr.text();
        let found = Match::parse(&text, &Sets::new()).unwrap();
        let failures: Vec<_> = found
            .compile()
            .failures(&packet)
            .into_iter()
            .map(|failure| found.terms()[failure.term].text(&text).to_owned())
            .collect();
        let mut expected = Vec::new();
        expr.failing(&packet, false, &mut expected);
        prop_assert_eq!(failures, expected, "{}", text);
    }

    #[test]
    fn no_text_is_too_odd(text in "[ a-z0-9.$@\"\\\\!&|<>=(){}\\[\\]/*:,;^-]{0,40}") {
        check::check(&text);
    }
}

#[test]
fn corpus_and_its_bit_flips_hold() {
    let mut good = 0;
    let mut texts = 0;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/match");
    for entry in fs::read_dir(corpus).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        good += usize::from(
            !matches!(Match::parse(&text, &Sets::new()), Err(error) if !error.to_string().contains("name")),
        );
        texts += 1;
        check::check(&text);
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            check::check(&String::from_utf8_lossy(&flipped));
        }
        for (end, _) in text.char_indices() {
            check::check(&text[..end]);
        }
    }
    // Both kinds are worth starting from.
    assert!(good > 15 && texts - good > 5, "{good} of {texts}");
}
