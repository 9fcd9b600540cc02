//! What the collector's WAL holds: the bodies of its frames.
//!
//! One frame of a source leaves exactly one frame here that carries its sequence number, so that the
//! last such number is, by itself, how far the source has been taken in. `docs/formats/spool.md` draws
//! these bodies.
//!
//! ```text
//! origin      = incarnation 16 · source_seq u64     (source_seq 0: made by the collector itself; then the
//!               incarnation is that of the source whose request it ended, or zeros)
//! source      = incarnation 16 · source id
//! taken       = origin
//! open        = origin · event_id 16 · tenant · draft_len u32 · draft JSON · part
//! part        = origin · event_id 16 · stream u8 · part                 (stream: 1 input, 2 output)
//! entry       = origin · event_id 16 · tenant · refs u32 · (file_no u64 · offset u64)* · entry_len u32 · entry · part
//! checkpoint  = (len u32 · note)*       the digest of this file up to here, then signed tree heads
//! base        = sources u32 · (incarnation 16 · mark u64 · entries u64 · id)* · ledgers u32 · ledger*
//! ledger      = tenant · size u64 · last_leaf 32 · hashes u8 · (hash 32)*
//! tenant, id  = len u8 · bytes
//! ```

use crate::frame::{Kind, array_at, u64_at};
use uuid::Uuid;

/// Which frame of which source a WAL frame stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The source's incarnation; nil for the collector itself.
    pub incarnation: Uuid,
    /// Sequence number of the source's frame; 0 where the collector itself made the record.
    pub seq: u64,
}

/// Which body a part belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// The request.
    Input = 1,
    /// The response.
    Output = 2,
}

/// Where an earlier frame of the same event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ref {
    /// Number of the WAL file.
    pub file_no: u64,
    /// Offset of the frame.
    pub offset: u64,
}

/// One WAL frame, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A source introduced itself.
    Source {
        /// Its incarnation.
        incarnation: Uuid,
        /// Its id.
        id: &'a str,
    },
    /// A frame was taken in and left nothing else.
    Taken(Origin),
    /// A request was accepted.
    Open {
        /// The start frame.
        origin: Origin,
        /// The event.
        event_id: Uuid,
        /// Its ledger.
        tenant: &'a str,
        /// The entry as far as it is known, as JSON.
        draft: &'a [u8],
        /// Encrypted: private meta and the request body.
        part: &'a [u8],
    },
    /// More of a body.
    Part {
        /// The frame that brought it.
        origin: Origin,
        /// The event.
        event_id: Uuid,
        /// Which body.
        stream: Stream,
        /// Encrypted.
        part: &'a [u8],
    },
    /// An entry.
    Entry {
        /// The frame that ended the event.
        origin: Origin,
        /// The event.
        event_id: Uuid,
        /// Its ledger.
        tenant: &'a str,
        /// The frames that hold the rest of the payload, oldest first.
        refs: Vec<Ref>,
        /// The entry's exact bytes.
        entry: &'a [u8],
        /// Encrypted: private meta and the last of the response body. May be empty.
        part: &'a [u8],
    },
    /// Signed notes: first the digest of this file up to here, then tree heads.
    Checkpoint {
        /// The notes' bytes.
        notes: Vec<&'a [u8]>,
    },
    /// What the files before this one add up to, except for requests that are open.
    Base(Base<'a>),
    /// An [`Record::Open`] or [`Record::Part`] of a file that is about to be removed, again. It takes the place of
    /// that frame of the request, and is no frame of its source.
    Kept(Box<Record<'a>>),
}

/// What a WAL adds up to where one of its files begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base<'a> {
    /// Every incarnation of a source, by id.
    pub sources: Vec<BaseSource<'a>>,
    /// Every ledger, by tenant.
    pub ledgers: Vec<BaseLedger<'a>>,
}

/// How far an incarnation of a source is taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseSource<'a> {
    /// The incarnation.
    pub incarnation: Uuid,
    /// Its last frame that was taken in.
    pub mark: u64,
    /// Entries made for it.
    pub entries: u64,
    /// The source's id.
    pub id: &'a str,
}

/// How long a ledger is, and its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseLedger<'a> {
    /// Whose ledger.
    pub tenant: &'a str,
    /// Its entries.
    pub size: u64,
    /// Leaf hash of the last one.
    pub last_leaf: [u8; 32],
    /// Roots of the tree's perfect subtrees, largest first.
    pub hashes: Vec<[u8; 32]>,
}

