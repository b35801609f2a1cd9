use std::collections::BTreeSet;
use std::sync::Arc;

use netverdict_query::{Check, Field, Plan, Test};
use netverdict_types::{Connection, Direction, Endpoint, Owner};

/// Who asks, and what they may see.
///
/// A tenant sees the connections that have one end in a namespace of theirs. Of another's end they
/// see the address and the port: its name, namespace, labels and node, and what its policies said,
/// are as if they were not known, in answers and in what is asked alike. So is a service of
/// another's namespace. What became of the connection as a whole stays.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    name: Arc<str>,
    namespaces: Namespaces,
}

/// Which namespaces somebody may see.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Namespaces {
    /// All, and what is in none.
    All,
    /// These.
    Only(Arc<BTreeSet<String>>),
}

/// Whose a field is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    /// The client's, and of the policies that let it out.
    Src,
    /// The server's, and of the policies that let in to it.
    Dst,
    /// The service's.
    Service,
}

impl Side {
    pub(crate) const ALL: [Self; 3] = [Self::Src, Self::Dst, Self::Service];

    /// Whose a field is that names its half; `None` for what everybody sees of a connection.
    pub(crate) fn of(field: Field) -> Option<Self> {
        Some(match field {
            Field::SrcNamespace
            | Field::SrcPod
            | Field::SrcName
            | Field::SrcKind
            | Field::SrcNode
            | Field::Egress(_) => Self::Src,
            Field::DstNamespace
            | Field::DstPod
            | Field::DstName
            | Field::DstKind
            | Field::DstNode
            | Field::Ingress(_) => Self::Dst,
            Field::ServiceNamespace
            | Field::ServiceName
            | Field::ServiceIp
            | Field::ServicePort => Self::Service,
            _ => return None,
        })
    }

    fn namespace(self) -> Field {
        match self {
            Self::Src => Field::SrcNamespace,
            Self::Dst => Field::DstNamespace,
            Self::Service => Field::ServiceNamespace,
        }
    }
}

impl Subject {
    /// Somebody without a name, who sees everything.
    pub fn everyone() -> Self {
        Self::new("", Namespaces::All)
    }

    /// Somebody.
    pub fn new(name: &str, namespaces: Namespaces) -> Self {
        let name = name.into();
        Self { name, namespaces }
    }

    /// What the audit calls them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True for those who see everything.
    pub fn sees_all(&self) -> bool {
        self.namespaces == Namespaces::All
    }

    /// True where they may know of a policy.
    pub(crate) fn shows_owner(&self, owner: &Owner) -> bool {
        self.shows_namespace(owner.namespace.as_deref())
    }

    /// True where they may know of a namespace; of what has none where that is `None`.
    pub(crate) fn shows_namespace(&self, namespace: Option<&str>) -> bool {
        match &self.namespaces {
            Namespaces::All => true,
            Namespaces::Only(own) => namespace.is_some_and(|it| own.contains(it)),
        }
    }

    /// A connection as they may see it, if at all.
    pub(crate) fn shows(&self, connection: Arc<Connection>) -> Option<Arc<Connection>> {
        if self.sees_all() {
            return Some(connection);
        }
        let is_own = |end: &Option<Arc<Endpoint>>| {
            let namespace = end.as_ref().and_then(|end| end.namespace.as_deref());
            self.shows_namespace(namespace)
        };
        let (src, dst) = (is_own(&connection.src), is_own(&connection.dst));
        if !src && !dst {
            return None;
        }
        let service = connection.service.as_ref();
        let service = service.is_none_or(|it| self.shows_namespace(it.namespace.as_deref()));
        if src && dst && service {
            return Some(connection);
        }
        let mut shown = Arc::unwrap_or_clone(connection);
        if !src {
            shown.src = None;
            shown.egress = None;
            shown.changes.retain(|it| it.direction != Direction::Egress);
        }
        if !dst {
            shown.dst = None;
            shown.ingress = None;
            shown
                .changes
                .retain(|it| it.direction != Direction::Ingress);
        }
        if !service {
            shown.service = None;
        }
        Some(Arc::new(shown))
    }

    /// The filter that lets through, of connections as they are kept, those that `filter` would
    /// let through as this subject sees them.
    pub(crate) fn restrict(&self, filter: Plan) -> Plan {
        match &self.namespaces {
            Namespaces::All => filter,
            Namespaces::Only(_) => Plan::And(vec![
                Plan::Or(vec![self.owns(Side::Src), self.owns(Side::Dst)]),
                self.as_seen(filter.by_halves()),
            ]),
        }
    }

    /// Lets through what is theirs on that side.
    pub(crate) fn owns(&self, side: Side) -> Plan {
        let Namespaces::Only(own) = &self.namespaces else {
            return Plan::And(Vec::new());
        };
        let tests = own.iter().map(|namespace| {
            Plan::Test(Test {
                field: side.namespace(),
                check: Check::Text(namespace.as_str().into()),
            })
        });
        Plan::Or(tests.collect())
    }

    /// A plan, whose fields name their halves, of which tests of hidden values fail.
    fn as_seen(&self, plan: Plan) -> Plan {
        let all = |children: Vec<Plan>| children.into_iter().map(|it| self.as_seen(it)).collect();
        match plan {
            Plan::And(children) => Plan::And(all(children)),
            Plan::Or(children) => Plan::Or(all(children)),
            Plan::Not(child) => Plan::Not(Box::new(self.as_seen(*child))),
            Plan::Half(child) => Plan::Half(Box::new(self.as_seen(*child))),
            Plan::Test(test) => match Side::of(test.field) {
                Some(side) => Plan::And(vec![self.owns(side), Plan::Test(test)]),
                None => Plan::Test(test),
            },
        }
    }
}
