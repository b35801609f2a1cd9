//! The table that DataFusion groups: lines of all files that a question cannot do without.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{concat_batches, filter_record_batch};
use datafusion::arrow::datatypes::{Int64Type, SchemaRef, UInt8Type, UInt32Type};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::functions_aggregate::expr_fn::{count_distinct, max, min, sum};
use datafusion::logical_expr::{Expr, TableType, col};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::{SessionConfig, SessionContext};
use netverdict_query::ask::{Groups, Measure};

use crate::filter::Filter;
use crate::group::{ByHalf, Grouper, Question, TIME, WEIGHT, by_name, measure_name, part};
use crate::names::Names;
use crate::rollup::{BUCKET, FIRST_END, GRAINS, Grain, HALVES, LAST_START, SIDE, Side};
use crate::row::Col;
use crate::scan::{Chunk, Part, ScanError, Snapshot, groups};
use crate::segment::Segment;

/// The groups of all rows that match, each once, in no order: the bucket if there is one, the
/// values, how many rows, the measures but for the count.
pub(crate) async fn grouped(
    snapshot: Snapshot,
    filter: Filter,
    groups: &Groups,
    rollups: bool,
) -> Result<Vec<RecordBatch>, ScanError> {
    let question = Arc::new(Question::new(groups));
    let table = Table {
        question: question.clone(),
        work: Arc::new(Work {
            snapshot,
            asked: format!("{question:?} {}", filter.text()),
            filter,
            rollups,
            failed: Mutex::default(),
        }),
    };
    let work = table.work.clone();
    let config = SessionConfig::new().with_target_partitions(1);
    let frame = SessionContext::new_with_config(config).read_table(Arc::new(table))?;
    let mut by: Vec<Expr> = groups.every.iter().map(|_| col(TIME)).collect();
    by.extend((0..groups.by.len()).map(|place| col(by_name(place))));
    let mut told = vec![sum(col(WEIGHT)).alias(WEIGHT)];
    for (place, measure) in groups.measures.iter().enumerate() {
        let name = measure_name(place);
        let told_as = match measure {
            Measure::Count => continue,
            Measure::Sum(_) => sum(col(&name)),
            Measure::Min(_) => min(col(&name)),
            Measure::Max(_) => max(col(&name)),
            Measure::Distinct(..) => count_distinct(col(&name)),
        };
        told.push(told_as.alias(name));
    }
    let batches = frame.aggregate(by, told)?.collect().await;
    match (batches, work.failed.lock()) {
        (Err(_), Ok(mut failed)) if failed.is_some() => match failed.take() {
            Some(error) => Err(error),
            None => Ok(Vec::new()),
        },
        (batches, _) => Ok(batches?),
    }
}

/// What is to be looked at, and what went wrong with it.
struct Work {
    snapshot: Snapshot,
    filter: Filter,
    /// The same text for the same question, apart from time.
    asked: String,
    /// Whether roll-ups, and answers of before, may be used.
    rollups: bool,
    failed: Mutex<Option<ScanError>>,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} segments", self.snapshot.segments.len())
    }
}

#[derive(Debug)]
struct Table {
    question: Arc<Question>,
    work: Arc<Work>,
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        self.question.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let lines = Lines {
            question: self.question.clone(),
            work: self.work.clone(),
        };
        Ok(Arc::new(StreamingTableExec::try_new(
            self.schema(),
            vec![Arc::new(lines)],
            projection,
            None,
            false,
            limit,
        )?))
    }
}

#[derive(Debug)]
struct Lines {
    question: Arc<Question>,
    work: Arc<Work>,
}