impl<'a> Record<'a> {
    /// The frame kind that the record has.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Source { .. } => Kind::Source,
            Self::Taken(_) => Kind::Taken,
            Self::Open { .. } => Kind::Open,
            Self::Part { .. } => Kind::Part,
            Self::Entry { .. } => Kind::Entry,
            Self::Checkpoint { .. } => Kind::Checkpoint,
            Self::Base(_) => Kind::Base,
            Self::Kept(inner) => match **inner {
                Self::Open { .. } => Kind::KeptOpen,
                _ => Kind::KeptPart,
            },
        }
    }

    /// The frame body. Tenants are at most 255 bytes: configuration allows 64.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Source { incarnation, id } => {
                out.extend_from_slice(incarnation.as_bytes());
                out.extend_from_slice(id.as_bytes());
            }
            Self::Taken(origin) => put_origin(&mut out, *origin),
            Self::Open { origin, event_id, tenant, draft, part } => {
                out.reserve(64 + tenant.len() + draft.len() + part.len());
                put_origin(&mut out, *origin);
                out.extend_from_slice(event_id.as_bytes());
                put_tenant(&mut out, tenant);
                put_bytes(&mut out, draft);
                out.extend_from_slice(part);
            }
            Self::Part { origin, event_id, stream, part } => {
                out.reserve(64 + part.len());
                put_origin(&mut out, *origin);
                out.extend_from_slice(event_id.as_bytes());
                out.push(*stream as u8);
                out.extend_from_slice(part);
            }
            Self::Entry { origin, event_id, tenant, refs, entry, part } => {
                out.reserve(96 + tenant.len() + refs.len() * 16 + entry.len() + part.len());
                put_origin(&mut out, *origin);
                out.extend_from_slice(event_id.as_bytes());
                put_tenant(&mut out, tenant);
                out.extend_from_slice(&(refs.len() as u32).to_le_bytes());
                for place in refs {
                    out.extend_from_slice(&place.file_no.to_le_bytes());
                    out.extend_from_slice(&place.offset.to_le_bytes());
                }
                put_bytes(&mut out, entry);
                out.extend_from_slice(part);
            }
            Self::Checkpoint { notes } => {
                for note in notes {
                    put_bytes(&mut out, note);
                }
            }
            Self::Base(base) => base.encode(&mut out),
            Self::Kept(inner) => return inner.encode(),
        }
        out
    }

    /// Takes a WAL frame's body apart; `None` when it is not of the form its kind promises.
    pub fn parse(kind: Kind, body: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(body);
        Some(match kind {
            Kind::Source => {
                let incarnation = rest.uuid()?;
                Self::Source { incarnation, id: std::str::from_utf8(rest.0).ok()? }
            }
            Kind::Taken => Self::Taken(rest.origin().filter(|_| rest.0.is_empty())?),
            Kind::Open => Self::Open {
                origin: rest.origin()?,
                event_id: rest.uuid()?,
                tenant: rest.tenant()?,
                draft: rest.bytes()?,
                part: rest.0,
            },
            Kind::Part => Self::Part {
                origin: rest.origin()?,
                event_id: rest.uuid()?,
                stream: match rest.take(1)?[0] {
                    1 => Stream::Input,
                    2 => Stream::Output,
                    _ => return None,
                },
                part: rest.0,
            },
            Kind::Entry => {
                let (origin, event_id, tenant) = (rest.origin()?, rest.uuid()?, rest.tenant()?);
                let count = rest.u32()? as usize;
                let refs = rest
                    .take(count.checked_mul(16)?)?
                    .chunks_exact(16)
                    .map(|place| Ref { file_no: u64_at(place, 0), offset: u64_at(place, 8) })
                    .collect();
                Self::Entry { origin, event_id, tenant, refs, entry: rest.bytes()?, part: rest.0 }
            }
            Kind::Checkpoint => {
                let mut notes = Vec::new();
                while !rest.0.is_empty() {
                    notes.push(rest.bytes()?);
                }
                Self::Checkpoint { notes }
            }
            Kind::Base => Self::Base(Base::parse(&mut rest)?),
            Kind::KeptOpen => Self::Kept(Box::new(Self::parse(Kind::Open, body)?)),
            Kind::KeptPart => Self::Kept(Box::new(Self::parse(Kind::Part, body)?)),
            _ => return None,
        })
    }

    /// The source frame that the record stands for, if a source sent it.
    pub fn origin(&self) -> Option<Origin> {
        match self {
            Self::Taken(origin)
            | Self::Open { origin, .. }
            | Self::Part { origin, .. }
            | Self::Entry { origin, .. } => (origin.seq > 0).then_some(*origin),
            Self::Source { .. } | Self::Checkpoint { .. } | Self::Base(_) | Self::Kept(_) => None,
        }
    }
}

