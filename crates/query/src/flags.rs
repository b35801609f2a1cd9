//! Filter flags of a command line, such as `--from-namespace blue --not --port 80`, as a query.
//!
//! The rule: `--not` turns the flag right behind it around. Values of the same flag with the same
//! sign are alternatives; different flags must all hold. So `--pod a --pod b --not --port 80
//! --not --port 443` is `(pod=a or pod=b) and not (port=80 or port=443)`. A flag without `from-`
//! or `to-` means either end, where there are two.

use crate::error::ErrorKind;
use crate::field::{Name, Operator};
use crate::literal::Literal;
use crate::query::{Expr, Query, Term};

/// A filter flag.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Flag {
    /// `--namespace`: of either end.
    Namespace,
    /// `--from-namespace`
    FromNamespace,
    /// `--to-namespace`
    ToNamespace,
    /// `--pod`: NAME or NAMESPACE/NAME, of either end.
    Pod,
    /// `--from-pod`
    FromPod,
    /// `--to-pod`
    ToPod,
    /// `--ip`: address or block, of either end.
    Ip,
    /// `--from-ip`
    FromIp,
    /// `--to-ip`
    ToIp,
    /// `--port`: number or range, of either end.
    Port,
    /// `--from-port`
    FromPort,
    /// `--to-port`
    ToPort,
    /// `--node`: the node that saw the packet.
    Node,
    /// `--from-node`: the node that the sender lives on.
    FromNode,
    /// `--to-node`: the node that the receiver lives on.
    ToNode,
    /// `--protocol`: name or number.
    Protocol,
    /// `--verdict`
    Verdict,
    /// `--policy`: NAME or NAMESPACE/NAME.
    Policy,
    /// `--direction`: of the policy.
    Direction,
}

impl Flag {
    /// All flags.
    pub const ALL: [Self; 19] = [
        Self::Namespace,
        Self::FromNamespace,
        Self::ToNamespace,
        Self::Pod,
        Self::FromPod,
        Self::ToPod,
        Self::Ip,
        Self::FromIp,
        Self::ToIp,
        Self::Port,
        Self::FromPort,
        Self::ToPort,
        Self::Node,
        Self::FromNode,
        Self::ToNode,
        Self::Protocol,
        Self::Verdict,
        Self::Policy,
        Self::Direction,
    ];

    /// The long name, without dashes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::FromNamespace => "from-namespace",
            Self::ToNamespace => "to-namespace",
            Self::Pod => "pod",
            Self::FromPod => "from-pod",
            Self::ToPod => "to-pod",
            Self::Ip => "ip",
            Self::FromIp => "from-ip",
            Self::ToIp => "to-ip",
            Self::Port => "port",
            Self::FromPort => "from-port",
            Self::ToPort => "to-port",
            Self::Node => "node",
            Self::FromNode => "from-node",
            Self::ToNode => "to-node",
            Self::Protocol => "protocol",
            Self::Verdict => "verdict",
            Self::Policy => "policy",
            Self::Direction => "direction",
        }
    }

    /// The name of the field in queries.
    pub fn field(self) -> &'static str {
        match self {
            Self::FromNamespace => "src.namespace",
            Self::ToNamespace => "dst.namespace",
            Self::FromPod => "src.pod",
            Self::ToPod => "dst.pod",
            Self::FromIp => "src.ip",
            Self::ToIp => "dst.ip",
            Self::FromPort => "src.port",
            Self::ToPort => "dst.port",
            Self::FromNode => "src.node",
            Self::ToNode => "dst.node",
            either => either.as_str(),
        }
    }

    /// What it selects, for a help text.
    pub fn about(self) -> &'static str {
        Name::find(self.field()).map_or("", |name| name.about)
    }
}

/// One argument, in the order of the command line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Argument {
    /// `--not`
    Not,
    /// A flag and its value.
    Filter(Flag, String),
}

/// Why flags make no query.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FlagError {
    /// The value of a flag is wrong.
    #[error("--{}: {kind}", flag.as_str())]
    Value {
        /// The flag.
        flag: Flag,
        /// What is wrong.
        kind: ErrorKind,
    },
    /// `--not` that no filter follows.
    #[error("--not turns the filter behind it around, and there is none: put it before a filter")]
    LonelyNot,
}

