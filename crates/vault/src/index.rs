//! Where slots are, by what they are of: nine bytes in a table that is seven sixteenths to seven eighths full, so ten to twenty for
//! each slot, and half as much again while it grows.
//!
//! It has half of a hash and not what was hashed. Who asks gets the slots that it may be, mostly one or none, and reads them.

use hashbrown::HashTable;

/// What a slot is of: kind, month and tag.
pub(crate) type Key = (u8, u32, [u8; 32]);

/// Slots by their keys.
#[derive(Default)]
pub(crate) struct Index {
    slots: HashTable<(u32, u32)>,
}

impl Index {
    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.slots.reserve(more, spread);
    }

    /// Adds a slot.
    pub(crate) fn insert(&mut self, key: &Key, slot: u32) {
        let entry = (hash(key), slot);
        self.slots.insert_unique(spread(&entry), entry, spread);
    }

    /// The slots that may be of this key, the newest first.
    pub(crate) fn of(&self, key: &Key) -> Vec<u32> {
        let wanted = hash(key);
        let near = self.slots.iter_hash(spread(&(wanted, 0)));
        let mut slots: Vec<u32> = near.filter(|(hash, _)| *hash == wanted).map(|(_, slot)| *slot).collect();
        slots.sort_unstable_by(|a, b| b.cmp(a));
        slots
    }
}

/// Tags are hashes or random: of each, four bytes of their own are as good as a hash of all.
fn hash(&(kind, month, ref tag): &Key) -> u32 {
    let [a, b, c, d, ..] = *tag;
    u32::from_le_bytes([a, b, c, d]) ^ month.wrapping_mul(0x9e37_79b1) ^ u32::from(kind).rotate_left(24)
}

/// A table wants bits at both ends of 64.
fn spread(&(hash, _): &(u32, u32)) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_found_by_their_keys_and_beside_others_of_the_same_hash() {
        let key = |kind: u8, month: u32, n: u32| {
            let mut tag = [0; 32];
            tag[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_le_bytes());
            tag[4..8].copy_from_slice(&n.to_le_bytes());
            (kind, month, tag)
        };
        let mut index = Index::default();
        let count = 50_000;
        for n in 0..count {
            index.insert(&key(2, 0, n), n);
            index.insert(&key(3, 24_322, n), count + n);
        }
        for n in 0..count {
            assert!(index.of(&key(2, 0, n)).contains(&n));
            assert!(index.of(&key(3, 24_322, n)).contains(&(count + n)));
        }
        let others = (count..2 * count).filter(|n| !index.of(&key(2, 0, *n)).is_empty()).count();
        assert!(others < 20, "{others} of {count} would be looked at for nothing");
        // One that differs in what is not in the hash; the newest comes first.
        let mut same = key(2, 0, 7);
        same.2[31] ^= 1;
        index.insert(&same, 900_000);
        assert_eq!(index.of(&key(2, 0, 7)), [900_000, 7]);
    }
}