impl<'a> Base<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.sources.len() as u32).to_le_bytes());
        for source in &self.sources {
            out.extend_from_slice(source.incarnation.as_bytes());
            out.extend_from_slice(&source.mark.to_le_bytes());
            out.extend_from_slice(&source.entries.to_le_bytes());
            put_tenant(out, source.id);
        }
        out.extend_from_slice(&(self.ledgers.len() as u32).to_le_bytes());
        for ledger in &self.ledgers {
            put_tenant(out, ledger.tenant);
            out.extend_from_slice(&ledger.size.to_le_bytes());
            out.extend_from_slice(&ledger.last_leaf);
            out.push(ledger.hashes.len() as u8);
            ledger.hashes.iter().for_each(|hash| out.extend_from_slice(hash));
        }
    }

    fn parse(rest: &mut Rest<'a>) -> Option<Self> {
        let mut base = Self::default();
        for _ in 0..rest.u32()? {
            let incarnation = rest.uuid()?;
            let (mark, entries) = (rest.u64()?, rest.u64()?);
            base.sources.push(BaseSource { incarnation, mark, entries, id: rest.tenant()? });
        }
        for _ in 0..rest.u32()? {
            let (tenant, size) = (rest.tenant()?, rest.u64()?);
            let last_leaf = array_at(rest.take(32)?, 0);
            let count = usize::from(rest.take(1)?[0]);
            let hashes = rest.take(count * 32)?.chunks_exact(32).map(|hash| array_at(hash, 0)).collect();
            base.ledgers.push(BaseLedger { tenant, size, last_leaf, hashes });
        }
        rest.0.is_empty().then_some(base)
    }
}

fn put_origin(out: &mut Vec<u8>, origin: Origin) {
    out.extend_from_slice(origin.incarnation.as_bytes());
    out.extend_from_slice(&origin.seq.to_le_bytes());
}

fn put_tenant(out: &mut Vec<u8>, tenant: &str) {
    debug_assert!(tenant.len() < 256);
    out.push(tenant.len() as u8);
    out.extend_from_slice(tenant.as_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32::from_le_bytes(array_at(bytes, 0)))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8).map(|bytes| u64_at(bytes, 0))
    }

    fn uuid(&mut self) -> Option<Uuid> {
        self.take(16).map(|bytes| Uuid::from_bytes(array_at(bytes, 0)))
    }

    fn origin(&mut self) -> Option<Origin> {
        Some(Origin { incarnation: self.uuid()?, seq: u64_at(self.take(8)?, 0) })
    }

    fn tenant(&mut self) -> Option<&'a str> {
        let len = usize::from(self.take(1)?[0]);
        std::str::from_utf8(self.take(len)?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()? as usize;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_read_back(seq: u64, id: u128, tenant in "[a-z]{1,64}", a: Vec<u8>, b: Vec<u8>, places in prop::collection::vec(any::<(u64, u64)>(), 0..5)) {
            let origin = Origin { incarnation: Uuid::from_u128(id), seq };
            let event_id = Uuid::from_u128(!id);
            let refs = places.into_iter().map(|(file_no, offset)| Ref { file_no, offset }).collect();
            for record in [
                Record::Source { incarnation: event_id, id: &tenant },
                Record::Taken(origin),
                Record::Open { origin, event_id, tenant: &tenant, draft: &a, part: &b },
                Record::Part { origin, event_id, stream: Stream::Output, part: &b },
                Record::Entry { origin, event_id, tenant: &tenant, refs, entry: &a, part: &b },
                Record::Checkpoint { notes: vec![&a, &b] },
                Record::Kept(Box::new(Record::Open { origin, event_id, tenant: &tenant, draft: &a, part: &b })),
                Record::Kept(Box::new(Record::Part { origin, event_id, stream: Stream::Input, part: &b })),
                Record::Base(Base {
                    sources: vec![BaseSource { incarnation: event_id, mark: seq, entries: 3, id: &tenant }; 2],
                    ledgers: vec![BaseLedger { tenant: &tenant, size: seq, last_leaf: [7; 32], hashes: vec![[1; 32]; 3] }],
                }),
            ] {
                let bytes = record.encode();
                prop_assert_eq!(Record::parse(record.kind(), &bytes), Some(record));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(kind in 0u8..64, bytes: Vec<u8>) {
            if let Some(kind) = Kind::from_number(kind) {
                let _ = Record::parse(kind, &bytes);
            }
        }
    }
}
