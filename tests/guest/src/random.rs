//! Reproducible numbers (xorshift64*, Vigna 2016). Scenarios print their seed, so a failure can be repeated.

/// A source of numbers.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    /// Zero would stay zero for ever, so it counts as another seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
