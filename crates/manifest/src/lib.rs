//! Kubernetes objects as people write them, every value with its place in the text.
//!
//! Pure: it reads text, not files. What makes no sense becomes a [`Diagnostic`] that points at
//! the place; the neighbours of a broken document are not harmed.
//!
//! [`read`] takes a text, [`read_bytes`] what is yet to prove to be one, [`read_value`] one object
//! of the API server, whose kind the caller knows. [`Sources`] keeps the texts by number, and
//! shows diagnostics in them.
//!
//! ```
//! use netverdict_manifest::{Sources, Spec};
//!
//! let text = b"
//! apiVersion: networking.k8s.io/v1
//! kind: NetworkPolicy
//! metadata: {name: web, namespace: blue}
//! spec:
//!   podSelector: {}
//!   ingress: [{ports: [{port: 80}]}]
//! ";
//! let mut sources = Sources::default();
//! let (_, reading) = sources.read("web.yaml", text);
//! eprint!("{}", sources.render(&reading.diagnostics, false));
//! let Spec::NetworkPolicy(policy) = &reading.objects[0].spec else {
//!     panic!("another kind");
//! };
//! let span = policy.ingress[0].span;
//! assert_eq!((span.line, span.column), (7, 13));
//! assert_eq!(sources.slice(span), Some("{ports: [{port: 80}]}"));
//! ```
#![forbid(unsafe_code)]

mod diagnostic;
mod edit;
mod object;
mod read;
mod render;
mod span;
mod tree;

pub use diagnostic::{Code, Diagnostic, Label, Severity};
pub use edit::{Data, Edit, Edited, Step, edit};
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
