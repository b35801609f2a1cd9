//! A replica in a file, so that a restart need not begin with nothing.
//!
//! The file is a magic number with the format's version, the contents, and a CRC-32 of all
//! before it. Numbers are LEB128 (signed ones zigzag first), text is its length and its bytes;
//! text that may repeat is written once and referred to by number. A file that is torn, foreign
//! or of another version is refused by name; whoever kept it then asks the server for all.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use uuid::Uuid;

use crate::replica::{Layout, Replica, Table};
use crate::row::Row;
use crate::schema::{AtomType, ColumnType};
use crate::value::{Atom, Datum};
use crate::wanted::{Missing, Wanted};

/// Why a kept replica is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is none.
    #[error("there is no kept replica")]
    Absent,
    /// It cannot be read.
    #[error("the kept replica cannot be read: {0}")]
    Io(#[source] io::Error),
    /// It is not a file that [`Replica::save`] wrote.
    #[error("the file is not a kept replica")]
    Foreign,
    /// Another version of this library wrote it.
    #[error("the kept replica has format {0}, which this version does not read")]
    Version(u8),
    /// It is not as it was written.
    #[error("the kept replica is damaged: {0}")]
    Damaged(&'static str),
    /// It is of another database.
    #[error("the kept replica is of database {0}")]
    OtherDatabase(String),
    /// It was kept for other tables or columns.
    #[error("the kept replica is of other tables and columns than those that are wanted")]
    OtherWanted,
}

const MAGIC: &[u8; 7] = b"ovsdb-r";
const VERSION: u8 = 1;
static SAVING: Mutex<()> = Mutex::new(());
/// The CRC-32 of anything that is followed by its own CRC-32.
const SUM_OF_ALL: u32 = 0x2144_df1c;
const BUFFER: usize = 1 << 16;
/// Longer text seldom repeats.
const REPEATS_UP_TO: usize = 64;
/// No text in a database is longer.
const MAX_TEXT: u64 = 64 << 20;

impl Replica {
    /// Writes the replica to `path`, in the place of what was there, all or nothing. Only the
    /// owner may read it. `wanted` is what it was asked for with.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, path: &Path, wanted: &Wanted) -> io::Result<()> {
        // One at a time in this process; another one that keeps the same file has another name
        // for what is not whole yet.
        let _one = SAVING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = path.as_os_str().to_owned();
        new.push(format!(".{}.new", std::process::id()));
        let new = PathBuf::from(new);
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .and_then(|file| self.write_to(file, wanted))
            .and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            // It may not even be there.
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// Reads what [`save`](Self::save) wrote for the same database and the same wants.
    ///
    /// # Errors
    /// Why the file is of no use.
    pub fn load(path: &Path, database: &str, wanted: &Wanted) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => LoadError::Absent,
            _ => LoadError::Io(error),
        })?;
        Self::read_from(file, database, wanted)
    }

    /// Writes what [`read_from`](Self::read_from) reads.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_to(&self, writer: impl Write, wanted: &Wanted) -> io::Result<()> {
        let mut out = Out {
            writer: BufWriter::with_capacity(BUFFER, Summing::new(writer)),
            known: HashMap::default(),
        };
        out.bytes(MAGIC)?;
        out.bytes(&[VERSION])?;
        out.plain(&self.database)?;
        out.plain(&wanted.fingerprint())?;
        out.plain(self.schema_version.as_deref().unwrap_or_default())?;
        out.signed(self.synced_at.unwrap_or_default())?;
        out.bytes(self.transaction.unwrap_or_default().as_bytes())?;
        out.number(self.missing.tables.len() as u64)?;
        for table in &self.missing.tables {
            out.plain(table)?;
        }
        out.number(self.missing.columns.len() as u64)?;
        for (table, column) in &self.missing.columns {
            out.plain(table)?;
            out.plain(column)?;
        }
        out.number(self.tables.len() as u64)?;
        for table in self.tables.values() {
            out.table(table)?;
        }
        out.finish()
    }

    /// Reads a replica from what [`write_to`](Self::write_to) wrote.
    ///
    /// # Errors
    /// Why it is of no use.
    pub fn read_from(
        reader: impl Read,
        database: &str,
        wanted: &Wanted,
    ) -> Result<Self, LoadError> {
        let mut input = In {
            reader: BufReader::with_capacity(BUFFER, Summing::new(reader)),
            known: Vec::new(),
        };
        let mut magic = [0; MAGIC.len()];
        match input.bytes(&mut magic) {
            Err(LoadError::Damaged(_)) => return Err(LoadError::Foreign),
            Err(error) => return Err(error),
            Ok(()) if magic != *MAGIC => return Err(LoadError::Foreign),
            Ok(()) => {}
        }
        let version = input.byte()?;
        if version != VERSION {
            return Err(LoadError::Version(version));
        }
        let kept = input.plain()?;
        if kept != database {
            return Err(LoadError::OtherDatabase(kept));
        }
        if input.plain()? != wanted.fingerprint() {
            return Err(LoadError::OtherWanted);
        }
        let schema_version = Some(input.plain()?).filter(|version| !version.is_empty());
        let synced_at = Some(input.signed()?);
        let transaction = Some(input.uuid()?).filter(|uuid| !uuid.is_nil());
        let mut missing = Missing::default();
        for _ in 0..input.number()? {
            missing.tables.insert(input.plain()?);
        }
        for _ in 0..input.number()? {
            missing.columns.insert((input.plain()?, input.plain()?));
        }
        let mut replica = Self {
            database: kept,
            schema_version,
            missing,
            transaction,
            synced_at,
            ..Self::default()
        };
        for _ in 0..input.number()? {
            let table = input.table()?;
            let name = table.layout.table.clone();
            replica.add_table(table.indexed(wanted.indexes(&name)));
        }
        input.finish()?;
        Ok(replica)
    }
}

