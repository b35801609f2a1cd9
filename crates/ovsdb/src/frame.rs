//! JSON-RPC frames off a byte stream (RFC 7047 section 4), decoded while they arrive: the rows
//! of a monitor go to the stage one by one, so that no frame is held as a whole.

use serde_json::Value;

use crate::json::{EndFinder, Scanner, Stop};
use crate::replica::Replica;
use crate::update::Stage;

/// The longest single value, a row or one parameter, that is held, in bytes.
pub(crate) const MAX_VALUE: usize = 64 << 20;
/// The longest frame, in bytes.
const MAX_FRAME: u64 = 8 << 30;
/// The longest key of an object outside of rows.
const MAX_KEY: usize = 64 << 10;
/// How much is read at once.
const READ: usize = 256 << 10;

pub(crate) struct Decoder {
    buffer: Vec<u8>,
    /// What of the buffer is not decoded yet.
    start: usize,
    end: usize,
    /// Bytes of the stream before the buffer's `start`.
    passed: u64,
    frame_at: u64,
    state: State,
    /// Looks for the end of the value at `start`, if it was not there at the last attempt.
    finder: Option<EndFinder>,
    frame: Frame,
}

/// One JSON-RPC message; its rows, if any, are in the stage.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Frame {
    pub(crate) id: Value,
    pub(crate) method: Option<String>,
    /// `params`, or what stood before the rows in `params` or `result`.
    pub(crate) head: Vec<Value>,
    pub(crate) result: Value,
    pub(crate) error: Value,
    /// True if there were table updates, be it without a row.
    pub(crate) tables: bool,
}

/// What the next frames may hold.
#[derive(Clone, Copy)]
pub(crate) struct Expect<'a> {
    /// The monitor whose updates go to the stage.
    pub(crate) monitor: Option<&'a Value>,
    /// True if the next response is that monitor's first.
    pub(crate) initial: bool,
}

/// The server sent what is not JSON-RPC, or more than there is room for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent something malformed: {what}, in {place}, at byte {at} of the connection")]
pub struct DecodeError {
    /// Bytes from the beginning of the connection.
    pub at: u64,
    /// The part of the message.
    pub place: String,
    /// What is wrong.
    pub what: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Outside,
    /// Before a member of the frame, or behind one; `open` right after the brace.
    Members {
        open: bool,
    },
    /// Before a member's key.
    Member,
    Value(Key),
    /// In an array whose elements are looked at one by one.
    Elements {
        key: Key,
        open: bool,
    },
    Element(Key),
    ElementValue(Key),
    /// In the object of tables; `array` if that is in an array.
    Tables {
        array: Option<Key>,
        open: bool,
    },
    Table {
        array: Option<Key>,
    },
    Rows {
        array: Option<Key>,
        known: bool,
        open: bool,
    },
    Row {
        array: Option<Key>,
        known: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Key {
    Id,
    Method,
    Params,
    Result,
    Error,
    Other,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            passed: 0,
            frame_at: 0,
            state: State::Outside,
            finder: None,
            frame: Frame::default(),
        }
    }

    /// Where the next bytes of the stream go.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            // A value of many megabytes is no reason to hold that much ever after.
            if self.buffer.len() > 4 * READ {
                self.buffer = Vec::new();
            }
        }
        if self.buffer.len() - self.end < READ / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.buffer.len() - self.end < READ / 2 {
                let larger = READ.max(self.buffer.len() * 2);
                self.buffer.resize(larger, 0);
            }
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes were put there.
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.end = self.buffer.len().min(self.end + bytes);
    }

    /// True if a frame has begun and not ended.
    pub(crate) fn in_frame(&self) -> bool {
        self.state != State::Outside || self.start != self.end
    }

    /// The next complete frame; `None` if more bytes are needed for it.
    pub(crate) fn poll(
        &mut self,
        expect: Expect<'_>,
        stage: &mut Stage,
        replica: &Replica,
    ) -> Result<Option<Frame>, DecodeError> {
        loop {
            let data = self.buffer.get(self.start..self.end).unwrap_or_default();
            if self.passed - self.frame_at > MAX_FRAME {
                return Err(self.error(0, "a message beyond the limit of 8 GiB"));
            }
            let mut ended = false;
            if let Some(finder) = &mut self.finder {
                ended = finder.ended(data);
                if !ended {
                    if data.len() > MAX_VALUE {
                        return Err(self.error(0, "a value beyond the limit of 64 MiB"));
                    }
                    return Ok(None);
                }
            }
            let mut scanner = Scanner::new(data);
            let step = step(
                self.state,
                &mut scanner,
                &mut self.frame,
                expect,
                stage,
                replica,
            );
            let at = scanner.at();
            match step {
                Ok(next) => {
                    if self.state == State::Outside {
                        self.frame_at = self.passed;
                    }
                    self.finder = None;
                    self.state = next;
                    self.start += at;
                    self.passed += at as u64;
                    if next == State::Outside {
                        return Ok(Some(std::mem::take(&mut self.frame)));
                    }
                }
                Err(Stop::More) if ended => {
                    return Err(self.error(at, "a value that ends too early"));
                }
                Err(Stop::More) if self.state.is_value() => {
                    self.finder = Some(EndFinder::default());
                }
                Err(Stop::More) if data.len() > MAX_KEY => {
                    return Err(self.error(0, "a key beyond the limit of 64 KiB"));
                }
                Err(Stop::More) => return Ok(None),
                Err(Stop::Bad(fault)) => return Err(self.error(fault.at, fault.what)),
            }
        }
    }

    fn error(&self, offset: usize, what: &'static str) -> DecodeError {
        let place = match self.state {
            State::Outside | State::Members { .. } | State::Member => "a message",
            State::Value(key)
            | State::Elements { key, .. }
            | State::Element(key)
            | State::ElementValue(key) => key.name(),
            State::Tables { .. } | State::Table { .. } => "table updates",
            State::Rows { .. } | State::Row { .. } => "a row update",
        };
        DecodeError {
            at: self.passed + offset as u64,
            place: place.to_owned(),
            what,
        }
    }
}

