//! What all readers share: typed values out of a tree, and what is wrong with them.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::tree::{Mapping, Sequence, Value, View, shorten};
use crate::{At, Cidr, Diagnostic, Label, Protocol, Severity, Span, WrittenCidr};

/// Errors, and warnings, of one object that are told.
const MAX_TOLD: usize = 20;

/// The object that is being read, and what there is to tell about it.
pub(super) struct Scope {
    /// What the object is called in messages.
    pub(super) about: String,
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Scope {
    pub(super) fn new(about: String) -> Self {
        Self {
            about,
            diagnostics: Vec::new(),
            errors: 0,
            warnings: 0,
        }
    }

    /// What there is to tell, and whether the object is right.
    pub(super) fn finish(mut self) -> (Vec<Diagnostic>, bool) {
        for (severity, count) in [
            (Severity::Error, self.errors),
            (Severity::Warning, self.warnings),
        ] {
            if let Some(more) = count.checked_sub(MAX_TOLD).filter(|more| *more > 0) {
                let message = format!("{}: {more} more {severity}s", self.about);
                self.diagnostics
                    .push(Diagnostic::new(severity, "untold", message));
            }
        }
        (self.diagnostics, self.errors == 0)
    }

    /// True as long as there is no error.
    pub(super) fn is_right(&self) -> bool {
        self.errors == 0
    }

    /// Tells an error, and gives `None` for the value.
    pub(super) fn error<T>(
        &mut self,
        code: &'static str,
        span: Span,
        what: impl Display,
        label: impl Into<String>,
    ) -> Option<T> {
        self.error_help(code, span, what, label, "")
    }

    /// Tells an error and what to do about it, and gives `None` for the value.
    pub(super) fn error_help<T>(
        &mut self,
        code: &'static str,
        span: Span,
        what: impl Display,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<T> {
        self.errors += 1;
        if self.errors <= MAX_TOLD {
            self.push(Severity::Error, code, span, what, label, help);
        }
        None
    }

    pub(super) fn warn(
        &mut self,
        code: &'static str,
        span: Span,
        what: impl Display,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.warnings += 1;
        if self.warnings <= MAX_TOLD {
            self.push(Severity::Warning, code, span, what, label, help);
        }
    }

    /// Adds a place to what was told last.
    pub(super) fn point(&mut self, span: Span, label: &str) {
        if self.errors <= MAX_TOLD
            && let Some(last) = self.diagnostics.last_mut()
        {
            let text = label.to_owned();
            last.labels.push(Label { span, text });
        }
    }

    fn push(
        &mut self,
        severity: Severity,
        code: &'static str,
        span: Span,
        what: impl Display,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        let message = format!("{}: {what}", self.about);
        let mut diagnostic = Diagnostic::new(severity, code, message).at(span, label);
        let help = help.into();
        diagnostic.help = (!help.is_empty()).then_some(help);
        self.diagnostics.push(diagnostic);
    }

    fn wrong_type<T>(&mut self, value: Value<'_>, name: &str, wanted: &str) -> Option<T> {
        let found = match value.view() {
            View::Null => "nothing",
            View::Scalar { text, plain } => match plain.then(|| plain_type(text)) {
                Some(Plain::Boolean(_)) => "a boolean",
                Some(Plain::Number) => "a number",
                _ => "a text",
            },
            View::Sequence(_) => "a list",
            View::Mapping(_) => "a mapping",
        };
        let label = format!("{found}, not {wanted}");
        let help = match (found, wanted) {
            ("a boolean" | "a number", "a text") => "put it in quotes",
            ("a text", "a number" | "a boolean") => "leave out the quotes",
            _ => "",
        };
        self.error_help(
            "wrong-type",
            value.span(),
            format_args!("`{name}` must be {wanted}"),
            label,
            help,
        )
    }

    pub(super) fn mapping<'d>(&mut self, value: Value<'d>, name: &str) -> Option<Mapping<'d>> {
        match value.view() {
            View::Mapping(mapping) => Some(mapping),
            _ => self.wrong_type(value, name, "a mapping"),
        }
    }

