//! Texts as objects.

mod admin;
mod core;
mod egress_firewall;
mod names;
mod network;
mod network_policy;
mod scope;
mod selector;

use std::collections::BTreeMap;

use crate::tree::{Documents, MAX_BYTES, Mapping, Value, View, shorten};
use crate::{
    At, Diagnostic, FileId, Key, Kind, Label, Meta, Namespace, Object, Severity, Span, Spec,
};

use names::{is_dns_label, is_dns_subdomain, is_service_name};
use scope::Scope;

/// What a text holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reading {
    /// The objects that are right, in their order. Several may have the same key.
    pub objects: Vec<Object>,
    /// What is wrong or doubtful.
    pub diagnostics: Vec<Diagnostic>,
    /// How many objects were passed over, by kind; with the apiVersion where the kind is one of
    /// ours by its name only.
    pub passed_over: BTreeMap<String, usize>,
}

/// Reads a text: YAML or JSON, any number of documents, lists as `kubectl get -o yaml` writes
/// them.
///
/// An object that the API server would refuse is not among the objects but among the
/// diagnostics; what else the text holds is not harmed. A text of more than 32 MiB, or one that
/// nests deeper than 255 levels or repeats more than a million values by aliases, is refused.
///
/// ```
/// use netverdict_manifest::{FileId, Kind, read};
///
/// let reading = read(FileId(1), "apiVersion: v1\nkind: Namespace\nmetadata: {name: blue}\n");
/// assert_eq!(reading.objects[0].key.kind, Kind::Namespace);
/// assert!(reading.diagnostics.is_empty());
/// ```
pub fn read(file: FileId, text: &str) -> Reading {
    let mut reader = Reader {
        reading: Reading::default(),
        file,
    };
    if reader.fits(text.len()) {
        reader.text(text, &[]);
    }
    reader.reading
}

/// Reads bytes that are meant to be a text, as [`read`] does. What is no UTF-8 is replaced in the
/// text that comes back, and is an error of its document alone.
pub fn read_bytes(file: FileId, bytes: &[u8]) -> (String, Reading) {
    let mut reader = Reader {
        reading: Reading::default(),
        file,
    };
    if !reader.fits(bytes.len()) {
        return (String::new(), reader.reading);
    }
    let (text, replaced) = decode(file, bytes);
    reader.text(&text, &replaced);
    (text, reader.reading)
}

/// Reads one object as the API server gives it: in a list it does not say its kind.
pub fn read_value(file: FileId, text: &str, kind: Kind) -> Reading {
    let mut reader = Reader {
        reading: Reading::default(),
        file,
    };
    if reader.fits(text.len()) {
        for document in Documents::new(file, text, &[]) {
            match document {
                Ok(document) => reader.known(kind, document.root()),
                Err(diagnostics) => reader.reading.diagnostics.extend(diagnostics),
            }
        }
    }
    reader.reading
}

impl Kind {
    /// The API group and version that is read.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Namespace | Self::Node | Self::Pod | Self::Service => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::NetworkPolicy => "networking.k8s.io/v1",
            Self::AdminNetworkPolicy | Self::BaselineAdminNetworkPolicy => {
                "policy.networking.k8s.io/v1alpha1"
            }
            Self::ClusterNetworkPolicy => "policy.networking.k8s.io/v1alpha2",
            Self::EgressFirewall | Self::UserDefinedNetwork | Self::ClusterUserDefinedNetwork => {
                "k8s.ovn.org/v1"
            }
            Self::NetworkAttachmentDefinition => "k8s.cni.cncf.io/v1",
        }
    }
}

struct Reader {
    reading: Reading,
    file: FileId,
}

impl Reader {
    fn fits(&mut self, length: usize) -> bool {
        if length <= MAX_BYTES {
            return true;
        }
        let span = Span {
            file: self.file,
            line: 1,
            column: 1,
            ..Span::default()
        };
        let message = format!(
            "the text has {} MiB; more than {} MiB are not read",
            length >> 20,
            MAX_BYTES >> 20
        );
        let error = Diagnostic::new(Severity::Error, "budget", message)
            .at(span, "too long")
            .help("give it in several files, or fetch only the kinds that matter");
        self.reading.diagnostics.push(error);
        false
    }

    /// Reads all documents. `replaced` is where what is no UTF-8 was replaced.
    fn text(&mut self, text: &str, replaced: &[Span]) {
        let mut documents = Documents::new(self.file, text, replaced);
        while let Some(document) = documents.next() {
            match document {
                Ok(document) => self.value(documents.number(), document.root()),
                Err(diagnostics) => self.reading.diagnostics.extend(diagnostics),
            }
        }
    }

    fn value(&mut self, number: usize, value: Value<'_>) {
        let View::Mapping(mapping) = value.view() else {
            return self.error(
                "no-object",
                value.span(),
                format!("document {number} is no object of Kubernetes"),
                "not a mapping",
            );
        };
        self.object(&format!("document {number}"), mapping, value, None);
    }

