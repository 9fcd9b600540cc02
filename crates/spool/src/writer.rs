//! The one writer of a log: recovery, appending, rotation.
//!
//! [`LogWriter::open`] reads every file, hands each data frame to the caller, judges the end of the
//! newest file, cuts a torn tail there and stands ready. The caller may still append to that recovered
//! file (the collector signs what it found) before [`LogWriter::begin_file`] closes it and starts the
//! next one. The first data frame always goes into a new file of this process's own.

use crate::error::LogError;
use crate::frame::{BODY_MAX_BYTES, FRAME_OVERHEAD_BYTES, FileHeader, Frame, Kind, Role, encode_header};
use crate::reader::{self, End, FileReader};
use crate::seal::{CLEAR_BYTES, FileCipher, SEAL_OVERHEAD_BYTES, SpoolPublicKey};
use indelible_os::durable::{Dir, LogFile};
use std::sync::Arc;
use uuid::Uuid;

/// A file is closed and the next begun when it would grow over this.
pub const FILE_MAX_BYTES: u64 = 128 << 20;
/// Space is reserved ahead in steps of this part of a file (16 MiB)…
const ALLOCATE_STEP_DIVISOR: u64 = 8;
/// …so that this part (8 MiB) is always there for what was already accepted.
const RESERVE_DIVISOR: u64 = 16;

/// How a log is kept.
pub struct Options {
    /// What the log is for.
    pub role: Role,
    /// Most bytes that all files together may take; `None` is bounded by the disk alone.
    pub limit_bytes: Option<u64>,
    /// Files are closed at this size, at most [`FILE_MAX_BYTES`].
    pub file_bytes: u64,
    /// For a spool: who writes it, and the collector key that it is encrypted to.
    pub seal: Option<SealTo>,
}

impl Options {
    fn step_bytes(&self) -> u64 {
        (self.file_bytes / ALLOCATE_STEP_DIVISOR).max(4096)
    }

    fn reserve_bytes(&self) -> u64 {
        self.file_bytes / RESERVE_DIVISOR
    }
}

/// Who writes a spool, and for whom it is encrypted.
#[derive(Clone)]
pub struct SealTo {
    /// The source's id.
    pub source_id: String,
    /// The collector's current key; the next file uses it.
    pub key: SpoolPublicKey,
}

/// Whether a frame begins something, which may be refused, or settles something that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Refused once only the reserve is left.
    Admit,
    /// May use the reserve.
    Settle,
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Sequence number.
    pub seq: u64,
    /// Number of the file.
    pub file_no: u64,
    /// Offset of the frame's first byte in that file.
    pub offset: u64,
}

/// What recovery found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Files read.
    pub files: usize,
    /// The newest file, and how many bytes of torn tail were cut from it.
    pub cut: Option<(String, u64)>,
}

/// Appends frames to a log. Not shared: see [`crate::shared::SharedLog`].
pub struct LogWriter {
    dir: Arc<dyn Dir>,
    options: Options,
    log_id: Uuid,
    next_seq: u64,
    current: Option<Current>,
    next_file_no: u64,
    /// Bytes in all files but the current one.
    closed_bytes: u64,
}

struct Current {
    file: Arc<dyn LogFile>,
    header: FileHeader,
    cipher: Option<FileCipher>,
    /// Bytes on the way to the file, and the offset that they start at.
    pending: Vec<u8>,
    written: u64,
    allocated: u64,
    /// Closing a recovered file is all that may be done with it, besides the caller's own last words.
    recovered: bool,
    /// Sequence number up to which everything is synced.
    synced: u64,
}