    /// The fields of a mapping; an element of a list that is null is one without fields, as in
    /// Kubernetes.
    pub(super) fn fields<'d>(
        &mut self,
        value: Value<'d>,
        name: &'static str,
    ) -> Option<Fields<'d>> {
        let mapping = match value.view() {
            View::Null => None,
            _ => Some(self.mapping(value, if name.is_empty() { "object" } else { name })?),
        };
        Some(Fields {
            mapping,
            span: value.span(),
            name,
            known: Vec::new(),
        })
    }

    pub(super) fn sequence<'d>(&mut self, value: Value<'d>, name: &str) -> Option<Sequence<'d>> {
        match value.view() {
            View::Sequence(sequence) => Some(sequence),
            _ => self.wrong_type(value, name, "a list"),
        }
    }

    /// A list of at most `most` elements.
    pub(super) fn bounded<'d>(
        &mut self,
        value: Value<'d>,
        name: &str,
        most: usize,
    ) -> Option<Sequence<'d>> {
        let sequence = self.sequence(value, name)?;
        if sequence.len() > most {
            let label = format!("{} of them", sequence.len());
            let what = format_args!("`{name}` may have at most {most} elements");
            return self.error("too-many", value.span(), what, label);
        }
        Some(sequence)
    }

    pub(super) fn string<'d>(&mut self, value: Value<'d>, name: &str) -> Option<&'d str> {
        match value.view() {
            View::Scalar { text, plain } if !plain || plain_type(text) == Plain::Text => Some(text),
            View::Scalar { text, plain: true } if is_old_boolean(text) => self.error_help(
                "wrong-type",
                value.span(),
                format_args!("`{name}` must be a text"),
                "a boolean in the YAML 1.1 of kubectl",
                "put it in quotes",
            ),
            _ => self.wrong_type(value, name, "a text"),
        }
    }

    pub(super) fn located(&mut self, value: Value<'_>, name: &str) -> Option<At<String>> {
        let text = self.string(value, name)?;
        Some(At::new(text.to_owned(), value.span()))
    }

    pub(super) fn boolean(&mut self, value: Value<'_>, name: &str) -> Option<bool> {
        if let View::Scalar { text, plain: true } = value.view()
            && let Plain::Boolean(is_true) = plain_type(text)
        {
            return Some(is_true);
        }
        self.wrong_type(value, name, "a boolean")
    }

    pub(super) fn integer(
        &mut self,
        value: Value<'_>,
        name: &str,
        code: &'static str,
        bounds: RangeInclusive<i64>,
    ) -> Option<i64> {
        let number = match value.view() {
            View::Scalar { text, plain: true } => whole_number(text),
            _ => None,
        };
        let Some(number) = number else {
            return self.wrong_type(value, name, "a whole number");
        };
        if !bounds.contains(&number) {
            let (least, most) = bounds.into_inner();
            let what = format_args!("`{name}` must be {least} to {most}");
            return self.error(code, value.span(), what, "out of range");
        }
        Some(number)
    }

    pub(super) fn port(&mut self, value: Value<'_>, name: &str) -> Option<u16> {
        let port = self.integer(value, name, "port", 1..=65535)?;
        u16::try_from(port).ok()
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(
        &mut self,
        value: Value<'_>,
        name: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = self.string(value, name)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let all = words.iter().map(|(word, _)| *word);
        let list = all
            .clone()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>();
        let label = match similar(text, all, most_wrong) {
            Some(word) => format!("did you mean `{word}`?"),
            None => "unknown".to_owned(),
        };
        let what = format_args!("`{name}` must be {}", alternatives(&list));
        self.error("unknown-word", value.span(), what, label)
    }

    pub(super) fn protocol(&mut self, value: Value<'_>) -> Option<Protocol> {
        let words = Protocol::ALL.map(|protocol| (protocol.as_str(), protocol));
        self.word(value, "protocol", &words)
    }

    pub(super) fn address(&mut self, value: Value<'_>, name: &str) -> Option<IpAddr> {
        let text = self.string(value, name)?;
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => self.error(
                "address",
                value.span(),
                format_args!("`{name}` must be an IP address"),
                "not an IP address",
            ),
        }
    }

    /// A range of addresses; it is warned of host bits.
    pub(super) fn cidr(&mut self, value: Value<'_>, name: &str) -> Option<At<Cidr>> {
        let text = self.string(value, name)?;
        let Some(cidr) = text.parse::<Cidr>().ok() else {
            let (label, help) = cidr_fault(text);
            let what = format_args!("`{name}` must be an address range such as 10.0.0.0/8");
            return self.error_help("cidr", value.span(), what, label, help);
        };
        let network = cidr.network();
        if network != cidr {
            self.warn(
                "host-bits",
                value.span(),
                format_args!("`{name}` has bits behind its prefix"),
                format!("means {network}"),
                format!("write {network}"),
            );
        }
        Some(At::new(cidr, value.span()))
    }

    /// As [`Scope::cidr`], with the text.
    pub(super) fn written_cidr(&mut self, value: Value<'_>, name: &str) -> Option<At<WrittenCidr>> {
        let cidr = self.cidr(value, name)?;
        let text = self.string(value, name)?.into();
        let cidr = cidr.value;
        Some(At::new(WrittenCidr { cidr, text }, value.span()))
    }
}