    /// Reads an object or a list of them; `about` is what it is called as long as it has no name,
    /// `given` are kind and apiVersion for objects of a list that do not say their own.
    fn object(
        &mut self,
        about: &str,
        mapping: Mapping<'_>,
        value: Value<'_>,
        given: Option<(&str, &str)>,
    ) {
        let Some(kind) =
            self.type_field(about, mapping, value, "kind", given.map(|(kind, _)| kind))
        else {
            return;
        };
        let items = mapping.find("items").map(Value::view);
        if let (Some(kind), Some(View::Sequence(items))) = (kind.strip_suffix("List"), items) {
            let version = mapping.find("apiVersion").map(Value::view);
            let version = match version {
                Some(View::Scalar { text, .. }) => text,
                _ => "",
            };
            let given = (!kind.is_empty()).then_some((kind, version));
            for (index, item) in items.iter().enumerate() {
                let about = format!("{about}, item {}", index + 1);
                match item.view() {
                    View::Mapping(mapping) => self.object(&about, mapping, item, given),
                    _ => self.error(
                        "no-object",
                        item.span(),
                        format!("{about} is no object of Kubernetes"),
                        "not a mapping",
                    ),
                }
            }
            return;
        }
        let Some(known) = Kind::parse(kind) else {
            return self.pass_over(kind.to_owned());
        };
        let version = given.map(|(_, version)| version);
        let Some(version) = self.type_field(about, mapping, value, "apiVersion", version) else {
            return;
        };
        let wanted = known.api_version();
        if version == wanted {
            return self.known(known, value);
        }
        let group = |version: &str| match version.split_once('/') {
            Some((group, _)) => group.to_owned(),
            None => String::new(),
        };
        let is_old = known == Kind::NetworkPolicy && group(version) == "extensions";
        if group(version) != group(wanted) && !is_old {
            return self.pass_over(format!("{kind} ({})", shorten(version)));
        }
        let span = mapping.find("apiVersion").map_or(value.span(), Value::span);
        let name = match mapping.find("metadata").map(Value::view) {
            Some(View::Mapping(metadata)) => metadata.find("name").map(Value::view),
            _ => None,
        };
        let name = match name {
            Some(View::Scalar { text, .. }) => shorten(text),
            _ => about.into(),
        };
        let message = format!("{kind} {name}: apiVersion {} is not read", shorten(version));
        self.error("api-version", span, message, format!("only {wanted} is"));
    }

    /// `kind` or `apiVersion`.
    fn type_field<'v>(
        &mut self,
        about: &str,
        mapping: Mapping<'v>,
        value: Value<'_>,
        name: &str,
        given: Option<&'v str>,
    ) -> Option<&'v str> {
        match mapping.find(name).map(|found| (found, found.view())) {
            Some((_, View::Scalar { text, .. })) if !text.is_empty() => return Some(text),
            None | Some((_, View::Null)) => {
                if given.is_some() {
                    return given;
                }
                let message = format!("{about} has no `{name}`");
                self.error("no-kind", value.span(), message, format!("no `{name}`"));
            }
            Some((found, _)) => {
                let message = format!("{about}: `{name}` must be a text");
                self.error("wrong-type", found.span(), message, "not a text");
            }
        }
        None
    }

    fn known(&mut self, kind: Kind, value: Value<'_>) {
        let mut scope = Scope::new(kind.as_str().to_owned());
        let object = object(&mut scope, kind, value);
        let (diagnostics, is_right) = scope.finish();
        self.reading.diagnostics.extend(diagnostics);
        self.reading.objects.extend(object.filter(|_| is_right));
    }

    fn pass_over(&mut self, kind: String) {
        *self.reading.passed_over.entry(kind).or_default() += 1;
    }

    fn error(&mut self, code: &'static str, span: Span, message: String, label: impl Into<String>) {
        let mut error = Diagnostic::new(Severity::Error, code, message);
        error.labels.push(Label {
            span,
            text: label.into(),
        });
        self.reading.diagnostics.push(error);
    }
}

/// The text of bytes, and where something was replaced that is no UTF-8.
fn decode(file: FileId, bytes: &[u8]) -> (String, Vec<Span>) {
    let mut text = String::with_capacity(bytes.len());
    let mut replaced = Vec::new();
    let (mut line, mut line_start) = (1, 0);
    for chunk in bytes.utf8_chunks() {
        for (at, _) in chunk.valid().match_indices('\n') {
            line += 1;
            line_start = text.len() + at + 1;
        }
        text.push_str(chunk.valid());
        if chunk.invalid().is_empty() {
            continue;
        }
        let start = text.len();
        text.push(char::REPLACEMENT_CHARACTER);
        let before = text.get(line_start..start).unwrap_or_default();
        replaced.push(Span {
            file,
            start: start as u32,
            end: text.len() as u32,
            line,
            column: before.chars().count() as u32 + 1,
        });
    }
    (text, replaced)
}

