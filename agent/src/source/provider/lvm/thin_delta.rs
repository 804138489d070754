//! The difference of two thin volumes as `thin_delta` prints it.
//!
//! Its XML is one element a line. What is not the same counts as changed: written, mapped anew, or discarded. An output that
//! does not say that it is complete is an error: a cut list would name too little.

use crate::extents::{Extent, ExtentList, MAX_EXTENTS};
use crate::source::holes;
use anyhow::{Context, Result, bail};
use std::io::{self, BufRead, Read as _};

/// Longer than any line of it.
const MAX_LINE_BYTES: u64 = 4096;
const SECTOR_BYTES: u64 = 512;

/// Reads the output. `size_bytes` is the volume's: the last block may reach beyond.
pub fn parse(output: &mut dyn BufRead, size_bytes: u64) -> Result<ExtentList> {
    let mut delta = Delta { output, block_bytes: None, is_complete: false, problem: None };
    let found = std::iter::from_fn(|| delta.next().transpose()).filter_map(|block| match block {
        Ok(extent) => Extent::from_bounds(extent.offset_bytes(), extent.end_bytes().min(size_bytes)).map(Ok),
        Err(error) => Some(Err(error)),
    });
    let list = holes::collect(found, MAX_EXTENTS, size_bytes).context("reading the output of thin_delta")?;
    if let Some(problem) = delta.problem {
        bail!("thin_delta printed what is not understood: {problem}");
    }
    if !delta.is_complete {
        bail!("the output of thin_delta is cut off");
    }
    Ok(list)
}

struct Delta<'a> {
    output: &'a mut dyn BufRead,
    block_bytes: Option<u64>,
    is_complete: bool,
    problem: Option<String>,
}

impl Delta<'_> {
    /// The next difference.
    fn next(&mut self) -> io::Result<Option<Extent>> {
        let mut line = String::new();
        loop {
            line.clear();
            let length = (&mut *self.output).take(MAX_LINE_BYTES).read_line(&mut line)?;
            if length == 0 || self.problem.is_some() {
                return Ok(None);
            }
            match self.element(line.trim()) {
                Some(Ok(extent)) => return Ok(Some(extent)),
                Some(Err(())) => self.problem = Some(line.trim().chars().take(200).collect()),
                None => {}
            }
        }
    }

    /// What an element says; none when it names no difference.
    fn element(&mut self, line: &str) -> Option<std::result::Result<Extent, ()>> {
        let name = line.strip_prefix('<')?.split([' ', '>', '/']).find(|name| !name.is_empty());
        match (line.starts_with("</"), name) {
            (true, Some("superblock")) => self.is_complete = true,
            (true, Some("diff")) => {}
            (false, Some("superblock")) => match number(line, "data_block_size") {
                Some(sectors) if sectors > 0 => self.block_bytes = sectors.checked_mul(SECTOR_BYTES),
                _ => return Some(Err(())),
            },
            (false, Some("diff" | "same")) => {}
            (false, Some("different" | "left_only" | "right_only")) => return Some(self.blocks(line).ok_or(())),
            _ => return Some(Err(())),
        }
        None
    }

    fn blocks(&self, line: &str) -> Option<Extent> {
        let block_bytes = self.block_bytes?;
        let offset = number(line, "begin")?.checked_mul(block_bytes)?;
        Extent::new(offset, number(line, "length")?.checked_mul(block_bytes)?)
    }
}

/// The number in `name="number"`.
fn number(line: &str, name: &str) -> Option<u64> {
    line.split_whitespace().find_map(|part| {
        let value = part.strip_prefix(name)?.strip_prefix("=\"")?;
        value.split('"').next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::parse;
    use proptest::prelude::{any, proptest};

    const OUTPUT: &str = r#"<superblock uuid="" time="3" transaction="5" data_block_size="128" nr_data_blocks="1600">
  <diff left="1" right="4">
    <same begin="0" length="2"/>
    <different begin="2" length="1"/>
    <same begin="3" length="5"/>
    <left_only begin="8" length="2"/>
    <right_only begin="10" length="1"/>
    <right_only begin="99" length="1"/>
  </diff>
</superblock>
"#;

    fn extents(text: &str, size_bytes: u64) -> anyhow::Result<Vec<(u64, u64)>> {
        let list = parse(&mut text.as_bytes(), size_bytes)?;
        Ok(list.iter().map(|extent| (extent.offset_bytes() >> 16, extent.length_bytes())).collect())
    }

    #[test]
    fn everything_but_the_same_is_changed() {
        assert_eq!(extents(OUTPUT, 100 << 16).unwrap(), [(2, 1 << 16), (8, 3 << 16), (99, 1 << 16)]);
    }

    #[test]
    fn the_last_block_ends_with_the_volume() {
        let cut = (99 << 16) + 4096;
        assert_eq!(extents(OUTPUT, cut).unwrap().last(), Some(&(99, 4096)));
        assert_eq!(extents(OUTPUT, 50 << 16).unwrap().len(), 2, "what lies beyond is not there");
    }

    #[test]
    fn a_cut_output_is_an_error_wherever_it_is_cut() {
        let end = OUTPUT.find("</superblock>").unwrap();
        for length in 0..=end {
            assert!(extents(&OUTPUT[..length], 100 << 16).is_err(), "{length}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (from, to) in [
            ("different begin=\"2\"", "different begin=\"x\""),
            ("length=\"1\"", "length=\"0\""),
            ("length=\"1\"", "length=\"18446744073709551615\""),
            ("data_block_size=\"128\"", "data_block_size=\"0\""),
            ("data_block_size=\"128\" ", ""),
            ("<same begin=\"3\"", "<range begin=\"3\""),
        ] {
            let lie = OUTPUT.replacen(from, to, 1);
            assert_ne!(lie, OUTPUT);
            assert!(extents(&lie, 100 << 16).is_err(), "{to}");
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(text in any::<String>(), at in 0..OUTPUT.len(), byte in any::<u8>()) {
            let _ = extents(&text, 1 << 30);
            let mut bytes = OUTPUT.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = parse(&mut bytes.as_slice(), 1 << 30);
        }
    }
}
