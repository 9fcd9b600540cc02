//! The Merkle tree of each ledger as tiles (C2SP tlog-tiles): what proofs are made of, and what monitors read.
//!
//! ```text
//! DIR/cache/tiles/TENANT/<L>/<N>      256 hashes, and the first 8 bytes of SHA-256 over them
//! ```
//!
//! All of it is made of the entries and may be deleted at any time (invariant 13). Full tiles of level 0 are kept as
//! entries are signed; whatever else is asked for and not there is made of the level below, and level 0 of the entries
//! themselves. Only full tiles are kept: a partial one is the beginning of what is there.

use crate::CollectorError;
use crate::store::View;
use indelible_ledger::tile::{LiftError, lift};
use indelible_ledger::{Hash, Tile, TileKind, encode_bundle, leaf_hash, root_of};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Hashes of a full tile.
const WIDTH: u64 = indelible_ledger::tile::TILE_WIDTH as u64;
const CHECKSUM_BYTES: usize = 8;

/// Where tiles are kept, and the leaves of the tile of each ledger that is not full yet.
pub struct Tiles {
    dir: PathBuf,
    edges: Mutex<BTreeMap<String, Edge>>,
}

/// The newest leaves of a ledger, from the beginning of a tile on.
struct Edge {
    first: u64,
    leaves: Vec<Hash>,
}

impl Tiles {
    /// The tiles of a data directory.
    pub fn new(data: &Path) -> Self {
        Self { dir: data.join("cache").join("tiles"), edges: Mutex::default() }
    }

    /// Leaves were signed: those of a ledger from number `first` on. Keeps each tile that they fill. What cannot be kept
    /// is made again when it is asked for.
    pub fn extend(&self, tenant: &str, first: u64, leaves: &[Hash]) {
        let mut edges = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        let known = edges.remove(tenant).filter(|edge| edge.first + edge.leaves.len() as u64 == first);
        // After a restart it goes on with the next tile that begins.
        let skipped = match &known {
            Some(_) => 0,
            None => (first.next_multiple_of(WIDTH) - first).min(leaves.len() as u64),
        };
        let begin = || Edge { first: first.next_multiple_of(WIDTH), leaves: Vec::new() };
        let mut edge = known.unwrap_or_else(begin);
        for leaf in &leaves[skipped as usize..] {
            edge.leaves.push(*leaf);
            if edge.leaves.len() as u64 == WIDTH {
                if let Some(tile) = Tile::at(TileKind::Hashes(0), edge.first / WIDTH, u64::MAX) {
                    self.keep(tenant, &tile, &edge.leaves);
                }
                edge = Edge { first: edge.first + WIDTH, leaves: Vec::new() };
            }
        }
        // Not yet at where the next tile begins: nothing is known of it.
        if first + leaves.len() as u64 >= edge.first {
            edges.insert(tenant.to_owned(), edge);
        }
    }

    /// Forgets the tiles of a ledger: they are made again.
    pub fn forget(&self, tenant: &str) {
        let _ = std::fs::remove_dir_all(self.dir.join(tenant));
        self.edges.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    fn path(&self, tenant: &str, tile: &Tile) -> PathBuf {
        self.dir.join(tenant).join(tile.to_string())
    }

    fn keep(&self, tenant: &str, tile: &Tile, hashes: &[Hash]) {
        let path = self.path(tenant, tile);
        let Ok(mut bytes) = tile.encode(hashes) else { return };
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum[..CHECKSUM_BYTES]);
        let kept = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = kept.and_then(|()| std::fs::write(&path, bytes)) {
            tracing::debug!(path = %path.display(), %error, "a tile is not kept");
        }
    }

    fn kept(&self, tenant: &str, tile: &Tile) -> Option<Vec<Hash>> {
        let bytes = std::fs::read(self.path(tenant, tile)).ok()?;
        let (hashes, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
        if Sha256::digest(hashes)[..CHECKSUM_BYTES] != *checksum {
            return None;
        }
        tile.decode(hashes).ok()
    }

    /// The first `width` leaves of the tile that begins with leaf `first`, if they are at the edge.
    fn at_edge(&self, tenant: &str, first: u64, width: u16) -> Option<Vec<Hash>> {
        let edges = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        let edge = edges.get(tenant).filter(|edge| edge.first == first)?;
        edge.leaves.get(..usize::from(width)).map(<[Hash]>::to_vec)
    }
}

/// The tree of one ledger as it was signed at one size.
pub struct Tree<'a> {
    tiles: &'a Tiles,
    view: &'a View,
    tenant: &'a str,
    size: u64,
}

