//! The end of what a program printed, in bounded memory.

/// How much is kept: errors stand at the end.
const KEPT_BYTES: usize = 4096;

/// The last bytes of an output, and how many there were.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    tail: Vec<u8>,
    total_bytes: u64,
}

impl Captured {
    /// Takes what was printed next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total_bytes += bytes.len() as u64;
        let new = &bytes[bytes.len().saturating_sub(KEPT_BYTES)..];
        let excess = (self.tail.len() + new.len()).saturating_sub(KEPT_BYTES);
        self.tail.drain(..excess);
        self.tail.extend_from_slice(new);
    }

    /// How much was printed.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The end of it as text; says how much is missing before.
    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail).trim().to_owned();
        match self.total_bytes - self.tail.len() as u64 {
            0 => text,
            missing => format!("[{missing} bytes left out] {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Captured, KEPT_BYTES};

    #[test]
    fn only_the_end_is_kept_and_the_rest_is_counted() {
        let mut captured = Captured::default();
        captured.push(b"first ");
        captured.push(&vec![b'x'; 10 * KEPT_BYTES]);
        captured.push(b" last\n");
        assert_eq!(captured.total_bytes(), 12 + 10 * KEPT_BYTES as u64);
        assert_eq!(captured.tail.len(), KEPT_BYTES);
        let text = captured.text();
        assert!(text.starts_with("[36876 bytes left out] xx") && text.ends_with("xx last"), "{text}");
    }

    #[test]
    fn a_short_output_is_kept_whole() {
        let mut captured = Captured::default();
        captured.push(b"one\n");
        captured.push(b"two\xFF\n");
        assert_eq!(captured.text(), "one\ntwo\u{FFFD}");
    }
}
