//! Whole connections as a Parquet file for others: plain columns, as queries call their fields.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampNanosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use netverdict_query::ask::row_fields;
use netverdict_query::{Field, Kind, Record, Value};
use netverdict_types::{Connection, protocol_name};
use uuid::Uuid;

/// A Parquet file that is written row by row, with the columns of [`row_fields`] behind `id`:
/// times in nanoseconds of UTC, shares from 0 to 1, addresses, identities and protocols as text.
///
/// It is for other programs to read; the store keeps its own files in another way.
pub struct File {
    writer: ArrowWriter<Shared>,
    out: Shared,
    schema: SchemaRef,
    fields: Vec<Field>,
}

/// Bytes that are ready, for who writes them and who takes them.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl File {
    /// Begins a file.
    ///
    /// # Errors
    /// If its head cannot be made.
    pub fn begin() -> io::Result<Self> {
        let fields: Vec<Field> = row_fields().collect();
        let id = ArrowField::new("id", DataType::Utf8, false);
        let columns = fields
            .iter()
            .map(|field| ArrowField::new(field.name(), kind(*field), true));
        let columns: Vec<ArrowField> = std::iter::once(id).chain(columns).collect();
        let schema: SchemaRef = Arc::new(Schema::new(columns));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let out = Shared::default();
        let writer = ArrowWriter::try_new(out.clone(), schema.clone(), Some(properties));
        Ok(Self {
            writer: writer.map_err(failed)?,
            out,
            schema,
            fields,
        })
    }

    /// Takes rows, and gives the bytes that are ready.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn rows<'c>(
        &mut self,
        rows: impl Iterator<Item = &'c Connection> + Clone,
    ) -> io::Result<Vec<u8>> {
        let mut ids = StringBuilder::new();
        for row in rows.clone() {
            ids.append_value(Uuid::from_u128(row.id.0).simple().to_string());
        }
        let mut columns: Vec<ArrayRef> = vec![Arc::new(ids.finish())];
        for field in &self.fields {
            columns.push(column(*field, rows.clone()));
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(io::Error::other)?;
        self.writer.write(&batch).map_err(failed)?;
        Ok(self.out.take())
    }

    /// The last bytes.
    ///
    /// # Errors
    /// If the end cannot be written.
    pub fn end(self) -> io::Result<Vec<u8>> {
        self.writer.close().map_err(failed)?;
        Ok(self.out.take())
    }
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

fn kind(field: Field) -> DataType {
    match field.kind() {
        Kind::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        Kind::Number { .. } | Kind::Duration | Kind::TcpFlags => DataType::Int64,
        Kind::Fraction => DataType::Float64,
        Kind::Bool => DataType::Boolean,
        Kind::Text | Kind::Named | Kind::Word(_) | Kind::Ip | Kind::Protocol | Kind::Uuid => {
            DataType::Utf8
        }
    }
}

fn column<'c>(field: Field, rows: impl Iterator<Item = &'c Connection>) -> ArrayRef {
    let numbers = |value: Value<'_>| match value {
        Value::Number(number) => Some(number),
        Value::Flags(flags) => Some(flags.0.into()),
        _ => None,
    };
    match field.kind() {
        Kind::Time => {
            let mut column = TimestampNanosecondBuilder::new().with_timezone("UTC");
            rows.for_each(|row| column.append_option(numbers(row.value(field))));
            Arc::new(column.finish())
        }
        Kind::Number { .. } | Kind::Duration | Kind::TcpFlags => {
            let mut column = Int64Builder::new();
            rows.for_each(|row| column.append_option(numbers(row.value(field))));
            Arc::new(column.finish())
        }
        Kind::Fraction => {
            let mut column = Float64Builder::new();
            rows.for_each(|row| {
                let share = numbers(row.value(field)).map(|millionths| millionths as f64 / 1e6);
                column.append_option(share);
            });
            Arc::new(column.finish())
        }
        Kind::Bool => {
            let mut column = BooleanBuilder::new();
            rows.for_each(|row| {
                column.append_option(match row.value(field) {
                    Value::Bool(truth) => Some(truth),
                    _ => None,
                });
            });
            Arc::new(column.finish())
        }
        _ => {
            let mut column = StringBuilder::new();
            for row in rows {
                match row.value(field) {
                    Value::Text(text) => column.append_value(text),
                    Value::Ip(ip) => column.append_value(ip.to_string()),
                    Value::Uuid(uuid) => column.append_value(uuid.to_string()),
                    Value::Number(number) => {
                        let name = u8::try_from(number).ok().and_then(protocol_name);
                        match name {
                            Some(name) => column.append_value(name),
                            None => column.append_value(number.to_string()),
                        }
                    }
                    Value::Missing | Value::Bool(_) | Value::Flags(_) => column.append_null(),
                }
            }
            Arc::new(column.finish())
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, AsArray};
    use datafusion::arrow::datatypes::TimestampNanosecondType;
    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use netverdict_store::judge::{Random, connections};

    use super::*;

    #[test]
    fn a_file_reads_back() {
        let all = connections(&mut Random::new(9), 300);
        let mut file = File::begin().unwrap();
        let mut bytes = Vec::new();
        for part in all.chunks(70) {
            bytes.extend(file.rows(part.iter()).unwrap());
        }
        bytes.extend(file.end().unwrap());
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), &bytes).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(path.reopen().unwrap());
        let mut rows = all.iter();
        for batch in reader.unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>();
            let end = batch.column_by_name("end").unwrap();
            let end = end.as_primitive::<TimestampNanosecondType>();
            for (place, row) in (0..batch.num_rows()).zip(&mut rows) {
                assert_eq!(text("id").value(place), format!("{:032x}", row.id.0));
                assert_eq!(end.value(place), row.end.0);
                assert_eq!(text("verdict").value(place), row.verdict.as_str());
                assert_eq!(text("src.ip").value(place), row.client.ip.to_string());
                let namespace = row.src.as_ref().and_then(|src| src.namespace.as_deref());
                let found = text("src.namespace");
                let found = (!found.is_null(place)).then(|| found.value(place));
                assert_eq!(found, namespace);
            }
        }
        assert!(rows.next().is_none());
    }
}
