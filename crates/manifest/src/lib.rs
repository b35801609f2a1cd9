//! Kubernetes objects as people write them, every value with its place in the text.
//!
//! Pure: it reads text, not files. What makes no sense becomes a [`Diagnostic`] that points at
//! the place; the neighbours of a broken document are not harmed.
#![forbid(unsafe_code)]

mod diagnostic;
mod object;
mod read;
mod render;
mod span;
mod tree;

pub use diagnostic::{Code, Diagnostic, Label, Severity};
pub use object::{
    AdminPeer, AdminPolicy, AdminPort, AdminRule, AdminSubject, AdminTier, Attachment, Block, Cidr,
    ContainerPort, EgressFirewall, EgressPort, EgressRule, EgressTo, EndpointSlice, Expression,
    FirewallAction, Key, Kind, Meta, Namespace, NetworkAttachment, NetworkPolicy, NetworkRule,
    NetworkSpec, NetworkTopology, NoCidr, Node, Object, OpenPort, Operator, Peer, Pod, PolicyPort,
    PortRef, Protocol, RuleAction, Selector, Service, ServicePort, SliceEndpoint, SlicePort, Spec,
    TrafficPolicy, UserNetwork, WrittenCidr,
};
pub use read::{Reading, read, read_bytes, read_value};
pub use render::Sources;
pub use span::{At, FileId, Span};