impl PartitionStream for Lines {
    fn schema(&self) -> &SchemaRef {
        &self.question.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (question, work) = (self.question.clone(), self.work.clone());
        let all = work.snapshot.segments.len();
        // Memory last: its parts share their names, and are joined together.
        let lines = (0..=all).filter_map(move |place| {
            let batch = match work.snapshot.segments.get(place) {
                Some(segment) => of_segment(&question, &work, segment),
                None => of_memory(&question, &work),
            };
            match batch {
                Ok(batch) => batch.map(Ok),
                Err(error) => {
                    let told = DataFusionError::Execution(error.to_string());
                    if let Ok(mut failed) = work.failed.lock() {
                        *failed = Some(error);
                    }
                    Some(Err(told))
                }
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(
            self.question.schema.clone(),
            futures_util::stream::iter(lines),
        ))
    }
}

fn of_memory(question: &Question, work: &Work) -> Result<Option<RecordBatch>, ScanError> {
    let mut out = Vec::new();
    let same = |a: &Part, b: &Part| Arc::ptr_eq(&a.names, &b.names);
    for parts in work.snapshot.parts.chunk_by(same) {
        let Some(first) = parts.first() else { continue };
        let mut grouper = Grouper::new(question, first.names.clone());
        for part in parts {
            grouper.add(&mut Chunk::of_part(part), &work.filter, 1)?;
        }
        out.extend(grouper.finish()?);
    }
    if out.is_empty() {
        return Ok(None);
    }
    Ok(Some(concat_batches(&question.schema, &out)?))
}

fn of_segment(
    question: &Question,
    work: &Work,
    segment: &Segment,
) -> Result<Option<RecordBatch>, ScanError> {
    let (facts, filter) = (&segment.facts, &work.filter);
    if !filter.may_overlap(facts.start, facts.end) {
        return Ok(None);
    }
    let opened = segment.open()?;
    // Of a whole segment the answer stays what it is, until more of its rows die.
    let whole = work.rollups && filter.covers(facts.start, facts.end);
    let asked = whole.then(|| format!("{} {}", segment.dead.len(), work.asked));
    if let Some(known) = asked.as_deref().and_then(|asked| opened.answer(asked)) {
        return Ok(known);
    }
    let lines = read_segment(question, work, segment, &opened.names)?;
    let lines = match lines {
        Some(lines) => Some(question.joined(lines)?),
        None => None,
    };
    if let Some(asked) = asked {
        opened.remember(asked, &lines);
    }
    Ok(lines)
}

fn read_segment(
    question: &Question,
    work: &Work,
    segment: &Segment,
    names: &Arc<Names>,
) -> Result<Option<RecordBatch>, ScanError> {
    let (facts, filter) = (&segment.facts, &work.filter);
    if work.rollups
        && facts.files.contains_key(HALVES.file)
        && question.answered_by_halves()
        && filter.only(&[Col::Verdict])
        && let Some(lines) = of_halves(question, work, segment, names)?
    {
        return Ok(lines);
    }
    let mut grouper = Grouper::new(question, names.clone());
    for grain in GRAINS {
        let fits = work.rollups
            && facts.files.contains_key(grain.file)
            && question.answered_by(&grain)
            && filter.only(grain.by)
            && (segment.dead.is_empty() || question.subtracts());
        if !fits {
            continue;
        }
        let Some(rollup) = segment.rollup(grain.file)? else {
            continue;
        };
        let Some(rollup) = within(filter, rollup, segment, &grain)? else {
            continue;
        };
        let filter = filter.of_all_time();
        let rollup = part(rollup, names.clone());
        grouper.add(&mut Chunk::of_part(&rollup), &filter, 1)?;
        if !segment.dead.is_empty() {
            let dead = dead(question, segment, &grain, names)?;
            grouper.add(&mut Chunk::of_part(&dead), &work.filter, -1)?;
        }
        return grouper.finish();
    }
    if question.by_each_half() {
        let mut halves = ByHalf::new(question, names);
        groups(segment, filter, |mut chunk| halves.add(&mut chunk, filter))?;
        return halves.finish();
    }
    groups(segment, filter, |mut chunk| {
        grouper.add(&mut chunk, filter, 1)
    })?;
    grouper.finish()
}

/// The lines of a segment by its roll-up of halves; `None` where that cannot tell.
fn of_halves(
    question: &Question,
    work: &Work,
    segment: &Segment,
    names: &Arc<Names>,
) -> Result<Option<Option<RecordBatch>>, ScanError> {
    let Some(rollup) = segment.rollup(HALVES.file)? else {
        return Ok(None);
    };
    let Some(rollup) = within(&work.filter, rollup, segment, &HALVES)? else {
        return Ok(None);
    };
    let (Some(side), egress) = (
        rollup.column_by_name(SIDE),
        rollup.column_by_name(Col::Egress.name()),
    ) else {
        return Ok(None);
    };
    let Some(egress) = egress else {
        return Ok(None);
    };
    let side = side.as_primitive::<UInt8Type>().values();
    let egress = egress.as_primitive::<UInt32Type>().values();
    // Lines are sorted by side; pairs without halves come first of their side.
    let both = side.partition_point(|side| *side < Side::Both as u8);
    let twice: BooleanArray = (0..side.len())
        .map(|line| Some(line >= both && egress[line] != 0))
        .collect();
    let twice = filter_record_batch(&rollup, &twice)?;
    let once: BooleanArray = (0..side.len())
        .map(|line| Some(line < both || egress[line] == 0))
        .collect();
    let once = filter_record_batch(&rollup, &once)?;
    let all_time = work.filter.of_all_time();
    let mut grouper = Grouper::new(question, names.clone());
    grouper.add(
        &mut Chunk::of_part(&part(once, names.clone())),
        &all_time,
        1,
    )?;
    if !segment.dead.is_empty() {
        let dead = dead(question, segment, &HALVES, names)?;
        grouper.add(&mut Chunk::of_part(&dead), &work.filter, -1)?;
    }
    let mut overlap = Grouper::new(question, names.clone()).of_overlap();
    overlap.add(
        &mut Chunk::of_part(&part(twice, names.clone())),
        &all_time,
        -1,
    )?;
    let lines: Vec<RecordBatch> = [grouper.finish()?, overlap.finish()?]
        .into_iter()
        .flatten()
        .collect();
    let lines = match lines.is_empty() {
        true => None,
        false => Some(concat_batches(&question.schema, &lines)?),
    };
    Ok(Some(lines))
}

/// What of dead rows is taken off the lines of a roll-up.
fn dead(
    question: &Question,
    segment: &Segment,
    grain: &Grain,
    names: &Arc<Names>,
) -> Result<Part, ScanError> {
    let mut cols: BTreeSet<Col> = grain.by.iter().copied().collect();
    cols.extend([Col::Start, Col::End]);
    cols.extend(question.summed());
    Ok(part(segment.dead_rows(&cols)?, names.clone()))
}

/// The lines of a roll-up in the time asked for; `None` where the time cuts through one.
fn within(
    filter: &Filter,
    rollup: RecordBatch,
    segment: &Segment,
    grain: &Grain,
) -> Result<Option<RecordBatch>, ScanError> {
    if filter.covers(segment.facts.start, segment.facts.end) {
        return Ok(Some(rollup));
    }
    debug_assert!(grain.length > 0 && rollup.column_by_name(BUCKET).is_some());
    let time = |name: &str| {
        rollup
            .column_by_name(name)
            .map(|column| column.as_primitive::<Int64Type>().values().clone())
    };
    let names = [Col::Start.name(), LAST_START, FIRST_END, Col::End.name()].map(time);
    let [
        Some(first_start),
        Some(last_start),
        Some(first_end),
        Some(last_end),
    ] = names
    else {
        return Ok(None);
    };
    let mut inside = Vec::with_capacity(rollup.num_rows());
    for line in 0..rollup.num_rows() {
        let start = (first_start[line], last_start[line]);
        let end = (first_end[line], last_end[line]);
        if filter.covers(start, end) {
            inside.push(true);
        } else if filter.may_overlap(start, end) {
            return Ok(None);
        } else {
            inside.push(false);
        }
    }
    let inside = BooleanArray::from(inside);
    Ok(Some(filter_record_batch(&rollup, &inside)?))
}
