//! The commands: what they are called, what they take, and what their exit codes mean.

mod audit;
mod callers;
mod client;
mod config;
mod directory;
mod init;
mod inspect;
mod keys;
mod mail;
mod output;
mod progress;
mod serve;
mod token;
mod verify;
mod webhook;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::config::{Config, ConfigError, Layers, Tenant};
use output::{Format, Output};

/// Issues password-reset tokens that anybody can verify offline and that work once.
#[derive(Debug, Parser)]
#[command(
    name = "resetd",
    version,
    after_help = "The first minute:\n  resetd serve                          start, with a key for one run\n  resetd issue alice@example.com        make a token\n  resetd redeem TOKEN                   use it, once\n\nExit codes: 0 done or valid, 1 not valid, not there or not intact, 2 wrong use or failure."
)]
pub struct Cli {
    /// Configuration file; it needs only what differs from the defaults
    #[arg(long, global = true, env = "RESETD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to print: a table for people or JSON for machines
    #[arg(short, long, global = true, env = "RESETD_OUTPUT", default_value = "table")]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the service
    Serve(serve::Args),
    /// Write a commented config.toml and the first key into a folder
    Init(init::Args),
    /// Ask a running service for a token
    Issue(client::IssueArgs),
    /// Check a token offline: everything but whether it was used or revoked
    Verify(verify::Args),
    /// Decode a token without checking anything
    Inspect(inspect::Args),
    /// Spend a token at a running service
    Redeem(client::RedeemArgs),
    /// Revoke one token, a user's tokens or all tokens at a running service
    Revoke(client::RevokeArgs),
    /// Work with the folder of keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Check a configuration or show what is in force
    #[command(subcommand)]
    Config(config::Command),
    /// Make API keys and list callers
    #[command(subcommand)]
    Callers(callers::Command),
    /// Ask the directory of users
    #[command(subcommand)]
    Directory(directory::Command),
    /// Look at mails and try how they leave
    #[command(subcommand)]
    Mail(mail::Command),
    /// Check the audit trail
    #[command(subcommand)]
    Audit(audit::Command),
    /// Make secrets of webhooks, and try one out
    #[command(subcommand)]
    Webhook(webhook::Command),
}

/// How a command ended, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Done, or valid.
    Done,
    /// The token is not valid, the user is not there, or the audit trail is broken, which is an answer
    /// and no failure.
    NotValid,
}

impl Cli {
    /// Runs the command and says how it ended.
    pub fn run(self) -> ExitCode {
        forbid_core_dumps();
        let output = Output::new(self.output);
        let settings = Settings { file: self.config };
        let result = match self.command {
            Command::Serve(args) => serve::run(&settings, &args),
            Command::Init(args) => init::run(&args, output),
            Command::Issue(args) => client::issue(&args, output),
            Command::Verify(args) => verify::run(&settings, &args, output),
            Command::Inspect(args) => inspect::run(&args, output),
            Command::Redeem(args) => client::redeem(&args, output),
            Command::Revoke(args) => client::revoke(&args, output),
            Command::Keys(command) => keys::run(&settings, command, output),
            Command::Config(command) => config::run(&settings, &command, output),
            Command::Callers(command) => callers::run(&settings, command, output),
            Command::Directory(command) => directory::run(&settings, &command, output),
            Command::Mail(command) => mail::run(&settings, &command, output),
            Command::Audit(command) => audit::run(&settings, &command, output),
            Command::Webhook(command) => webhook::run(&settings, &command, output),
        };
        match result {
            Ok(Outcome::Done) => ExitCode::SUCCESS,
            Ok(Outcome::NotValid) => ExitCode::from(1),
            Err(error) => {
                let _ = writeln!(io::stderr(), "resetd: {}", with_causes(&error));
                ExitCode::from(2)
            }
        }
    }
}

/// Keys are in memory: no copy of it goes to disk when the process crashes. Where that is refused, the
/// limit was lower already.
fn forbid_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
}

/// The error and its causes on one line. Most errors tell their cause themselves; nothing is said
/// twice.
fn with_causes(error: &anyhow::Error) -> String {
    let causes = error.chain().skip(1).map(ToString::to_string);
    causes.fold(error.to_string(), |told, cause| {
        if told.contains(&cause) { told } else { format!("{told}: {cause}") }
    })
}

/// Where the settings of a command come from.
#[derive(Clone, Debug)]
struct Settings {
    file: Option<PathBuf>,
}

/// A flag that covers a setting: its name, the setting, the value given.
type Flag<'f> = (&'static str, &'static str, Option<&'f str>);

/// The tenant that `--tenant` names.
fn named_tenant<'c>(config: &'c Config, name: &str) -> Result<&'c Tenant> {
    config.tenant(name).map_err(|problem| anyhow!("--tenant: {problem}"))
}

impl Settings {
    fn layers(&self, flags: &[Flag<'_>]) -> Result<Layers, ConfigError> {
        let mut layers = Layers::defaults()?;
        if let Some(file) = &self.file {
            layers.add_file(file)?;
        }
        layers.add_variables(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        }))?;
        for (flag, key, value) in flags {
            if let Some(value) = value {
                layers.add_flag(flag, key, value)?;
            }
        }
        Ok(layers)
    }

    fn config(&self, flags: &[Flag<'_>]) -> Result<Config, ConfigError> {
        Config::from_layers(&self.layers(flags)?)
    }
}
