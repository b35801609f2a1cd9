use std::ops::Range;

use crate::error::{ErrorKind, QueryError, nearest, shortened};
use crate::field::{Name, Operator};
use crate::lex::{Lexer, Token, is_keyword};
use crate::literal::Literal;
use crate::query::{Expr, Query, Term};
use crate::question::{Function, Used};

/// The longest text that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// How deep parentheses and `not` may be nested.
pub const MAX_DEPTH: usize = 64;

/// Reads a query; an empty text asks nothing.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    Parser::new(text)?.query()
}

/// What may follow at the place where the parser stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    Operand,
    Operator(&'static Name),
    Value(&'static Name, Operator),
    Item(&'static Name),
    ListEnd,
    Connective {
        open: bool,
        pipe: bool,
    },
    /// The beginning of a question.
    Start,
    /// Clauses behind `|`.
    Clauses(Used),
    /// A comma, or clauses.
    More(Used),
    By,
    Measure,
    Open,
    MeasureOf(Function),
    Close,
    Every,
    OrderBy,
    /// `asc`, `desc`, or clauses.
    Direction(Used),
    Lines,
    Cursor,
}

pub(crate) struct Parser<'t> {
    pub(crate) text: &'t str,
    lexer: Lexer<'t>,
    pub(crate) token: Token<'t>,
    pub(crate) span: Range<usize>,
    depth: usize,
    open: usize,
    /// True where `|` may follow the query.
    pub(crate) piped: bool,
    /// What was wanted where the parser stopped.
    pub(crate) expect: Expect,
}

impl<'t> Parser<'t> {
    pub(crate) fn new(text: &'t str) -> Result<Self, QueryError> {
        if text.len() > MAX_BYTES {
            let kind = ErrorKind::TooLong {
                bytes: text.len(),
                limit: MAX_BYTES,
            };
            return Err(QueryError::new(kind, 0..0, text));
        }
        let mut parser = Self {
            text,
            lexer: Lexer::new(text),
            token: Token::End,
            span: 0..0,
            depth: 0,
            open: 0,
            piped: false,
            expect: Expect::Operand,
        };
        parser.advance()?;
        Ok(parser)
    }

    pub(crate) fn query(&mut self) -> Result<Query, QueryError> {
        if self.is_over() {
            return Ok(Query::all());
        }
        let root = self.or()?;
        match self.token {
            _ if self.is_over() => Ok(Query::new(root)),
            Token::Word("not") => Err(self.expected("`and` or `or` before `not`")),
            _ if self.piped => Err(self.expected("`and`, `or`, `|` or the end")),
            _ => Err(self.expected("`and`, `or` or the end")),
        }
    }

    fn is_over(&self) -> bool {
        self.token == Token::End || self.piped && self.token == Token::Pipe
    }

    fn or(&mut self) -> Result<Option<Expr>, QueryError> {
        let mut parts = Vec::new();
        loop {
            parts.extend(self.and()?);
            if !self.keyword("or")? {
                return Ok(Expr::or(parts));
            }
        }
    }

    fn and(&mut self) -> Result<Option<Expr>, QueryError> {
        let mut parts = Vec::new();
        loop {
            parts.extend(self.unary()?);
            if !self.keyword("and")? {
                return Ok(Expr::and(parts));
            }
        }
    }

    fn unary(&mut self) -> Result<Option<Expr>, QueryError> {
        self.expect = Expect::Operand;
        match self.token {
            Token::Word("not") => {
                self.deeper()?;
                let inner = self.unary()?;
                self.depth -= 1;
                Ok(inner.map(|inner| Expr::Not(Box::new(inner))))
            }
            Token::Open => {
                let opening = self.span.clone();
                self.open += 1;
                self.deeper()?;
                let inner = self.or()?;
                match self.token {
                    Token::Close => {}
                    Token::End => {
                        let kind = ErrorKind::UnclosedParenthesis;
                        return Err(QueryError::new(kind, opening, self.text).at_end());
                    }
                    _ => return Err(self.expected("`and`, `or` or `)`")),
                }
                self.open -= 1;
                self.depth -= 1;
                self.after_term()?;
                Ok(inner)
            }
            Token::Word(word) if !is_keyword(word) => self.term(word).map(Expr::Term).map(Some),
            _ => Err(self.expected("a field, `not` or `(`")),
        }
    }

    fn term(&mut self, word: &str) -> Result<Term, QueryError> {
        let Some(name) = Name::find(word) else {
            return Err(self.unknown_field(word));
        };
        self.expect = Expect::Operator(name);
        self.advance()?;
        let Token::Operator(operator) = self.token else {
            let operators: Vec<_> = name.kind.operators().iter().map(|it| it.as_str()).collect();
            let wanted = format!("{} after `{name}`", operators.join(" "));
            return Err(match self.token {
                Token::Word("not") => self.expected(&format!("{wanted} (write `not {name} in …`)")),
                _ => self.expected(&wanted),
            });
        };
        let allowed = name.kind.operators();
        if !allowed.contains(&operator) {
            return Err(self.fail(ErrorKind::BadOperator {
                field: name.name,
                operator,
                allowed,
            }));
        }
        self.expect = Expect::Value(name, operator);
        self.advance()?;
        let values = match (&self.token, operator) {
            (Token::Open, Operator::In) => self.list(name)?,
            (Token::Open, Operator::Equal) => {
                return Err(self.expected(&format!("a value (write `{name} in (…)` for several)")));
            }
            _ => vec![self.value(name, operator)?],
        };
        self.after_term()?;
        Ok(Term {
            name,
            operator,
            values,
        })
    }

    fn list(&mut self, name: &'static Name) -> Result<Vec<Literal>, QueryError> {
        let opening = self.span.clone();
        let mut values = Vec::new();
        loop {
            self.expect = Expect::Item(name);
            self.advance()?;
            values.push(self.value(name, Operator::In)?);
            self.expect = Expect::ListEnd;
            self.advance()?;
            match self.token {
                Token::Comma => {}
                Token::Close => return Ok(values),
                Token::End => {
                    let kind = ErrorKind::UnclosedParenthesis;
                    return Err(QueryError::new(kind, opening, self.text).at_end());
                }
                _ => return Err(self.expected("`,` or `)`")),
            }
        }
    }

    fn value(&self, name: &Name, operator: Operator) -> Result<Literal, QueryError> {
        let text = match &self.token {
            Token::Word(word) if !is_keyword(word) => *word,
            Token::Quoted(text) => text,
            _ => return Err(self.expected(&format!("a value for `{name}`"))),
        };
        Literal::parse(name, operator, text).map_err(|kind| self.fail(kind))
    }

    /// Steps over `word` if it stands here.
    fn keyword(&mut self, word: &str) -> Result<bool, QueryError> {
        let found = self.token == Token::Word(word);
        if found {
            self.expect = Expect::Operand;
            self.advance()?;
        }
        Ok(found)
    }

    /// Steps over `not` or an opening parenthesis.
    fn deeper(&mut self) -> Result<(), QueryError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fail(ErrorKind::TooDeep { limit: MAX_DEPTH }));
        }
        self.advance()
    }

    fn after_term(&mut self) -> Result<(), QueryError> {
        self.expect = Expect::Connective {
            open: self.open > 0,
            pipe: self.piped && self.open == 0,
        };
        self.advance()
    }

    /// Steps on to where `expect` may stand.
    pub(crate) fn step(&mut self, expect: Expect) -> Result<(), QueryError> {
        self.expect = expect;
        self.advance()
    }

    fn advance(&mut self) -> Result<(), QueryError> {
        (self.token, self.span) = self.lexer.next()?;
        Ok(())
    }

    pub(crate) fn unknown_field(&self, word: &str) -> QueryError {
        let names = Name::all()
            .iter()
            .flat_map(|info| [info.name].into_iter().chain(info.aliases.iter().copied()));
        self.fail(ErrorKind::UnknownField {
            name: shortened(word),
            near: nearest(word, names),
        })
    }

    pub(crate) fn expected(&self, wanted: &str) -> QueryError {
        let found = match &self.token {
            Token::End => "the end".to_owned(),
            Token::Word(word @ ("AND" | "&" | "&&")) => format!("`{word}` (write `and`)"),
            Token::Word("OR") => "`OR` (write `or`)".to_owned(),
            Token::Pipe if !self.piped => "`|` (write `or`)".to_owned(),
            Token::Word(_) | Token::Quoted(_) => {
                format!("`{}`", shortened(&self.text[self.span.clone()]))
            }
            _ => format!("`{}`", &self.text[self.span.clone()]),
        };
        let error = self.fail(ErrorKind::Expected {
            wanted: wanted.to_owned(),
            found,
        });
        match self.token {
            Token::End => error.at_end(),
            _ => error,
        }
    }

    pub(crate) fn fail(&self, kind: ErrorKind) -> QueryError {
        QueryError::new(kind, self.span.clone(), self.text)
    }
}
