//! Groups of rows, first by codes: one line for each combination of codes of one segment, with
//! names put in afterwards. DataFusion joins the lines of all segments by their values.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, Decimal128Array,
    Int64Array, PrimitiveArray, RecordBatch, StringArray, UInt32Array,
};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{cast, concat, concat_batches, take};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Field as ArrowField, Int64Type, Schema, SchemaRef, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;
use netverdict_query::Field;
use netverdict_query::ask::{Groups, Measure};
use netverdict_store::{COLUMNS, Place, Type, place};
use netverdict_types::{Probability, Verdict};

use crate::filter::{Filter, meet};
use crate::names::{Names, Table};
use crate::rollup::{COUNT, Grain, HALVES, SUMS, policies};
use crate::row::Col;
use crate::scan::{Chunk, Part, ScanError};

/// What is asked of groups, in terms of columns of rows.
#[derive(Debug)]
pub(crate) struct Question {
    by: Vec<Val>,
    every: Option<i64>,
    measures: Vec<Metric>,
    halves: bool,
    /// Whether groups are by policy, of either half, and nothing names a half.
    policies: bool,
    /// The columns whose values tell lines apart.
    keys: Vec<Col>,
    pub(crate) schema: SchemaRef,
}

/// Where the value of a field is found.
#[derive(Clone, Debug)]
enum Val {
    Missing,
    Verdict,
    /// A column of the store's table for a code; only where another has this text.
    Named(Col, usize, Option<(usize, &'static str)>),
    /// A number, an address.
    Plain(Col),
    Share,
    Duration,
    Either(Box<Val>, Box<Val>),
}

#[derive(Debug)]
enum Metric {
    Count,
    Sum(Number),
    Min(Number),
    Max(Number),
    Distinct(Option<Val>, Val),
}

/// A number to measure: added up row by row, or known when names are put in.
#[derive(Debug)]
enum Number {
    Row(Col),
    Duration,
    Late(Val),
}

impl Question {
    pub(crate) fn new(groups: &Groups) -> Self {
        let by: Vec<Val> = groups.by.iter().map(|field| val(*field)).collect();
        let measures: Vec<Metric> = groups.measures.iter().map(|it| metric(*it)).collect();
        let mut keys = Vec::new();
        by.iter().for_each(|val| val.cols(&mut keys));
        for metric in &measures {
            match metric {
                Metric::Sum(Number::Late(val))
                | Metric::Min(Number::Late(val))
                | Metric::Max(Number::Late(val)) => val.cols(&mut keys),
                Metric::Distinct(namespace, val) => {
                    namespace.iter().for_each(|val| val.cols(&mut keys));
                    val.cols(&mut keys);
                }
                _ => {}
            }
        }
        // Of one half, which is named: it must be known for the lines of the other one too.
        let late = measures.iter().filter_map(|metric| match metric.number() {
            Some(Number::Late(val)) => Some(val),
            _ => None,
        });
        let named_half = by.iter().chain(late).any(Val::names_half);
        let halves = groups.has_halves();
        if halves {
            keys.extend([Col::Egress, Col::Ingress]);
        }
        keys.sort_unstable();
        keys.dedup();
        let mut fields = Vec::new();
        if groups.every.is_some() {
            fields.push(ArrowField::new(TIME, DataType::Int64, false));
        }
        for (place, val) in by.iter().enumerate() {
            fields.push(ArrowField::new(by_name(place), val.data_type(), true));
        }
        fields.push(ArrowField::new(WEIGHT, DataType::Int64, false));
        for (place, metric) in measures.iter().enumerate() {
            if let Some(kind) = metric.data_type() {
                fields.push(ArrowField::new(measure_name(place), kind, true));
            }
        }
        Self {
            by,
            every: groups.every,
            measures,
            halves,
            policies: !named_half
                && [Field::OwnerNamespace, Field::OwnerName]
                    .iter()
                    .all(|field| groups.by.contains(field)),
            keys,
            schema: Arc::new(Schema::new(fields)),
        }
    }

    /// True where a roll-up tells as much as the rows.
    pub(crate) fn answered_by(&self, grain: &Grain) -> bool {
        let time = self.every.is_none_or(|length| length % grain.length == 0);
        let keys = self.keys.iter().all(|col| grain.by.contains(col));
        time && keys
            && self.measures.iter().all(|metric| match metric {
                Metric::Count | Metric::Distinct(..) => true,
                Metric::Sum(Number::Row(col)) => SUMS.contains(col),
                Metric::Min(Number::Row(col)) => *col == Col::Start,
                Metric::Max(Number::Row(col)) => *col == Col::End,
                Metric::Sum(it) | Metric::Min(it) | Metric::Max(it) => {
                    matches!(it, Number::Late(_))
                }
            })
    }

    /// True where the roll-up of halves tells as much as the rows: groups by policy at least,
    /// so that the halves of a connection are of one group only where they are of one policy.
    pub(crate) fn answered_by_halves(&self) -> bool {
        self.by_each_half() && self.answered_by(&HALVES)
    }

    /// True where each half may be grouped by itself: the halves of a connection are of one group
    /// only where they are of one policy.
    pub(crate) fn by_each_half(&self) -> bool {
        self.policies && self.subtracts()
    }

    /// True where rows can be taken off again: nothing is told but counts and sums.
    pub(crate) fn subtracts(&self) -> bool {
        self.measures
            .iter()
            .all(|metric| matches!(metric, Metric::Count | Metric::Sum(_)))
    }

    /// The columns of rows that are added up.
    pub(crate) fn summed(&self) -> impl Iterator<Item = Col> {
        self.measures.iter().filter_map(|metric| match metric {
            Metric::Sum(Number::Row(col)) => Some(*col),
            _ => None,
        })
    }

    /// The columns to add up, where nothing but rulings tells lines apart.
    fn sums_of_rulings(&self) -> Option<Vec<Col>> {
        if self.every.is_some() || self.keys != [Col::Egress, Col::Ingress] {
            return None;
        }
        let mut cols = Vec::new();
        for metric in &self.measures {
            match metric {
                Metric::Count | Metric::Sum(Number::Late(_)) => {}
                Metric::Sum(Number::Row(col)) if col.data_type() == DataType::UInt64 => {
                    cols.push(*col);
                }
                _ => return None,
            }
        }
        Some(cols)
    }

    /// Lines with those of one group joined, where that is all sums.
    pub(crate) fn joined(&self, lines: RecordBatch) -> Result<RecordBatch, ScanError> {
        let keys = usize::from(self.every.is_some()) + self.by.len();
        if !self.subtracts() || keys == 0 {
            return Ok(lines);
        }
        let by = &lines.columns()[..keys];
        let fields = by
            .iter()
            .map(|column| SortField::new(column.data_type().clone()))
            .collect();
        let groups = RowConverter::new(fields)?.convert_columns(by)?;
        let mut known = HashMap::new();
        let mut first = Vec::new();
        let slots: Vec<usize> = groups
            .iter()
            .enumerate()
            .map(|(line, group)| {
                *known.entry(group).or_insert_with(|| {
                    first.push(line as u32);
                    first.len() - 1
                })
            })
            .collect();
        let count = first.len();
        let first = UInt32Array::from(first);
        let mut columns = by
            .iter()
            .map(|column| take(column, &first, None))
            .collect::<Result<Vec<_>, _>>()?;
        let mut weights = vec![0; count];
        let of_lines = lines.column(keys).as_primitive::<Int64Type>().values();
        for (slot, weight) in slots.iter().zip(of_lines) {
            weights[*slot] += weight;
        }
        columns.push(Arc::new(Int64Array::from(weights)));
        for column in &lines.columns()[keys + 1..] {
            let mut all: Vec<Option<i128>> = vec![None; count];
            let of_lines = column.as_primitive::<Decimal128Type>();
            for (slot, sum) in slots.iter().zip(of_lines) {
                if let Some(sum) = sum {
                    *all[*slot].get_or_insert(0) += sum;
                }
            }
            columns.push(sums(all.into_iter())?);
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// The name of the column of a bucket's start.
pub(crate) const TIME: &str = "time";
/// The name of the column of the number of rows.
pub(crate) const WEIGHT: &str = "weight";

/// The name of the column of a group's value.
pub(crate) fn by_name(place: usize) -> String {
    format!("by{place}")
}

/// The name of the column of a measure.
pub(crate) fn measure_name(place: usize) -> String {
    format!("measure{place}")
}

fn val(field: Field) -> Val {
    let column = |column: usize| match Col::of(column) {
        None => Val::Missing,
        Some(Col::Verdict) => Val::Verdict,
        Some(Col::Probability) => Val::Share,
        Some(col) if col.table().is_some() => Val::Named(col, column, None),
        Some(col) => Val::Plain(col),
    };
    match place(field) {
        Place::Nowhere => Val::Missing,
        Place::Column(it) => column(it),
        Place::Where {
            column: it,
            other,
            is,
        } => match Col::of(it) {
            Some(col) => Val::Named(col, it, Some((other, is))),
            None => Val::Missing,
        },
        Place::Difference(..) => Val::Duration,
        Place::Either { egress, ingress } => {
            Val::Either(Box::new(column(egress)), Box::new(column(ingress)))
        }
    }
}

fn metric(measure: Measure) -> Metric {
    let number = |field| match val(field) {
        Val::Plain(col) => Number::Row(col),
        Val::Duration => Number::Duration,
        other => Number::Late(other),
    };
    match measure {
        Measure::Count => Metric::Count,
        Measure::Sum(field) => Metric::Sum(number(field)),
        Measure::Min(field) => Metric::Min(number(field)),
        Measure::Max(field) => Metric::Max(number(field)),
        Measure::Distinct(namespace, field) => Metric::Distinct(namespace.map(val), val(field)),
    }
}

impl Val {
    fn cols(&self, into: &mut Vec<Col>) {
        match self {
            Self::Missing => {}
            Self::Verdict => into.push(Col::Verdict),
            Self::Named(col, ..) | Self::Plain(col) => into.push(*col),
            Self::Share => into.push(Col::Probability),
            Self::Duration => into.extend([Col::Start, Col::End]),
            Self::Either(egress, ingress) => {
                egress.cols(into);
                ingress.cols(into);
            }
        }
    }

    /// True where it is read from the ruling of one half whatever half a line is for.
    fn names_half(&self) -> bool {
        matches!(self, Self::Named(Col::Egress | Col::Ingress, ..))
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Missing | Self::Verdict => DataType::Utf8,
            Self::Named(_, column, _) => match COLUMNS[*column].kind {
                Type::Word | Type::Text => DataType::Utf8,
                Type::Number | Type::Time => DataType::Int64,
                Type::Bool => DataType::Boolean,
                Type::Ip | Type::Uuid | Type::Id => DataType::FixedSizeBinary(16),
            },
            Self::Plain(col) => match col.data_type() {
                DataType::FixedSizeBinary(width) => DataType::FixedSizeBinary(width),
                DataType::Utf8 => DataType::Utf8,
                _ => DataType::Int64,
            },
            Self::Share | Self::Duration => DataType::Int64,
            Self::Either(egress, _) => egress.data_type(),
        }
    }

    /// The values for lines; of [`Val::Either`] those of the way out.
    fn read(&self, lines: &Lines, names: &Names) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Missing => Arc::new(StringArray::new_null(lines.len)),
            Self::Verdict => {
                let codes = lines.column(Col::Verdict)?;
                let codes = codes.as_primitive::<UInt8Type>();
                Arc::new(StringArray::from_iter(codes.values().iter().map(|code| {
                    Verdict::ALL
                        .get(usize::from(*code))
                        .map(|verdict| verdict.as_str())
                })))
            }
            Self::Named(col, column, other) => {
                let codes = lines.column(*col)?;
                let values = names.column(*column);
                let values = match other {
                    None => values,
                    Some((other, is)) => {
                        let other = names.column(*other);
                        let other = other.as_string::<i32>();
                        let fits = other.iter().map(|text| Some(text != Some(*is)));
                        let fits: BooleanArray = fits.collect();
                        datafusion::arrow::compute::nullif(&values, &fits)?
                    }
                };
                take(&values, &codes, None)?
            }
            Self::Plain(col) => {
                let column = lines.column(*col)?;
                match column.data_type() {
                    DataType::FixedSizeBinary(_) | DataType::Utf8 => column,
                    DataType::UInt64 => numbers(&column)?,
                    _ => cast(&column, &DataType::Int64)?,
                }
            }
            Self::Share => {
                let column = lines.column(Col::Probability)?;
                let shares = column.as_primitive::<UInt32Type>();
                Arc::new(shares.unary::<_, Int64Type>(|share| Probability(share).millionths()))
            }
            Self::Duration => {
                let (start, end) = (lines.column(Col::Start)?, lines.column(Col::End)?);
                Arc::new(duration(&start, &end))
            }
            Self::Either(egress, _) => egress.read(lines, names)?,
        })
    }
}

fn duration(start: &ArrayRef, end: &ArrayRef) -> Int64Array {
    let (start, end) = (
        start.as_primitive::<Int64Type>(),
        end.as_primitive::<Int64Type>(),
    );
    let pairs = start.values().iter().zip(end.values());
    Int64Array::from_iter_values(pairs.map(|(start, end)| end.saturating_sub(*start)))
}

/// Numbers as queries have them.
fn numbers(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match column.data_type() {
        DataType::UInt64 => Arc::new(
            column
                .as_primitive::<UInt64Type>()
                .unary::<_, Int64Type>(|number| i64::try_from(number).unwrap_or(i64::MAX)),
        ),
        _ => cast(column, &DataType::Int64)?,
    })
}

