//! Randomness from the operating system.
//!
//! Salts and event ids are needed several times for every request, and each system call for a few bytes
//! costs more than drawing them. So each thread draws a page at a time, hands every byte out once, and
//! wipes it from the page as it does.

use crate::clock;
use std::cell::RefCell;
use std::io;

const PAGE_BYTES: usize = 4096;

thread_local! {
    static PAGE: RefCell<Page> = const { RefCell::new(Page { bytes: [0; PAGE_BYTES], used: PAGE_BYTES }) };
}

struct Page {
    bytes: [u8; PAGE_BYTES],
    used: usize,
}

/// `N` random bytes, at most a page. Fails only where the operating system has no randomness.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    const { assert!(N <= PAGE_BYTES) };
    PAGE.with_borrow_mut(|page| {
        if PAGE_BYTES - page.used < N {
            getrandom::fill(&mut page.bytes).map_err(|error| io::Error::other(error.to_string()))?;
            page.used = 0;
        }
        let mut out = [0; N];
        let drawn = &mut page.bytes[page.used..page.used + N];
        out.copy_from_slice(drawn);
        drawn.fill(0);
        page.used += N;
        Ok(out)
    })
}

/// A new UUID of version 7 (RFC 9562 §5.7): 48 bits of milliseconds since 1970, the rest random but for the
/// marks of version and variant. Ids of one millisecond are in no order.
pub fn uuid_v7() -> io::Result<[u8; 16]> {
    let mut id: [u8; 16] = bytes()?;
    let millis = (clock::now().0 / 1000).to_be_bytes();
    id[..6].copy_from_slice(&millis[2..]);
    id[6] = 0x70 | (id[6] & 0x0F);
    id[8] = 0x80 | (id[8] & 0x3F);
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nothing_is_handed_out_twice_on_any_thread() {
        let draw = || (0..1000).map(|_| bytes::<16>().unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let drawn: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 4000);
        assert!(drawn.iter().all(|bytes| *bytes != [0; 16]));
    }

    #[test]
    fn a_uuid_says_when_it_was_made_and_what_it_is() {
        let (before, id, after) = (clock::now().0 / 1000, uuid_v7().unwrap(), clock::now().0 / 1000);
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&id[..6]);
        assert!((before..=after).contains(&i64::from_be_bytes(millis)));
        assert_eq!((id[6] >> 4, id[8] >> 6), (7, 0b10));
    }
}