impl LogWriter {
    /// Opens the log in `dir`. `visit` sees every data frame and `acked` frame, oldest first, with its
    /// position. `floor` is the lowest sequence number that may end up as the last one: what was
    /// acknowledged elsewhere may not be cut.
    pub fn open(
        dir: Arc<dyn Dir>,
        options: Options,
        mut visit: impl FnMut(&FileHeader, Position, Frame<'_>) -> Result<(), LogError>,
        floor: impl FnOnce() -> u64,
    ) -> Result<(Self, Recovered), LogError> {
        let extension = options.role.extension();
        let mut files = reader::list(&*dir, extension)?;
        if let Some((_, name)) = files.last()
            && FileReader::open(&*dir, name)?.is_none()
        {
            // Created, and the machine stopped before its header was on disk: nobody was told anything.
            dir.remove(name).map_err(LogError::io(format!("cannot remove the empty {name}")))?;
            files.pop();
        }
        let next_file_no = files.last().map_or(1, |(number, _)| number + 1);
        let mut writer = Self {
            dir: dir.clone(),
            options,
            log_id: Uuid::nil(),
            next_seq: 1,
            current: None,
            next_file_no,
            closed_bytes: 0,
        };
        let mut recovered = Recovered { files: files.len(), cut: None };
        let mut first = true;
        let mut previous_file_no = None;
        for (index, (number, name)) in files.iter().enumerate() {
            let last = index + 1 == files.len();
            let Some(mut file) = FileReader::open(&*dir, name)? else {
                return Err(LogError::damaged(name, 0, "file without a header"));
            };
            let header = file.header().clone();
            if previous_file_no.is_some_and(|previous: u64| previous + 1 != *number) {
                return Err(LogError::damaged(name, 0, "the file before this one is missing"));
            }
            previous_file_no = Some(*number);
            if header.role != writer.options.role || header.file_no != *number {
                return Err(LogError::damaged(name, 0, "file of another log or under another name"));
            }
            if !first && header.log_id != writer.log_id {
                return Err(LogError::damaged(name, 0, "file of another log"));
            }
            if !first && header.first_seq != writer.next_seq {
                let what = format!("file starts at {} where {} belongs", header.first_seq, writer.next_seq);
                return Err(LogError::damaged(name, 0, what));
            }
            first = false;
            writer.log_id = header.log_id;
            let mut closed = false;
            let mut offset = file.offset();
            while let Some(frame) = file.next_frame()? {
                match frame.kind {
                    Kind::Mark => {}
                    Kind::Close => closed = true,
                    _ => visit(&header, Position { seq: frame.seq, file_no: *number, offset }, frame)?,
                }
                offset = file.offset();
                if closed {
                    break;
                }
            }
            writer.next_seq = file.next_seq();
            let end = file.judge_end(closed, last)?;
            let len = file.file().len().map_err(LogError::io(format!("cannot stat {name}")))?;
            if end == End::Closed {
                writer.closed_bytes += len;
                continue;
            }
            if end == End::Growing {
                return Err(LogError::damaged(name, offset, "the file changes while it is being read"));
            }
            if end == End::Untrimmed {
                file.file().truncate(offset).map_err(LogError::io(format!("cannot trim {name}")))?;
                writer.closed_bytes += offset;
                continue;
            }
            if end == End::Torn {
                let floor = floor();
                if writer.next_seq <= floor {
                    let what =
                        format!("the log ends at {}, but {floor} was acknowledged", writer.next_seq - 1);
                    return Err(LogError::damaged(name, offset, what));
                }
                file.file().truncate(offset).map_err(LogError::io(format!("cannot cut {name}")))?;
                recovered.cut = Some((name.clone(), len - offset));
            }
            // Zeros behind the last frame go too, so that space is accounted for what it is.
            file.file().truncate(offset).map_err(LogError::io(format!("cannot cut {name}")))?;
            writer.current = Some(Current {
                file: file.file().clone(),
                header,
                cipher: None,
                pending: Vec::new(),
                written: offset,
                allocated: offset,
                recovered: true,
                synced: writer.next_seq - 1,
            });
            break;
        }
        if first {
            writer.log_id = Uuid::from_bytes(random()?);
        }
        Ok((writer, recovered))
    }

    /// Identity of the log: made when the directory held no file.
    pub fn log_id(&self) -> Uuid {
        self.log_id
    }

    /// Sequence number that the next data frame gets.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Bytes that all files take.
    pub fn used_bytes(&self) -> u64 {
        self.closed_bytes
            + self.current.as_ref().map_or(0, |current| current.written + current.pending.len() as u64)
    }

    /// The file that frames go to now: its number, itself, and how far it is written.
    pub fn current(&self) -> Option<(u64, &Arc<dyn LogFile>, u64)> {
        self.current.as_ref().map(|current| (current.header.file_no, &current.file, current.written))
    }

    /// Length of the current file with everything appended to it.
    pub fn current_len(&self) -> u64 {
        self.current.as_ref().map_or(0, Current::end)
    }

    /// The header of the file that frames go to now.
    pub fn current_header(&self) -> Option<&FileHeader> {
        self.current.as_ref().map(|current| &current.header)
    }

    /// Uses another collector key from the next file on.
    pub fn set_seal_key(&mut self, key: SpoolPublicKey) {
        if let Some(seal) = &mut self.options.seal {
            seal.key = key;
        }
    }

    /// Closes the current file, if any, and begins the next.
    pub fn begin_file(&mut self) -> Result<(), LogError> {
        // The new file first: when there is no room for it, the old one stays in use.
        let mut header = FileHeader {
            role: self.options.role,
            file_no: self.next_file_no,
            file_id: random()?,
            log_id: self.log_id,
            first_seq: self.next_seq,
            ext: Vec::new(),
        };
        let mut cipher = None;
        if let Some(seal) = &self.options.seal {
            let (ext, file_cipher) = seal.key.seal_file(&header, &seal.source_id)?;
            header.ext = ext;
            cipher = Some(file_cipher);
        }
        let name = reader::file_name(header.file_no, self.options.role.extension());
        let bytes = header.encode();
        let file = self.dir.create(&name).map_err(LogError::io(format!("cannot create {name}")))?;
        let allocated = self.options.step_bytes();
        if let Err(error) = file.allocate(allocated) {
            let _ = self.dir.remove(&name);
            return Err(LogError::io(format!("cannot reserve space for {name}"))(error));
        }
        if let Err(error) = self.close_current() {
            let _ = self.dir.remove(&name);
            return Err(error);
        }
        // The old file is closed: without the new one there is no log to go on with.
        file.write_at(&bytes, 0)
            .map_err(|error| LogError::Poisoned(format!("cannot write {name}: {error}")))?;
        file.sync().map_err(|error| LogError::Poisoned(error.to_string()))?;
        self.next_file_no += 1;
        self.current = Some(Current {
            file,
            header,
            cipher,
            pending: Vec::new(),
            written: bytes.len() as u64,
            allocated,
            recovered: false,
            synced: self.next_seq - 1,
        });
        Ok(())
    }

    /// Appends a plain frame. It is in memory until [`LogWriter::flush`].
    pub fn append(&mut self, kind: Kind, body: &[&[u8]], claim: Claim) -> Result<Position, LogError> {
        let len = body.iter().map(|part| part.len()).sum();
        self.append_with(kind, len, claim, |_, _, out| {
            for part in body {
                out.extend_from_slice(part);
            }
            Ok(())
        })
    }

    /// Appends a frame whose body, but for the `clear` bytes, is encrypted to the collector.
    pub fn append_sealed(
        &mut self,
        kind: Kind,
        clear: &[u8; CLEAR_BYTES],
        plain: &[&[u8]],
        claim: Claim,
    ) -> Result<Position, LogError> {
        let len = SEAL_OVERHEAD_BYTES + plain.iter().map(|part| part.len()).sum::<usize>();
        self.append_with(kind, len, claim, |seq, current, out| {
            let header = encode_header(kind, seq, len, &current.header.file_id);
            let cipher = current
                .cipher
                .as_ref()
                .ok_or_else(|| LogError::damaged("spool", 0, "encrypted frame in a log that has no key"))?;
            let body_start = out.len();
            out.extend_from_slice(clear);
            for part in plain {
                out.extend_from_slice(part);
            }
            let tag = cipher.seal(seq, &header, &mut out[body_start..])?;
            out.extend_from_slice(&tag);
            Ok(())
        })
    }

    fn append_with(
        &mut self,
        kind: Kind,
        len: usize,
        claim: Claim,
        fill: impl FnOnce(u64, &Current, &mut Vec<u8>) -> Result<(), LogError>,
    ) -> Result<Position, LogError> {
        if len > BODY_MAX_BYTES {
            return Err(LogError::TooLarge(len));
        }
        let total = (len + FRAME_OVERHEAD_BYTES) as u64;
        self.make_room(total, kind, claim)?;
        let seq = if kind.is_control() { self.next_seq - 1 } else { self.next_seq };
        #[allow(clippy::unwrap_used)] // make_room leaves a current file behind or fails.
        let mut current = self.current.take().unwrap();
        let start = current.pending.len();
        let position =
            Position { seq, file_no: current.header.file_no, offset: current.written + start as u64 };
        let mut pending = std::mem::take(&mut current.pending);
        pending.extend_from_slice(&encode_header(kind, seq, len, &current.header.file_id));
        let body_start = pending.len();
        let filled = fill(seq, &current, &mut pending);
        if filled.is_ok() {
            let crc = crc32c::crc32c(&pending[body_start..]);
            pending.extend_from_slice(&crc.to_le_bytes());
        } else {
            pending.truncate(start);
        }
        current.pending = pending;
        self.current = Some(current);
        filled?;
        if !kind.is_control() {
            self.next_seq += 1;
        }
        Ok(position)
    }

    /// Sees to it that a frame of `total` bytes fits into the current file, rotating or allocating.
    fn make_room(&mut self, total: u64, kind: Kind, claim: Claim) -> Result<(), LogError> {
        let reserve = if claim == Claim::Admit { self.options.reserve_bytes() } else { 0 };
        if let Some(limit) = self.options.limit_bytes
            && claim == Claim::Admit
            && self.used_bytes() + total + self.options.reserve_bytes() > limit
        {
            return Err(LogError::Full(format!("{} of {limit} bytes are in use", self.used_bytes())));
        }
        let rotate = match &self.current {
            None => true,
            // The close frame and the caller's last words belong to the recovered file; data does not.
            Some(current) if current.recovered => !(kind.is_control() || kind == Kind::Checkpoint),
            Some(current) => {
                !kind.is_control() && current.end() + total + CLOSE_ROOM_BYTES > self.options.file_bytes
            }
        };
        if rotate {
            match self.begin_file() {
                Ok(()) => {}
                // What was accepted may still fit into the space that the old file holds.
                Err(LogError::Full(why)) if claim == Claim::Settle && self.current.is_some() => {
                    let fits = self
                        .current
                        .as_ref()
                        .is_some_and(|current| current.end() + total <= current.allocated);
                    return if fits { Ok(()) } else { Err(LogError::Full(why)) };
                }
                Err(error) => return Err(error),
            }
        }
        #[allow(clippy::unwrap_used)] // Either it was there or begin_file made it.
        let current = self.current.as_mut().unwrap();
        let wanted = current.end() + total + reserve;
        if wanted <= current.allocated || current.recovered {
            return Ok(());
        }
        let target = wanted.next_multiple_of(self.options.step_bytes());
        match current.file.allocate(target) {
            Ok(()) => current.allocated = target,
            Err(_) if claim == Claim::Settle && current.end() + total <= current.allocated => {}
            Err(error) => return Err(LogError::io("cannot reserve space in the log")(error)),
        }
        Ok(())
    }

    /// Hands everything appended to the operating system: it then survives this process.
    pub fn flush(&mut self) -> Result<(), LogError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if current.pending.is_empty() {
            return Ok(());
        }
        // On an error the bytes stay pending at the same offset: a later flush writes them again.
        current
            .file
            .write_at(&current.pending, current.written)
            .map_err(LogError::io("cannot write the log"))?;
        current.written += current.pending.len() as u64;
        current.pending.clear();
        Ok(())
    }