impl Metric {
    fn data_type(&self) -> Option<DataType> {
        match self {
            Self::Count => None,
            Self::Sum(_) => Some(SUM),
            Self::Min(_) | Self::Max(_) => Some(DataType::Int64),
            Self::Distinct(..) => Some(DataType::Binary),
        }
    }

    fn number(&self) -> Option<&Number> {
        match self {
            Self::Sum(number) | Self::Min(number) | Self::Max(number) => Some(number),
            _ => None,
        }
    }
}

/// Wide enough for 2^63 rows of 2^63, nearly.
const SUM: DataType = DataType::Decimal128(38, 0);

/// Lines in the making, of rows that share their names.
pub(crate) struct Grouper<'a> {
    question: &'a Question,
    names: Arc<Names>,
    layout: Option<Layout>,
    hasher: foldhash::fast::RandomState,
    slots: HashTable<u32>,
    words: Vec<[u64; WORDS]>,
    /// Without a layout: the keys as they come, one line for each row.
    plain: Vec<Vec<ArrayRef>>,
    weight: Vec<i64>,
    accumulators: Vec<Option<Accumulator>>,
    /// True where only connections with both halves of one group are told of, once.
    overlap: bool,
}

#[derive(Default)]
struct Accumulator {
    seen: Vec<bool>,
    value: Vec<i128>,
}

