//! Parses the arguments, runs the command, turns the result into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use resetd::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
