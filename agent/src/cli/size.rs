//! Sizes on the command line: `65536`, `64K`, `64KiB`, `1.5G` is refused (a size is whole).

const UNITS: [(char, u32); 5] = [('K', 10), ('M', 20), ('G', 30), ('T', 40), ('P', 50)];

/// A number of bytes.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size: write whole bytes, or a number with K, M, G or T (1K is 1024)");
    let upper = text.to_ascii_uppercase();
    let short = upper.strip_suffix("IB").unwrap_or(&upper);
    let unit = UNITS.iter().find_map(|(unit, shift)| short.strip_suffix(*unit).map(|digits| (digits, *shift)));
    let (digits, shift) = match unit {
        Some(found) => found,
        // `64iB` has no unit to be of.
        None if short.len() != upper.len() => return Err(wrong()),
        None => (short, 0),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| is_number);
    number.and_then(|number| number.checked_mul(1 << shift)).ok_or_else(wrong)
}

/// A size of at least one byte.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    match parse(text)? {
        0 => Err("a limit of 0 would never end; leave it out for no limit".into()),
        rate => Ok(rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_and_have_binary_units() {
        let good = [("0", 0), ("65536", 65_536), ("64K", 65_536), ("64kib", 65_536), ("2M", 2 << 20), ("3T", 3 << 40)];
        for (text, bytes) in good {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "+1", "1.5G", "64 K", "64iB", "1KB", "99999999999P", "18446744073709551616"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
