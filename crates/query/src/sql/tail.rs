//! Entries that are in no segment yet, as a stream of batches.
//!
//! They come from a reader that blocks, so it has a thread for as long as somebody takes what it reads. Two batches
//! are under way at most: who reads slowly slows it down, and who goes away stops it.

use super::rows::Batch;
use crate::Records;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

const BATCHES_UNDER_WAY_MAX: usize = 2;

/// The tail, narrowed to the columns that are wanted.
pub(super) struct Tail {
    records: Arc<dyn Records>,
    projection: Option<Vec<usize>>,
    schema: SchemaRef,
}

impl Tail {
    pub(super) fn new(records: Arc<dyn Records>, projection: Option<Vec<usize>>) -> Result<Self> {
        let schema = Batch::new(projection.as_deref())?.schema();
        Ok(Self { records, projection, schema })
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tail")
    }
}

impl PartitionStream for Tail {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(self.schema.clone(), BATCHES_UNDER_WAY_MAX);
        let batches = stream.tx();
        let (records, projection) = (self.records.clone(), self.projection.clone());
        stream.spawn_blocking(move || {
            let mut batch = Batch::new(projection.as_deref())?;
            let mut gone = false;
            let read = records.tail(&mut |row| {
                batch.push(&row);
                if batch.is_full()
                    && let Some(full) = batch.take()
                {
                    gone = batches.blocking_send(full.map_err(DataFusionError::from)).is_err();
                }
                if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            read.map_err(|error| {
                DataFusionError::IoError(std::io::Error::other(format!(
                    "entries that are not sealed: {error}"
                )))
            })?;
            if let Some(rest) = batch.take().filter(|_| !gone) {
                // Nobody waits for it if this fails.
                let _ = batches.blocking_send(rest.map_err(DataFusionError::from));
            }
            Ok(())
        });
        stream.build()
    }
}
