//! What the tour found, as one JSON object or as a page for people. It measures nothing itself.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// One line of the table: a recovery point as `icecore list --json` shows it.
pub struct RecoveryPoint {
    pub id: String,
    name: String,
    kind: String,
    bytes_source: u64,
    bytes_changed: u64,
    bytes_read: u64,
    bytes_stored: u64,
    duration: Duration,
}

impl RecoveryPoint {
    /// Takes the numbers from an element of the list; `duration` is how long the backup command took.
    pub fn from_list(point: &Value, duration: Duration) -> Result<Self> {
        let text = |field: &str| {
            point[field].as_str().map(str::to_owned).with_context(|| format!("`icecore list --json` lacks `{field}`"))
        };
        let number = |field: &str| {
            point[field].as_u64().with_context(|| format!("`icecore list --json` lacks the number `{field}`"))
        };
        Ok(Self {
            id: text("id")?,
            name: text("name")?,
            kind: text("kind")?,
            bytes_source: number("bytes_source")?,
            bytes_changed: number("bytes_changed")?,
            bytes_read: number("bytes_read")?,
            bytes_stored: number("bytes_stored")?,
            duration: point["duration_ms"].as_u64().map_or(duration, Duration::from_millis),
        })
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "kind": self.kind,
            "bytes_source": self.bytes_source,
            "bytes_changed": self.bytes_changed,
            "bytes_read": self.bytes_read,
            "bytes_stored": self.bytes_stored,
            "duration_ms": u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// What was verified after the backups.
pub struct Proof {
    pub check: Duration,
    pub restore: Duration,
    pub restored_equal: bool,
}

/// The whole result.
pub struct Summary {
    pub size_bytes: u64,
    /// What lies on the disk.
    pub what: String,
    pub points: Vec<RecoveryPoint>,
    pub proof: Proof,
}

impl Summary {
    /// Whether every restored disk had exactly the bytes of the disk that was backed up.
    pub fn restored_equal(&self) -> bool {
        self.proof.restored_equal
    }

    /// The object that `--json` prints.
    pub fn json(&self) -> Value {
        let points: Vec<Value> = self.points.iter().map(RecoveryPoint::json).collect();
        json!({ "points": points, "restored_equal": self.proof.restored_equal })
    }

    /// The page for people, in colour on a terminal unless `NO_COLOR` is set.
    pub fn text(&self) -> String {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        self.paint(Paint { colored: !no_color && std::io::stdout().is_terminal() })
    }

    fn paint(&self, paint: Paint) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_page(&mut page, paint);
        page
    }

    fn write_page(&self, page: &mut String, paint: Paint) -> std::fmt::Result {
        let heading = format!("One disk of {}, {} recovery points", bytes(self.size_bytes), self.points.len());
        writeln!(page, "\n  {}", paint.bold(&heading))?;
        writeln!(page, "  {}\n", paint.dim(&self.what))?;
        let titles =
            format!("  {:<6} {:<12} {:>10} {:>10} {:>10} {:>8}", "", "kind", "changed", "read", "stored", "time");
        writeln!(page, "{}", paint.dim(&titles))?;
        for (day, point) in self.points.iter().enumerate() {
            let RecoveryPoint { kind, bytes_changed, bytes_read, bytes_stored, duration, .. } = point;
            let (changed, read) = (bytes(*bytes_changed), bytes(*bytes_read));
            let stored = paint.bold(&format!("{:>10}", bytes(*bytes_stored)));
            let time = seconds(*duration);
            writeln!(page, "  day {day:<2} {kind:<12} {changed:>10} {read:>10} {stored} {time:>8}")?;
        }
        let stored_bytes: u64 = self.points.iter().map(|point| point.bytes_stored).sum();
        let source_bytes: u64 = self.points.iter().map(|point| point.bytes_source).sum();
        let ratio = hundredths(source_bytes, stored_bytes);
        let (source, stored) = (bytes(source_bytes), bytes(stored_bytes));
        writeln!(page, "\n  {source} of disks kept in {stored}, {ratio} times less")?;
        writeln!(page, "  every byte in the repository checked in {}", seconds(self.proof.check))?;
        let restore = seconds(self.proof.restore);
        if self.proof.restored_equal {
            writeln!(page, "  {} in {restore}", paint.green("all of them restored byte for byte"))
        } else {
            writeln!(page, "  {}", paint.red("A RESTORED DISK DIFFERS FROM ITS SOURCE"))
        }
    }
}

#[derive(Clone, Copy)]
struct Paint {
    colored: bool,
}

impl Paint {
    fn wrap(self, code: u8, text: &str) -> String {
        if self.colored { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.wrap(1, text)
    }

    fn dim(self, text: &str) -> String {
        self.wrap(2, text)
    }

    fn red(self, text: &str) -> String {
        self.wrap(31, text)
    }

    fn green(self, text: &str) -> String {
        self.wrap(32, text)
    }
}

/// A size with three significant digits or so: `1.21 GiB`, `38.0 MiB`, `512 B`.
pub fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| count >= *unit) {
        Some((name, unit)) if count / unit >= 100 => format!("{} {name}", count / unit),
        Some((name, unit)) => format!("{} {name}", hundredths(count, *unit)),
        None => format!("{count} B"),
    }
}

/// `dividend / divisor` with two digits after the point, rounded down.
fn hundredths(dividend: u64, divisor: u64) -> String {
    let quotient = u128::from(dividend) * 100 / u128::from(divisor.max(1));
    format!("{}.{:02}", quotient / 100, quotient % 100)
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{Paint, Proof, RecoveryPoint, Summary, bytes};

    fn summary(restored_equal: bool) -> Summary {
        let element = json!({
            "id": "p1", "name": "disk", "kind": "full", "created_at": "2026-01-01T00:00:00Z",
            "bytes_source": 4096, "bytes_changed": 4096, "bytes_read": 2048, "bytes_stored": 1024,
        });
        let point = RecoveryPoint::from_list(&element, Duration::from_millis(1500)).expect("a complete element");
        let proof = Proof { check: Duration::ZERO, restore: Duration::ZERO, restored_equal };
        Summary { size_bytes: 4096, what: "files".into(), points: vec![point], proof }
    }

    #[test]
    fn json_has_the_fields_that_others_read() {
        let expected = json!({
            "points": [{ "name": "disk", "kind": "full", "bytes_source": 4096, "bytes_changed": 4096,
                         "bytes_read": 2048, "bytes_stored": 1024, "duration_ms": 1500 }],
            "restored_equal": true,
        });
        assert_eq!(summary(true).json(), expected);
    }

    #[test]
    fn a_list_without_a_number_is_an_error_that_names_it() {
        let element = json!({ "id": "p1", "name": "disk", "kind": "full", "bytes_source": 1 });
        let Err(error) = RecoveryPoint::from_list(&element, Duration::ZERO) else { panic!("accepted") };
        assert!(error.to_string().contains("bytes_changed"), "{error:#}");
    }

    #[test]
    fn the_page_has_no_escape_codes_without_colour_and_shouts_when_a_disk_differs() {
        let page = summary(false).paint(Paint { colored: false });
        assert!(!page.contains('\x1b'));
        assert!(page.contains("DIFFERS"));
        assert!(!summary(true).paint(Paint { colored: true }).contains("DIFFERS"));
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1 << 30), "1.00 GiB");
        assert_eq!(bytes((1 << 20) * 700), "700 MiB");
    }
}
