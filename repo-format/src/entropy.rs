//! Randomness as an argument: the system's for real work, a seeded one where a test must repeat.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use std::sync::Mutex;

/// A source of random bytes for keys, salts and names.
pub trait Entropy: Send + Sync {
    /// Fills `out`. There is no way to go on without randomness, so a failure of the system's source panics.
    fn fill(&self, out: &mut [u8]);
}

/// Random array of any size.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// The operating system's generator.
#[derive(Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        SystemRandom::new().fill(out).expect("the system's random number generator works");
    }
}

/// Repeatable bytes for tests and golden files. Never for real repositories.
pub struct SeededEntropy(Mutex<blake3::OutputReader>);

impl SeededEntropy {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        Self(Mutex::new(hasher.finalize_xof()))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().expect("no panic while filling").fill(out);
    }
}