/// Keys take at most so many words.
const WORDS: usize = 4;

/// Where each key column stands in the words: word, shift, bits.
struct Layout {
    places: Vec<Bits>,
    bucket: Option<usize>,
}

struct Bits {
    col: Col,
    word: usize,
    shift: u32,
    bits: u32,
}

impl Layout {
    /// `None` where the words do not suffice.
    fn new(question: &Question, names: &Names) -> Option<Self> {
        let mut room = [64_u32; WORDS];
        let mut put = |bits: u32| {
            let word = room.iter().position(|left| *left >= bits)?;
            room[word] -= bits;
            Some((word, room[word]))
        };
        let mut places = Vec::new();
        for col in &question.keys {
            let bits = match (col.table(), col.data_type()) {
                (Some(table), _) => usize::BITS - names.codes(table).leading_zeros(),
                (None, DataType::UInt8) => 9,
                (None, DataType::UInt16) => 17,
                (None, DataType::UInt32) => 33,
                _ => return None,
            };
            let (word, shift) = put(bits)?;
            places.push(Bits {
                col: *col,
                word,
                shift,
                bits,
            });
        }
        let bucket = match question.every {
            None => None,
            Some(_) => Some(put(64)?.0),
        };
        Some(Self { places, bucket })
    }
}

impl<'a> Grouper<'a> {
    pub(crate) fn new(question: &'a Question, names: Arc<Names>) -> Self {
        Self {
            question,
            layout: Layout::new(question, &names),
            names,
            hasher: foldhash::fast::RandomState::default(),
            slots: HashTable::new(),
            words: Vec::new(),
            plain: Vec::new(),
            overlap: false,
            weight: Vec::new(),
            accumulators: question
                .measures
                .iter()
                .map(|metric| match metric.number() {
                    Some(Number::Row(_) | Number::Duration) => Some(Accumulator::default()),
                    _ => None,
                })
                .collect(),
        }
    }