    /// Flushes, waits for the disk, and notes in a `mark` how far everything is safe.
    pub fn sync(&mut self) -> Result<u64, LogError> {
        self.flush()?;
        let seq = self.next_seq - 1;
        if let Some(current) = &self.current {
            current.file.sync().map_err(|error| LogError::Poisoned(error.to_string()))?;
            self.note_synced(seq)?;
            self.flush()?;
        }
        Ok(seq)
    }

    /// Appends the `mark` frame after a sync that covered `seq`. It goes to the file with whatever is flushed
    /// next.
    pub fn note_synced(&mut self, seq: u64) -> Result<(), LogError> {
        match &mut self.current {
            Some(current) if seq > current.synced && !current.recovered => current.synced = seq,
            _ => return Ok(()),
        }
        self.append(Kind::Mark, &[&seq.to_le_bytes()], Claim::Settle).map(|_| ())
    }

    /// Ends the log in good order.
    pub fn close(mut self) -> Result<(), LogError> {
        self.close_current()
    }

    fn close_current(&mut self) -> Result<(), LogError> {
        if self.current.is_none() {
            return Ok(());
        }
        // What is closed first, then the close, then the length: a close frame says that everything before
        // it is on disk, and a file that is trimmed says that its close is.
        self.flush()?;
        self.sync_current()?;
        self.append_close();
        // Behind a close nothing may follow, and whether it was written is not known.
        self.flush().map_err(|error| LogError::Poisoned(error.to_string()))?;
        self.sync_current()?;
        if let Some(current) = self.current.take() {
            current.file.truncate(current.written).map_err(|error| LogError::Poisoned(error.to_string()))?;
            self.closed_bytes += current.written;
        }
        Ok(())
    }