/// The fields of a mapping, as far as they were asked for.
pub(super) struct Fields<'d> {
    mapping: Option<Mapping<'d>>,
    pub(super) span: Span,
    name: &'static str,
    known: Vec<&'static str>,
}

impl<'d> Fields<'d> {
    /// A field; null is as good as not there.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value<'d>> {
        self.known.push(name);
        let value = self.mapping?.find(name)?;
        (!matches!(value.view(), View::Null)).then_some(value)
    }

    /// A field that must be there.
    pub(super) fn require(&mut self, scope: &mut Scope, name: &'static str) -> Option<Value<'d>> {
        let value = self.take(name);
        if value.is_none() {
            let label = format!("no `{name}`");
            let what = match self.name {
                "" => format!("must have `{name}`"),
                whole => format!("`{whole}` must have `{name}`"),
            };
            return scope.error("missing-field", self.span, what, label);
        }
        value
    }

    /// Fields that are right, and of no interest.
    pub(super) fn ignore(&mut self, names: &[&'static str]) {
        self.known.extend(names);
    }

    /// True without any field.
    pub(super) fn is_empty(&self) -> bool {
        self.mapping
            .is_none_or(|mapping| mapping.iter().next().is_none())
    }

    /// Refuses all fields that nobody has asked for; true if there are some.
    pub(super) fn refuse_others(self, scope: &mut Scope) -> bool {
        let Some(mapping) = self.mapping else {
            return false;
        };
        let before = scope.errors;
        for (key, span, _) in mapping.iter() {
            if self.known.contains(&key) {
                continue;
            }
            if scope.errors > MAX_TOLD {
                scope.errors += 1;
                continue;
            }
            let label = match similar(key, self.known.iter().copied(), most_wrong) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "unknown".to_owned(),
            };
            let whose = match self.name {
                "" => "it".to_owned(),
                name => format!("`{name}`"),
            };
            let what = format_args!("{whose} has no field `{}`", shorten(key));
            scope.error::<()>("unknown-field", span, what, label);
        }
        scope.errors > before
    }
}

