//! Tile names, which tiles a tree has, and that proofs can be made from them.

use std::collections::{BTreeMap, BTreeSet};

use indelible_ledger::tile::{LiftError, lift, new_bundles, new_tiles};
use indelible_ledger::{
    Frontier, Hash, Tile, TileError, TileKind, leaf_hash, prove_consistency, prove_inclusion, root_of,
    verify_consistency, verify_inclusion,
};
use proptest::prelude::*;

/// Just beyond 256², so that three tile levels exist.
const THREE_LEVELS: u64 = 65_536 + 300;

fn tile(kind: TileKind, index: u64, width: u16) -> Tile {
    Tile::new(kind, index, width).expect("a tile")
}

#[test]
fn paths_are_those_of_the_specification() {
    for (kind, index, width, path) in [
        (TileKind::Hashes(0), 1_234_067, 256, "tile/0/x001/x234/067"),
        (TileKind::Hashes(2), 0, 1, "tile/2/000.p/1"),
        (TileKind::Hashes(63), 999, 255, "tile/63/999.p/255"),
        (TileKind::Entries, 1000, 256, "tile/entries/x001/000"),
        (TileKind::Entries, 273, 112, "tile/entries/273.p/112"),
        (TileKind::Hashes(0), u64::MAX, 7, "tile/0/x018/x446/x744/x073/x709/x551/615.p/7"),
    ] {
        let tile = tile(kind, index, width);
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse(), Ok(tile));
    }
}

#[test]
fn a_path_has_one_spelling() {
    for path in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile/00/000",
        "tile/+1/000",
        "tile/64/000",
        "tile/256/000",
        "tile/Entries/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/x1/000",
        "tile/0/+01",
        "tile/0/xx01",
        "tile/0/x001//000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/256",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/000.q/1",
        "tile/0/../000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x001/x018/x446/x744/x073/x709/x551/615",
        "tile/0/٠٠٠",
        "tile/0/000\n",
    ] {
        assert_eq!(path.parse::<Tile>(), Err(TileError::Name), "{path:?}");
    }
    assert_eq!("tile/0/".repeat(100_000).parse::<Tile>(), Err(TileError::Name));
}

#[test]
fn a_tree_has_the_tiles_of_the_specification() {
    let tiles: Vec<Tile> = new_tiles(0, 70_000).collect();
    let count = |level, full| {
        tiles.iter().filter(|t| t.kind() == TileKind::Hashes(level) && t.is_full() == full).count()
    };
    assert_eq!((count(0, true), count(1, true), count(2, true)), (273, 1, 0));
    let partial: Vec<String> = tiles.iter().filter(|t| !t.is_full()).map(Tile::to_string).collect();
    assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);

    let tiles: Vec<String> = new_tiles(0, 256).map(|tile| tile.to_string()).collect();
    assert_eq!(tiles, ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(new_tiles(0, 0).count() + new_bundles(0, 0).count(), 0);
}

#[test]
fn growing_adds_just_the_tiles_that_were_not_there() {
    let tiles_of = |size| new_tiles(0, size).chain(new_bundles(0, size)).collect::<BTreeSet<Tile>>();
    for old in (0..1000).step_by(37).chain([255, 256, 257, 65_535, 65_536]) {
        for grown in [0, 1, 255, 256, 257, 1000] {
            let new = old + grown;
            let added: BTreeSet<Tile> = new_tiles(old, new).chain(new_bundles(old, new)).collect();
            let expected = &tiles_of(new) - &tiles_of(old);
            assert_eq!(added, expected, "{old} to {new}");
            assert!(added.iter().all(|tile| tile.exists_at(new) && !tile.exists_at(old)));
        }
    }
    assert_eq!(new_tiles(300, 299).count(), 0);
}

#[test]
fn the_largest_tree_has_tiles() {
    let last = Tile::at(TileKind::Hashes(7), 0, u64::MAX).unwrap();
    assert_eq!(last.to_string(), "tile/7/000.p/255");
    assert_eq!(Tile::at(TileKind::Hashes(8), 0, u64::MAX), None);
    assert_eq!(Tile::at(TileKind::Entries, u64::MAX, u64::MAX), None);
    let added: Vec<String> = new_tiles(u64::MAX - 1, u64::MAX).map(|tile| tile.to_string()).collect();
    assert_eq!(added, ["tile/0/x072/x057/x594/x037/x927/935.p/255"]);
}

/// All hash tiles of a tree, as the bytes that would be served.
fn served(leaves: &[Hash]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for tile in new_tiles(0, leaves.len() as u64) {
        let hashes = if tile.kind() == TileKind::Hashes(0) {
            let start = tile.index() as usize * 256;
            leaves[start..start + usize::from(tile.width())].to_vec()
        } else {
            lift(&tile, |below| read(&files, below)).expect("the level below comes first")
        };
        files.insert(tile.to_string(), tile.encode(&hashes).expect("as wide as its name says"));
    }
    files
}

