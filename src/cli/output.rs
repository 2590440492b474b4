//! Tables for people, JSON for machines. Data goes to standard output, remarks to standard error.

use std::io::{self, Write as _};

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets;
use resetd_verify::is_identifier;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

/// Prints one answer in the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    format: Format,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints `json`, or what `text` makes for people. A reader that has seen enough and closed the
    /// pipe, as in `resetd keys list | head -1`, changes nothing about how the command ended.
    pub(super) fn print(self, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        Self::write(&match self.format {
            Format::Table => printable(&text()),
            Format::Json => serde_json::to_string_pretty(json)?,
        })
    }

    /// Prints what has a form of its own.
    pub(super) fn write(text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        match writeln!(io::stdout(), "{}", text.trim_end()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// What a token or a server says may try to move the cursor or to turn the text around.
fn printable(text: &str) -> String {
    let is_harmless = |c: char| c == '\n' || is_identifier(c.encode_utf8(&mut [0; 4]));
    text.chars().map(|c| if is_harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Says something beside the answer.
pub(super) fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Lines of a name and a value.
pub(super) fn facts<'f>(facts: impl IntoIterator<Item = (&'f str, String)>) -> String {
    table(None, facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect())
}

/// Rows under a head.
pub(super) fn rows(head: &[&str], rows: Vec<Vec<String>>) -> String {
    table(Some(head), rows)
}

fn table(head: Option<&[&str]>, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(head) = head {
        table.set_header(head);
    }
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
