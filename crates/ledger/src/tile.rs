//! Tiles: the tree as files of 256 hashes (C2SP tlog-tiles).
//!
//! A tile at level `L` holds the roots of consecutive perfect subtrees of 256^L leaves; level 0 holds leaf
//! hashes. Levels between are recomputed by whoever reads. Full tiles never change; the rightmost tile of a
//! level is partial and its width is part of its name, so that it never changes either. Entry bundles are
//! numbered like the tiles of level 0. This module knows names, which tiles exist, and what is in them;
//! reading and writing them is the caller's.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::hash::Hash;
use crate::text;
use crate::tree::root_of;

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Tree levels from one tile level to the next: 2⁸ = 256.
pub const TILE_HEIGHT: u8 = 8;
/// The highest tile level that a path may name.
pub const TILE_LEVEL_MAX: u8 = 63;

/// Tile levels that a tree of up to 2⁶⁴−1 leaves can have.
const LEVELS: u8 = 8;
/// Longer than any path that [`Tile`] prints.
const PATH_MAX_BYTES: usize = 64;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes of subtrees of 256^level leaves; `level` is at most 63.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

impl TileKind {
    /// How many hashes (or entries) the tiles of this kind hold together in a tree of `size` leaves.
    fn count(self, size: u64) -> u64 {
        match self {
            TileKind::Hashes(level) => size.checked_shr(u32::from(level) * 8).unwrap_or(0),
            TileKind::Entries => size,
        }
    }
}

/// The name of a tile or an entry bundle.
///
/// `Display` and `FromStr` are its path below the log's prefix: `tile/<L>/<N>[.p/<W>]` or
/// `tile/entries/<N>[.p/<W>]`, without a slash in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl Tile {
    /// Names tile `index` of its kind, `width` hashes or entries wide.
    ///
    /// # Errors
    /// [`TileError::Name`] if the level is beyond 63 or the width is not 1 to 256.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Result<Tile, TileError> {
        let level_fits = !matches!(kind, TileKind::Hashes(level) if level > TILE_LEVEL_MAX);
        if level_fits && (1..=TILE_WIDTH).contains(&width) {
            Ok(Tile { kind, index, width })
        } else {
            Err(TileError::Name)
        }
    }

    /// Tile `index` as it is in a tree of `size` leaves, full or partial; `None` if nothing is in it.
    pub fn at(kind: TileKind, index: u64, size: u64) -> Option<Tile> {
        let start = index.checked_mul(u64::from(TILE_WIDTH))?;
        let left = kind.count(size).checked_sub(start)?;
        // At most 256, which fits.
        let width = left.min(u64::from(TILE_WIDTH)) as u16;
        Tile::new(kind, index, width).ok()
    }

    /// Whether a tree of `size` leaves has this very tile: full where full, partial with just this width.
    pub fn exists_at(&self, size: u64) -> bool {
        Tile::at(self.kind, self.index, size) == Some(*self)
    }

    /// Where the node `(level, index)` of a tree of `size` leaves (see
    /// [`prove_inclusion`](crate::prove_inclusion)) comes from: the tile, and the hashes in it whose
    /// [`root_of`] it is. `None` if the tree has no such perfect subtree.
    pub fn holding(level: u8, index: u64, size: u64) -> Option<(Tile, Range<usize>)> {
        if index >= size.checked_shr(u32::from(level))? {
            return None;
        }
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        // The node is within the tree, so its first hash has a number below `size`.
        let first = index << height;
        let tile = Tile::at(TileKind::Hashes(tile_level), first / u64::from(TILE_WIDTH), size)?;
        let start = (first % u64::from(TILE_WIDTH)) as usize;
        Some((tile, start..start + (1 << height)))
    }

    /// What the tile holds.
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// The number of the tile among those of its kind.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it is full and so belongs to every larger tree as well.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The bytes of this tile: its hashes one after the other.
    ///
    /// # Errors
    /// [`TileError::Contents`] if it is an entry bundle or `hashes` has another length than the width.
    pub fn encode(&self, hashes: &[Hash]) -> Result<Vec<u8>, TileError> {
        if self.kind == TileKind::Entries || hashes.len() != usize::from(self.width) {
            return Err(TileError::Contents);
        }
        Ok(hashes.iter().flat_map(|hash| hash.0).collect())
    }

    /// The hashes in the bytes of this tile.
    ///
    /// # Errors
    /// [`TileError::Contents`] if it is an entry bundle or the bytes are not `width` hashes.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
        let (chunks, rest) = bytes.as_chunks::<{ Hash::BYTES }>();
        if self.kind == TileKind::Entries || chunks.len() != usize::from(self.width) || !rest.is_empty() {
            return Err(TileError::Contents);
        }
        Ok(chunks.iter().copied().map(Hash).collect())
    }
}

