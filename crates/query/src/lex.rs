use std::borrow::Cow;
use std::ops::Range;

use crate::error::{ErrorKind, QueryError};
use crate::field::Operator;

/// A token of the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token<'t> {
    Word(&'t str),
    Quoted(Cow<'t, str>),
    Operator(Operator),
    Open,
    Close,
    Comma,
    Pipe,
    End,
}

/// Cuts a text into tokens, one at a time.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and its place; [`Token::End`] for ever at the end.
    pub(crate) fn next(&mut self) -> Result<(Token<'t>, Range<usize>), QueryError> {
        let text = self.text;
        self.at = text.len() - text[self.at..].trim_start().len();
        let start = self.at;
        let rest = &text[start..];
        let Some(first) = rest.chars().next() else {
            return Ok((Token::End, start..start));
        };
        if is_bare(first) {
            let length = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
            self.at += length;
            let word = &rest[..length];
            let token = match word {
                "in" => Token::Operator(Operator::In),
                word => Token::Word(word),
            };
            return Ok((token, start..self.at));
        }
        if matches!(first, '"' | '\'') {
            let quoted = self.quoted(first)?;
            return Ok((Token::Quoted(quoted), start..self.at));
        }
        let (token, length) = match rest.as_bytes() {
            [b'=', b'=', ..] => return Err(self.instead(2, "`=`", "`==`")),
            [b'!', b'=', ..] => (Token::Operator(Operator::NotEqual), 2),
            [b'!', b'~', ..] => (Token::Operator(Operator::NotLike), 2),
            [b'<', b'=', ..] => (Token::Operator(Operator::LessEqual), 2),
            [b'>', b'=', ..] => (Token::Operator(Operator::GreaterEqual), 2),
            [b'=', b'~', ..] => return Err(self.instead(2, "`~`", "`=~`")),
            [b'=', ..] => (Token::Operator(Operator::Equal), 1),
            [b'~', ..] => (Token::Operator(Operator::Like), 1),
            [b'<', ..] => (Token::Operator(Operator::Less), 1),
            [b'>', ..] => (Token::Operator(Operator::Greater), 1),
            [b'(', ..] => (Token::Open, 1),
            [b')', ..] => (Token::Close, 1),
            [b',', ..] => (Token::Comma, 1),
            [b'|', b'|', ..] => return Err(self.instead(2, "`or`", "`||`")),
            [b'|', ..] => (Token::Pipe, 1),
            [b'!'] => return Err(self.instead(1, "`not`, `!=` or `!~`", "`!`").at_end()),
            [b'!', ..] => return Err(self.instead(1, "`not`, `!=` or `!~`", "`!`")),
            _ => {
                let found = format!("the character {}", first.escape_unicode());
                return Err(self.instead(first.len_utf8(), "a word", &found));
            }
        };
        self.at += length;
        Ok((token, start..self.at))
    }

    fn quoted(&mut self, quote: char) -> Result<Cow<'t, str>, QueryError> {
        let start = self.at;
        let body = &self.text[start + 1..];
        let mut read = Cow::Borrowed("");
        let mut chars = body.char_indices();
        while let Some((index, c)) = chars.next() {
            if c == quote {
                self.at = start + 1 + index + 1;
                return Ok(read);
            }
            if c != '\\' {
                match &mut read {
                    Cow::Borrowed(plain) => *plain = &body[..index + c.len_utf8()],
                    Cow::Owned(text) => text.push(c),
                }
                continue;
            }
            let Some((_, escape)) = chars.next() else {
                break;
            };
            read.to_mut().push(match escape {
                '"' | '\'' | '\\' => escape,
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => {
                    let at = start + 1 + index;
                    let span = at..at + 1 + other.len_utf8();
                    return Err(QueryError::new(
                        ErrorKind::BadEscape(other),
                        span,
                        self.text,
                    ));
                }
            });
        }
        let span = start..start + 1;
        Err(QueryError::new(ErrorKind::UnclosedQuote(quote), span, self.text).at_end())
    }

    fn instead(&self, length: usize, wanted: &str, found: &str) -> QueryError {
        let kind = ErrorKind::Expected {
            wanted: wanted.to_owned(),
            found: found.to_owned(),
        };
        QueryError::new(kind, self.at..self.at + length, self.text)
    }
}

/// True for the characters that a word without quotes may have.
pub(crate) fn is_bare(c: char) -> bool {
    !c.is_whitespace()
        && !c.is_control()
        && !matches!(
            c,
            '(' | ')' | ',' | '|' | '"' | '\'' | '=' | '!' | '~' | '<' | '>'
        )
}

/// True for the words that mean something by themselves.
pub(crate) fn is_keyword(word: &str) -> bool {
    matches!(word, "and" | "or" | "not" | "in")
}

/// Writes a text so that it is read back as it is: bare where that is possible.
pub(crate) fn quote(text: &str) -> Cow<'_, str> {
    if !text.is_empty() && text.chars().all(is_bare) && !is_keyword(text) {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    Cow::Owned(quoted)
}
