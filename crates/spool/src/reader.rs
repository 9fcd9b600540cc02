//! Reading log files front to back, and judging the place where the frames end.
//!
//! Start-up, shipping, look-ups and `verify` all read through [`FileReader`], so there is one opinion on
//! what a file says. What follows the last good frame is judged by [`FileReader::judge_end`]: zeros,
//! a torn tail that nobody was promised, or damage.

use crate::error::LogError;
use crate::frame::{
    self, BODY_MAX_BYTES, FILE_HEADER_MAX_BYTES, FRAME_HEADER_BYTES, FRAME_OVERHEAD_BYTES, FileHeader, Frame,
    FrameError, HeaderError, Kind, VERSION, u64_at,
};
use indelible_os::durable::{Dir, LogFile};
use std::ops::Range;
use std::sync::Arc;

const READ_BYTES: usize = 256 << 10;
/// What is read first of a frame whose length is not known.
const READ_ONE_BYTES: usize = 8 << 10;

/// The log files of a directory in order, with their numbers. Names of another form are ignored.
pub fn list(dir: &dyn Dir, extension: &str) -> Result<Vec<(u64, String)>, LogError> {
    let names = dir.list().map_err(LogError::io("cannot list the log directory"))?;
    let mut files: Vec<(u64, String)> = names
        .into_iter()
        .filter_map(|name| {
            let (stem, found) = name.rsplit_once('.')?;
            let number = stem.bytes().all(|b| b.is_ascii_digit()).then(|| stem.parse().ok())??;
            (found == extension).then_some((number, name))
        })
        .collect();
    files.sort();
    Ok(files)
}

/// The name of log file `number`.
pub fn file_name(number: u64, extension: &str) -> String {
    format!("{number:08}.{extension}")
}

/// Reads one log file.
pub struct FileReader {
    file: Arc<dyn LogFile>,
    name: String,
    header: FileHeader,
    header_bytes: Vec<u8>,
    /// Next sequence number a data frame must have.
    next_seq: u64,
    /// File offset of `buffer[at]`.
    offset: u64,
    buffer: Vec<u8>,
    at: usize,
    /// Nothing is read from here on.
    end: u64,
}

/// Reads single frames of a log file by where they stand.
pub struct FramesAt {
    file: Arc<dyn LogFile>,
    file_id: [u8; 16],
    name: String,
    buffer: Vec<u8>,
}

impl FramesAt {
    /// Reads the header of a file. `Ok(None)`: nothing was written to it.
    pub fn over(file: Arc<dyn LogFile>, name: &str) -> Result<Option<Self>, LogError> {
        let Some(reader) = FileReader::over(file.clone(), name)? else { return Ok(None) };
        let file_id = reader.header.file_id;
        Ok(Some(Self { file, file_id, name: name.to_owned(), buffer: Vec::new() }))
    }

    /// The frame at `offset` whatever its number, or `None` when there is no good one.
    pub fn read(&mut self, offset: u64) -> Result<Option<Frame<'_>>, LogError> {
        let mut wanted = READ_ONE_BYTES;
        loop {
            self.buffer.resize(wanted, 0);
            let read = self.file.read_at(&mut self.buffer, offset);
            let read = read.map_err(LogError::io(format!("cannot read {}", self.name)))?;
            match frame::parse(&self.buffer[..read], &self.file_id) {
                Err(FrameError::Short { needed }) if read == wanted && needed > wanted => wanted = needed,
                Err(_) => return Ok(None),
                Ok(_) => break,
            }
        }
        Ok(frame::parse(&self.buffer, &self.file_id).ok().map(|(frame, _)| frame))
    }
}

/// Where the good frames of a file end.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// A `close` frame, and nothing behind it.
    Closed,
    /// A `close` frame with zeros behind it: stopped in the middle of closing.
    Untrimmed,
    /// Zeros, or nothing, follow: written to the last byte and not closed.
    Open,
    /// A frame was cut short or scattered by a crash. Nothing in the rest says that it was ever synced.
    Torn,
    /// The next frame was caught while it was being written, and is good by now: someone writes here.
    Growing,
}