fn read(files: &BTreeMap<String, Vec<u8>>, tile: Tile) -> Result<Vec<Hash>, TileError> {
    tile.decode(files.get(&tile.to_string()).ok_or(TileError::Name)?)
}

#[test]
fn proofs_come_from_tiles() {
    let leaves: Vec<Hash> = (0..THREE_LEVELS).map(|n| leaf_hash(&n.to_be_bytes())).collect();
    let files = served(&leaves);
    let node = |level: u8, index: u64| {
        let (tile, range) = Tile::holding(level, index, THREE_LEVELS).ok_or(TileError::Name)?;
        Ok::<_, TileError>(root_of(&read(&files, tile)?[range]))
    };

    let root_at = |size: u64| {
        let mut frontier = Frontier::new();
        leaves[..size as usize].iter().for_each(|leaf| frontier.append(*leaf).expect("room"));
        frontier.root()
    };
    let root = root_at(THREE_LEVELS);
    for index in [0, 1, 255, 256, 32_768, 65_535, 65_536, 65_800, THREE_LEVELS - 1] {
        let proof = prove_inclusion(index, THREE_LEVELS, node).unwrap();
        let leaf = &leaves[index as usize];
        assert_eq!(verify_inclusion(&proof, index, THREE_LEVELS, leaf, &root), Ok(()), "{index}");
    }
    for old in [1, 255, 256, 257, 40_000, 65_536, 65_700, THREE_LEVELS - 1] {
        let proof = prove_consistency(old, THREE_LEVELS, node).unwrap();
        assert_eq!(verify_consistency(&proof, old, THREE_LEVELS, &root_at(old), &root), Ok(()), "{old}");
    }
}

#[test]
fn a_node_beyond_the_tree_is_in_no_tile() {
    assert_eq!(Tile::holding(0, 10, 10), None);
    assert_eq!(Tile::holding(3, 1, 15), None);
    assert_eq!(Tile::holding(64, 0, u64::MAX), None);
    let (found, range) = Tile::holding(9, 1, 1024).unwrap();
    assert_eq!((found.to_string().as_str(), range), ("tile/1/000.p/4", 2..4));
    let (found, range) = Tile::holding(63, 0, u64::MAX).unwrap();
    assert_eq!((found.to_string().as_str(), range), ("tile/7/000.p/255", 0..128));
}

#[test]
fn contents_must_fit_the_name() {
    let hashes = tile(TileKind::Hashes(0), 0, 2);
    let bytes = hashes.encode(&[Hash::ZERO; 2]).unwrap();
    assert_eq!(hashes.decode(&bytes), Ok(vec![Hash::ZERO; 2]));
    for wrong in [0, 1, 32, 63, 65, 96] {
        assert_eq!(hashes.decode(&vec![0; wrong]), Err(TileError::Contents), "{wrong} bytes");
    }
    assert_eq!(hashes.encode(&[Hash::ZERO; 3]), Err(TileError::Contents));
    assert_eq!(tile(TileKind::Entries, 0, 2).decode(&bytes), Err(TileError::Contents));
}

#[test]
fn only_full_tiles_are_lifted() {
    let upper = tile(TileKind::Hashes(1), 3, 1);
    let short = lift(&upper, |_| Ok::<_, TileError>(vec![Hash::ZERO; 255]));
    assert_eq!(short, Err(LiftError::NotFull(tile(TileKind::Hashes(0), 768, 256))));
    let missing = lift(&upper, |_| Err(TileError::Name));
    assert_eq!(missing, Err(LiftError::Below(TileError::Name)));
    for lowest in [TileKind::Hashes(0), TileKind::Entries] {
        let lowest = lift(&tile(lowest, 0, 1), |_| Ok::<_, TileError>(vec![Hash::ZERO; 256]));
        assert_eq!(lowest, Err(LiftError::Lowest));
    }
}

fn any_kind() -> impl Strategy<Value = TileKind> {
    prop_oneof![Just(TileKind::Entries), (0u8..=63).prop_map(TileKind::Hashes)]
}

proptest! {
    #[test]
    fn paths_round_trip(kind in any_kind(), index: u64, shift in 0u32..64, width in 1u16..=256) {
        let tile = tile(kind, index >> shift, width);
        prop_assert_eq!(tile.to_string().parse(), Ok(tile));
    }

    #[test]
    fn parsing_a_path_never_panics(path in "tile/([0-9]{1,3}|entries)(/x?[0-9]{2,4}){0,8}(\\.p/[0-9]{0,4})?|.{0,70}") {
        if let Ok(tile) = path.parse::<Tile>() {
            prop_assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn names_never_overflow(kind in any_kind(), level: u8, index: u64, size: u64) {
        if let Some(tile) = Tile::at(kind, index, size) {
            prop_assert!(tile.exists_at(size));
        }
        if let Some((tile, range)) = Tile::holding(level, index, size) {
            prop_assert!(tile.exists_at(size) && range.end <= usize::from(tile.width()));
        }
    }
}
