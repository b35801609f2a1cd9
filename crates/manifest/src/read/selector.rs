//! Label selectors (`LabelSelector` of meta/v1) and maps of labels.

use std::collections::BTreeMap;

use super::names::{is_label_key, is_label_value};
use super::scope::{Scope, each};
use crate::tree::{Value, View, shorten};
use crate::{Expression, Operator, Selector, Span};

const OPERATORS: [(&str, Operator); 4] = [
    ("In", Operator::In),
    ("NotIn", Operator::NotIn),
    ("Exists", Operator::Exists),
    ("DoesNotExist", Operator::DoesNotExist),
];

impl Scope {
    pub(super) fn selector(&mut self, value: Value<'_>, name: &'static str) -> Option<Selector> {
        let mut fields = self.fields(value, name)?;
        let labels = fields.take("matchLabels");
        let expressions = fields.take("matchExpressions");
        fields.refuse_others(self);
        let labels = labels.map(|labels| self.labels(labels, "matchLabels"));
        let expressions = each(self, expressions, "matchExpressions", Self::expression);
        Some(Selector {
            labels: labels.unwrap_or_else(|| Some(BTreeMap::new()))?,
            expressions: expressions?,
            span: value.span(),
        })
    }

    /// A map of labels, or of what must be equal to labels.
    pub(super) fn labels(
        &mut self,
        value: Value<'_>,
        name: &str,
    ) -> Option<BTreeMap<String, String>> {
        let mut labels = BTreeMap::new();
        for (key, span, value) in self.mapping(value, name)?.iter() {
            self.label_key(key, span);
            // Null is the empty text here, as in Kubernetes.
            let text = match value.view() {
                View::Null => Some(""),
                _ => self.string(value, key),
            };
            if let Some(text) = text {
                self.label_value(text, value.span());
                labels.insert(key.to_owned(), text.to_owned());
            }
        }
        Some(labels)
    }

    fn expression(&mut self, value: Value<'_>) -> Option<Expression> {
        let mut fields = self.fields(value, "matchExpressions")?;
        let span = fields.span;
        let key = fields.require(self, "key");
        let operator = fields.require(self, "operator");
        let values = fields.take("values");
        fields.refuse_others(self);
        let key = key.and_then(|value| {
            let key = self.string(value, "key")?;
            self.label_key(key, value.span());
            Some(key.to_owned())
        });
        let operator = operator.and_then(|value| self.word(value, "operator", &OPERATORS));
        let list = match values {
            Some(values) => {
                let mut list = Vec::new();
                for value in self.sequence(values, "values")?.iter() {
                    if let Some(text) = self.string(value, "values") {
                        self.label_value(text, value.span());
                        list.push(text.to_owned());
                    }
                }
                list
            }
            None => Vec::new(),
        };
        let (key, operator) = (key?, operator?);
        match operator {
            Operator::In | Operator::NotIn if list.is_empty() => {
                let what = "the operators `In` and `NotIn` need `values`";
                return self.error(
                    "operator",
                    values.map_or(span, Value::span),
                    what,
                    "no values",
                );
            }
            Operator::Exists | Operator::DoesNotExist if !list.is_empty() => {
                let what = "the operators `Exists` and `DoesNotExist` take no `values`";
                return self.error(
                    "operator",
                    values.map_or(span, Value::span),
                    what,
                    "not allowed",
                );
            }
            _ => {}
        }
        Some(Expression {
            key,
            operator,
            values: list,
        })
    }

    fn label_key(&mut self, key: &str, span: Span) {
        if !is_label_key(key) {
            self.error_help::<()>(
                "label-key",
                span,
                format_args!("`{}` cannot be the key of a label", shorten(key)),
                "not a label's key",
                "letters, digits, `-`, `_` and `.`, a letter or digit first and last, 63 at most; \
                 before a `/` there may be a domain name",
            );
        }
    }

    fn label_value(&mut self, text: &str, span: Span) {
        if !is_label_value(text) {
            self.error_help::<()>(
                "label-value",
                span,
                format_args!("`{}` cannot be the value of a label", shorten(text)),
                "not a label's value",
                "letters, digits, `-`, `_` and `.`, a letter or digit first and last, 63 at most",
            );
        }
    }
}
