//! Where results, notes and errors go. Results are the only thing on standard output; with `--json` they are one JSON value.

use super::failure::{NobodyReads, Report};
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};

/// Columns when the terminal does not say: wide enough that no log line is folded.
const LOG_COLUMNS: u16 = 200;
/// A terminal that says it is narrower does not know.
const NARROWEST_COLUMNS: u16 = 20;

/// How this process talks.
#[derive(Clone, Copy)]
pub struct Console {
    json: bool,
    quiet: bool,
}

/// Whether to write colours to a stream: a terminal of somebody who did not say no.
pub fn coloured(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Console {
    /// By the global options.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether results are JSON.
    pub fn json(self) -> bool {
        self.json
    }

    /// Whether only warnings and errors are shown besides results.
    pub fn quiet(self) -> bool {
        self.quiet
    }

    /// The result of a verb: JSON, or the text of `human`.
    pub fn result<T: Serialize>(self, value: &T, human: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let mut text = if self.json { serde_json::to_string_pretty(value)? } else { human(value) };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        self.write(text.as_bytes())
    }

    /// Raw bytes to standard output.
    pub fn write(self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(NobodyReads.into()),
            other => Ok(other?),
        }
    }

    /// Something a person may want to know.
    pub fn note(self, line: &str) {
        if !self.quiet && !self.json {
            self.line(line);
        }
    }

    /// The same in the middle of a long job, whose bar is on the line now: the bar is drawn again below.
    pub fn aside(self, line: &str) {
        let clear = if io::stderr().is_terminal() { "\r\u{1b}[K" } else { "" };
        self.note(&format!("{clear}{}", agent::output::lines(line)));
    }

    /// Something a person must know; shown with `--quiet` too.
    pub fn warn(self, line: &str) {
        let label = if coloured(io::stderr().is_terminal()) { "\u{1b}[1;33mwarning:\u{1b}[0m" } else { "warning:" };
        self.line(&format!("{label} {}", agent::output::lines(line)));
    }

    /// Why the program ends without having done its work.
    pub fn error(self, report: &Report) {
        if self.json {
            self.line(&report.json());
        } else {
            self.line(report.text(coloured(io::stderr().is_terminal())).trim_end());
        }
    }

    fn line(self, line: &str) {
        // Standard error that is closed is no reason to stop.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// A table with a heading. Columns whose name begins with `>` are aligned to the right.
pub fn table(columns: &[&str], rows: Vec<Vec<String>>) -> String {
    let terminal = io::stdout().is_terminal();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if !terminal {
        table.force_no_tty();
    }
    // A serial console is a terminal of no width.
    if !terminal || table.width().is_none_or(|columns| columns < NARROWEST_COLUMNS) {
        table.set_width(LOG_COLUMNS);
    }
    let bold = coloured(terminal);
    table.set_header(columns.iter().map(|name| {
        let cell = Cell::new(name.trim_start_matches('>'));
        if bold { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    table.add_rows(rows);
    for (index, name) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((if index == 0 { 0 } else { 1 }, 1));
            if name.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Lines of a name and a value.
pub fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}