/// Sums up what passes.
struct Summing<T> {
    inner: T,
    sum: crc32fast::Hasher,
}

impl<T> Summing<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            sum: crc32fast::Hasher::new(),
        }
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Summing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.sum.update(bytes.get(..read).unwrap_or_default());
        Ok(read)
    }
}

struct Out<'a, W: Write> {
    writer: BufWriter<Summing<W>>,
    known: HashMap<&'a str, u64, RandomState>,
}

impl<'a, W: Write> Out<'a, W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    fn number(&mut self, mut number: u64) -> io::Result<()> {
        let mut bytes = [0; 10];
        let mut length = 0;
        for byte in &mut bytes {
            length += 1;
            *byte = (number & 0x7f) as u8;
            number >>= 7;
            if number == 0 {
                break;
            }
            *byte |= 0x80;
        }
        self.bytes(bytes.get(..length).unwrap_or_default())
    }

    fn signed(&mut self, number: i64) -> io::Result<()> {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned())
    }

    fn plain(&mut self, text: &str) -> io::Result<()> {
        self.number(text.len() as u64)?;
        self.bytes(text.as_bytes())
    }

    /// 0 and a text that is referred to later, 1 and a text that is not, or a reference from 2.
    fn text(&mut self, text: &'a str) -> io::Result<()> {
        if text.len() > REPEATS_UP_TO {
            self.number(1)?;
            return self.plain(text);
        }
        if let Some(known) = self.known.get(text) {
            return self.number(known + 2);
        }
        self.known.insert(text, self.known.len() as u64);
        self.number(0)?;
        self.plain(text)
    }

    fn table(&mut self, table: &'a Table) -> io::Result<()> {
        let layout = &*table.layout;
        self.plain(&layout.table)?;
        self.number(layout.names.len() as u64)?;
        for (name, kind) in layout.names.iter().zip(&layout.types) {
            self.plain(name)?;
            self.bytes(&type_to_bytes(*kind))?;
        }
        self.number(table.len() as u64)?;
        for row in table.rows() {
            self.bytes(row.uuid().as_bytes())?;
            for value in row.values() {
                self.datum(value)?;
            }
        }
        Ok(())
    }

    fn datum(&mut self, value: &'a Datum) -> io::Result<()> {
        match value {
            Datum::Set(atoms) => {
                self.number((atoms.len() as u64) << 1)?;
                atoms.iter().try_for_each(|atom| self.atom(atom))
            }
            Datum::Map(pairs) => {
                self.number(((pairs.len() as u64) << 1) | 1)?;
                pairs.iter().try_for_each(|(key, value)| {
                    self.atom(key)?;
                    self.atom(value)
                })
            }
        }
    }

    fn atom(&mut self, atom: &'a Atom) -> io::Result<()> {
        match atom {
            Atom::Integer(number) => {
                self.bytes(b"i")?;
                self.signed(*number)
            }
            Atom::Real(number) => {
                self.bytes(b"r")?;
                self.bytes(&number.to_le_bytes())
            }
            Atom::Boolean(value) => self.bytes(if *value { b"t" } else { b"f" }),
            Atom::String(text) => {
                self.bytes(b"s")?;
                self.text(text)
            }
            Atom::Uuid(uuid) => {
                self.bytes(b"u")?;
                self.bytes(uuid.as_bytes())
            }
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.writer.flush()?;
        let sum = self.writer.get_ref().sum.clone().finalize();
        self.bytes(&sum.to_le_bytes())?;
        self.writer.flush()
    }
}

