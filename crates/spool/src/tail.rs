//! Reading a spool while it is written, for shipping: raw frames in order, only what is synced.
//!
//! A frame that is shipped before it is on the source's own disk could be lost there in a power cut and
//! its number given to another event; the collector would take that one for a repetition. So a
//! [`Tail`] stops where the last `fdatasync` stopped.

use crate::error::LogError;
use crate::frame::{Kind, encode_header};
use crate::reader::{self, FileReader};
use crate::shared::SyncedTo;
use indelible_os::durable::Dir;
use std::sync::Arc;

/// Consecutive data frames of one file, as they stand on disk.
#[derive(Debug)]
pub struct Batch {
    /// Number of the file.
    pub file_no: u64,
    /// The file's header, which the receiver needs to open the frames.
    pub header: Vec<u8>,
    /// The frames, headers and checksums included.
    pub frames: Vec<u8>,
    /// Sequence number of the first frame.
    pub first_seq: u64,
    /// Sequence number of the last frame.
    pub last_seq: u64,
}

/// A reading position in a spool.
pub struct Tail {
    dir: Arc<dyn Dir>,
    extension: &'static str,
    file: Option<FileReader>,
    file_no: u64,
    /// Frames up to this one are passed over.
    after_seq: u64,
}

impl Tail {
    /// Starts behind `after_seq`, at the oldest file there is.
    pub fn new(dir: Arc<dyn Dir>, extension: &'static str, after_seq: u64) -> Self {
        Self { dir, extension, file: None, file_no: 0, after_seq }
    }

    /// Goes back so that the frame after `after_seq` is read next.
    pub fn rewind(&mut self, after_seq: u64) {
        *self = Self::new(self.dir.clone(), self.extension, after_seq);
    }

    /// Number of the file being read: all before it has been read whole.
    pub fn file_no(&self) -> u64 {
        self.file_no
    }

    /// The next frames up to `limit` and about `max_bytes`, or `None` where nothing new is synced.
    pub fn next_batch(&mut self, limit: SyncedTo, max_bytes: usize) -> Result<Option<Batch>, LogError> {
        loop {
            if self.file.is_none() && !self.open_next(limit.file_no)? {
                return Ok(None);
            }
            let Some(file) = &mut self.file else { return Ok(None) };
            let end = if self.file_no < limit.file_no { u64::MAX } else { limit.offset };
            let mut batch = Batch {
                file_no: self.file_no,
                header: file.header_bytes().to_vec(),
                frames: Vec::new(),
                first_seq: 0,
                last_seq: 0,
            };
            file.set_end(end);
            let file_id = file.header().file_id;
            let mut closed = false;
            while !closed && file.offset() < end && batch.frames.len() < max_bytes {
                let Some(frame) = file.next_frame()? else { break };
                closed = frame.kind == Kind::Close;
                if frame.kind.is_control() || frame.seq <= self.after_seq {
                    continue;
                }
                if batch.frames.is_empty() {
                    batch.first_seq = frame.seq;
                }
                batch.last_seq = frame.seq;
                batch.frames.extend_from_slice(&encode_header(
                    frame.kind,
                    frame.seq,
                    frame.body.len(),
                    &file_id,
                ));
                batch.frames.extend_from_slice(frame.body);
                batch.frames.extend_from_slice(&crc32c::crc32c(frame.body).to_le_bytes());
            }
            if closed {
                self.file = None;
            }
            if !batch.frames.is_empty() {
                self.after_seq = batch.last_seq;
                return Ok(Some(batch));
            }
            if !closed {
                return Ok(None);
            }
        }
    }

    fn open_next(&mut self, newest: u64) -> Result<bool, LogError> {
        let files = reader::list(&*self.dir, self.extension)?;
        let next = files.into_iter().find(|(number, _)| *number > self.file_no && *number <= newest);
        let Some((number, name)) = next else { return Ok(false) };
        let Some(file) = FileReader::open(&*self.dir, &name)? else { return Ok(false) };
        self.file = Some(file);
        self.file_no = number;
        Ok(true)
    }
}
