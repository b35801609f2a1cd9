use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::constant::{Constant, Format};
use super::error::Fault;

/// A piece of text and what it means. A fault is a token too: the parser tells it when it gets there, as OVN's does.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    pub span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    End,
    Id,
    /// `$name`
    AddressSet,
    /// `@name`
    PortGroup,
    /// `^name`
    Template,
    String(String),
    Integer(Constant),
    Fault(Fault),
    OpenParen,
    CloseParen,
    OpenCurly,
    CloseCurly,
    OpenSquare,
    CloseSquare,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Not,
    And,
    Or,
    Ellipsis,
    Comma,
    Equals,
    /// What the language of actions has and matches never do.
    Foreign,
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The kind of the token after this one.
    pub fn peek(&self) -> Kind {
        Self {
            text: self.text,
            at: self.at,
        }
        .token()
        .kind
    }

    pub fn token(&mut self) -> Token {
        let open_comment = self.skip_blanks();
        let start = open_comment.unwrap_or(self.at);
        let kind = match open_comment {
            Some(_) => Kind::Fault(Fault::OpenComment),
            None => self.kind(),
        };
        Token {
            kind,
            span: start..self.at,
        }
    }

    fn byte(&self, ahead: usize) -> u8 {
        *self.text.as_bytes().get(self.at + ahead).unwrap_or(&0)
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Passes white space and comments; where one begins that does not end.
    fn skip_blanks(&mut self) -> Option<usize> {
        loop {
            match self.byte(0) {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'/' if self.byte(1) == b'/' => {
                    self.at += self.run(|byte| byte != b'\n');
                }
                b'/' if self.byte(1) == b'*' => {
                    let comment = self.rest().get(2..).unwrap_or_default();
                    let line = comment.iter().position(|byte| *byte == b'\n');
                    let end = comment.windows(2).position(|two| two == b"*/");
                    match (end, line) {
                        (Some(end), line) if line.is_none_or(|line| end < line) => {
                            self.at += 2 + end + 2;
                        }
                        (_, line) => {
                            let start = self.at;
                            self.at += 2 + line.unwrap_or(comment.len());
                            return Some(start);
                        }
                    }
                }
                _ => return None,
            }
        }
    }

    fn kind(&mut self) -> Kind {
        if self.at >= self.text.len() {
            return Kind::End;
        }
        let (kind, length) = match (self.byte(0), self.byte(1)) {
            (b'(', _) => (Kind::OpenParen, 1),
            (b')', _) => (Kind::CloseParen, 1),
            (b'{', _) => (Kind::OpenCurly, 1),
            (b'}', _) => (Kind::CloseCurly, 1),
            (b'[', _) => (Kind::OpenSquare, 1),
            (b']', _) => (Kind::CloseSquare, 1),
            (b'=', b'=') => (Kind::Eq, 2),
            (b'=', _) => (Kind::Equals, 1),
            (b'!', b'=') => (Kind::Ne, 2),
            (b'!', _) => (Kind::Not, 1),
            (b'&', b'&') => (Kind::And, 2),
            (b'|', b'|') => (Kind::Or, 2),
            (sign @ (b'&' | b'|'), _) => (Kind::Fault(Fault::Lone(sign.into())), 1),
            (b'<', b'=') => (Kind::Le, 2),
            (b'<', b'-') if self.byte(2) == b'>' => (Kind::Foreign, 3),
            (b'<', _) => (Kind::Lt, 1),
            (b'>', b'=') => (Kind::Ge, 2),
            (b'>', _) => (Kind::Gt, 1),
            (b'.', b'.') => (Kind::Ellipsis, 2),
            (b'.', _) => (Kind::Fault(Fault::LoneDot), 1),
            (b',', _) => (Kind::Comma, 1),
            (b';', _) => (Kind::Foreign, 1),
            (b'-', b'-') => (Kind::Foreign, 2),
            (b'-', _) => (Kind::Foreign, 1),
            (b'/', _) => (Kind::Fault(Fault::LoneSlash), 1),
            (b'$', _) => return self.reference(Kind::AddressSet),
            (b'@', _) => return self.reference(Kind::PortGroup),
            (b'^', _) => return self.reference(Kind::Template),
            (b'"', _) => return self.string(),
            (b':', b':') | (b'0'..=b'9', _) => return self.masked_integer(),
            (b':', _) => (Kind::Foreign, 1),
            (byte, _) if starts_id(byte) => {
                let digits = self.run(|byte| byte.is_ascii_hexdigit());
                if digits > 0 && self.byte(digits) == b':' {
                    return self.masked_integer();
                }
                (Kind::Id, self.run(continues_id))
            }
            (byte, _) if (b' '..=b'~').contains(&byte) => {
                (Kind::Fault(Fault::BadCharacter(byte.into())), 1)
            }
            (byte, _) => {
                let character = self
                    .text
                    .get(self.at..)
                    .and_then(|rest| rest.chars().next());
                (
                    Kind::Fault(Fault::BadByte(byte.cast_signed())),
                    character.map_or(1, char::len_utf8),
                )
            }
        };
        self.at += length;
        kind
    }

    /// How many bytes from here on are such.
    fn run(&self, such: impl Fn(u8) -> bool) -> usize {
        self.rest().iter().take_while(|byte| such(**byte)).count()
    }

    fn reference(&mut self, kind: Kind) -> Kind {
        let sign = self.byte(0);
        self.at += 1;
        if !starts_id(self.byte(0)) {
            return Kind::Fault(Fault::NoIdentifier(sign.into()));
        }
        self.at += self.run(continues_id);
        kind
    }

    fn masked_integer(&mut self) -> Kind {
        let value = match self.integer() {
            Ok(value) => value,
            Err(fault) => return Kind::Fault(fault),
        };
        if self.byte(0) != b'/' {
            return Kind::Integer(value);
        }
        self.at += 1;
        match self.integer() {
            Ok(mask) => value
                .masked(mask)
                .map_or(Kind::Fault(Fault::MaskFormat), Kind::Integer),
            Err(fault) => Kind::Fault(fault),
        }
    }

    fn integer(&mut self) -> Result<Constant, Fault> {
        let text = self.integer_text();
        self.at += text.len();
        let bytes = text.as_bytes();
        if text.is_empty() {
            return Err(Fault::NoInteger);
        }
        if let Some(mac) = mac(text) {
            return Ok(Constant::new(mac.into(), Format::Ethernet));
        }
        if bytes.iter().all(u8::is_ascii_digit) {
            if bytes.len() > 1 && bytes.first() == Some(&b'0') {
                return Err(Fault::LeadingZero);
            }
            let value: u64 = text.parse().map_err(|_| Fault::LongDecimal)?;
            return Ok(Constant::new(value.into(), Format::Decimal));
        }
        if let Some(digits) = text.strip_prefix("0x").or(text.strip_prefix("0X")) {
            if digits.is_empty() {
                return Err(Fault::NoHexDigits(char::from(bytes[1])));
            }
            return hex(digits);
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Constant::new(address.to_bits().into(), Format::Ipv4));
        }
        let address = text.parse::<Ipv6Addr>().map_err(|_| Fault::BadNumber)?;
        Ok(Constant::new(address.to_bits(), Format::Ipv6))
    }

    /// The extent of a number: two dots end it (`1..2`), and a colon after a dot does (`1.2.3.4:80`).
    fn integer_text(&self) -> &'a str {
        let rest = self.rest();
        let mut dot = false;
        let mut end = 0;
        while let Some(byte) = rest.get(end) {
            match byte {
                b'.' if rest.get(end + 1) != Some(&b'.') => dot = true,
                b':' if !dot => {}
                byte if byte.is_ascii_alphanumeric() => {}
                _ => break,
            }
            end += 1;
        }
        self.text.get(self.at..self.at + end).unwrap_or_default()
    }

    /// A string as JSON has them, but for what it may contain unescaped.
    fn string(&mut self) -> Kind {
        self.at += 1;
        let start = self.at;
        loop {
            match self.rest() {
                // OVN's text ends with a null byte, and can have none before.
                [] | [0, ..] | [b'\\', 0, ..] => return Kind::Fault(Fault::OpenString),
                [b'"', ..] => break,
                [b'\\', _, ..] => self.at += 2,
                _ => self.at += 1,
            }
        }
        // A backslash may have taken the first byte of a longer character, never a quotation mark's.
        let inside = self.text.get(start..self.at).unwrap_or_default();
        self.at += 1;
        unescaped(inside).map_or_else(Kind::Fault, Kind::String)
    }
}