/// The query that the flags stand for.
///
/// A value with `*` or `?` is a glob where the field is a text; an address with `/` is a block;
/// a port with `..` is a range.
pub fn query(arguments: &[Argument]) -> Result<Query, FlagError> {
    let mut groups: Vec<(Flag, bool, Vec<Expr>)> = Vec::new();
    let mut turned = false;
    for argument in arguments {
        let Argument::Filter(flag, value) = argument else {
            if turned {
                return Err(FlagError::LonelyNot);
            }
            turned = true;
            continue;
        };
        let term = term(*flag, value).map_err(|kind| FlagError::Value { flag: *flag, kind })?;
        match groups
            .iter_mut()
            .find(|(other, sign, _)| (other, *sign) == (flag, turned))
        {
            Some((.., terms)) => terms.push(term),
            None => groups.push((*flag, turned, vec![term])),
        }
        turned = false;
    }
    if turned {
        return Err(FlagError::LonelyNot);
    }
    let parts = groups.into_iter().filter_map(|(_, turned, terms)| {
        let any = Expr::or(terms)?;
        Some(if turned {
            Expr::Not(Box::new(any))
        } else {
            any
        })
    });
    Ok(Query::new(Expr::and(parts.collect())))
}

fn term(flag: Flag, value: &str) -> Result<Expr, ErrorKind> {
    let name = Name::find(flag.field()).ok_or_else(|| ErrorKind::UnknownField {
        name: flag.field().to_owned(),
        near: Vec::new(),
    })?;
    let operators = name.kind.operators();
    let operator = if value.contains(['*', '?']) && operators.contains(&Operator::Like) {
        Operator::Like
    } else if value.contains('/') && matches!(flag, Flag::Ip | Flag::FromIp | Flag::ToIp)
        || value.contains("..") && matches!(flag, Flag::Port | Flag::FromPort | Flag::ToPort)
    {
        Operator::In
    } else {
        Operator::Equal
    };
    Ok(Expr::Term(Term {
        name,
        operator,
        values: vec![Literal::parse(name, operator, value)?],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<Argument> {
        let mut words = line.split_whitespace();
        let mut arguments = Vec::new();
        while let Some(word) = words.next() {
            let long = word.strip_prefix("--").unwrap();
            arguments.push(match Flag::ALL.iter().find(|flag| flag.as_str() == long) {
                Some(flag) => Argument::Filter(*flag, words.next().unwrap().to_owned()),
                None => Argument::Not,
            });
        }
        arguments
    }

    #[test]
    fn known_lines() {
        for (line, text) in [
            ("", ""),
            ("--namespace blue", "namespace=blue"),
            (
                "--pod a --to-port 80 --pod b",
                "(pod=a or pod=b) and dst.port=80",
            ),
            ("--not --pod a --pod b", "not pod=a and pod=b"),
            ("--not --pod a --not --pod b", "not (pod=a or pod=b)"),
            (
                "--from-pod blue/web-* --ip 10.0.0.0/8 --ip fd00::1 --port 8000..8100",
                "src.pod~blue/web-* and (ip in 10.0.0.0/8 or ip=fd00::1) and port in 8000..8100",
            ),
            (
                "--verdict dropped --protocol 6 --direction ingress --policy blue/allow --node n1 --from-node n2",
                "verdict=dropped and protocol=tcp and direction=Ingress and policy=blue/allow and node=n1 and src.node=n2",
            ),
        ] {
            let query = query(&read(line)).unwrap();
            assert_eq!(query.to_string(), text, "{line}");
            assert_eq!(crate::parse(text).unwrap(), query, "{line}");
        }
    }

    #[test]
    fn wrong_lines_name_the_flag() {
        for (line, message) in [
            (
                "--to-port http",
                "--to-port: `dst.port` cannot be `http`: it is a whole number from 0 to 65535",
            ),
            (
                "--verdict droped",
                "--verdict: `verdict` is never `droped`; did you mean `dropped`?",
            ),
            (
                "--pod a --not",
                "--not turns the filter behind it around, and there is none: put it before a filter",
            ),
            (
                "--not --not --pod a",
                "--not turns the filter behind it around, and there is none: put it before a filter",
            ),
        ] {
            assert_eq!(query(&read(line)).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn each_flag_has_its_field() {
        for flag in Flag::ALL {
            assert!(!flag.about().is_empty(), "{flag:?}");
        }
    }
}