struct In<R> {
    reader: BufReader<Summing<R>>,
    known: Vec<Arc<str>>,
}

impl<R: Read> In<R> {
    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), LoadError> {
        self.reader
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => LoadError::Damaged("it ends too early"),
                _ => LoadError::Io(error),
            })
    }

    fn byte(&mut self) -> Result<u8, LoadError> {
        let mut byte = [0];
        self.bytes(&mut byte)?;
        Ok(byte[0])
    }

    fn number(&mut self) -> Result<u64, LoadError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(LoadError::Damaged("a number that does not end"))
    }

    fn signed(&mut self) -> Result<i64, LoadError> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn uuid(&mut self) -> Result<Uuid, LoadError> {
        let mut bytes = [0; 16];
        self.bytes(&mut bytes)?;
        Ok(Uuid::from_bytes(bytes))
    }

    fn plain(&mut self) -> Result<String, LoadError> {
        let length = self.number()?;
        if length > MAX_TEXT {
            return Err(LoadError::Damaged("a text that is too long"));
        }
        let mut text = Vec::new();
        // Room is made as the text arrives, whatever length is claimed.
        (&mut self.reader)
            .take(length)
            .read_to_end(&mut text)
            .map_err(LoadError::Io)?;
        if text.len() as u64 != length {
            return Err(LoadError::Damaged("it ends too early"));
        }
        String::from_utf8(text).map_err(|_| LoadError::Damaged("a text that is not UTF-8"))
    }

    fn text(&mut self) -> Result<Arc<str>, LoadError> {
        Ok(match self.number()? {
            0 => {
                let text: Arc<str> = self.plain()?.into();
                self.known.push(text.clone());
                text
            }
            1 => self.plain()?.into(),
            reference => usize::try_from(reference - 2)
                .ok()
                .and_then(|number| self.known.get(number))
                .ok_or(LoadError::Damaged("a reference to nothing"))?
                .clone(),
        })
    }

    fn table(&mut self) -> Result<Table, LoadError> {
        let name = self.plain()?;
        let mut columns = Vec::new();
        for _ in 0..self.number()? {
            let name: Arc<str> = self.plain()?.into();
            let mut kind = [0; 4];
            self.bytes(&mut kind)?;
            if columns.last().is_some_and(|(last, _)| *last >= name) {
                return Err(LoadError::Damaged("columns in disorder"));
            }
            columns.push((name, type_from_bytes(kind)?));
        }
        let layout = Arc::new(Layout::new(name.into(), columns));
        let mut table = Table::new(layout.clone());
        let rows = self.number()?;
        // What is claimed is believed only so far.
        table.reserve(usize::try_from(rows).unwrap_or_default().min(1 << 16));
        for _ in 0..rows {
            let uuid = self.uuid()?;
            let values = layout
                .names
                .iter()
                .map(|_| self.datum())
                .collect::<Result<_, _>>()?;
            table.insert(Row::from_parts(layout.clone(), uuid, values));
        }
        Ok(table)
    }

    fn datum(&mut self) -> Result<Datum, LoadError> {
        let header = self.number()?;
        let length = header >> 1;
        let room = usize::try_from(length).unwrap_or_default().min(1 << 10);
        if header & 1 == 0 {
            let mut atoms = Vec::with_capacity(room);
            for _ in 0..length {
                atoms.push(self.atom()?);
            }
            return Ok(Datum::set(atoms));
        }
        let mut pairs = Vec::with_capacity(room);
        for _ in 0..length {
            pairs.push((self.atom()?, self.atom()?));
        }
        Ok(Datum::map(pairs))
    }

    fn atom(&mut self) -> Result<Atom, LoadError> {
        Ok(match self.byte()? {
            b'i' => Atom::Integer(self.signed()?),
            b'r' => {
                let mut bytes = [0; 8];
                self.bytes(&mut bytes)?;
                Atom::Real(f64::from_le_bytes(bytes))
            }
            b't' => Atom::Boolean(true),
            b'f' => Atom::Boolean(false),
            b's' => Atom::String(self.text()?),
            b'u' => Atom::Uuid(self.uuid()?),
            _ => return Err(LoadError::Damaged("an unknown kind of value")),
        })
    }

    fn finish(mut self) -> Result<(), LoadError> {
        self.bytes(&mut [0; 4])?;
        let mut more = [0];
        match self.reader.read(&mut more) {
            Ok(0) => {}
            Ok(_) => return Err(LoadError::Damaged("it goes on behind its end")),
            Err(error) => return Err(LoadError::Io(error)),
        }
        if self.reader.get_ref().sum.clone().finalize() != SUM_OF_ALL {
            return Err(LoadError::Damaged("the checksum is wrong"));
        }
        Ok(())
    }
}

