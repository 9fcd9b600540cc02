//! What the fuzz targets have in common: an input is a few bytes that say what to do, and bytes to do it to.

pub mod bundle;
pub mod witnessed;

/// An input, from which the target takes what it needs.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte; 0 where there is none.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    /// The next two bytes as a number.
    pub fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Bytes up to the first newline, which is taken too; all that is left where there is none.
    pub fn line(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == b'\n').unwrap_or(self.0.len());
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        line
    }

    /// All that is left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// Cuts bytes into pieces. Small seeds cut pieces of that size, other seeds pieces of sizes that follow from
/// them.
pub fn pieces(bytes: &[u8], seed: u16) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed);
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let size = if seed < 32 {
            usize::from(seed)
        } else {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            1 << (state >> 29) | (state >> 16) as usize % 8
        };
        let (piece, behind) = rest.split_at(size.clamp(1, rest.len()));
        rest = behind;
        Some(piece)
    })
}