    /// Only for connections with both halves of one group, once.
    pub(crate) fn of_overlap(mut self) -> Self {
        self.overlap = true;
        self
    }

    /// Takes the rows of a chunk in that match; `sign` is -1 where they are taken off.
    pub(crate) fn add(
        &mut self,
        chunk: &mut Chunk<'_>,
        filter: &Filter,
        sign: i64,
    ) -> Result<(), ScanError> {
        let rows = filter.rows(chunk)?;
        self.add_rows(chunk, rows, sign)
    }

    /// Takes some rows of a chunk in; `None` is all.
    pub(crate) fn add_rows(
        &mut self,
        chunk: &mut Chunk<'_>,
        rows: Option<BooleanBuffer>,
        sign: i64,
    ) -> Result<(), ScanError> {
        let selected: Option<Vec<u32>> = rows.map(|rows| picked(&rows));
        let count = selected.as_ref().map_or(chunk.bounds().rows, Vec::len);
        if count == 0 {
            return Ok(());
        }
        let slots = self.slots(chunk, selected.as_deref(), count)?;
        let weights = chunk
            .extra(COUNT)
            .map(|it| it.as_primitive::<UInt64Type>().clone());
        match &weights {
            None => slots
                .iter()
                .for_each(|slot| self.weight[*slot as usize] += sign),
            Some(weights) => each(selected.as_deref(), &slots, |row, slot| {
                self.weight[slot] += sign * weights.value(row) as i64;
            }),
        }
        for (metric, accumulator) in self.question.measures.iter().zip(&mut self.accumulators) {
            let (Some(number), Some(accumulator)) = (metric.number(), accumulator) else {
                continue;
            };
            let none = match metric {
                Metric::Min(_) => i128::MAX,
                Metric::Max(_) => i128::MIN,
                _ => 0,
            };
            accumulator.value.resize(self.weight.len(), none);
            accumulator.seen.resize(self.weight.len(), false);
            let column = match number {
                Number::Row(Col::Start) if matches!(metric, Metric::Max(_)) => chunk
                    .extra(crate::rollup::LAST_START)
                    .map_or_else(|| chunk.column(Col::Start), Ok)?,
                Number::Row(col) => chunk.column(*col)?,
                Number::Duration => {
                    let (start, end) = (chunk.column(Col::Start)?, chunk.column(Col::End)?);
                    Arc::new(duration(&start, &end))
                }
                Number::Late(_) => continue,
            };
            accumulator.add(metric, &column, selected.as_deref(), &slots, sign)?;
        }
        Ok(())
    }

    /// The line of each row.
    fn slots(
        &mut self,
        chunk: &mut Chunk<'_>,
        selected: Option<&[u32]>,
        count: usize,
    ) -> Result<Vec<u32>, ScanError> {
        let Some(layout) = &self.layout else {
            return self.lines(chunk, selected, count);
        };
        if layout.places.is_empty() && layout.bucket.is_none() {
            if self.words.is_empty() {
                self.words.push([0; WORDS]);
                self.weight.push(0);
            }
            return Ok(vec![0; count]);
        }
        let mut keys = vec![[0_u64; WORDS]; count];
        for place in &layout.places {
            let column = chunk.column(place.col)?;
            match column.data_type() {
                DataType::UInt8 => place.put::<UInt8Type>(&mut keys, &column, selected),
                DataType::UInt16 => place.put::<UInt16Type>(&mut keys, &column, selected),
                _ => place.put::<UInt32Type>(&mut keys, &column, selected),
            }
        }
        if let (Some(word), Some(length)) = (layout.bucket, self.question.every) {
            let column = chunk
                .extra(crate::rollup::BUCKET)
                .map_or_else(|| chunk.column(Col::End), Ok)?;
            let time = column.as_primitive::<Int64Type>().values();
            let bucket = |row: usize| time[row].div_euclid(length) as u64;
            match selected {
                None => keys
                    .iter_mut()
                    .enumerate()
                    .for_each(|(row, key)| key[word] = bucket(row)),
                Some(rows) => keys
                    .iter_mut()
                    .zip(rows)
                    .for_each(|(key, row)| key[word] = bucket(*row as usize)),
            }
        }
        let mut last: Option<([u64; WORDS], u32)> = None;
        let mut slots = Vec::with_capacity(count);
        for key in keys {
            let slot = match last {
                Some((same, slot)) if same == key => slot,
                _ => {
                    let hash = self.hasher.hash_one(key);
                    let words = &self.words;
                    match self.slots.find(hash, |slot| words[*slot as usize] == key) {
                        Some(slot) => *slot,
                        None => {
                            let slot = self.words.len() as u32;
                            self.words.push(key);
                            self.weight.push(0);
                            let (hasher, words) = (&self.hasher, &self.words);
                            self.slots.insert_unique(hash, slot, |slot| {
                                hasher.hash_one(words[*slot as usize])
                            });
                            slot
                        }
                    }
                }
            };
            last = Some((key, slot));
            slots.push(slot);
        }
        Ok(slots)
    }

