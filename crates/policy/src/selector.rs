use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use netverdict_manifest::{Expression, Operator, Selector};

/// True if an object with these labels is selected (meta/v1 LabelSelector: all terms hold).
pub(crate) fn selects(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    let equal = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    selector.labels.iter().all(equal) && selector.expressions.iter().all(|term| holds(term, labels))
}

fn holds(term: &Expression, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&term.key);
    let is_among = value.is_some_and(|value| term.values.contains(value));
    match term.operator {
        Operator::In => is_among,
        Operator::NotIn => !is_among,
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
    }
}

/// Pods by the labels of their namespace and their own.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) namespaces: Namespaces,
    /// `None` selects all pods, as does a selector without terms; ovn-kubernetes tells them
    /// apart in names.
    pub(crate) pods: Option<Selector>,
    key: Arc<str>,
}

#[derive(Clone, Debug)]
pub(crate) enum Namespaces {
    Named(Arc<str>),
    Selected(Selector),
}

impl Selection {
    pub(crate) fn new(namespaces: Namespaces, pods: Option<Selector>) -> Self {
        let mut key = match &namespaces {
            Namespaces::Named(name) => name.to_string(),
            Namespaces::Selected(selector) => text(Some(selector)),
        };
        key.push('_');
        key.push_str(&text(pods.as_ref()));
        Self {
            namespaces,
            pods,
            key: key.into(),
        }
    }

    /// What names it, in ovn-kubernetes' spelling (`addresssetmanager`, pod selector key without
    /// suffixes); equal selections have equal keys.
    pub(crate) fn key(&self) -> &Arc<str> {
        &self.key
    }
}

/// A selector as ovn-kubernetes spells it in names; its terms in order.
fn text(selector: Option<&Selector>) -> String {
    let Some(selector) = selector else {
        return "nil".to_owned();
    };
    let mut text = "LS{".to_owned();
    if !selector.labels.is_empty() {
        text.push_str("ML:{");
        for (key, value) in &selector.labels {
            let _ = write!(text, "{key}: {value},");
        }
        text.push_str("},");
    }
    if !selector.expressions.is_empty() {
        let mut terms: Vec<String> = selector.expressions.iter().map(term_text).collect();
        terms.sort();
        let _ = write!(text, "ME:{{{}}},", terms.join(","));
    }
    text.push('}');
    text
}

fn term_text(term: &Expression) -> String {
    let operator = match term.operator {
        Operator::In => "In",
        Operator::NotIn => "NotIn",
        Operator::Exists => "Exists",
        Operator::DoesNotExist => "DoesNotExist",
    };
    let mut values = term.values.clone();
    values.sort();
    format!(
        "LSR{{Key:{},Operator:{operator},Values:[{}],}}",
        term.key,
        values.join(" ")
    )
}
