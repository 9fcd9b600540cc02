//! Reading `entries.parquet` of sealed segments.
//!
//! DataFusion asks for footers and for spans of bytes; both come from the segment's [`ReadAt`], whose reads block and
//! so run on threads of their own. Footers are kept, page index included, up to a bound: they are what every query
//! needs first. Nothing else can be read: the store that DataFusion is given is empty.

use crate::Segment;
use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use datafusion::object_store::{ObjectStore, memory::InMemory};
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use datafusion::parquet::file::reader::{ChunkReader, Length};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use indelible_segment::ReadAt;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Footers that are kept, in bytes of memory.
const FOOTERS_MAX_BYTES: usize = 64 << 20;

/// The one address that plans name; it stands for the segments.
pub(super) fn address() -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse("segments://")
}

/// Gives readers of segments to DataFusion.
#[derive(Debug)]
pub(super) struct Readers {
    pub(super) footers: Arc<Footers>,
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _: usize,
        file: PartitionedFile,
        _: Option<usize>,
        _: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let segment = file.extension::<Segment>().cloned();
        let segment =
            segment.ok_or_else(|| DataFusionError::Internal("a file that is no segment".to_owned()))?;
        Ok(Box::new(SegmentReader { segment, footers: self.footers.clone() }))
    }
}

struct SegmentReader {
    segment: Segment,
    footers: Arc<Footers>,
}

impl AsyncFileReader for SegmentReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let segment = self.segment.clone();
        blocking(move || read(&segment, &range)).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        let segment = self.segment.clone();
        blocking(move || ranges.iter().map(|range| read(&segment, range)).collect()).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let (segment, footers) = (self.segment.clone(), self.footers.clone());
        async move {
            if let Some(footer) = footers.get(&segment.name) {
                return Ok(footer);
            }
            let name = segment.name.clone();
            let footer = Arc::new(blocking(move || read_footer(&segment)).await?);
            footers.put(name, footer.clone());
            Ok(footer)
        }
        .boxed()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> ParquetResult<T> + Send + 'static,
) -> ParquetResult<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ParquetError::General(error.to_string()))?
}

fn read(segment: &Segment, range: &Range<u64>) -> ParquetResult<Bytes> {
    let len = usize::try_from(range.end - range.start).map_err(|error| unreadable(segment, &error))?;
    segment.entries.read_at(range.start, len).map_err(|error| unreadable(segment, &error))
}

/// The footer with the page index. A page index that cannot be read only helps to skip pages: without it the rows
/// are read all the same.
fn read_footer(segment: &Segment) -> ParquetResult<ParquetMetaData> {
    let whole = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
    let file = Whole(segment.entries.clone());
    whole.parse_and_finish(&file).or_else(|_| {
        let bare = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
        let footer = bare.parse_and_finish(&file).map_err(|error| unreadable(segment, &error))?;
        without_page_index(footer).map_err(|error| unreadable(segment, &error))
    })
}

/// The same footer, naming no page index: DataFusion would go and look for the one that it names.
fn without_page_index(footer: ParquetMetaData) -> ParquetResult<ParquetMetaData> {
    let mut footer = footer.into_builder();
    let mut groups = Vec::new();
    for group in footer.take_row_groups() {
        let columns = group.columns().iter().map(|column| {
            let column = column.clone().into_builder();
            let column = column.set_column_index_offset(None).set_column_index_length(None);
            column.set_offset_index_offset(None).set_offset_index_length(None).build()
        });
        let columns = columns.collect::<ParquetResult<Vec<_>>>()?;
        groups.push(group.into_builder().set_column_metadata(columns).build()?);
    }
    Ok(footer.set_row_groups(groups).build())
}

/// Decodes segment after segment, and says what is wrong with the first that cannot be. Blocks for long.
pub(super) fn first_damaged(segments: &[Segment]) -> Option<String> {
    segments.iter().find_map(|segment| {
        let file = Whole(segment.entries.clone());
        let rows = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|reader| reader.build());
        let problem = match rows {
            Err(error) => Some(error.to_string()),
            Ok(mut rows) => rows.find_map(|batch| batch.err().map(|error| error.to_string())),
        };
        problem.map(|error| format!("segment {}: {error}", segment.name))
    })
}

fn unreadable(segment: &Segment, error: &dyn fmt::Display) -> ParquetError {
    ParquetError::General(format!("segment {}: {error}", segment.name))
}

/// A segment's file, as Parquet's readers want it.
struct Whole(Arc<dyn ReadAt>);

impl Length for Whole {
    fn len(&self) -> u64 {
        self.0.size()
    }
}

impl ChunkReader for Whole {
    type T = BufReader<Onward>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::new(Onward { file: self.0.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, len: usize) -> ParquetResult<Bytes> {
        self.0.read_at(start, len).map_err(|error| ParquetError::General(error.to_string()))
    }
}

/// A segment's file from some place on.
struct Onward {
    file: Arc<dyn ReadAt>,
    at: u64,
}

impl Read for Onward {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.file.size().saturating_sub(self.at);
        let len = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        out[..len].copy_from_slice(&self.file.read_at(self.at, len)?);
        self.at += len as u64;
        Ok(len)
    }
}

/// Footers that were read, the latest used of them. Segments never change, so neither do these.
#[derive(Debug, Default)]
pub(super) struct Footers {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_name: HashMap<String, (Arc<ParquetMetaData>, u64)>,
    bytes: usize,
    uses: u64,
}

impl Footers {
    fn get(&self, name: &str) -> Option<Arc<ParquetMetaData>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let now = kept.uses;
        let (footer, used) = kept.by_name.get_mut(name)?;
        *used = now;
        Some(footer.clone())
    }

    fn put(&self, name: String, footer: Arc<ParquetMetaData>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let now = kept.uses;
        kept.bytes += footer.memory_size();
        if let Some((old, _)) = kept.by_name.insert(name, (footer, now)) {
            kept.bytes -= old.memory_size();
        }
        while kept.bytes > FOOTERS_MAX_BYTES && kept.by_name.len() > 1 {
            let oldest = kept.by_name.iter().min_by_key(|(_, (_, used))| *used).map(|(name, _)| name.clone());
            let Some((gone, _)) = oldest.and_then(|name| kept.by_name.remove(&name)) else { return };
            kept.bytes -= gone.memory_size();
        }
    }
}

/// The only store that there is, and it is empty: paths and addresses lead nowhere.
#[derive(Debug)]
pub(super) struct NoStores;

impl ObjectStoreRegistry for NoStores {
    fn register_store(&self, _: &url::Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, address: &url::Url) -> Result<Arc<dyn ObjectStore>> {
        if address.scheme() == "segments" {
            return Ok(Arc::new(InMemory::new()));
        }
        Err(DataFusionError::Plan(format!("SQL reads no files and no addresses: {address}")))
    }
}