    /// A line of its own for these rulings, with the sums of columns of rows.
    fn line(&mut self, [out, into]: [u32; 2], rows: i64, sums: impl Iterator<Item = i128>) {
        let mut words = [0; WORDS];
        for place in self.layout.iter().flat_map(|it| &it.places) {
            let code = if place.col == Col::Egress { out } else { into };
            words[place.word] |= u64::from(code) << place.shift;
        }
        self.words.push(words);
        self.weight.push(rows);
        let accumulators = self.accumulators.iter_mut().flatten();
        for (accumulator, sum) in accumulators.zip(sums) {
            accumulator.seen.push(true);
            accumulator.value.push(sum);
        }
    }

    /// One line for each row, where keys are too long to be joined here.
    fn lines(
        &mut self,
        chunk: &mut Chunk<'_>,
        selected: Option<&[u32]>,
        count: usize,
    ) -> Result<Vec<u32>, ScanError> {
        let mut cols = self.question.keys.clone();
        if self.question.every.is_some() && !cols.contains(&Col::End) {
            cols.push(Col::End);
        }
        let places = selected.map(|rows| UInt32Array::from(rows.to_vec()));
        let columns = cols
            .iter()
            .map(|col| {
                let column = chunk.column(*col)?;
                Ok(match &places {
                    None => column,
                    Some(places) => take(&column, places, None)?,
                })
            })
            .collect::<Result<Vec<_>, ScanError>>()?;
        self.plain.push(columns);
        let first = self.weight.len();
        self.weight.resize(first + count, 0);
        Ok((first as u32..(first + count) as u32).collect())
    }

    /// The lines as DataFusion takes them.
    pub(crate) fn finish(self) -> Result<Option<RecordBatch>, ScanError> {
        if self.weight.is_empty() {
            return Ok(None);
        }
        let lines = self.key_columns()?;
        let overlap = self.overlap;
        let question = self.question;
        let mut columns: Vec<ArrayRef> = Vec::new();
        if let Some(length) = question.every {
            columns.push(match self.layout.as_ref().and_then(|it| it.bucket) {
                Some(word) => Arc::new(Int64Array::from_iter_values(
                    self.words
                        .iter()
                        .map(|words| (words[word] as i64).saturating_mul(length)),
                )),
                None => {
                    let end = lines.column(Col::End)?;
                    Arc::new(
                        end.as_primitive::<Int64Type>()
                            .unary::<_, Int64Type>(|time| {
                                time.div_euclid(length).saturating_mul(length)
                            }),
                    )
                }
            });
        }
        for val in &question.by {
            columns.push(val.read(&lines, &self.names)?);
        }
        let weight = Int64Array::from(self.weight);
        columns.push(Arc::new(weight.clone()));
        for (metric, accumulator) in question.measures.iter().zip(self.accumulators) {
            let column: ArrayRef = match (metric, accumulator) {
                (Metric::Count, _) => continue,
                (Metric::Sum(_), Some(it)) => sums(it.values(lines.len, Some))?,
                (_, Some(it)) => Arc::new(Int64Array::from_iter(
                    it.values(lines.len, |value| i64::try_from(value).ok()),
                )),
                (Metric::Sum(Number::Late(val)), None) => {
                    let values = late(val, &lines, &self.names)?;
                    let values = values.iter().zip(weight.values());
                    sums(values.map(|(value, weight)| {
                        value.map(|value| i128::from(value) * i128::from(*weight))
                    }))?
                }
                (Metric::Min(Number::Late(val)) | Metric::Max(Number::Late(val)), None) => {
                    Arc::new(late(val, &lines, &self.names)?)
                }
                (Metric::Distinct(namespace, val), None) => {
                    let values = val.read(&lines, &self.names)?;
                    let namespace = match namespace {
                        Some(namespace) => Some(namespace.read(&lines, &self.names)?),
                        None => None,
                    };
                    Arc::new(coded(namespace, values)?)
                }
                _ => Arc::new(Int64Array::new_null(lines.len)),
            };
            columns.push(column);
        }
        let batch = RecordBatch::try_new(question.schema.clone(), columns)?;
        match question.halves {
            false => Ok(Some(batch)),
            true => Ok(Some(halves(
                question,
                &batch,
                &lines,
                &self.names,
                overlap,
            )?)),
        }
    }

