//! Objects of a server as texts: what diagnostics point into, and all that is kept of an object.

use netverdict_manifest::Kind;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// An object as JSON, without what no policy rests on. Much of that changes all the time, and most
/// of a Pod is such.
pub(super) fn of(kind: Kind, json: &RawValue) -> serde_json::Result<String> {
    let mut object: Map<String, Value> = serde_json::from_str(json.get())?;
    // In a list a server leaves them out.
    object.insert("kind".to_owned(), kind.as_str().into());
    object.insert("apiVersion".to_owned(), kind.api_version().into());
    if let Some(metadata) = fields(&mut object, "metadata") {
        let kept = [
            "name",
            "namespace",
            "labels",
            "annotations",
            "uid",
            "creationTimestamp",
        ];
        keep(metadata, &kept);
        if let Some(annotations) = fields(metadata, "annotations") {
            annotations.retain(|name, _| match kind {
                Kind::Pod | Kind::Node => name.starts_with("k8s.ovn.org/"),
                _ => name != "kubectl.kubernetes.io/last-applied-configuration",
            });
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    match kind {
        Kind::Pod => {
            if let Some(spec) = fields(&mut object, "spec") {
                keep(
                    spec,
                    &["nodeName", "hostNetwork", "containers", "initContainers"],
                );
                for containers in ["containers", "initContainers"] {
                    for container in items(spec, containers) {
                        keep(container, &["name", "ports", "restartPolicy"]);
                    }
                }
            }
            if let Some(status) = fields(&mut object, "status") {
                keep(status, &["phase", "podIP", "podIPs"]);
            }
        }
        Kind::Node => {
            if let Some(status) = fields(&mut object, "status") {
                keep(status, &["addresses"]);
            }
        }
        Kind::Service => {
            if let Some(status) = fields(&mut object, "status") {
                keep(status, &["loadBalancer"]);
            }
        }
        _ => {
            object.remove("status");
        }
    }
    serde_json::to_string_pretty(&object)
}

fn keep(object: &mut Map<String, Value>, fields: &[&str]) {
    object.retain(|field, _| fields.contains(&field.as_str()));
}

fn fields<'a>(
    object: &'a mut Map<String, Value>,
    field: &str,
) -> Option<&'a mut Map<String, Value>> {
    object.get_mut(field)?.as_object_mut()
}

fn items<'a>(
    object: &'a mut Map<String, Value>,
    field: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let items = object.get_mut(field).and_then(Value::as_array_mut);
    items.into_iter().flatten().filter_map(Value::as_object_mut)
}
