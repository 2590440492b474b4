//! `resetd keys export`: the public half for whoever asks, the private half into a file that only its
//! owner can read.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use zeroize::Zeroizing;

use super::{FolderArgs, Outcome};
use crate::cli::Settings;
use crate::cli::output::{Output, remark};
use crate::key_admin::KeyFormat;
use crate::keystore::write_new_private;

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// The key's identifier, or its beginning
    kid: String,
    /// How it is written
    #[arg(long, value_enum, default_value = "pem")]
    format: Format,
    /// Write the private half too; whoever has it can set any password
    #[arg(long, requires = "out")]
    private: bool,
    /// The file to write, which must not exist; without it the public half is printed
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Pem,
    Jwk,
}

pub(super) fn run(settings: &Settings, args: &ExportArgs) -> Result<Outcome> {
    let folder =
        if args.private { args.folder.open_own(settings)? } else { args.folder.open(settings)? };
    let kid = folder.kid(&args.kid)?;
    let format = match args.format {
        Format::Pem => KeyFormat::Pem,
        Format::Jwk => KeyFormat::Jwk,
    };
    let text = if args.private {
        folder.keystore().export_private(&kid, format)?
    } else {
        Zeroizing::new(folder.export_public(kid.as_str(), format)?)
    };
    match &args.out {
        None => Output::write(&text)?,
        Some(out) if out.exists() => bail!("{}: exists; wanted a new file", out.display()),
        Some(out) if args.dry_run => remark(&format!("would write {}", out.display())),
        Some(out) => {
            write_new_private(out, text.as_bytes())?;
            remark(&format!("wrote {}, readable by you only", out.display()));
        }
    }
    Ok(Outcome::Done)
}