    fn key_columns(&self) -> Result<Lines, ArrowError> {
        let mut columns: [Option<ArrayRef>; Col::ALL.len()] = [const { None }; Col::ALL.len()];
        match &self.layout {
            Some(layout) => {
                for place in &layout.places {
                    columns[place.col as usize] = Some(match place.col.data_type() {
                        DataType::UInt8 => place.take::<UInt8Type>(&self.words),
                        DataType::UInt16 => place.take::<UInt16Type>(&self.words),
                        _ => place.take::<UInt32Type>(&self.words),
                    });
                }
            }
            None => {
                let mut cols = self.question.keys.clone();
                if self.question.every.is_some() && !cols.contains(&Col::End) {
                    cols.push(Col::End);
                }
                for (place, col) in cols.into_iter().enumerate() {
                    let pieces: Vec<&dyn Array> = self
                        .plain
                        .iter()
                        .filter_map(|columns| columns.get(place).map(|it| &**it))
                        .collect();
                    columns[col as usize] = Some(concat(&pieces)?);
                }
            }
        }
        Ok(Lines {
            len: self.weight.len(),
            columns,
        })
    }
}

/// Groups each half by itself, and takes off what is of one group: far fewer lines than pairs of
/// halves.
pub(crate) struct ByHalf<'a> {
    once: Grouper<'a>,
    twice: Grouper<'a>,
    /// The policy of each ruling.
    policies: Vec<u32>,
    /// Where rulings alone tell lines apart.
    tallies: Option<Tallies>,
}

impl<'a> ByHalf<'a> {
    pub(crate) fn new(question: &'a Question, names: &Arc<Names>) -> Self {
        Self {
            once: Grouper::new(question, names.clone()),
            twice: Grouper::new(question, names.clone()).of_overlap(),
            policies: policies(names),
            tallies: question
                .sums_of_rulings()
                .map(|sums| Tallies::new(sums, names)),
        }
    }

    pub(crate) fn add(&mut self, chunk: &mut Chunk<'_>, filter: &Filter) -> Result<(), ScanError> {
        let rows = filter.rows(chunk)?;
        if rows.as_ref().is_some_and(|rows| rows.count_set_bits() == 0) {
            return Ok(());
        }
        let (egress, ingress) = (chunk.column(Col::Egress)?, chunk.column(Col::Ingress)?);
        let out = egress.as_primitive::<UInt32Type>().values();
        let into = ingress.as_primitive::<UInt32Type>().values();
        let policy = &self.policies;
        let same = BooleanBuffer::collect_bool(out.len(), |row| {
            out[row] != 0
                && into[row] != 0
                && policy.get(out[row] as usize) == policy.get(into[row] as usize)
        });
        let all = |wanted: BooleanBuffer| meet(rows.clone(), Some(wanted));
        self.twice.add_rows(chunk, all(same), -1)?;
        if let Some(tallies) = &mut self.tallies {
            return tallies.add(chunk, rows, [out, into]);
        }
        let has = |codes: &[u32]| BooleanBuffer::collect_bool(codes.len(), |row| codes[row] != 0);
        let (has_out, has_into) = (has(out), has(into));
        let none: ArrayRef = Arc::new(UInt32Array::from(vec![0; out.len()]));
        let neither = !&(&has_out | &has_into);
        self.once.add_rows(chunk, all(neither), 1)?;
        chunk.replace(Col::Ingress, none.clone());
        self.once.add_rows(chunk, all(has_out), 1)?;
        chunk.replace(Col::Ingress, ingress.clone());
        chunk.replace(Col::Egress, none);
        self.once.add_rows(chunk, all(has_into), 1)
    }

    pub(crate) fn finish(mut self) -> Result<Option<RecordBatch>, ScanError> {
        if let Some(tallies) = self.tallies {
            tallies.into_lines(&mut self.once);
        }
        let schema = self.once.question.schema.clone();
        let lines: Vec<RecordBatch> = [self.once.finish()?, self.twice.finish()?]
            .into_iter()
            .flatten()
            .collect();
        Ok(match lines.is_empty() {
            true => None,
            false => Some(concat_batches(&schema, &lines)?),
        })
    }
}

/// Rows and sums by the ruling of one half, each code a place.
struct Tallies {
    /// What is added up.
    cols: Vec<Col>,
    /// Rows on the way out, on the way in.
    rows: [Vec<i64>; 2],
    /// For each column the same.
    sums: Vec<[Vec<i128>; 2]>,
}

impl Tallies {
    fn new(cols: Vec<Col>, names: &Names) -> Self {
        let codes = names.codes(Table::Rulings);
        Self {
            rows: [vec![0; codes], vec![0; codes]],
            sums: vec![[vec![0; codes], vec![0; codes]]; cols.len()],
            cols,
        }
    }