    fn sync_current(&self) -> Result<(), LogError> {
        match &self.current {
            Some(current) => current.file.sync().map_err(|error| LogError::Poisoned(error.to_string())),
            None => Ok(()),
        }
    }

    fn append_close(&mut self) {
        let seq = self.next_seq - 1;
        if let Some(current) = &mut self.current {
            let header = encode_header(Kind::Close, seq, 0, &current.header.file_id);
            current.pending.extend_from_slice(&header);
            current.pending.extend_from_slice(&crc32c::crc32c(&[]).to_le_bytes());
        }
    }

    /// Takes back the frame that was appended last, at `position`, after a flush that failed. Whoever was
    /// refused must not be recorded later.
    pub(crate) fn undo(&mut self, kind: Kind, position: Position) {
        let Some(current) = &mut self.current else { return };
        let kept = position.offset.saturating_sub(current.written) as usize;
        current.pending.truncate(kept);
        if !kind.is_control() {
            self.next_seq = position.seq;
        }
    }

    /// Removes the files before `file_no`, oldest first, never the newest. For spools, once all in them is
    /// acknowledged.
    pub fn remove_before(&mut self, file_no: u64) -> Result<usize, LogError> {
        let mut removed = 0;
        while self.remove_oldest_before(file_no)? {
            removed += 1;
        }
        Ok(removed)
    }

    /// Removes the oldest file if it is before `file_no`, never the newest. Answers whether it did.
    pub fn remove_oldest_before(&mut self, file_no: u64) -> Result<bool, LogError> {
        let files = reader::list(&*self.dir, self.options.role.extension())?;
        let [(number, name), _, ..] = files.as_slice() else { return Ok(false) };
        if *number >= file_no {
            return Ok(false);
        }
        let len = self
            .dir
            .open(name)
            .and_then(|file| file.len())
            .map_err(LogError::io(format!("cannot stat {name}")))?;
        self.dir.remove(name).map_err(LogError::io(format!("cannot remove {name}")))?;
        self.closed_bytes = self.closed_bytes.saturating_sub(len);
        Ok(true)
    }
}

const CLOSE_ROOM_BYTES: u64 = 2 * FRAME_OVERHEAD_BYTES as u64 + 8;

impl Current {
    fn end(&self) -> u64 {
        self.written + self.pending.len() as u64
    }
}

fn random() -> Result<[u8; 16], LogError> {
    indelible_os::random::bytes().map_err(LogError::io("no randomness"))
}