/// The hash tiles that a tree of `new_size` leaves has and one of `old_size` leaves has not, lowest level
/// first, left to right. From `old_size` 0 these are all of them.
pub fn new_tiles(old_size: u64, new_size: u64) -> impl Iterator<Item = Tile> {
    (0..LEVELS).flat_map(move |level| new_of_kind(TileKind::Hashes(level), old_size, new_size))
}

/// The entry bundles that a log of `new_size` entries has and one of `old_size` entries has not, in order.
pub fn new_bundles(old_size: u64, new_size: u64) -> impl Iterator<Item = Tile> {
    new_of_kind(TileKind::Entries, old_size, new_size)
}

/// The hashes of `tile`, each computed from the full tile that it stands for, one level below.
///
/// `below` gives the hashes of the full tile that it is asked for.
///
/// # Errors
/// [`LiftError::Lowest`] if there is no level below, [`LiftError::Below`] with the first error of `below`,
/// [`LiftError::NotFull`] if it gave other than 256 hashes.
pub fn lift<E>(
    tile: &Tile,
    mut below: impl FnMut(Tile) -> Result<Vec<Hash>, E>,
) -> Result<Vec<Hash>, LiftError<E>> {
    let TileKind::Hashes(level @ 1..) = tile.kind else { return Err(LiftError::Lowest) };
    let first = tile.index.checked_mul(u64::from(TILE_WIDTH)).ok_or(LiftError::Lowest)?;
    let lift_one = |position: u16| {
        let kind = TileKind::Hashes(level - 1);
        let child = Tile { kind, index: first + u64::from(position), width: TILE_WIDTH };
        let hashes = below(child).map_err(LiftError::Below)?;
        if hashes.len() == usize::from(TILE_WIDTH) {
            Ok(root_of(&hashes))
        } else {
            Err(LiftError::NotFull(child))
        }
    };
    (0..tile.width).map(lift_one).collect()
}

fn new_of_kind(kind: TileKind, old_size: u64, new_size: u64) -> impl Iterator<Item = Tile> {
    let (old, new) = (kind.count(old_size), kind.count(new_size));
    let width = u64::from(TILE_WIDTH);
    let changed = if old < new { old / width..new.div_ceil(width) } else { 0..0 };
    changed.filter_map(move |index| Tile::at(kind, index, new_size))
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => write!(f, "tile/entries/")?,
        }
        write_index(f, self.index)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// Digits in groups of three, every group but the last behind an `x`, so that no file bears the name of a
/// directory.
fn write_index(f: &mut fmt::Formatter<'_>, index: u64) -> fmt::Result {
    let (upper, lowest) = (index / 1000, index % 1000);
    let mut groups = Vec::new();
    let mut rest = upper;
    while rest > 0 {
        groups.push(rest % 1000);
        rest /= 1000;
    }
    for group in groups.iter().rev() {
        write!(f, "x{group:03}/")?;
    }
    write!(f, "{lowest:03}")
}

/// Parses exactly what `Display` prints; every other spelling is an error.
impl FromStr for Tile {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Tile, TileError> {
        if path.len() > PATH_MAX_BYTES {
            return Err(TileError::Name);
        }
        let tile = parse_path(path).ok_or(TileError::Name)?;
        // Printing it again settles zeros and groups that only look different.
        if tile.to_string() == path { Ok(tile) } else { Err(TileError::Name) }
    }
}

fn parse_path(path: &str) -> Option<Tile> {
    let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(text::decimal(level)?.try_into().ok()?),
    };
    let (groups, width) = match rest.split_once(".p/") {
        Some((groups, width)) => (groups, text::decimal(width)?.try_into().ok()?),
        None => (rest, TILE_WIDTH),
    };
    let mut index: u64 = 0;
    for group in groups.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Tile::new(kind, index, width).ok()
}

/// A tile name or the contents of a tile are not what they must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// There is no tile of that name.
    #[error("not a tile path")]
    Name,
    /// The contents do not have the length that the name gives.
    #[error("the tile does not hold as many hashes as its name says")]
    Contents,
}

/// A tile could not be computed from the level below.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiftError<E> {
    /// The tile holds leaf hashes or entries, or covers more leaves than a tree can have.
    #[error("there is no tile level below")]
    Lowest,
    /// A tile of the level below could not be had.
    #[error("a tile of the level below could not be read")]
    Below(#[source] E),
    /// A tile of the level below does not hold 256 hashes.
    #[error("{0} does not hold 256 hashes")]
    NotFull(Tile),
}