    /// Rows without a ruling are counted on the way out, at place 0, where they have none on the
    /// way in either.
    fn add(
        &mut self,
        chunk: &mut Chunk<'_>,
        rows: Option<BooleanBuffer>,
        codes: [&[u32]; 2],
    ) -> Result<(), ScanError> {
        let picked = rows.as_ref().map(picked);
        let picked = picked.as_deref();
        let [out, into] = codes;
        let before = self.rows.clone();
        let [rows_out, rows_into] = &mut self.rows;
        each_row(picked, out.len(), |row| {
            let (out, into) = (out[row], into[row]);
            if let Some(rows) = rows_out.get_mut(out as usize) {
                *rows += i64::from(out != 0 || into == 0);
            }
            if let Some(rows) = rows_into.get_mut(into as usize) {
                *rows += i64::from(into != 0);
            }
        });
        for (col, [sums_out, sums_into]) in self.cols.iter().zip(&mut self.sums) {
            if let Some(span) = chunk.bounds().of(*col)
                && span.min == span.max
                && !span.missing
            {
                let same = i128::from(span.min);
                let sides = [(sums_out, 0), (sums_into, 1)];
                for (sums, side) in sides.into_iter().filter(|_| same != 0) {
                    let rows = self.rows[side].iter().zip(&before[side]);
                    for (sum, (after, before)) in sums.iter_mut().zip(rows) {
                        *sum += same * i128::from(after - before);
                    }
                }
                continue;
            }
            let column = chunk.column(*col)?;
            let values = column.as_primitive::<UInt64Type>().values();
            each_row(picked, out.len(), |row| {
                let value = i128::from(values[row].min(i64::MAX as u64));
                let (out, into) = (out[row], into[row]);
                if let Some(sum) = sums_out.get_mut(out as usize) {
                    *sum += if out != 0 || into == 0 { value } else { 0 };
                }
                if let Some(sum) = sums_into.get_mut(into as usize) {
                    *sum += if into != 0 { value } else { 0 };
                }
            });
        }
        Ok(())
    }

    fn into_lines(self, to: &mut Grouper<'_>) {
        for side in [0, 1] {
            for (code, rows) in self.rows[side].iter().enumerate() {
                if *rows == 0 {
                    continue;
                }
                let mut codes = [0; 2];
                codes[side] = code as u32;
                let sums = self.sums.iter().map(|sums| sums[side][code]);
                to.line(codes, *rows, sums);
            }
        }
    }
}

fn each_row(picked: Option<&[u32]>, all: usize, mut see: impl FnMut(usize)) {
    match picked {
        None => (0..all).for_each(see),
        Some(rows) => rows.iter().for_each(|row| see(*row as usize)),
    }
}

/// Lines by their key columns.
struct Lines {
    len: usize,
    columns: [Option<ArrayRef>; Col::ALL.len()],
}

impl Lines {
    fn column(&self, col: Col) -> Result<ArrayRef, ArrowError> {
        self.columns[col as usize]
            .clone()
            .ok_or_else(|| ArrowError::SchemaError(format!("{} was not read", col.name())))
    }
}

fn picked(rows: &BooleanBuffer) -> Vec<u32> {
    rows.set_indices().map(|row| row as u32).collect()
}

fn each(selected: Option<&[u32]>, slots: &[u32], mut see: impl FnMut(usize, usize)) {
    match selected {
        None => slots
            .iter()
            .enumerate()
            .for_each(|(row, slot)| see(row, *slot as usize)),
        Some(rows) => rows
            .iter()
            .zip(slots)
            .for_each(|(row, slot)| see(*row as usize, *slot as usize)),
    }
}

impl Bits {
    fn put<T: ArrowPrimitiveType>(
        &self,
        keys: &mut [[u64; WORDS]],
        column: &ArrayRef,
        selected: Option<&[u32]>,
    ) where
        T::Native: Into<u64>,
    {
        let column = column.as_primitive::<T>();
        let (word, shift) = (self.word, self.shift);
        let missing = 1 << (self.bits - 1);
        match (column.nulls().is_some(), selected) {
            (false, None) => {
                for (key, value) in keys.iter_mut().zip(column.values()) {
                    key[word] |= (*value).into() << shift;
                }
            }
            (false, Some(rows)) => {
                let values = column.values();
                for (key, row) in keys.iter_mut().zip(rows) {
                    key[word] |= values[*row as usize].into() << shift;
                }
            }
            (true, _) => {
                for (place, key) in keys.iter_mut().enumerate() {
                    let row = selected.map_or(place, |rows| rows[place] as usize);
                    let value = if column.is_null(row) {
                        missing
                    } else {
                        column.value(row).into()
                    };
                    key[word] |= value << shift;
                }
            }
        }
    }

    fn take<T: ArrowPrimitiveType>(&self, words: &[[u64; WORDS]]) -> ArrayRef
    where
        T::Native: TryFrom<u64>,
    {
        let mask = u64::MAX >> (64 - self.bits);
        let missing = 1_u64 << (self.bits - 1);
        let coded = self.col.table().is_some();
        Arc::new(PrimitiveArray::<T>::from_iter(words.iter().map(|words| {
            let value = words[self.word] >> self.shift & mask;
            match !coded && value & missing != 0 {
                true => None,
                false => T::Native::try_from(value).ok(),
            }
        })))
    }
}