fn object(scope: &mut Scope, kind: Kind, value: Value<'_>) -> Option<Object> {
    let mut fields = scope.fields(value, "object")?;
    let metadata = fields.require(scope, "metadata")?;
    let spec = fields.take("spec");
    let status = fields.take("status");
    let (key, meta, name) = metadata_of(scope, kind, metadata)?;
    let spec = match kind {
        Kind::Namespace => Spec::Namespace(Namespace {}),
        Kind::Node => Spec::Node(core::node(scope, spec, status)?),
        Kind::Pod => Spec::Pod(core::pod(scope, &meta, spec, status)?),
        Kind::Service => Spec::Service(core::service(scope, spec, status)?),
        Kind::EndpointSlice => {
            Spec::EndpointSlice(core::endpoint_slice(scope, &meta, value, &key.namespace)?)
        }
        Kind::NetworkPolicy => {
            Spec::NetworkPolicy(network_policy::network_policy(scope, spec, name.span)?)
        }
        Kind::AdminNetworkPolicy
        | Kind::BaselineAdminNetworkPolicy
        | Kind::ClusterNetworkPolicy => {
            Spec::AdminPolicy(admin::admin_policy(scope, kind, &name, spec)?)
        }
        Kind::EgressFirewall => {
            Spec::EgressFirewall(egress_firewall::egress_firewall(scope, &name, spec)?)
        }
        Kind::UserDefinedNetwork => {
            Spec::UserNetwork(network::user_network(scope, false, name.span, spec)?)
        }
        Kind::ClusterUserDefinedNetwork => {
            Spec::UserNetwork(network::user_network(scope, true, name.span, spec)?)
        }
        Kind::NetworkAttachmentDefinition => {
            Spec::NetworkAttachment(network::attachment(scope, spec)?)
        }
    };
    Some(Object { key, meta, spec })
}

fn metadata_of(scope: &mut Scope, kind: Kind, value: Value<'_>) -> Option<(Key, Meta, At<String>)> {
    let mut fields = scope.fields(value, "metadata")?;
    let name = fields.require(scope, "name")?;
    let name = scope.located(name, "name")?;
    let namespace = fields.take("namespace");
    let namespace_text = match namespace {
        Some(value) => scope.string(value, "namespace")?,
        None => "",
    };
    let key = match kind.is_namespaced() {
        // As kubectl does.
        true if namespace_text.is_empty() => Key::new(kind, "default", &name),
        true => Key::new(kind, namespace_text, &name),
        false => Key::new(kind, "", &name),
    };
    scope.about = format!(
        "{} {}{}{}",
        kind.as_str(),
        shorten(&key.namespace),
        if key.namespace.is_empty() { "" } else { "/" },
        shorten(&name)
    );
    check_name(scope, kind, &name);
    if let Some(namespace) = namespace.filter(|_| kind.is_namespaced())
        && !is_dns_label(&key.namespace)
    {
        scope.error_help::<()>(
            "name",
            namespace.span(),
            "`namespace` cannot be a name",
            "not a name",
            "lower case letters, digits and `-`, a letter or digit first and last, 63 at most",
        );
    }
    let labels = fields.take("labels");
    let labels = labels.and_then(|value| scope.labels(value, "labels"));
    let mut annotations = BTreeMap::new();
    if let Some(value) = fields.take("annotations")
        && let Some(mapping) = scope.mapping(value, "annotations")
    {
        for (key, _, value) in mapping.iter() {
            let text = match value.view() {
                View::Null => Some(At::new(String::new(), value.span())),
                _ => scope.located(value, key),
            };
            annotations.extend(text.map(|text| (key.to_owned(), text)));
        }
    }
    let uid = fields.take("uid");
    let uid = uid.and_then(|value| scope.string(value, "uid"));
    let created = fields.take("creationTimestamp");
    let created = created.and_then(|value| time(scope, value));
    let meta = Meta {
        labels: labels.unwrap_or_default(),
        annotations,
        uid: uid.map(str::to_owned),
        created,
        span: name.span,
    };
    Some((key, meta, name))
}

fn check_name(scope: &mut Scope, kind: Kind, name: &At<String>) {
    let (is_right, help) = match kind {
        Kind::Namespace => (
            is_dns_label(name),
            "lower case letters, digits and `-`, a letter or digit first and last, 63 at most",
        ),
        Kind::Service => (
            is_service_name(name),
            "lower case letters, digits and `-`, a letter first, a letter or digit last, 63 at \
             most",
        ),
        _ => (
            is_dns_subdomain(name),
            "lower case letters, digits, `-` and `.`, a letter or digit first and last, 253 at \
             most",
        ),
    };
    if !is_right {
        let what = "`name` cannot be a name";
        scope.error_help::<()>("name", name.span, what, "not a name", help);
    }
}

/// RFC 3339 in UTC with whole seconds, as the API server writes it.
fn time(scope: &mut Scope, value: Value<'_>) -> Option<String> {
    let text = match value.view() {
        View::Scalar { text, .. } => text,
        _ => "",
    };
    let form = b"0000-00-00T00:00:00Z";
    let is_right = text.len() == form.len()
        && text.bytes().zip(form).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            _ => byte == *wanted,
        });
    if !is_right {
        return scope.error(
            "time",
            value.span(),
            "`creationTimestamp` must be a time such as 2026-01-31T12:00:00Z",
            "not such a time",
        );
    }
    Some(text.to_owned())
}