const ATOM_TYPES: [AtomType; 5] = [
    AtomType::Integer,
    AtomType::Real,
    AtomType::Boolean,
    AtomType::String,
    AtomType::Uuid,
];

/// Key, value, optional, many; 0 for none.
fn type_to_bytes(kind: Option<ColumnType>) -> [u8; 4] {
    let number = |kind: AtomType| {
        let place = ATOM_TYPES.iter().position(|known| *known == kind);
        place.map_or(0, |place| place as u8 + 1)
    };
    kind.map_or([0; 4], |kind| {
        [
            number(kind.key),
            kind.value.map_or(0, number),
            u8::from(kind.optional),
            u8::from(kind.many),
        ]
    })
}

fn type_from_bytes(bytes: [u8; 4]) -> Result<Option<ColumnType>, LoadError> {
    let kind = |number: u8| match number {
        0 => Ok(None),
        _ => ATOM_TYPES
            .get(usize::from(number) - 1)
            .copied()
            .map(Some)
            .ok_or(LoadError::Damaged("an unknown type")),
    };
    let [key, value, optional, many] = bytes;
    let value = kind(value)?;
    Ok(kind(key)?.map(|key| ColumnType {
        key,
        value,
        optional: optional != 0,
        many: many != 0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_replica() -> impl Strategy<Value = Replica> {
        let atom = prop_oneof![
            any::<i64>().prop_map(Atom::Integer),
            any::<bool>().prop_map(Atom::Boolean),
            (-9.0..9.0f64).prop_map(Atom::Real),
            "[a-c]{0,2}".prop_map(Atom::from),
            "x{60,70}".prop_map(Atom::from),
            any::<u128>().prop_map(|id| Atom::Uuid(Uuid::from_u128(id))),
        ]
        .boxed();
        let datum = prop_oneof![
            prop::collection::vec(atom.clone(), 0..4).prop_map(Datum::set),
            prop::collection::vec((atom.clone(), atom), 0..4).prop_map(Datum::map),
        ];
        let row = ("[AB]", any::<u128>(), datum.clone(), datum).prop_map(|(table, id, a, b)| {
            Row::new(&table, Uuid::from_u128(id), [("a", a), ("b", b)])
        });
        (
            prop::collection::vec(row, 0..20),
            any::<i64>(),
            any::<u128>(),
        )
            .prop_map(|(rows, time, transaction)| Replica {
                synced_at: Some(time),
                transaction: Some(Uuid::from_u128(transaction)).filter(|uuid| !uuid.is_nil()),
                schema_version: Some("7.0.0".to_owned()),
                missing: Missing {
                    tables: ["C".to_owned()].into(),
                    columns: [("A".to_owned(), "c".to_owned())].into(),
                },
                ..Replica::from_rows("db", rows)
            })
    }

    fn wanted() -> Wanted {
        Wanted::new().table("A", ["a", "b"]).index("A", "a")
    }

    fn bytes(replica: &Replica) -> Vec<u8> {
        let mut bytes = Vec::new();
        replica.write_to(&mut bytes, &wanted()).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(replica in any_replica()) {
            let read = Replica::read_from(bytes(&replica).as_slice(), "db", &wanted()).unwrap();
            prop_assert_eq!(&read, &replica);
            prop_assert_eq!(read.synced_at, replica.synced_at);
            prop_assert_eq!(read.transaction, replica.transaction);
            prop_assert_eq!(&read.missing, &replica.missing);
            prop_assert_eq!(&read.schema_version, &replica.schema_version);
            for (a, b) in read.tables.values().zip(replica.tables.values()) {
                prop_assert_eq!(&a.layout, &b.layout);
            }
        }

        #[test]
        fn damage_is_found(replica in any_replica(), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let whole = bytes(&replica);
            let at = at.index(whole.len());
            let mut flipped = whole.clone();
            flipped[at] ^= flip;
            prop_assert!(Replica::read_from(flipped.as_slice(), "db", &wanted()).is_err());
            prop_assert!(Replica::read_from(&whole[..at], "db", &wanted()).is_err());
            let longer = [whole.as_slice(), &[flip]].concat();
            prop_assert!(Replica::read_from(longer.as_slice(), "db", &wanted()).is_err());
        }
    }

    #[test]
    fn what_is_of_no_use_is_named() {
        let replica = Replica::from_rows("db", [Row::new("A", Uuid::nil(), [])]);
        let good = bytes(&replica);
        let read = |bytes: &[u8], database, wanted: &Wanted| {
            Replica::read_from(bytes, database, wanted)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            read(b"hello there", "db", &wanted()),
            "the file is not a kept replica"
        );
        assert_eq!(read(b"", "db", &wanted()), "the file is not a kept replica");
        assert_eq!(
            read(&good, "other", &wanted()),
            "the kept replica is of database db"
        );
        assert!(read(&good, "db", &Wanted::everything()).contains("other tables"));
        let mut newer = good.clone();
        newer[MAGIC.len()] = 9;
        assert!(read(&newer, "db", &wanted()).contains("format 9"));
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("replica");
        let load = || Replica::load(&path, "db", &wanted());
        assert!(matches!(load(), Err(LoadError::Absent)));
        for count in [3, 1] {
            let rows = (0..count).map(|id| Row::new("A", Uuid::from_u128(id), []));
            Replica::from_rows("db", rows)
                .save(&path, &wanted())
                .unwrap();
            assert_eq!(load().unwrap().len(), count as usize);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let nowhere = directory.path().join("none").join("replica");
        assert!(Replica::default().save(&nowhere, &wanted()).is_err());
    }
}
