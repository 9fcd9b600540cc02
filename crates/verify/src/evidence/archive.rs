//! The one form of zip that bundles have. Anything that two programs could read differently is refused: what the local
//! headers say must be what the directory says, and there is no byte that belongs to nothing.

use super::salts::{Salt, Salts};
use super::{Check, Fault, SMALL_MAX_BYTES};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

const END_BYTES: u64 = 22;
const LOCAL_BYTES: usize = 30;
const DIRECTORY_BYTES: usize = 46;
const NAME_MAX_BYTES: usize = 64;
const BYTES_MAX: u64 = u32::MAX as u64;
/// Version 2.0, UTF-8 names, stored, midnight, 1 January 1980: what stands between signature and checksum.
const FIXED: [u8; 10] = [20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0];
const READ_BYTES: usize = 1 << 16;
/// What SHA-256 takes in at once (FIPS 180-4 §5.2.1).
const HASH_STEP_BYTES: usize = 64;
/// What is read at once: members are small, and mostly read one after the other.
const WINDOW_BYTES: usize = 1 << 16;

/// A file in the archive.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// Where its data begins.
    start: u64,
    pub(super) size: u64,
    crc: u32,
    /// Of its bytes, once [`Archive::hash_all`] has read them.
    pub(super) sha256: [u8; 32],
    /// Of a payload: the salt that is in its place among the openings, and the hash of it and the bytes.
    pub(super) salted: Option<(Salt, [u8; 32])>,
}

/// An archive whose form was checked.
pub(super) struct Archive<F> {
    file: Window<F>,
    members: Vec<Member>,
    places: HashMap<String, usize>,
}

impl<F: Read + Seek> Archive<F> {
    /// Reads the directory. What it says of members is held against them by [`Archive::hash_all`].
    pub(super) fn open(mut file: F) -> Result<Self, Fault> {
        let broken = |what: &str| Fault::broken(Check::Zip, what);
        let length = file.seek(SeekFrom::End(0))?;
        let mut file = Window { file, start: 0, bytes: Vec::new() };
        if !(END_BYTES..=BYTES_MAX).contains(&length) {
            return Err(broken("not a bundle: too short, or too long"));
        }
        let mut end = [0; END_BYTES as usize];
        file.read_exact_at(length - END_BYTES, &mut end)?;
        let [count, again] = [u16_at(&end, 8), u16_at(&end, 10)];
        let (size, start) = (u64::from(u32_at(&end, 12)), u64::from(u32_at(&end, 16)));
        let plain = end[..8] == *b"PK\x05\x06\0\0\0\0" && end[20..] == [0, 0];
        if !plain || count != again || start + size + END_BYTES != length {
            return Err(broken("the end of the directory is not where and what it must be"));
        }
        let mut directory = BufReader::new(At { file: &mut file, at: start, end: start + size });
        let mut members = Vec::new();
        let mut places = HashMap::new();
        let mut next = 0;
        for number in 0..usize::from(count) {
            let member = read_directory(&mut directory, next)?;
            next = member.start + member.size;
            if next > start {
                return Err(broken("a member that goes beyond the directory"));
            }
            if places.insert(member.name.clone(), number).is_some() {
                return Err(broken("two members of one name"));
            }
            members.push(member);
        }
        if directory.read(&mut [0])? != 0 || next != start {
            return Err(broken("bytes that belong to no member"));
        }
        drop(directory);
        Ok(Self { file, members, places })
    }

    /// Reads every byte of every member and its local header, and holds them against its checksum and the directory.
    pub(super) fn hash_all(&mut self) -> Result<(), Fault> {
        let mut buffer = vec![0; READ_BYTES];
        let mut salts = Salts::new();
        for number in 0..self.members.len() {
            let is_payload =
                self.members.get(number).is_some_and(|member| member.name.starts_with("payloads/"));
            let salt = if is_payload { salts.next(self) } else { None };
            if let Some(member) = self.members.get_mut(number) {
                check_local(&mut self.file, member)?;
                hash_member(&mut self.file, member, salt, &mut buffer)?;
            }
        }
        Ok(())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(*self.places.get(name)?)
    }