impl FileReader {
    /// Opens `name` and reads its header. `Ok(None)`: the file was created, and nothing was written yet.
    pub fn open(dir: &dyn Dir, name: &str) -> Result<Option<Self>, LogError> {
        let file = dir.open(name).map_err(LogError::io(format!("cannot open {name}")))?;
        Self::over(file, name)
    }

    /// Like [`FileReader::open`], of a file that is open already. Its name is for messages alone: it may be gone.
    pub fn over(file: Arc<dyn LogFile>, name: &str) -> Result<Option<Self>, LogError> {
        let mut bytes = vec![0; FILE_HEADER_MAX_BYTES];
        let len = file.read_at(&mut bytes, 0).map_err(LogError::io(format!("cannot read {name}")))?;
        bytes.truncate(len);
        let (header, header_len) = match FileHeader::parse(&bytes) {
            Ok(found) => found,
            Err(HeaderError::Version(found)) => {
                return Err(LogError::Version { file: name.to_owned(), found, expected: VERSION });
            }
            Err(_) if all_zero(&*file, name, 0)? => return Ok(None),
            Err(HeaderError::Short) => return Err(LogError::damaged(name, 0, "file header is cut short")),
            Err(HeaderError::Bad(what)) => return Err(LogError::damaged(name, 0, what)),
        };
        bytes.truncate(header_len);
        Ok(Some(Self {
            file,
            name: name.to_owned(),
            next_seq: header.first_seq,
            header,
            header_bytes: bytes,
            offset: header_len as u64,
            buffer: Vec::new(),
            at: 0,
            end: u64::MAX,
        }))
    }

    /// The file's header.
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// The file's header as bytes.
    pub fn header_bytes(&self) -> &[u8] {
        &self.header_bytes
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file itself.
    pub fn file(&self) -> &Arc<dyn LogFile> {
        &self.file
    }

    /// Offset of the frame that [`FileReader::next_frame`] reads next.
    pub fn offset(&self) -> u64 {
        self.offset + self.at as u64
    }

    /// Sequence number that the next data frame must have.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Reads nothing from `end` on: behind it frames may be half written.
    pub fn set_end(&mut self, end: u64) {
        self.end = end;
    }

    /// Goes on at `offset`, where a frame starts and where `next_seq` is the next data frame.
    pub fn seek(&mut self, offset: u64, next_seq: u64) {
        self.offset = offset;
        self.next_seq = next_seq;
        self.buffer.clear();
        self.at = 0;
    }

    /// The next good frame, or `None` where no more follow; [`FileReader::judge_end`] says why.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, LogError> {
        let Some((kind, seq, body)) = self.advance()? else { return Ok(None) };
        let expected = if kind.is_control() { self.next_seq.wrapping_sub(1) } else { self.next_seq };
        if seq != expected {
            let at = self.offset() - (body.len() + FRAME_OVERHEAD_BYTES) as u64;
            return Err(LogError::damaged(
                &self.name,
                at,
                format!("sequence number {seq} where {expected} belongs"),
            ));
        }
        if !kind.is_control() {
            let full = || LogError::damaged(&self.name, self.offset(), "no sequence number is left");
            self.next_seq = self.next_seq.checked_add(1).ok_or_else(full)?;
        }
        Ok(Some(Frame { kind, seq, body: &self.buffer[body] }))
    }

