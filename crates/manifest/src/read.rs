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

use names::{is_dns_label, is_dns_subdomain};
use scope::{Scope, similar};

/// Places that are no UTF-8.
const MAX_REPLACED: usize = 10_000;
/// Diagnostics of one text that are told.
const MAX_TOLD: usize = 1000;

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
    let mut reader = Reader::new(file);
    if reader.fits(text.len()) {
        reader.text(text, &[]);
    }
    reader.finish()
}

/// Reads bytes that are meant to be a text, as [`read`] does. What is no UTF-8 is replaced in the
/// text that comes back, and is an error of its document alone.
pub fn read_bytes(file: FileId, bytes: &[u8]) -> (String, Reading) {
    let mut reader = Reader::new(file);
    if !reader.fits(bytes.len()) {
        return (String::new(), reader.finish());
    }
    let Some((text, replaced)) = decode(file, bytes) else {
        let message = format!("more than {MAX_REPLACED} places are no UTF-8: that is no text");
        let error = Diagnostic::new(Severity::Error, "utf-8", message);
        reader.tell(vec![error.at(start_of(file), "no text")]);
        return (String::new(), reader.finish());
    };
    reader.text(&text, &replaced);
    (text, reader.finish())
}

/// Reads one object as the API server gives it: in a list it does not say its kind.
pub fn read_value(file: FileId, text: &str, kind: Kind) -> Reading {
    let mut reader = Reader::new(file);
    if reader.fits(text.len()) {
        for document in Documents::new(file, text, &[]) {
            match document {
                Ok(document) => reader.known(kind, document.root(), kind.as_str().to_owned()),
                Err(diagnostics) => reader.tell(diagnostics),
            }
        }
    }
    reader.finish()
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
    /// Diagnostics that are too many.
    untold: usize,
    /// The worst of them.
    worst: Severity,
}

impl Reader {
    fn new(file: FileId) -> Self {
        Self {
            reading: Reading::default(),
            file,
            untold: 0,
            worst: Severity::Note,
        }
    }

    fn fits(&mut self, length: usize) -> bool {
        if length <= MAX_BYTES {
            return true;
        }
        let message = format!(
            "the text has {} MiB; more than {} MiB are not read",
            length >> 20,
            MAX_BYTES >> 20
        );
        let error = Diagnostic::new(Severity::Error, "budget", message)
            .at(start_of(self.file), "too long")
            .help("give it in several files, or fetch only the kinds that matter");
        self.tell(vec![error]);
        false
    }