impl Accumulator {
    fn add(
        &mut self,
        metric: &Metric,
        column: &ArrayRef,
        selected: Option<&[u32]>,
        slots: &[u32],
        sign: i64,
    ) -> Result<(), ArrowError> {
        if let (Metric::Sum(_), DataType::UInt64) = (metric, column.data_type()) {
            let values = column.as_primitive::<UInt64Type>().values();
            each(selected, slots, |row, slot| {
                self.seen[slot] = true;
                self.value[slot] += i128::from(sign) * i128::from(values[row].min(i64::MAX as u64));
            });
            return Ok(());
        }
        let numbers = numbers(column)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        each(selected, slots, |row, slot| {
            if numbers.is_null(row) {
                return;
            }
            let number = i128::from(numbers.value(row));
            self.seen[slot] = true;
            let value = &mut self.value[slot];
            match metric {
                Metric::Min(_) => *value = number.min(*value),
                Metric::Max(_) => *value = number.max(*value),
                _ => *value += i128::from(sign) * number,
            }
        });
        Ok(())
    }

    fn values<T>(
        self,
        lines: usize,
        read: impl Fn(i128) -> Option<T>,
    ) -> impl Iterator<Item = Option<T>> {
        let (mut seen, mut value) = (self.seen, self.value);
        seen.resize(lines, false);
        value.resize(lines, 0);
        seen.into_iter()
            .zip(value)
            .map(move |(seen, value)| if seen { read(value) } else { None })
    }
}

fn sums(values: impl Iterator<Item = Option<i128>>) -> Result<ArrayRef, ArrowError> {
    let array = Decimal128Array::from_iter(values).with_precision_and_scale(38, 0)?;
    Ok(Arc::new(array))
}

fn late(val: &Val, lines: &Lines, names: &Names) -> Result<Int64Array, ArrowError> {
    let values = val.read(lines, names)?;
    Ok(match values.data_type() {
        DataType::Int64 => values.as_primitive::<Int64Type>().clone(),
        _ => Int64Array::new_null(lines.len),
    })
}

/// Values, or pairs, as bytes that are equal where they are; missing where the value is.
fn coded(namespace: Option<ArrayRef>, values: ArrayRef) -> Result<BinaryArray, ArrowError> {
    let missing = values.logical_nulls();
    let columns: Vec<ArrayRef> = namespace.into_iter().chain([values]).collect();
    let fields = columns
        .iter()
        .map(|column| SortField::new(column.data_type().clone()))
        .collect();
    let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
    Ok(rows
        .iter()
        .enumerate()
        .map(|(line, row)| {
            let there = missing.as_ref().is_none_or(|nulls| nulls.is_valid(line));
            there.then(|| row.as_ref().to_vec())
        })
        .collect())
}

/// Each line for each half that it has: once where both are of the same group.
fn halves(
    question: &Question,
    batch: &RecordBatch,
    lines: &Lines,
    names: &Names,
    overlap: bool,
) -> Result<RecordBatch, ScanError> {
    let (egress, ingress) = (lines.column(Col::Egress)?, lines.column(Col::Ingress)?);
    let has = |codes: &ArrayRef| -> Vec<bool> {
        let codes = codes.as_primitive::<UInt32Type>();
        codes.values().iter().map(|code| *code != 0).collect()
    };
    let (out, into) = (has(&egress), has(&ingress));
    let first = usize::from(question.every.is_some());
    let mut other = batch.columns().to_vec();
    for (place, val) in question.by.iter().enumerate() {
        if let Val::Either(_, ingress) = val {
            other[first + place] = ingress.read(lines, names)?;
        }
    }
    let coded = |columns: &[ArrayRef]| -> Result<_, ArrowError> {
        let columns = &columns[first..first + question.by.len()];
        let fields = columns
            .iter()
            .map(|column| SortField::new(column.data_type().clone()))
            .collect();
        Ok((RowConverter::new(fields)?, columns.to_vec()))
    };
    let (converter, mine) = coded(batch.columns())?;
    let (mine, theirs) = (
        converter.convert_columns(&mine)?,
        converter.convert_columns(&other[first..first + question.by.len()])?,
    );
    let mut of_egress = Vec::new();
    let mut of_ingress = Vec::new();
    for line in 0..lines.len {
        if overlap {
            if out[line] && into[line] && mine.row(line) == theirs.row(line) {
                of_egress.push(line as u32);
            }
            continue;
        }
        // Without halves all is missing, which is what the way out reads then.
        if out[line] || !into[line] {
            of_egress.push(line as u32);
        }
        if into[line] && !(out[line] && mine.row(line) == theirs.row(line)) {
            of_ingress.push(line as u32);
        }
    }
    let (of_egress, of_ingress) = (UInt32Array::from(of_egress), UInt32Array::from(of_ingress));
    let columns = batch
        .columns()
        .iter()
        .zip(&other)
        .map(|(mine, theirs)| {
            let mine = take(mine, &of_egress, None)?;
            let theirs = take(theirs, &of_ingress, None)?;
            concat(&[&*mine, &*theirs])
        })
        .collect::<Result<Vec<_>, ArrowError>>()?;
    Ok(RecordBatch::try_new(question.schema.clone(), columns)?)
}

/// A roll-up as rows that can be looked at.
pub(crate) fn part(batch: RecordBatch, names: Arc<Names>) -> Part {
    Part {
        batch,
        names,
        dead: None,
    }
}