impl State {
    /// True if the next thing is a value that may be long.
    fn is_value(self) -> bool {
        matches!(
            self,
            Self::Value(_) | Self::ElementValue(_) | Self::Row { .. }
        )
    }
}

impl Key {
    fn from_name(name: &str) -> Self {
        match name {
            "id" => Self::Id,
            "method" => Self::Method,
            "params" => Self::Params,
            "result" => Self::Result,
            "error" => Self::Error,
            _ => Self::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Method => "method",
            Self::Params => "params",
            Self::Result => "result",
            Self::Error => "error",
            Self::Other => "an unknown member",
        }
    }
}

/// Reads one small thing, or one value, and says what follows. It may be called again with more
/// bytes if it stopped for want of them, so it changes nothing before it is done.
fn step(
    state: State,
    scanner: &mut Scanner<'_>,
    frame: &mut Frame,
    expect: Expect<'_>,
    stage: &mut Stage,
    replica: &Replica,
) -> Result<State, Stop> {
    Ok(match state {
        State::Outside => {
            scanner.expect(b'{', "expected a message, which is an object")?;
            stage.clear();
            State::Members { open: true }
        }
        State::Members { open } => {
            if scanner.take(b'}')? {
                return Ok(State::Outside);
            }
            separator(scanner, open)?;
            State::Member
        }
        State::Member => {
            let key = Key::from_name(&scanner.key()?);
            match (key, scanner.peek()?) {
                (Key::Params, b'[') => {
                    scanner.take(b'[')?;
                    State::Elements { key, open: true }
                }
                (Key::Result, b'[') if expect.initial => {
                    scanner.take(b'[')?;
                    State::Elements { key, open: true }
                }
                (Key::Result, b'{') if expect.initial => {
                    scanner.take(b'{')?;
                    frame.tables = true;
                    State::Tables {
                        array: None,
                        open: true,
                    }
                }
                _ => State::Value(key),
            }
        }
        State::Value(key) => {
            let value = value(scanner)?;
            match (key, value) {
                (Key::Id, value) => frame.id = value,
                (Key::Method, Value::String(method)) => frame.method = Some(method),
                (Key::Method, Value::Null) => {}
                (Key::Method, _) => return Err(scanner.bad("a method that is not a string")),
                (Key::Params, Value::Null) => {}
                (Key::Params, _) => return Err(scanner.bad("parameters that are not an array")),
                (Key::Result, value) => frame.result = value,
                (Key::Error, value) => frame.error = value,
                (Key::Other, _) => {}
            }
            State::Members { open: false }
        }
        State::Elements { key, open } => {
            if scanner.take(b']')? {
                return Ok(State::Members { open: false });
            }
            separator(scanner, open)?;
            State::Element(key)
        }
        State::Element(key) => {
            let ours = match key {
                Key::Result => true,
                _ => expect.monitor.is_some() && frame.head.first() == expect.monitor,
            };
            if ours && scanner.take(b'{')? {
                frame.tables = true;
                State::Tables {
                    array: Some(key),
                    open: true,
                }
            } else {
                State::ElementValue(key)
            }
        }
        State::ElementValue(key) => {
            let value = value(scanner)?;
            frame.head.push(value);
            State::Elements { key, open: false }
        }
        State::Tables { array, open } => {
            if scanner.take(b'}')? {
                return Ok(match array {
                    Some(key) => State::Elements { key, open: false },
                    None => State::Members { open: false },
                });
            }
            separator(scanner, open)?;
            State::Table { array }
        }
        State::Table { array } => {
            let name = scanner.key()?;
            scanner.expect(b'{', "expected the table's rows")?;
            State::Rows {
                array,
                known: stage.table(&name),
                open: true,
            }
        }
        State::Rows { array, known, open } => {
            if scanner.take(b'}')? {
                return Ok(State::Tables { array, open: false });
            }
            separator(scanner, open)?;
            State::Row { array, known }
        }
        State::Row { array, known } => {
            if known {
                stage.row(scanner, replica)?;
            } else {
                scanner.key()?;
                scanner.skip()?;
            }
            State::Rows {
                array,
                known,
                open: false,
            }
        }
    })
}

fn separator(scanner: &mut Scanner<'_>, open: bool) -> Result<(), Stop> {
    if open {
        scanner.peek()?;
        return Ok(());
    }
    scanner.expect(b',', "expected a comma")
}

fn value(scanner: &mut Scanner<'_>) -> Result<Value, Stop> {
    let span = scanner.span()?;
    serde_json::from_slice(span).map_err(|_| scanner.bad("a malformed value"))
}
