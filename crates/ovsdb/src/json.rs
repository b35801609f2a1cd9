//! A pull scanner for JSON (RFC 8259) over bytes that may not all be there yet.

use std::borrow::Cow;

use memchr::memchr2;

/// Reads JSON from the front of a slice.
pub(crate) struct Scanner<'a> {
    data: &'a [u8],
    at: usize,
}

/// Why a scanner stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The slice ends before the value does.
    More,
    /// What is there cannot become a value.
    Bad(Fault),
}

/// What is wrong with a text, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Bytes from the beginning of the slice.
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Integer(i64),
    Real(f64),
}

/// How deep values may be nested. OVSDB needs less than ten.
pub(crate) const MAX_DEPTH: usize = 64;

impl<'a> Scanner<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is not white space.
    pub(crate) fn peek(&mut self) -> Result<u8, Stop> {
        while let Some(&byte) = self.data.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Ok(byte);
            }
            self.at += 1;
        }
        Err(Stop::More)
    }

    pub(crate) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Stop> {
        if self.peek()? != byte {
            return Err(self.bad(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Takes `byte` if it is next.
    pub(crate) fn take(&mut self, byte: u8) -> Result<bool, Stop> {
        let there = self.peek()? == byte;
        self.at += usize::from(there);
        Ok(there)
    }

    pub(crate) fn bad(&self, what: &'static str) -> Stop {
        Stop::Bad(Fault { at: self.at, what })
    }

    /// Calls `element` before each element of an array.
    pub(crate) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.expect(b'[', "expected an array")?;
        if self.take(b']')? {
            return Ok(());
        }
        loop {
            element(self)?;
            if self.take(b']')? {
                return Ok(());
            }
            self.expect(b',', "expected a comma or the end of the array")?;
        }
    }

    /// Calls `member` with each key of an object, before its value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.expect(b'{', "expected an object")?;
        if self.take(b'}')? {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            member(self, &key)?;
            if self.take(b'}')? {
                return Ok(());
            }
            self.expect(b',', "expected a comma or the end of the object")?;
        }
    }

    /// A member's key and its colon.
    pub(crate) fn key(&mut self) -> Result<Cow<'a, str>, Stop> {
        let key = self.string()?;
        self.expect(b':', "expected a colon after the key")?;
        Ok(key)
    }

    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Stop> {
        self.expect(b'"', "expected a string")?;
        let data = self.data;
        let start = self.at;
        let rest = data.get(start..).unwrap_or_default();
        let Some(end) = memchr2(b'"', b'\\', rest) else {
            return Err(Stop::More);
        };
        let plain = rest.get(..end).unwrap_or_default();
        if rest.get(end) == Some(&b'"') {
            let text = self.text(plain)?;
            self.at = start + end + 1;
            return Ok(Cow::Borrowed(text));
        }
        self.escaped(start).map(Cow::Owned)
    }

    /// The string whose contents begin at `start` and have an escape.
    #[cold]
    fn escaped(&mut self, start: usize) -> Result<String, Stop> {
        let mut text = String::new();
        self.at = start;
        loop {
            let rest = self.data.get(self.at..).unwrap_or_default();
            let end = memchr2(b'"', b'\\', rest).ok_or(Stop::More)?;
            text.push_str(self.text(rest.get(..end).unwrap_or_default())?);
            self.at += end + 1;
            if rest.get(end) == Some(&b'"') {
                return Ok(text);
            }
            let escape = *self.data.get(self.at).ok_or(Stop::More)?;
            let plain = match escape {
                b'"' | b'\\' | b'/' => char::from(escape),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => {
                    self.at += 1;
                    text.push(self.unicode_escape()?);
                    continue;
                }
                _ => return Err(self.bad("an unknown escape in a string")),
            };
            text.push(plain);
            self.at += 1;
        }
    }

    /// The character of the four digits that follow, and of a second escape where they are the
    /// first half of a surrogate pair.
    fn unicode_escape(&mut self) -> Result<char, Stop> {
        let first = self.four_digits()?;
        let code = match first {
            0xd800..=0xdbff => {
                let rest = self.data.get(self.at..).unwrap_or_default();
                if rest.len() < 2 {
                    return Err(Stop::More);
                }
                if !rest.starts_with(b"\\u") {
                    return Err(self.bad("half a surrogate pair in a string"));
                }
                self.at += 2;
                let second = self.four_digits()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(self.bad("half a surrogate pair in a string"));
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            _ => first,
        };
        char::from_u32(code).ok_or_else(|| self.bad("half a surrogate pair in a string"))
    }

    fn four_digits(&mut self) -> Result<u32, Stop> {
        let digits = self.data.get(self.at..self.at + 4).ok_or(Stop::More)?;
        let mut code = 0;
        for digit in digits {
            let digit = char::from(*digit)
                .to_digit(16)
                .ok_or_else(|| self.bad("a unicode escape without four digits"))?;
            code = code * 16 + digit;
        }
        self.at += 4;
        Ok(code)
    }

    fn text<'b>(&self, bytes: &'b [u8]) -> Result<&'b str, Stop> {
        // Without an early end, which compares many bytes at once.
        let has_control = bytes
            .iter()
            .fold(false, |found, byte| found | (*byte < 0x20));
        if has_control {
            return Err(self.bad("a control character in a string"));
        }
        std::str::from_utf8(bytes).map_err(|_| self.bad("a string that is not UTF-8"))
    }

    pub(crate) fn number(&mut self) -> Result<Number, Stop> {
        self.peek()?;
        let rest = self.data.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .ok_or(Stop::More)?;
        let digits = rest
            .get(..length)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.starts_with(|c: char| c == '-' || c.is_ascii_digit()))
            .ok_or_else(|| self.bad("expected a number"))?;
        let number = match digits.parse() {
            Ok(integer) => Number::Integer(integer),
            Err(_) => match digits.parse() {
                Ok(real) if f64::is_finite(real) => Number::Real(real),
                _ => return Err(self.bad("a number that is malformed or out of range")),
            },
        };
        self.at += length;
        Ok(number)
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, Stop> {
        match self.peek()? {
            b't' => self.literal(b"true").map(|()| true),
            b'f' => self.literal(b"false").map(|()| false),
            _ => Err(self.bad("expected true or false")),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), Stop> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        if word.starts_with(rest) {
            return Err(Stop::More);
        }
        Err(self.bad("an unknown word"))
    }

    /// Passes over any value.
    pub(crate) fn skip(&mut self) -> Result<(), Stop> {
        self.skip_within(MAX_DEPTH)
    }

    fn skip_within(&mut self, depth: usize) -> Result<(), Stop> {
        if depth == 0 {
            return Err(self.bad("nested too deeply"));
        }
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' => self.object(|scanner, _| scanner.skip_within(depth - 1)),
            b'[' => self.array(|scanner| scanner.skip_within(depth - 1)),
            b't' | b'f' => self.boolean().map(drop),
            b'n' => self.literal(b"null"),
            _ => self.number().map(drop),
        }
    }

    /// The bytes of the next array, whose end is told by brackets and strings alone: what is in it shows when it is read.
    pub(crate) fn array_span(&mut self) -> Result<&'a [u8], Stop> {
        if self.peek()? != b'[' {
            return Err(self.bad("expected an array"));
        }
        let rest = self.data.get(self.at..).unwrap_or_default();
        let mut end = EndFinder::default();
        if !end.ended(rest) {
            return Err(Stop::More);
        }
        let length = end.at + 1;
        self.at += length;
        Ok(rest.get(..length).unwrap_or_default())
    }

    /// Goes back to where it was before.
    pub(crate) fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The bytes of the next value, whatever it is.
    pub(crate) fn span(&mut self) -> Result<&'a [u8], Stop> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        Ok(self.data.get(start..self.at).unwrap_or_default())
    }
}