impl<'a> Tree<'a> {
    /// The tree over the first `size` entries, all of which `view` must have.
    pub fn new(tiles: &'a Tiles, view: &'a View, tenant: &'a str, size: u64) -> Self {
        Self { tiles, view, tenant, size }
    }

    /// The hashes of a tile that the tree has, full or not. `None`: it has no such tile, or one that is wider.
    pub fn hashes(&self, tile: &Tile) -> Result<Option<Vec<Hash>>, CollectorError> {
        let whole = Tile::at(tile.kind(), tile.index(), self.size);
        if whole.is_none_or(|whole| whole.width() < tile.width()) {
            return Ok(None);
        }
        self.read(tile).map(Some)
    }

    /// The root of the perfect subtree over leaves `index`·2^`level` to (`index` + 1)·2^`level`, as
    /// [`indelible_ledger::prove_inclusion`] wants it.
    pub fn node(&self, level: u8, index: u64) -> Result<Hash, CollectorError> {
        let (tile, range) = Tile::holding(level, index, self.size).ok_or_else(|| self.no_such())?;
        let hashes = self.read(&tile)?;
        hashes.get(range).map(root_of).ok_or_else(|| self.no_such())
    }

    /// The bytes of an entry bundle that the ledger has at this size. `None`: it has no such bundle.
    pub fn bundle(&self, bundle: &Tile) -> Result<Option<Vec<u8>>, CollectorError> {
        let whole = Tile::at(bundle.kind(), bundle.index(), self.size);
        if bundle.kind() != TileKind::Entries || whole.is_none_or(|whole| whole.width() < bundle.width()) {
            return Ok(None);
        }
        let entries = self.entries(range_of(bundle))?;
        let bytes = encode_bundle(entries.iter().map(Vec::as_slice));
        bytes.map(Some).map_err(|error| CollectorError::Sign(error.to_string()))
    }

    fn read(&self, tile: &Tile) -> Result<Vec<Hash>, CollectorError> {
        let TileKind::Hashes(level) = tile.kind() else { return Err(self.no_such()) };
        let full = Tile::at(tile.kind(), tile.index(), u64::MAX).ok_or_else(|| self.no_such())?;
        if let Some(mut hashes) = self.tiles.kept(self.tenant, &full) {
            hashes.truncate(usize::from(tile.width()));
            return Ok(hashes);
        }
        let hashes = match level {
            0 => match self.tiles.at_edge(self.tenant, tile.index() * WIDTH, tile.width()) {
                Some(leaves) => leaves,
                None => self.entries(range_of(tile))?.iter().map(|entry| leaf_hash(entry)).collect(),
            },
            _ => lift(tile, |below| self.read(&below)).map_err(|error| match error {
                LiftError::Below(error) => error,
                other => CollectorError::Sign(other.to_string()),
            })?,
        };
        if tile.is_full() {
            self.tiles.keep(self.tenant, tile, &hashes);
        }
        Ok(hashes)
    }

    /// The exact bytes of the entries with these numbers, all of them.
    pub fn entries(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>, CollectorError> {
        let wanted = range.end.saturating_sub(range.start);
        let mut entries = Vec::new();
        self.view.visit_range(self.tenant, range, |bytes| {
            entries.push(bytes.to_vec());
            true
        })?;
        if entries.len() as u64 == wanted { Ok(entries) } else { Err(self.no_such()) }
    }

    fn no_such(&self) -> CollectorError {
        let what =
            format!("ledger {} does not have all of its first {} entries here", self.tenant, self.size);
        CollectorError::Refused(format!("{what}: run indelible verify"))
    }
}

/// The entries that a bundle, or a tile of level 0, stands for.
fn range_of(tile: &Tile) -> Range<u64> {
    let first = tile.index() * WIDTH;
    first..first + u64::from(tile.width())
}
