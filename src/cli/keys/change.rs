//! The commands that change the folder: what follows is said first, and asked about where something
//! is lost.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use resetd_verify::Algorithm;
use zeroize::Zeroizing;

use super::{ChangeArgs, Outcome, StartArgs, show};
use crate::cli::Settings;
use crate::cli::output::{Output, remark};
use crate::clock::{Clock as _, SystemClock};
use crate::config::read_text;
use crate::domain::rotation::{Plan, Step};
use crate::domain::secret::Secret;
use crate::key_admin::{Done, KeyFolder, Source};

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    /// The file; `-` is standard input
    file: PathBuf,
    /// `RS256` or `PS256` for an RSA key that does not say; `RS256` by default
    #[arg(long)]
    algorithm: Option<String>,
    /// File with the passphrase of an encrypted PEM file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

impl ChangeArgs {
    /// Says what a step does, asks where something is lost, and does it.
    pub(super) fn carry_out(
        &self,
        folder: &KeyFolder,
        step: &Step,
        output: Output,
    ) -> Result<Outcome> {
        self.carry_out_with(folder, step, None, output)
    }

    fn carry_out_with(
        &self,
        folder: &KeyFolder,
        step: &Step,
        source: Option<&Source<'_>>,
        output: Output,
    ) -> Result<Outcome> {
        let clock = SystemClock::new();
        let dry = folder.dry_run(step, source, clock.now())?;
        let is_nothing = dry.plan.changes.is_empty();
        if self.dry_run || is_nothing {
            tell(&dry.plan);
            let why = if is_nothing { "there is nothing to change" } else { "this was a dry run" };
            remark(&format!("nothing was changed: {why}"));
            return print(&dry, output);
        }
        if dry.plan.destructive {
            tell(&dry.plan);
            self.ask()?;
        }
        let done = folder.carry_out(step, source, Some(&dry.plan), clock.now())?;
        if !done.plan.destructive {
            tell(&done.plan);
        }
        print(&done, output)
    }

    fn ask(&self) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            bail!("nothing was changed: say --yes if this is what you want");
        }
        let _ = write!(io::stderr(), "go on? [y/N] ");
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            return Ok(());
        }
        bail!("nothing was changed");
    }
}

fn tell(plan: &Plan) {
    for consequence in &plan.consequences {
        remark(consequence);
    }
}

fn print(done: &Done, output: Output) -> Result<Outcome> {
    output.print(done, || show::table(&done.keys))?;
    Ok(Outcome::Done)
}

pub(super) fn import(settings: &Settings, args: &ImportArgs, output: Output) -> Result<Outcome> {
    let folder = args.change.folder.open_own(settings)?;
    let algorithm = match args.algorithm.as_deref().map(|name| (name, Algorithm::parse(name))) {
        None => None,
        Some((_, Some(algorithm))) => Some(algorithm),
        Some((name, None)) => bail!("--algorithm: wanted RS256 or PS256, found {name:?}"),
    };
    let text = read_source(&args.file)?;
    let passphrase = args.passphrase_file.as_deref().map(read_passphrase).transpose()?;
    let (name, text) = (args.file.as_path(), text.as_bytes());
    let source = Source { name, text, algorithm, passphrase: passphrase.as_ref() };
    let StartArgs { signs_in, force } = args.start;
    let algorithm = algorithm.unwrap_or(folder.rules().algorithm);
    let step = Step::Add { algorithm, signs_in, force };
    args.change.carry_out_with(&folder, &step, Some(&source), output)
}

fn read_source(file: &Path) -> Result<Zeroizing<String>> {
    let place = if file == Path::new("-") { Path::new("/dev/stdin") } else { file };
    read_text(place).with_context(|| file.display().to_string())
}

/// The line in a file; editors end it with a newline.
fn read_passphrase(file: &Path) -> Result<Secret> {
    let text = read_text(file).with_context(|| file.display().to_string())?;
    Ok(Secret::new(text.strip_suffix('\n').unwrap_or(&text)))
}

pub(super) fn encrypt(settings: &Settings, args: &ChangeArgs, output: Output) -> Result<Outcome> {
    let folder = args.folder.open_own(settings)?;
    let keystore = folder.keystore();
    let waiting = keystore.to_encrypt()?.len();
    if waiting == 0 {
        remark("nothing was changed: all keys are encrypted with the first passphrase");
        return Ok(Outcome::Done);
    }
    let are = if waiting == 1 { "key is" } else { "keys are" };
    remark(&format!("{waiting} {are} not encrypted with the first passphrase"));
    if args.dry_run {
        remark("nothing was changed: this was a dry run");
        return Ok(Outcome::Done);
    }
    keystore.lock()?.encrypt()?;
    show::list(&folder, output)
}