/// Finds the end of a value, or of a key with its value, that arrives in pieces: looks at each
/// byte once, however many the pieces are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EndFinder {
    /// Bytes looked at.
    at: usize,
    depth: usize,
    in_string: bool,
}

impl EndFinder {
    /// True once the value that begins at `data[0]` has ended in `data`, which is what was there
    /// at the last call and perhaps more behind it.
    pub(crate) fn ended(&mut self, data: &[u8]) -> bool {
        while let Some(rest) = data.get(self.at..).filter(|rest| !rest.is_empty()) {
            if self.in_string {
                match memchr2(b'"', b'\\', rest) {
                    None => self.at = data.len(),
                    Some(end) if rest.get(end) == Some(&b'"') => {
                        self.at += end + 1;
                        self.in_string = false;
                    }
                    // The escaped byte must be there before both are passed over.
                    Some(end) if end + 1 == rest.len() => {
                        self.at += end;
                        return false;
                    }
                    Some(end) => self.at += end + 2,
                }
                continue;
            }
            let byte = rest.first().copied().unwrap_or_default();
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth <= 1 => return true,
                b'}' | b']' => self.depth -= 1,
                b',' if self.depth == 0 => return true,
                _ => {}
            }
            self.at += 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a\\\\\"\u{e9}\u{1f600}\n]{0,9}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_string_is_what_serde_writes(text in any::<String>(), ascii in any::<bool>()) {
            let mut json = serde_json::to_string(&text).unwrap();
            if ascii {
                json = json
                    .chars()
                    .flat_map(|c| if c.is_ascii() {
                        vec![c.to_string()]
                    } else {
                        let mut units = [0; 2];
                        c.encode_utf16(&mut units).iter().map(|u| format!("\\u{u:04X}")).collect()
                    })
                    .collect();
            }
            prop_assert_eq!(Scanner::new(json.as_bytes()).string().unwrap(), text);
        }

        #[test]
        fn a_value_ends_where_it_ends(value in any_json(), cuts in prop::collection::vec(1usize..9, 1..9)) {
            let text = value.to_string();
            let data = format!("{text} ,");
            let mut scanner = Scanner::new(data.as_bytes());
            prop_assert_eq!(scanner.span().unwrap(), text.as_bytes());
            // Any prefix asks for more, none is refused.
            for end in 0..text.len() {
                let stop = Scanner::new(&data.as_bytes()[..end]).skip().unwrap_err();
                prop_assert_eq!(stop, Stop::More);
            }
            // The finder says so neither too early nor too late, whatever the pieces are.
            let mut finder = EndFinder::default();
            let (mut end, mut cuts) = (0, cuts.iter().cycle());
            while !finder.ended(&data.as_bytes()[..end]) {
                prop_assert!(end < data.len());
                end = data.len().min(end + cuts.next().unwrap());
            }
            prop_assert!(end >= text.len());
        }

        #[test]
        fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Scanner::new(&data).skip();
            let _ = EndFinder::default().ended(&data);
        }
    }

    #[test]
    fn depth_has_a_limit() {
        let text = "[".repeat(100_000);
        assert!(matches!(
            Scanner::new(text.as_bytes()).skip(),
            Err(Stop::Bad(Fault {
                what: "nested too deeply",
                ..
            }))
        ));
    }
}