    /// Steps over the next good frame: its kind, its number, and where its body is buffered.
    fn advance(&mut self) -> Result<Option<(Kind, u64, Range<usize>)>, LogError> {
        let file_id = self.header.file_id;
        let mut wanted = FRAME_OVERHEAD_BYTES;
        loop {
            match frame::parse(&self.buffer[self.at..], &file_id) {
                Ok((found, len)) => {
                    let body = self.at + FRAME_HEADER_BYTES..self.at + len - 4;
                    let (kind, seq) = (found.kind, found.seq);
                    self.at += len;
                    return Ok(Some((kind, seq, body)));
                }
                Err(FrameError::Short { needed }) => wanted = wanted.max(needed),
                Err(_) => return Ok(None),
            }
            if !self.fill(wanted)? {
                return Ok(None);
            }
        }
    }

    /// Judges what stands behind the last good frame. `last` says whether this is the newest file: in any
    /// other, only a close will do.
    ///
    /// A bad frame is a torn tail when nothing behind it claims that it was synced: no `mark` that covers
    /// its sequence number and no `close`. Power loss may keep any subset of unsynced sectors, so good
    /// frames of the same unsynced batch can well stand behind a torn one; they go with it.
    pub fn judge_end(&mut self, closed: bool, last: bool) -> Result<End, LogError> {
        match self.judge(closed, last) {
            // Read again only now: what the rest of the file vouched for was written before it was vouched for.
            Err(LogError::Damaged { .. }) if !closed && self.is_good_by_now()? => Ok(End::Growing),
            judged => judged,
        }
    }

    /// Whether a frame stands at this place, read afresh.
    fn is_good_by_now(&self) -> Result<bool, LogError> {
        let context = || LogError::io(format!("cannot read {}", self.name));
        let mut header = [0; FRAME_HEADER_BYTES];
        let read = self.file.read_at(&mut header, self.offset()).map_err(context())?;
        let Ok((_, _, len)) = frame::parse_header(&header[..read], &self.header.file_id) else {
            return Ok(false);
        };
        let mut whole = vec![0; len + FRAME_OVERHEAD_BYTES];
        let read = self.file.read_at(&mut whole, self.offset()).map_err(context())?;
        Ok(frame::parse(&whole[..read], &self.header.file_id).is_ok())
    }

    fn judge(&mut self, closed: bool, last: bool) -> Result<End, LogError> {
        let at = self.offset();
        if all_zero(&*self.file, &self.name, at)? {
            let bare = self.file.len().map_err(LogError::io("cannot stat"))? == at;
            return match (closed, last) {
                (true, true) if !bare => Ok(End::Untrimmed),
                (true, _) if !bare => Err(LogError::damaged(&self.name, at, "bytes after the close frame")),
                (true, _) => Ok(End::Closed),
                (false, true) => Ok(End::Open),
                (false, false) => Err(LogError::damaged(&self.name, at, "file ends without a close frame")),
            };
        }
        if closed {
            return Err(LogError::damaged(&self.name, at, "bytes after the close frame"));
        }
        if !last {
            return Err(LogError::damaged(&self.name, at, "bad frame"));
        }
        match self.synced_claim(at)? {
            Some(claim) if claim >= self.next_seq => {
                let what = match claim {
                    u64::MAX => "bad frame in a file that was closed".to_owned(),
                    _ => format!("bad frame, but frames up to {claim} were on disk"),
                };
                Err(LogError::damaged(&self.name, at, what))
            }
            _ => Ok(End::Torn),
        }
    }

    /// Whether exactly the bytes of a close frame stand behind the last good frame. A file gets that length
    /// only once its close frame is on disk; whoever cannot read it there looks at damage.
    pub fn ends_in_damaged_close(&self) -> Result<bool, LogError> {
        let len = self.file.len().map_err(LogError::io(format!("cannot stat {}", self.name)))?;
        Ok(len == self.offset() + FRAME_OVERHEAD_BYTES as u64)
    }

    /// Whether the next frame's header would be zeros: what follows stands in space that nothing was
    /// written to in order.
    pub fn stands_at_padding(&self) -> Result<bool, LogError> {
        let mut header = [0; FRAME_HEADER_BYTES];
        let context = format!("cannot read {}", self.name);
        self.file.read_at(&mut header, self.offset()).map_err(LogError::io(context))?;
        Ok(header == [0; FRAME_HEADER_BYTES])
    }

