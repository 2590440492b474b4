//! `resetd audit verify`: whether an audit trail is as it was written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use super::output::{Output, facts, remark};
use super::{Outcome, Settings};
use crate::audit::{Expected, Report, files_in, verify};
use crate::config::Audit;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check that no line was altered, removed, moved or put in, over all files of a trail
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// Files and folders of one trail, in order; the configured folder by default
    paths: Vec<PathBuf>,
    /// Number of a line that must be there: as printed earlier and kept elsewhere
    #[arg(long, value_name = "N")]
    last_seq: Option<u64>,
    /// Hash of that line, 64 hexadecimal digits
    #[arg(long, value_name = "HASH", value_parser = parse_hash)]
    last_hash: Option<String>,
}

fn parse_hash(text: &str) -> Result<String, String> {
    let is_hash = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let hash = is_hash.then(|| text.to_ascii_lowercase());
    hash.ok_or_else(|| "wanted 64 hexadecimal digits".into())
}

pub(super) fn run(settings: &Settings, command: &Command, output: Output) -> Result<Outcome> {
    let Command::Verify(args) = command;
    let files = if args.paths.is_empty() {
        configured_files(&settings.config(&[])?.audit)?
    } else {
        named_files(&args.paths)?
    };
    if files.is_empty() {
        bail!("there is no file of an audit trail; name its folder: resetd audit verify DIR");
    }
    // Of single files nobody can say whether they are all.
    let whole = args.paths.iter().all(|path| path.is_dir());
    let expected = Expected { whole, seq: args.last_seq, hash: args.last_hash.clone() };
    let report = verify(&files, &expected)?;
    output.print(&report, || shown(&report))?;
    if report.intact {
        remark(
            "Lines that were cut off at the end leave no trace here: keep the last seq and hash elsewhere, \
             and give them to --last-seq and --last-hash next time.",
        );
    }
    Ok(if report.intact { Outcome::Done } else { Outcome::NotValid })
}

fn configured_files(audit: &Audit) -> Result<Vec<PathBuf>> {
    let folder = &audit.directory;
    files_in(folder).with_context(|| {
        format!("cannot read {}, the configured audit.directory", folder.display())
    })
}

fn named_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let files = paths.iter().map(|path| {
        let files = files_at(path);
        files.with_context(|| format!("cannot read {}", path.display()))
    });
    Ok(files.collect::<Result<Vec<_>>>()?.concat())
}

fn files_at(path: &Path) -> io::Result<Vec<PathBuf>> {
    if fs::metadata(path)?.is_dir() { files_in(path) } else { Ok(vec![path.into()]) }
}

fn shown(report: &Report) -> String {
    let number = |number: Option<u64>| number.map_or_else(|| "-".into(), |it| it.to_string());
    let mut lines = vec![
        ("intact", if report.intact { "yes".into() } else { "no".into() }),
        ("files", report.files.to_string()),
        ("lines", report.lines.to_string()),
        ("first seq", number(report.first_seq)),
        ("last seq", number(report.last_seq)),
        ("last hash", report.last_hash.clone().unwrap_or_else(|| "-".into())),
    ];
    if let Some(fault) = &report.fault {
        lines.push(("file", fault.file.display().to_string()));
        lines.push(("line", fault.line.to_string()));
        lines.push(("wanted", fault.wanted.clone()));
        lines.push(("found", fault.found.clone()));
    }
    facts(lines)
}