fn starts_id(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.')
}

fn continues_id(byte: u8) -> bool {
    starts_id(byte) || byte.is_ascii_digit()
}

/// OVN looks at the length of the whole only; a group may have `0x` before it, and of a long one the last two digits count.
fn mac(text: &str) -> Option<u64> {
    if text.len() != 17 {
        return None;
    }
    let mut value = 0;
    let mut groups = 0;
    for group in text.split(':') {
        let digits = group
            .strip_prefix("0x")
            .or(group.strip_prefix("0X"))
            .unwrap_or(group);
        let group = u64::from_str_radix(digits, 16).ok()?;
        value = value << 8 | group & 0xff;
        groups += 1;
    }
    (groups == 6).then_some(value)
}

fn hex(digits: &str) -> Result<Constant, Fault> {
    let mut value = 0;
    let mut width = 0;
    // From the right, as OVN does: the first fault from there is the one it tells.
    for (place, digit) in (0..).step_by(4).zip(digits.chars().rev()) {
        let digit = digit.to_digit(16).ok_or(Fault::BadHex)?;
        if digit != 0 {
            if place >= 1024 {
                return Err(Fault::LongHex);
            }
            value |= u128::from(digit).checked_shl(place).unwrap_or(0);
            width = place + 32 - digit.leading_zeros();
        }
    }
    Ok(Constant::wide(value, width))
}

fn unescaped(text: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        out.push(match rest.next().unwrap_or('\\') {
            plain @ ('"' | '\\' | '/') => plain,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => unicode(&mut rest)?,
            other => return Err(Fault::BadEscape(other.into())),
        });
    }
    Ok(out)
}

fn unicode(rest: &mut std::str::Chars<'_>) -> Result<char, Fault> {
    let first = four_digits(rest)?;
    if !(0xd800..0xdc00).contains(&first) {
        // Half of a pair alone is no character; OVN writes bytes that are no UTF-8, which no row can hold.
        return char::from_u32(first).ok_or(Fault::BadUnicode);
    }
    if rest.next() != Some('\\') || rest.next() != Some('u') {
        return Err(Fault::HalfSurrogate);
    }
    let second = four_digits(rest)?;
    if !(0xdc00..0xe000).contains(&second) {
        return Err(Fault::BadSurrogate);
    }
    char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(Fault::BadUnicode)
}

fn four_digits(rest: &mut std::str::Chars<'_>) -> Result<u32, Fault> {
    if rest.as_str().len() < 4 {
        return Err(Fault::ShortUnicode);
    }
    let mut value = 0;
    for _ in 0..4 {
        let digit = rest.next().and_then(|character| character.to_digit(16));
        value = value << 4 | digit.ok_or(Fault::BadUnicode)?;
    }
    if value == 0 {
        return Err(Fault::NullUnicode);
    }
    Ok(value)
}
