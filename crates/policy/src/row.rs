use std::sync::Arc;

use netverdict_manifest::{Key, Span};
use netverdict_ovsdb::{Atom, Datum};
use uuid::Uuid;

/// A northbound row that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its table.
    pub table: Table,
    /// What names it in its table: the primary id of an ACL, the number of a Sample, else the
    /// name.
    pub key: Arc<str>,
    /// Its stand-in identity, made of table and key: what other rows refer to it by.
    pub uuid: Uuid,
    /// Columns that do not have their default value.
    pub columns: Vec<(&'static str, Datum)>,
    /// Ports of a Port_Group by the zone whose switch has them: a zone's row holds only its own.
    pub ports: Vec<(Arc<str>, Uuid)>,
    /// Where it comes from, the most telling place first; none for what every cluster has.
    pub origins: Vec<Origin>,
    /// Which zones have it.
    pub scope: Scope,
}

/// Where a row comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The object.
    pub object: Key,
    /// The rule in it, as in `ingress[0]`; `None` for the object as a whole.
    pub rule: Option<Box<str>>,
    /// The place.
    pub span: Span,
}

/// Which zones have a row.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    /// All.
    Every,
    /// One.
    Zone(Arc<str>),
}

/// The northbound tables that are written.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Table {
    /// ACL.
    Acl,
    /// Address_Set.
    AddressSet,
    /// Load_Balancer.
    LoadBalancer,
    /// Load_Balancer_Group.
    LoadBalancerGroup,
    /// Logical_Router.
    LogicalRouter,
    /// Logical_Router_Port.
    LogicalRouterPort,
    /// Logical_Router_Static_Route.
    LogicalRouterStaticRoute,
    /// Logical_Switch.
    LogicalSwitch,
    /// Logical_Switch_Port.
    LogicalSwitchPort,
    /// Meter.
    Meter,
    /// Meter_Band.
    MeterBand,
    /// Port_Group.
    PortGroup,
    /// Sample.
    Sample,
    /// Sample_Collector.
    SampleCollector,
    /// Sampling_App.
    SamplingApp,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Acl,
        Self::AddressSet,
        Self::LoadBalancer,
        Self::LoadBalancerGroup,
        Self::LogicalRouter,
        Self::LogicalRouterPort,
        Self::LogicalRouterStaticRoute,
        Self::LogicalSwitch,
        Self::LogicalSwitchPort,
        Self::Meter,
        Self::MeterBand,
        Self::PortGroup,
        Self::Sample,
        Self::SampleCollector,
        Self::SamplingApp,
    ];

    /// As the schema spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acl => "ACL",
            Self::AddressSet => "Address_Set",
            Self::LoadBalancer => "Load_Balancer",
            Self::LoadBalancerGroup => "Load_Balancer_Group",
            Self::LogicalRouter => "Logical_Router",
            Self::LogicalRouterPort => "Logical_Router_Port",
            Self::LogicalRouterStaticRoute => "Logical_Router_Static_Route",
            Self::LogicalSwitch => "Logical_Switch",
            Self::LogicalSwitchPort => "Logical_Switch_Port",
            Self::Meter => "Meter",
            Self::MeterBand => "Meter_Band",
            Self::PortGroup => "Port_Group",
            Self::Sample => "Sample",
            Self::SampleCollector => "Sample_Collector",
            Self::SamplingApp => "Sampling_App",
        }
    }

    /// The stand-in identity of the row with this key.
    pub fn uuid(self, key: &str) -> Uuid {
        // The namespace is a random one of our own.
        const NAMESPACE: Uuid = Uuid::from_u128(0x6e65_7476_6572_4d69_9374_706f_6c69_6379);
        let mut name = String::with_capacity(self.as_str().len() + 1 + key.len());
        name.push_str(self.as_str());
        name.push(' ');
        name.push_str(key);
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }
}

impl Row {
    /// A row for all zones, without columns yet.
    pub fn new(table: Table, key: impl Into<Arc<str>>) -> Self {
        let key = key.into();
        Self {
            uuid: table.uuid(&key),
            table,
            key,
            columns: Vec::new(),
            ports: Vec::new(),
            origins: Vec::new(),
            scope: Scope::Every,
        }
    }

    /// Sets a column, unless to the empty set or map, which every column has by default.
    #[must_use]
    pub fn with(mut self, column: &'static str, value: impl Into<Datum>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.columns.push((column, value));
        }
        self
    }

    /// Says where it comes from.
    #[must_use]
    pub fn from(mut self, origin: Origin) -> Self {
        self.origins.push(origin);
        self
    }

    /// Only one zone has it.
    #[must_use]
    pub fn in_zone(mut self, zone: &Arc<str>) -> Self {
        self.scope = Scope::Zone(zone.clone());
        self
    }

    /// Takes what other makers of the same row add: columns, elements of sets of references and
    /// of maps, and origins.
    pub(crate) fn absorb(&mut self, others: &[&Self]) {
        let mut more: Vec<(&'static str, Vec<&Datum>)> = Vec::new();
        for other in others {
            for (column, value) in &other.columns {
                match more.iter_mut().find(|(of, _)| of == column) {
                    Some((_, values)) => values.push(value),
                    None => more.push((column, vec![value])),
                }
            }
            for port in &other.ports {
                if !self.ports.contains(port) {
                    self.ports.push(port.clone());
                }
            }
            for origin in &other.origins {
                if !self.origins.contains(origin) {
                    self.origins.push(origin.clone());
                }
            }
        }
        for (column, values) in more {
            match self.columns.iter_mut().find(|(of, _)| *of == column) {
                Some((_, own)) => *own = united(own, &values),
                None => {
                    if let Some((first, rest)) = values.split_first() {
                        self.columns.push((column, united(first, rest)));
                    }
                }
            }
        }
    }

    /// All columns as this zone has them.
    pub fn columns_in(&self, zone: &str) -> Vec<(&'static str, Datum)> {
        let mut columns = self.columns.clone();
        let ports: Vec<Atom> = self
            .ports
            .iter()
            .filter(|(of, _)| &**of == zone)
            .map(|(_, port)| Atom::from(*port))
            .collect();
        if !ports.is_empty() {
            columns.push(("ports", Datum::set(ports)));
        }
        columns
    }

    /// True if this zone has it.
    pub fn is_in(&self, zone: &str) -> bool {
        match &self.scope {
            Scope::Every => true,
            Scope::Zone(of) => &**of == zone,
        }
    }
}

/// Sets of references or maps together; of other values that differ the first.
fn united(first: &Datum, rest: &[&Datum]) -> Datum {
    if rest.iter().all(|other| *other == first) {
        return first.clone();
    }
    let all = || std::iter::once(first).chain(rest.iter().copied());
    let mut atoms = all().flat_map(Datum::atoms);
    if atoms.clone().next().is_none() {
        Datum::map(all().flat_map(Datum::pairs).cloned().collect())
    } else if atoms.all(|atom| atom.as_uuid().is_some()) {
        Datum::set(all().flat_map(Datum::atoms).cloned().collect())
    } else {
        first.clone()
    }
}