    /// Reads all documents. `replaced` is where what is no UTF-8 was replaced.
    fn text(&mut self, text: &str, replaced: &[Span]) {
        let mut documents = Documents::new(self.file, text, replaced);
        while let Some(document) = documents.next() {
            match document {
                Ok(document) => self.value(documents.number(), document.root()),
                Err(diagnostics) => self.tell(diagnostics),
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
        if let (Some(_), Some(View::Null)) = (kind.strip_suffix("List"), items) {
            return;
        }
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
            return self.unknown(about, mapping, kind);
        };
        let version = given.map(|(_, version)| version);
        let Some(version) = self.type_field(about, mapping, value, "apiVersion", version) else {
            return;
        };
        let wanted = known.api_version();
        if version == wanted {
            return self.known(known, value, format!("{kind} in {about}"));
        }
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
            Some(View::Scalar { text, .. }) => shorten(text).into_owned(),
            _ => format!("in {about}"),
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

    /// Reads an object; `about` is what it is called until its name is known.
    fn known(&mut self, kind: Kind, value: Value<'_>, about: String) {
        let mut scope = Scope::new(about);
        let object = object(&mut scope, kind, value);
        let (diagnostics, is_right) = scope.finish();
        self.tell(diagnostics);
        self.reading.objects.extend(object.filter(|_| is_right));
    }

    /// An object of a kind that is none of ours, unless that is a slip of the pen.
    fn unknown(&mut self, about: &str, mapping: Mapping<'_>, kind: &str) {
        let version = match mapping.find("apiVersion").map(Value::view) {
            Some(View::Scalar { text, .. }) => text,
            _ => "",
        };
        let kinds = Kind::ALL.into_iter();
        let kinds = kinds.filter(|known| known.api_version() == version);
        let meant = similar(kind, kinds.map(Kind::as_str), |_| 2);
        let (Some(meant), Some(value)) = (meant, mapping.find("kind")) else {
            return self.pass_over(shorten(kind).into_owned());
        };
        let message = format!("{about}: {version} has no kind `{}`", shorten(kind));
        let label = format!("did you mean `{meant}`?");
        self.error("unknown-kind", value.span(), message, label);
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
        self.tell(vec![error]);
    }

    /// Of a text that is wrong all over it is not told all.
    fn tell(&mut self, diagnostics: Vec<Diagnostic>) {
        for diagnostic in diagnostics {
            if self.reading.diagnostics.len() < MAX_TOLD {
                self.reading.diagnostics.push(diagnostic);
            } else {
                self.untold += 1;
                self.worst = self.worst.max(diagnostic.severity);
            }
        }
    }

    fn finish(mut self) -> Reading {
        if self.untold > 0 {
            let message = format!("{} more errors and warnings are not told", self.untold);
            let more = Diagnostic::new(self.worst, "untold", message);
            self.reading.diagnostics.push(more);
        }
        self.reading
    }
}

/// The group of an apiVersion; empty for that of Pods.
fn group(version: &str) -> &str {
    version.split_once('/').map_or("", |(group, _)| group)
}

fn start_of(file: FileId) -> Span {
    Span {
        file,
        start: 0,
        end: 0,
        line: 1,
        column: 1,
    }
}

/// The text of bytes, and where something was replaced that is no UTF-8, those side by side as
/// one; nothing if that is most of it.
fn decode(file: FileId, bytes: &[u8]) -> Option<(String, Vec<Span>)> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Some((text.to_owned(), Vec::new()));
    }
    let mut text = String::with_capacity(bytes.len());
    let mut replaced: Vec<Span> = Vec::new();
    let (mut line, mut column) = (1, 1);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            column += 1;
            if character == '\n' {
                line += 1;
                column = 1;
            }
        }
        text.push_str(chunk.valid());
        if chunk.invalid().is_empty() {
            continue;
        }
        let start = text.len();
        text.push(char::REPLACEMENT_CHARACTER);
        if replaced.last().is_none_or(|last| last.end != start as u32) {
            replaced.push(Span {
                file,
                start: start as u32,
                end: text.len() as u32,
                line,
                column,
            });
        }
        if replaced.len() > MAX_REPLACED {
            return None;
        }
        column += 1;
    }
    Some((text, replaced))
}

fn object(scope: &mut Scope, kind: Kind, value: Value<'_>) -> Option<Object> {
    let mut fields = scope.fields(value, "")?;
    let metadata = fields.require(scope, "metadata")?;
    let spec = fields.take("spec");
    let status = fields.take("status");
    let (key, meta, name) = metadata_of(scope, kind, metadata)?;
    if is_strict(kind) {
        fields.ignore(&["apiVersion", "kind"]);
        fields.refuse_others(scope);
    }
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

/// True for kinds that are read strictly: there a slip of the pen changes what is let through.
fn is_strict(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NetworkPolicy
            | Kind::AdminNetworkPolicy
            | Kind::BaselineAdminNetworkPolicy
            | Kind::ClusterNetworkPolicy
            | Kind::EgressFirewall
            | Kind::UserDefinedNetwork
            | Kind::ClusterUserDefinedNetwork
    )
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
    if is_strict(kind) {
        fields.ignore(&[
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "finalizers",
            "generateName",
            "generation",
            "managedFields",
            "ownerReferences",
            "resourceVersion",
            "selfLink",
        ]);
        fields.refuse_others(scope);
    }
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
        // Up to Kubernetes 1.33 a Service's name begins with a letter.
        Kind::Namespace | Kind::Service => (
            is_dns_label(name),
            "lower case letters, digits and `-`, a letter or digit first and last, 63 at most",
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