    /// The bytes of a member, as a stream.
    pub(super) fn stream(&mut self, name: &str) -> io::Result<impl Read + '_> {
        let member = self.member(name).ok_or(io::ErrorKind::NotFound)?;
        let (at, end) = (member.start, member.start + member.size);
        Ok(At { file: &mut self.file, at, end })
    }

    /// Up to `max` bytes of a member from `at` on; none at its end.
    pub(super) fn read(&mut self, name: &str, at: u64, max: u64) -> io::Result<Vec<u8>> {
        let member = self.member(name).ok_or(io::ErrorKind::NotFound)?;
        let at = at.min(member.size);
        let mut bytes = vec![0; max.min(member.size - at) as usize];
        let start = member.start + at;
        self.file.read_exact_at(start, &mut bytes)?;
        Ok(bytes)
    }

    /// All bytes of a member that has at most `limit`; larger is broken at `check`.
    pub(super) fn whole(&mut self, name: &str, limit: u64, check: Check) -> Result<Vec<u8>, Fault> {
        if self.member(name).is_some_and(|member| member.size > limit) {
            return Err(Fault::broken(check, format!("{name} is larger than any such file")));
        }
        let mut bytes = Vec::new();
        self.stream(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// All bytes of a small member.
    pub(super) fn small(&mut self, name: &str, check: Check) -> Result<Vec<u8>, Fault> {
        self.whole(name, SMALL_MAX_BYTES, check)
    }
}

/// Reads all of a member, once, for its checksum and its hashes.
fn hash_member<F: Read + Seek>(
    file: &mut Window<F>,
    member: &mut Member,
    salt: Option<Salt>,
    buffer: &mut [u8],
) -> Result<(), Fault> {
    let mut data = At { file, at: member.start, end: member.start + member.size };
    let (mut hash, mut crc) = (Sha256::new(), crc32fast::Hasher::new());
    let mut salted = salt.map(|salt| (salt, Sha256::new_with_prefix(salt)));
    loop {
        let read = data.read(buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        crc.update(bytes);
        match &mut salted {
            // A hash waits for itself, step by step: the two in turn take less time than one after the other.
            Some((_, salted)) => bytes.chunks(HASH_STEP_BYTES).for_each(|piece| {
                hash.update(piece);
                salted.update(piece);
            }),
            None => hash.update(bytes),
        }
    }
    if crc.finalize() != member.crc {
        return Err(Fault::broken(Check::Zip, format!("{}: its checksum is another", member.name)));
    }
    member.sha256 = hash.finalize().into();
    member.salted = salted.map(|(salt, hash)| (salt, hash.finalize().into()));
    Ok(())
}

/// What stands before a member must be what the directory says.
fn check_local<F: Read + Seek>(file: &mut Window<F>, member: &Member) -> Result<(), Fault> {
    let expected = local_header(member);
    let mut found = vec![0; expected.len()];
    file.read_exact_at(member.start - expected.len() as u64, &mut found)?;
    if found == expected {
        return Ok(());
    }
    Err(Fault::broken(Check::Zip, format!("{}: its header is not what the directory says", member.name)))
}

/// The next header of the directory, of a member whose local header is at `start`.
fn read_directory(directory: &mut impl Read, start: u64) -> Result<Member, Fault> {
    let broken = |what: &str| Fault::broken(Check::Zip, what);
    let short = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => broken("the directory breaks off"),
        _ => error.into(),
    };
    let mut header = [0; DIRECTORY_BYTES];
    directory.read_exact(&mut header).map_err(short)?;
    let name_bytes = usize::from(u16_at(&header, 28));
    // Version made by, then as in a local header; then extra, comment, disk and attributes: nothing.
    let plain = header[..6] == *b"PK\x01\x02\x14\0" && header[6..16] == FIXED && header[30..42] == [0; 12];
    let (size, stored) = (u32_at(&header, 24), u32_at(&header, 20));
    if !plain || size != stored || u64::from(u32_at(&header, 42)) != start {
        return Err(broken("a header of the directory is not in a bundle's form"));
    }
    if !(1..=NAME_MAX_BYTES).contains(&name_bytes) {
        return Err(broken("a name that no member has"));
    }
    let mut name = vec![0; name_bytes];
    directory.read_exact(&mut name).map_err(short)?;
    let name = String::from_utf8(name).ok().filter(|name| name.is_ascii());
    let name = name.ok_or_else(|| broken("a name that no member has"))?;
    let start = start + LOCAL_BYTES as u64 + name_bytes as u64;
    Ok(Member { name, start, size: size.into(), crc: u32_at(&header, 16), sha256: [0; 32], salted: None })
}

/// The local header that a member must have.
fn local_header(member: &Member) -> Vec<u8> {
    let size = (member.size as u32).to_le_bytes();
    let name_bytes = (member.name.len() as u16).to_le_bytes();
    let numbers = [&member.crc.to_le_bytes()[..], &size, &size, &name_bytes, &[0, 0]].concat();
    [b"PK\x03\x04", &FIXED[..], &numbers, member.name.as_bytes()].concat()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// The file, with what was read of it last.
struct Window<F> {
    file: F,
    /// Where `bytes` stand.
    start: u64,
    bytes: Vec<u8>,
}

impl<F: Read + Seek> Window<F> {
    /// As many of the bytes from `at` on as there are at once; none at the end of the file.
    fn read_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        if into.len() >= WINDOW_BYTES {
            self.file.seek(SeekFrom::Start(at))?;
            return self.file.read(into);
        }
        if !(self.start..self.start + self.bytes.len() as u64).contains(&at) {
            self.bytes.clear();
            self.file.seek(SeekFrom::Start(at))?;
            self.start = at;
            self.file.by_ref().take(WINDOW_BYTES as u64).read_to_end(&mut self.bytes)?;
        }
        let mut rest = self.bytes.get((at - self.start) as usize..).unwrap_or_default();
        rest.read(into)
    }

    fn read_exact_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let end = at + into.len() as u64;
        At { file: self, at, end }.read_exact(into)
    }
}

/// A stretch of the file.
struct At<'a, F> {
    file: &'a mut Window<F>,
    at: u64,
    end: u64,
}

impl<F: Read + Seek> Read for At<'_, F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let wanted = (self.end - self.at).min(bytes.len() as u64) as usize;
        let Some(bytes) = bytes.get_mut(..wanted).filter(|bytes| !bytes.is_empty()) else { return Ok(0) };
        let read = self.file.read_at(self.at, bytes)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}
