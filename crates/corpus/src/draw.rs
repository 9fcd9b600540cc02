//! Chance that can be repeated: a stream of numbers from a seed.

/// SplitMix64 (Steele, Lea, Flood 2014): any seed is a good one, and a stream is eight bytes to keep.
#[derive(Clone)]
pub(crate) struct Draw {
    state: u64,
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Draw {
    /// The stream of this number, of the many that a seed has.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Self { state: seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95) };
        Self { state: mixed.next() }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, and without, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From 0 up to, and without, `limit`; 0 of nothing.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// From `least` to `most`.
    pub(crate) fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    /// True once in `1 / share` times.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// How long until the next of events that come at random, `mean` apart.
    pub(crate) fn gap(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }

    /// About the standard normal distribution: four draws of 16 bits, added up.
    pub(crate) fn normal(&mut self) -> f64 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
        // The sum has mean 2 and variance 1/3, in units of 2^16.
        (sum as f64 / 65536.0 - 2.0) * 1.732
    }

    /// Positive, half of all below `median`, with a long tail: a log-normal of this spread.
    pub(crate) fn skewed(&mut self, median: f64, spread: f64) -> f64 {
        median * (self.normal() * spread).exp()
    }

    /// One of them, the first ones far more often: Zipf's law with an exponent of 1.
    pub(crate) fn ranked(&mut self, count: usize) -> usize {
        let rank = (count as f64 + 1.0).powf(self.unit()) as usize;
        rank.clamp(1, count.max(1)) - 1
    }

    /// One of them.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// One of them, by the weight that each has.
    pub(crate) fn weighed<'a, T>(&mut self, of: &'a [T], weight: impl Fn(&T) -> f64) -> &'a T {
        let total: f64 = of.iter().map(&weight).sum();
        let mut left = self.unit() * total;
        for one in of {
            left -= weight(one);
            if left < 0.0 {
                return one;
            }
        }
        &of[of.len() - 1]
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for part in out.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
        out
    }

    /// Lower-case hex of `N` bytes.
    pub(crate) fn hex<const N: usize>(&mut self) -> String {
        indelible_record::commitment::to_hex(&self.bytes::<N>())
    }
}
