//! The language of matches, as ACLs and logical flows have it (ovn-sb(5), table Logical_Flow, column `match`), as of OVN 25.03.
//!
//! A [`Match`] is parsed once, with the address sets and port groups of its time, as OVN does it: the same texts are taken, and for others the
//! same mistake is told, with its place. It knows its terms and their places, prints itself as OVN would, and compiles into what a packet can
//! be asked.
//!
//! ```
//! use netverdict_ovn::expr::{Field, Fields, Match, Reason, Sets};
//!
//! let mut sets = Sets::new();
//! sets.set_ports("web", [("web-0", ["0a:58:0a:f4:00:05 10.244.0.5"])]);
//! let text = "outport == @web && ip4.src == 10.244.0.0/16 && tcp.dst == {80, 443}";
//! let found = Match::parse(text, &sets)?;
//! assert_eq!(
//!     found.canonical(),
//!     r#"outport == "web-0" && ip4.src[16..31] == 0xaf4 && (tcp.dst == 0x50 || tcp.dst == 0x1bb)"#
//! );
//!
//! let compiled = found.compile();
//! let packet = Fields::new("client", "web-0")
//!     .with(Field::EthType, 0x800)
//!     .with(Field::Ip4Src, 0x0af4_0007)
//!     .with(Field::IpProto, 6)
//!     .with(Field::TcpDst, 8080);
//! assert!(!compiled.matches(&packet));
//! let failure = compiled.failures(&packet)[0];
//! assert_eq!(found.terms()[failure.term].text(text), "tcp.dst == {80, 443}");
//! assert_eq!(failure.reason, Reason::Value);
//! assert!(compiled.matches(&packet.with(Field::TcpDst, 443)));
//!
//! let wrong = Match::parse("tcp.dst == 80 && ip4.src == $nobody", &sets).unwrap_err();
//! assert_eq!(wrong.to_string(), "Syntax error at `$nobody' expecting address set name.");
//! assert_eq!(wrong.span(), 28..35);
//! # Ok::<_, netverdict_ovn::expr::MatchError>(())
//! ```
//!
//! A match means here what it says. On a node OVN 25.03 does less in one case: Open vSwitch cannot match a part of a nominal field, so
//! ovn-controller leaves `ip.dscp` and `ip.ecn`, and any nominal field under a mask, out of the flows it installs. An ACL with
//! `ip.dscp == 46` takes all IP packets there.
//!
//! Two symbols are not here, `icmp4.frag_mtu` and `icmp6.frag_mtu`: actions can write them, no packet can be asked for them.

mod constant;
mod error;
mod eval;
mod lex;
mod names;
mod packet;
mod parse;
mod print;
mod symbols;

#[cfg(test)]
mod tests;

pub use constant::{AddressSet, PortGroup, Values};
pub use error::{Fault, MatchError};
pub use eval::{Compiled, Failure, Part, Reason};
pub use names::{Names, Sets};
pub use packet::{Field, Fields, Glimpse, Packet};
pub use parse::{Relation, Term};

use parse::Node;
use symbols::Base;

/// Where the number of that name lies: the field, its lowest bit in there, and how many bits it has. `ct_mark.obs_stage` is 2 bits of `ct_mark`
/// from bit 4 on. Nothing for ports, predicates, and names that OVN does not have.
pub fn place(name: &str) -> Option<(Field, u32, u32)> {
    let symbol = symbols::symbol(name)?;
    match symbol.base {
        Base::Bits(field, low) => Some((field, low, symbol.width)),
        Base::Inport | Base::Outport | Base::Predicate(_) => None,
    }
}

/// A match that OVN takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    node: Node,
    terms: Vec<Term>,
}

impl Match {
    /// Parses a match; what it names must be known.
    ///
    /// # Errors
    /// The first mistake, as OVN would tell it.
    pub fn parse(text: &str, names: &impl Names) -> Result<Self, MatchError> {
        let (node, terms) = parse::parse(text, names)?;
        Ok(Self { node, terms })
    }

    /// The terms in the order of the text. A range (`1 < tcp.dst < 9`) is two with one place.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The match as OVN prints it once it has parsed it: sets written out, negations carried to the comparisons, numbers in hexadecimal.
    ///
    /// What is printed parses, into the same, with one exception that OVN has too: a nominal field under a mask (`eth.type == 0x800/0xff00`)
    /// is printed as a subfield, which nominal fields cannot have.
    pub fn canonical(&self) -> String {
        print::print(&self.node, &self.terms)
    }

    /// Makes it ready for packets.
    pub fn compile(&self) -> Compiled {
        Compiled::new(&self.node, &self.terms)
    }
}
