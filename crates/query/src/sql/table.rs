//! The table `events`: all entries of one tenant, those in segments and those that are in none yet.
//!
//! What a query asks of numbers and times leaves out whole segments before any of them is opened, and what it asks of ids
//! those whose indexes do not have them. Inside a segment DataFusion leaves out row groups and pages by statistics and
//! bloom filters. All of that only ever leaves out what provably does not match: the filter itself is evaluated on every
//! row that is read.

use super::rows;
use super::segments::{self, Footers, Readers};
use super::tail::Tail;
use crate::{Records, Segment};
use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, TimestampMicrosecondArray, UInt64Array};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::union::UnionExec;
use indelible_segment::columns::{COLUMNS, ENTRY, Kind};
use indelible_segment::ids::{self, IdKind};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// Columns whose values are long.
const LONG: [&str; 3] = ["params", "detail", ENTRY];
/// Of more ids than these, most segments have one.
const IDS_MAX: usize = 64;
/// Segments that are asked for ids at once, before it is looked whether somebody still waits for the answer.
const ASKED_AT_ONCE: usize = 64;

/// All entries of one tenant.
pub(super) struct Events {
    records: Arc<dyn Records>,
    footers: Arc<Footers>,
}

impl Events {
    pub(super) fn new(records: Arc<dyn Records>, footers: Arc<Footers>) -> Self {
        Self { records, footers }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

#[async_trait]
impl TableProvider for Events {
    fn schema(&self) -> SchemaRef {
        rows::schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let tail = Tail::new(self.records.clone(), projection.cloned())?;
        let tail_schema = datafusion::physical_plan::streaming::PartitionStream::schema(&tail).clone();
        let tail = StreamingTableExec::try_new(tail_schema, vec![Arc::new(tail)], None, [], false, limit)?;
        let segments = worth_reading(self.records.segments(), filters, state);
        let segments = with_ids(&self.records, segments, filters).await;
        if segments.is_empty() {
            return Ok(Arc::new(tail));
        }
        let source = ParquetSource::new(rows::schema())
            .with_pushdown_filters(picks_while_decoding(projection, filters))
            .with_parquet_file_reader_factory(Arc::new(Readers { footers: self.footers.clone() }));
        let files = segments.into_iter().map(|segment| {
            PartitionedFile::new(segment.name.clone(), segment.entries.size()).with_extension(segment)
        });
        let groups = FileGroup::new(files.collect()).split_files(state.config().target_partitions());
        let scan = FileScanConfigBuilder::new(segments::address()?, Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        UnionExec::try_new(vec![DataSourceExec::from_data_source(scan), Arc::new(tail)])
    }
}

/// Whether rows that a filter refuses are left out while the other columns are decoded. That is worth its bookkeeping where
/// few are left, or where what is left out is long; a question that counts most rows takes a fifth longer with it.
pub(super) fn picks_while_decoding(projection: Option<&Vec<usize>>, filters: &[Expr]) -> bool {
    let reads_long = projection.is_none_or(|numbers| {
        numbers.iter().filter_map(|number| COLUMNS.get(*number)).any(|column| LONG.contains(&column.name))
    });
    reads_long || filters.iter().flat_map(split_conjunction).any(names_an_id)
}

/// `id = …` and `id IN (…)`.
fn names_an_id(filter: &Expr) -> bool {
    let is_id = |expr: &Expr| {
        let Expr::Column(column) = expr else { return false };
        COLUMNS.iter().any(|of| matches!(of.kind, Kind::Id | Kind::UniqueText) && of.name == column.name)
    };
    match filter {
        Expr::BinaryExpr(both) if both.op == Operator::Eq => is_id(&both.left) || is_id(&both.right),
        Expr::InList(list) => !list.negated && is_id(&list.expr),
        _ => false,
    }
}

/// The segments that may have rows that the filters accept. A filter that says nothing of numbers or times, or that
/// cannot be worked out here, leaves them all.
fn worth_reading(segments: Vec<Segment>, filters: &[Expr], state: &dyn Session) -> Vec<Segment> {
    let spans = Spans::of(&segments);
    let keep = conjunction(filters.to_vec()).and_then(|filter| {
        let schema = DFSchema::try_from(rows::schema()).ok()?;
        let filter = state.create_physical_expr(filter, &schema).ok()?;
        let predicate =
            PruningPredicateBuilder::new().with_file_schema(rows::schema()).try_build(filter).ok()?;
        predicate.prune(&spans).ok()
    });
    match keep {
        Some(keep) => {
            segments.into_iter().zip(keep).filter_map(|(segment, keep)| keep.then_some(segment)).collect()
        }
        None => segments,
    }
}

/// Those of the segments that may have the ids that the filters name.
async fn with_ids(records: &Arc<dyn Records>, segments: Vec<Segment>, filters: &[Expr]) -> Vec<Segment> {
    let named = filters.iter().flat_map(split_conjunction).filter_map(ids_named);
    let named: Vec<Vec<u64>> = named.filter(|ids| (1..=IDS_MAX).contains(&ids.len())).collect();
    if named.is_empty() || segments.is_empty() {
        return segments;
    }
    let (records, mut left) = (records.clone(), segments.clone());
    // Gone with the question, when that is given up.
    let asking = Arc::new(());
    let wanted = Arc::downgrade(&asking);
    let asked = tokio::task::spawn_blocking(move || {
        for ids in &named {
            let mut may = Vec::with_capacity(left.len());
            for some in left.chunks(ASKED_AT_ONCE) {
                if wanted.strong_count() == 0 {
                    return left;
                }
                may.extend(records.may_have(some, ids));
            }
            left = left.into_iter().zip(may).filter_map(|(segment, may)| may.then_some(segment)).collect();
        }
        left
    });
    // Who cannot tell leaves nothing out.
    let left = asked.await.unwrap_or(segments);
    drop(asking);
    left
}

/// Ids of which a row has one if the filter accepts it, by their hashes. `None`: the filter names none.
fn ids_named(filter: &Expr) -> Option<Vec<u64>> {
    match filter {
        Expr::BinaryExpr(both) => match both.op {
            Operator::Eq => {
                let id = id_named(&both.left, &both.right).or_else(|| id_named(&both.right, &both.left));
                id.map(|id| vec![id])
            }
            Operator::Or => {
                let mut ids = ids_named(&both.left)?;
                ids.extend(ids_named(&both.right)?);
                Some(ids)
            }
            Operator::And => ids_named(&both.left).or_else(|| ids_named(&both.right)),
            _ => None,
        },
        Expr::InList(list) if !list.negated => {
            list.list.iter().map(|value| id_named(&list.expr, value)).collect()
        }
        _ => None,
    }
}

fn id_named(column: &Expr, value: &Expr) -> Option<u64> {
    let (Expr::Column(column), Expr::Literal(value, _)) = (column, value) else { return None };
    let text = value.try_as_str().flatten()?;
    Some(ids::hash(IdKind::of_column(&column.name)?, text))
}

/// What is known of segments without opening them.
struct Spans {
    seq: [ArrayRef; 2],
    timestamp: [ArrayRef; 2],
    counts: ArrayRef,
    segments: usize,
}

impl Spans {
    fn of(segments: &[Segment]) -> Self {
        let numbers = |of: fn(&Segment) -> i64| -> ArrayRef {
            Arc::new(segments.iter().map(of).collect::<Int64Array>())
        };
        let times = |of: fn(&Segment) -> i64| -> ArrayRef {
            let times = TimestampMicrosecondArray::from_iter_values(segments.iter().map(of));
            Arc::new(times.with_timezone(rows::utc()))
        };
        Self {
            seq: [
                numbers(|one| one.first_seq as i64),
                numbers(|one| one.first_seq.saturating_add(one.count).saturating_sub(1) as i64),
            ],
            timestamp: [times(|one| one.first_time_us), times(|one| one.last_time_us)],
            counts: Arc::new(segments.iter().map(|one| one.count).collect::<UInt64Array>()),
            segments: segments.len(),
        }
    }

    fn of_column(&self, column: &Column) -> Option<&[ArrayRef; 2]> {
        match column.name() {
            "seq" => Some(&self.seq),
            "timestamp" => Some(&self.timestamp),
            _ => None,
        }
    }
}

impl PruningStatistics for Spans {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of_column(column).map(|[min, _]| min.clone())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of_column(column).map(|[_, max]| max.clone())
    }

    fn num_containers(&self) -> usize {
        self.segments
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(self.counts.clone())
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
