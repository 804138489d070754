//! How values look to a person: units, durations, ratios and names that may hold anything. Machines get exact numbers in JSON.

use std::time::Duration;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A number of bytes in the largest unit of which there is at least one, with one decimal.
pub fn bytes(value: u64) -> String {
    let unit = (0..UNITS.len()).rev().find(|unit| value >> (10 * unit) > 0).unwrap_or(0);
    if unit == 0 {
        return format!("{value} B");
    }
    let tenths = (u128::from(value) * 10 + (1 << (10 * unit - 1))) >> (10 * unit);
    // 1023.96 KiB rounds to 1024.0 KiB, which is a MiB.
    match UNITS.get(unit + 1) {
        Some(next) if tenths >= 10_240 => format!("1.0 {next}"),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
    }
}

/// A duration in the two units that matter.
pub fn duration(value: Duration) -> String {
    let seconds = value.as_secs();
    match seconds {
        0 => format!("{} ms", value.subsec_millis()),
        1..60 if value.subsec_millis() >= 100 && seconds < 10 => format!("{seconds}.{} s", value.subsec_millis() / 100),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `2.4x`, or a dash where there is no ratio.
pub fn ratio_text(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.1}x"))
}

/// A point in time in the local time zone, to the minute.
pub fn time(at: jiff::Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// A name for a terminal: control characters, and what would change the direction of the text, are escaped.
pub fn name(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => shown.push_str("\\\\"),
            c if c.is_control() || is_invisible(c) => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// A message for a terminal: like [`name`], but lines stay lines (indented) and a backslash stays one.
pub fn lines(text: &str) -> String {
    let shown: Vec<String> =
        text.lines().map(|line| line.split('\\').map(name).collect::<Vec<_>>().join("\\")).collect();
    shown.join("\n       ")
}

/// Format characters that a terminal does not show but obeys: bidirectional marks, zero widths, separators, tags.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_binary_units() {
        let shown = [0, 1023, 1024, 1536, 1_048_575, 1 << 20, 5 << 30, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 MiB", "5.0 GiB", "16.0 EiB"]);
    }

    #[test]
    fn durations_are_shown_in_the_units_that_matter() {
        let shown = [5, 1500, 15_000, 61_000, 3_660_000, 90_000_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(shown, ["5 ms", "1.5 s", "15 s", "1 min 01 s", "1 h 01 min", "1 d 01 h"]);
    }

    #[test]
    fn names_cannot_control_the_terminal() {
        assert_eq!(name("Büro 1"), "Büro 1");
        assert_eq!(name("a\nb\u{1b}[31m\\"), "a\\nb\\u{1b}[31m\\\\");
        assert_eq!(name("safe\u{202e}gpj"), "safe\\u{202e}gpj");
    }
}
