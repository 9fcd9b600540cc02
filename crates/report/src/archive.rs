//! Writing the one form of zip that bundles have, front to back: nothing is sought, so a bundle can be a stream.

use indelible_record::commitment::to_hex;
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};

/// Version 2.0, UTF-8 names, stored, midnight, 1 January 1980.
const FIXED: [u8; 10] = [20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0];
/// Most members that its directory counts.
pub(crate) const MEMBERS_MAX: usize = u16::MAX as usize;

/// An archive that is being written.
pub(crate) struct Archive<W> {
    out: W,
    at: u64,
    directory: Vec<u8>,
    count: u16,
    /// `sha256sum -c` lines of the members so far.
    sums: String,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, at: 0, directory: Vec::new(), count: 0, sums: String::new() }
    }

    /// Writes a member.
    pub(crate) fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let too_large =
            || io::Error::new(io::ErrorKind::FileTooLarge, "more than a bundle holds: 65,535 members, 4 GiB");
        let size = u32::try_from(bytes.len()).map_err(|_| too_large())?;
        let start = u32::try_from(self.at).map_err(|_| too_large())?;
        self.count = self.count.checked_add(1).ok_or_else(too_large)?;
        let mut header = FIXED.to_vec();
        header.extend(crc32fast::hash(bytes).to_le_bytes());
        header.extend(size.to_le_bytes());
        header.extend(size.to_le_bytes());
        header.extend((name.len() as u16).to_le_bytes());
        header.extend([0, 0]);
        let local = [b"PK\x03\x04", &header[..], name.as_bytes()].concat();
        self.out.write_all(&local)?;
        self.out.write_all(bytes)?;
        self.at += (local.len() + bytes.len()) as u64;
        // Made by version 2.0; behind the fields of the local header no comment, disk or attributes.
        self.directory.extend(b"PK\x01\x02\x14\0");
        self.directory.extend(&header);
        self.directory.extend([0; 10]);
        self.directory.extend(start.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.sums.push_str(&format!("{}  {name}\n", to_hex(&Sha256::digest(bytes))));
        if self.at + self.directory.len() as u64 > u64::from(u32::MAX) - (1 << 20) {
            return Err(too_large());
        }
        Ok(())
    }

    /// What `sha256sum -c` reads, of all members so far.
    pub(crate) fn sums(&self) -> &str {
        &self.sums
    }

    /// Writes the directory, and gives back what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let (size, start) = (self.directory.len() as u32, self.at as u32);
        let count = self.count.to_le_bytes();
        self.out.write_all(&self.directory)?;
        let end =
            [b"PK\x05\x06\0\0\0\0", &count[..], &count, &size.to_le_bytes(), &start.to_le_bytes(), &[0, 0]];
        self.out.write_all(&end.concat())?;
        self.out.flush()?;
        Ok(self.out)
    }
}