    /// The highest sequence number that any good control frame behind `from` says was synced.
    fn synced_claim(&self, from: u64) -> Result<Option<u64>, LogError> {
        let mut claim: Option<u64> = None;
        let mut window = Vec::new();
        let mut base = from;
        loop {
            // Windows overlap by one control frame, so none is missed at a seam.
            window.resize(READ_BYTES, 0);
            let read =
                self.file.read_at(&mut window, base).map_err(LogError::io("cannot read the log tail"))?;
            window.truncate(read);
            for at in 0..read.saturating_sub(FRAME_HEADER_BYTES - 1) {
                let Ok((kind, _, _)) = frame::parse_header(&window[at..], &self.header.file_id) else {
                    continue;
                };
                let Ok((found, _)) = frame::parse(&window[at..], &self.header.file_id) else { continue };
                let synced = match kind {
                    Kind::Mark if found.body.len() == 8 => u64_at(found.body, 0),
                    // A file is closed only after everything in it was synced, control frames included.
                    Kind::Close => u64::MAX,
                    _ => continue,
                };
                claim = claim.max(Some(synced));
            }
            if read < READ_BYTES {
                return Ok(claim);
            }
            base += (READ_BYTES - CONTROL_FRAME_MAX_BYTES) as u64;
        }
    }

    /// Makes at least `wanted` bytes available from `at` on; `false` when the file has no more to give.
    fn fill(&mut self, wanted: usize) -> Result<bool, LogError> {
        let wanted = wanted.min(BODY_MAX_BYTES + FRAME_OVERHEAD_BYTES);
        self.buffer.drain(..self.at);
        self.offset += self.at as u64;
        self.at = 0;
        let had = self.buffer.len();
        if had >= wanted {
            return Ok(false);
        }
        let from = self.offset + had as u64;
        let allowed = usize::try_from(self.end.saturating_sub(from)).unwrap_or(usize::MAX);
        self.buffer.resize(had + (wanted.max(READ_BYTES) - had).min(allowed), 0);
        let read = self
            .file
            .read_at(&mut self.buffer[had..], from)
            .map_err(LogError::io(format!("cannot read {}", self.name)))?;
        self.buffer.truncate(had + read);
        Ok(read > 0)
    }
}

/// Marks and closes are far smaller than this.
const CONTROL_FRAME_MAX_BYTES: usize = 4096;

fn all_zero(file: &dyn LogFile, name: &str, from: u64) -> Result<bool, LogError> {
    let mut buffer = vec![0; READ_BYTES];
    let mut at = from;
    loop {
        let read = file.read_at(&mut buffer, at).map_err(LogError::io(format!("cannot read {name}")))?;
        if buffer[..read].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        if read < buffer.len() {
            return Ok(true);
        }
        at += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Role, encode_header};
    use indelible_os::sim::SimDir;
    use uuid::Uuid;

    /// Nobody counts that far; a damaged or forged file may say so.
    #[test]
    fn a_file_that_begins_at_the_last_number_is_damaged_and_stops_nobody() {
        let (file_id, log_id) = ([1; 16], Uuid::nil());
        let header =
            FileHeader { role: Role::Wal, file_no: 1, file_id, log_id, first_seq: u64::MAX, ext: Vec::new() };
        let frame = encode_header(Kind::Taken, u64::MAX, 0, &file_id);
        let bytes = [&header.encode()[..], &frame, &crc32c::crc32c(b"").to_le_bytes()].concat();
        let dir = SimDir::new();
        dir.create("00000001.wal").unwrap();
        dir.tamper("00000001.wal", |file| *file = bytes);
        let mut reader = FileReader::open(&dir, "00000001.wal").unwrap().unwrap();
        assert!(matches!(reader.next_frame(), Err(LogError::Damaged { .. })));
    }
}
