//! The grammar of names and labels (`k8s.io/apimachinery/pkg/util/validation`).

/// RFC 1123: `web-1`.
pub(super) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63
        && is_label_of(text, |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit()
        })
}

/// RFC 1123: labels joined by dots.
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            is_label_of(label, |byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit()
            })
        })
}

/// The key of a label: `app`, `example.com/tier`.
pub(super) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_qualified(name),
        None => is_qualified(text),
    }
}

/// The value of a label; it may be empty.
pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_qualified(text)
}

/// The name of a port: up to 15 lower case letters, digits and single dashes, a letter among them.
pub(super) fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && is_dns_label(text)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.contains("--")
}

/// A domain name for a policy, `*.` in front allowed. `dotted` wants two labels at least.
pub(super) fn is_domain_name(text: &str, dotted: bool) -> bool {
    let text = text.strip_prefix("*.").unwrap_or(text);
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || dotted && byte == b'_')
    };
    let has_ends =
        |label: &str| !dotted || !label.starts_with(['-', '_']) && !label.ends_with(['-', '_']);
    text.split('.')
        .all(|label| is_label(label) && has_ends(label))
        && (!dotted || text.contains('.'))
}

fn is_qualified(text: &str) -> bool {
    let is_outer = |byte: u8| byte.is_ascii_alphanumeric();
    text.len() <= 63
        && is_word(text, is_outer, |byte| {
            is_outer(byte) || b"-_.".contains(&byte)
        })
}

fn is_label_of(text: &str, is_outer: impl Fn(u8) -> bool) -> bool {
    is_word(text, &is_outer, |byte| is_outer(byte) || byte == b'-')
}

fn is_word(text: &str, is_outer: impl Fn(u8) -> bool, is_inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.into_iter()
        .all(|end| end.is_some_and(|byte| is_outer(*byte)))
        && bytes.iter().all(|byte| is_inner(*byte))
}