/// All elements of a list that may be missing.
pub(super) fn each<T>(
    scope: &mut Scope,
    value: Option<Value<'_>>,
    name: &str,
    mut read: impl FnMut(&mut Scope, Value<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(value) = value else {
        return Some(Vec::new());
    };
    let sequence = scope.sequence(value, name)?;
    let mut all = Some(Vec::with_capacity(sequence.len()));
    for value in sequence.iter() {
        match (read(scope, value), &mut all) {
            (Some(one), Some(all)) => all.push(one),
            _ => all = None,
        }
    }
    all
}

/// What is there must have been read.
pub(super) fn transpose<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        Some(read) => read.map(Some),
        None => Some(None),
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Plain {
    Boolean(bool),
    Number,
    Text,
}

/// What a scalar without quotes is for kubectl, which reads YAML 1.1.
fn plain_type(text: &str) -> Plain {
    match text {
        "true" | "True" | "TRUE" => return Plain::Boolean(true),
        "false" | "False" | "FALSE" => return Plain::Boolean(false),
        _ => {}
    }
    if is_old_boolean(text) {
        return Plain::Boolean(text.starts_with(['y', 'Y']) || matches!(text, "on" | "On" | "ON"));
    }
    if whole_number(text).is_some() || is_float(text) {
        return Plain::Number;
    }
    Plain::Text
}

/// True for a text, which may look like a number only in quotes.
pub(super) fn is_text(value: Value<'_>) -> bool {
    match value.view() {
        View::Scalar { text, plain } => !plain || plain_type(text) == Plain::Text,
        _ => false,
    }
}

/// What only YAML 1.1 takes for a truth value.
fn is_old_boolean(text: &str) -> bool {
    matches!(
        text,
        "y" | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "on"
            | "On"
            | "ON"
            | "off"
            | "Off"
            | "OFF"
    )
}

fn whole_number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits.as_str()),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(digits, radix)
        .ok()
        .map(|number| sign * number)
}

fn is_float(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let starts = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let others =
        digits.contains(|other: char| !matches!(other, '0'..='9' | '.' | 'e' | 'E' | '+' | '-'));
    starts && !others && digits.parse::<f64>().is_ok()
}

fn cidr_fault(text: &str) -> (&'static str, String) {
    match text.split_once('/') {
        None => match text.parse::<IpAddr>() {
            Ok(address) if address.is_ipv6() => ("no prefix length", format!("write {text}/128")),
            Ok(_) => ("no prefix length", format!("write {text}/32")),
            Err(_) => ("not an address range", String::new()),
        },
        Some((address, prefix)) if address.parse::<IpAddr>().is_ok() => match mapped(address) {
            Some(mapped) => match prefix
                .parse::<u8>()
                .ok()
                .and_then(|prefix| prefix.checked_sub(96))
            {
                Some(prefix) => ("IPv4 in IPv6", format!("write {mapped}/{prefix}")),
                None => (
                    "IPv4 in IPv6",
                    format!("write it as IPv4, as in {mapped}/32"),
                ),
            },
            None => ("the prefix length is wrong", String::new()),
        },
        Some(_) => ("the address is wrong", String::new()),
    }
}

/// The address that an IPv6 address such as `::ffff:10.0.0.1` stands for.
fn mapped(address: &str) -> Option<Ipv4Addr> {
    address.parse::<Ipv6Addr>().ok()?.to_ipv4_mapped()
}

/// The word that was likely meant.
pub(super) fn similar<'w>(
    text: &str,
    words: impl Iterator<Item = &'w str>,
    most: impl Fn(&str) -> usize,
) -> Option<&'w str> {
    // Names in manifests are short; comparing long texts costs time and finds nothing.
    if text.len() > 64 {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let distance = |word: &str| strsim::damerau_levenshtein(&lower, &word.to_ascii_lowercase());
    words
        .map(|word| (distance(word), word))
        .min()
        .filter(|(distance, word)| *distance <= most(word))
        .map(|(_, word)| word)
}

/// Letters of a word that may be wrong.
fn most_wrong(word: &str) -> usize {
    1.max(word.len() / 3)
}

/// `a`, `b` or `c`.
fn alternatives(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}
