use std::fmt;

/// A pattern: `*` is any text, `?` any one character, `\` takes the next character as it is.
///
/// It matches the whole text and minds upper and lower case.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Glob {
    parts: Box<[GlobPart]>,
}

impl Glob {
    /// Reads a pattern; every text is one. A `\` at the end stands for itself.
    pub fn new(pattern: &str) -> Self {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            let part = match c {
                '*' => GlobPart::Many,
                '?' => GlobPart::One,
                '\\' => {
                    text.push(chars.next().unwrap_or('\\'));
                    continue;
                }
                other => {
                    text.push(other);
                    continue;
                }
            };
            if !text.is_empty() {
                parts.push(GlobPart::Text(std::mem::take(&mut text).into()));
            }
            if part != GlobPart::Many || parts.last() != Some(&GlobPart::Many) {
                parts.push(part);
            }
        }
        if !text.is_empty() {
            parts.push(GlobPart::Text(text.into()));
        }
        Self {
            parts: parts.into(),
        }
    }

    /// True when the pattern covers the whole of `text`. The time is at most the product of both
    /// lengths.
    pub fn matches(&self, text: &str) -> bool {
        let (mut next, mut rest) = (0, text);
        let mut retry: Option<(usize, &str)> = None;
        loop {
            match self.parts.get(next) {
                None if rest.is_empty() => return true,
                None => {}
                Some(GlobPart::Many) => {
                    next += 1;
                    if next == self.parts.len() {
                        return true;
                    }
                    match self.find(next, rest) {
                        Some(from) => rest = from,
                        None => return false,
                    }
                    retry = Some((next, rest));
                    continue;
                }
                Some(GlobPart::One) => {
                    if let Some(after) = skip_char(rest) {
                        (next, rest) = (next + 1, after);
                        continue;
                    }
                }
                Some(GlobPart::Text(part)) => {
                    if let Some(after) = rest.strip_prefix(&**part) {
                        (next, rest) = (next + 1, after);
                        continue;
                    }
                }
            }
            // Only the last `*` needs to give way: what stood before it matched already.
            let again = |(part, from)| Some((part, self.find(part, skip_char(from)?)?));
            let Some((part, after)) = retry.and_then(again) else {
                return false;
            };
            retry = Some((part, after));
            (next, rest) = (part, after);
        }
    }

    /// The text from where `part` may begin.
    fn find<'t>(&self, part: usize, text: &'t str) -> Option<&'t str> {
        match self.parts.get(part) {
            Some(GlobPart::Text(wanted)) => Some(&text[text.find(&**wanted)?..]),
            _ => Some(text),
        }
    }

    /// The only text that it matches, where it has neither `*` nor `?`.
    pub fn as_text(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [GlobPart::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The parts of the pattern, for a translation into another pattern language.
    pub fn parts(&self) -> &[GlobPart] {
        &self.parts
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                GlobPart::Many => f.write_str("*")?,
                GlobPart::One => f.write_str("?")?,
                GlobPart::Text(text) => {
                    for c in text.chars() {
                        if matches!(c, '*' | '?' | '\\') {
                            f.write_str("\\")?;
                        }
                        write!(f, "{c}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A piece of a [`Glob`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum GlobPart {
    /// This very text; never empty.
    Text(Box<str>),
    /// Any one character.
    One,
    /// Any text, also none.
    Many,
}

fn skip_char(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    chars.next()?;
    Some(chars.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("web-*", "web-0", true),
            ("web-*", "Web-0", false),
            ("*b*b", "abab", true),
            ("*b*b", "aba", false),
            ("?", "ü", true),
            ("??", "ü", false),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"a\", r"a\", true),
        ] {
            assert_eq!(
                Glob::new(pattern).matches(text),
                expected,
                "{pattern} {text}"
            );
        }
    }

    proptest! {
        #[test]
        fn equals_the_obvious_recursion(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            fn obvious(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), _) => {
                        obvious(rest, text) || (!text.is_empty() && obvious(pattern, &text[1..]))
                    }
                    (Some((b'?', rest)), Some((_, after))) => obvious(rest, after),
                    (Some((one, rest)), Some((other, after))) => one == other && obvious(rest, after),
                    _ => false,
                }
            }
            let expected = obvious(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(Glob::new(&pattern).matches(&text), expected);
        }

        #[test]
        fn prints_what_it_reads(pattern in r"[a*?\\ ü]{0,8}") {
            let glob = Glob::new(&pattern);
            prop_assert_eq!(Glob::new(&glob.to_string()), glob);
        }
    }
}
