//! Rows as `RowBinary` has them, the format in which ClickHouse sends and takes them.

use std::net::{IpAddr, Ipv6Addr};

use netverdict_query::ask::Cell;
use netverdict_store::{COLUMNS, Column, Type, ip_from_bytes, ip_to_bytes};
use netverdict_types::Connection;
use uuid::Uuid;

use crate::error::ClickHouseError;

/// True for a column that is never missing.
pub(crate) fn is_there(column: &Column) -> bool {
    matches!(
        column.name,
        "id" | "seq" | "protocol" | "start" | "end" | "verdict"
    )
}

/// Puts an update at the end, all columns in their order.
pub(crate) fn write_row(bytes: &mut Vec<u8>, row: &Connection) {
    for column in COLUMNS {
        let cell = column.read(row);
        if !is_there(column) {
            bytes.push(u8::from(cell == Cell::Missing));
        }
        match cell {
            Cell::Missing => {}
            Cell::Bool(truth) => bytes.push(u8::from(truth)),
            Cell::Number(number) => bytes.extend(number.to_le_bytes()),
            Cell::Text(text) => write_text(bytes, &text),
            Cell::Ip(ip) => bytes.extend(ip_to_bytes(ip)),
            Cell::Uuid(uuid) if column.kind == Type::Id => bytes.extend(uuid.as_bytes()),
            Cell::Uuid(uuid) => {
                let (high, low) = uuid.as_u64_pair();
                bytes.extend(high.to_le_bytes());
                bytes.extend(low.to_le_bytes());
            }
        }
    }
}

/// A text behind its length (LEB128).
pub(crate) fn write_text(bytes: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(text.as_bytes());
}

/// Reads an answer from its begin to its end.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// A value of a column that may be missing.
    pub(crate) fn nullable(&mut self, kind: Type) -> Result<Cell, ClickHouseError> {
        match self.array()? {
            [0] => self.cell(kind),
            _ => Ok(Cell::Missing),
        }
    }

    pub(crate) fn cell(&mut self, kind: Type) -> Result<Cell, ClickHouseError> {
        Ok(match kind {
            Type::Word | Type::Text => Cell::Text(self.text()?.into()),
            Type::Number | Type::Time => Cell::Number(self.number()?),
            Type::Ip => Cell::Ip(self.ip()?),
            Type::Bool => Cell::Bool(self.array::<1>()? != [0]),
            Type::Uuid => {
                let high = u64::from_le_bytes(self.array()?);
                Cell::Uuid(Uuid::from_u64_pair(high, u64::from_le_bytes(self.array()?)))
            }
            Type::Id => Cell::Uuid(Uuid::from_bytes(self.array()?)),
        })
    }

    pub(crate) fn number(&mut self) -> Result<i64, ClickHouseError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(crate) fn length(&mut self) -> Result<usize, ClickHouseError> {
        let (mut length, mut shift) = (0_u64, 0);
        loop {
            let [byte] = self.array()?;
            length |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(length).map_err(|_| ClickHouseError::Cut);
            }
            shift += 7;
            if shift > 56 {
                return Err(ClickHouseError::Cut);
            }
        }
    }

    fn text(&mut self) -> Result<&'a str, ClickHouseError> {
        let length = self.length()?;
        let (text, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(ClickHouseError::Cut)?;
        self.rest = rest;
        str::from_utf8(text).map_err(|_| ClickHouseError::Text)
    }

    fn ip(&mut self) -> Result<IpAddr, ClickHouseError> {
        Ok(ip_from_bytes(Ipv6Addr::from(self.array::<16>()?).octets()))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ClickHouseError> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(ClickHouseError::Cut)?;
        self.rest = rest;
        Ok(*first)
    }
}
