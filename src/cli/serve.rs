//! `resetd serve`: logs, signals and the banner around the server.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::progress::Reading;
use super::{Outcome, Settings};
use crate::config::{AuditSink, Config, Listen, Log, LogFormat};
use crate::serve::{ReadConfig, Reload, Started, serve};

/// How long threads that wait for others may go on when all is done.
const LAST_THREADS: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address and port, or unix:PATH, to listen on; port 0 takes any free port
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Folder of private keys
    #[arg(long, value_name = "DIR")]
    keys: Option<String>,
    /// Folder of state
    #[arg(long, value_name = "DIR")]
    state: Option<String>,
    /// The folder of state was restored from a backup: refuse all tokens issued before this start,
    /// since what was spent after the backup is not known
    #[arg(long)]
    after_restore: bool,
}

pub(super) fn run(settings: &Settings, args: &Args) -> Result<Outcome> {
    let read = reader(settings, args);
    let (mut config, in_force) = read.read()?;
    config.state.after_restore = args.after_restore;
    start_log(config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(async {
        // A file that may not grow further is an error of that write, not the end of the server.
        let too_large = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        let _kept = signal(too_large).context("cannot take signals")?;
        // Before anything listens, so that no signal is missed.
        let stop = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        let [Ok(terminate), Ok(interrupt)] = stop else { anyhow::bail!("cannot take signals") };
        let mut hangup = signal(SignalKind::hangup()).context("cannot take signals")?;
        let wanted = Arc::new(Notify::new());
        let reload = Reload { read, settings: in_force, wanted: Arc::clone(&wanted) };
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                wanted.notify_one();
            }
        });
        let reading = Reading::new();
        let told = |done, of| reading.told(done, of);
        let to_stderr = config.audit.sink == AuditSink::Stdout;
        let greet = |started: &Started| greet(started, to_stderr);
        serve(config, reload, &told, greet, either(terminate, interrupt)).await?;
        Ok(Outcome::Done)
    });
    // A message to a service that hangs is on a thread that nothing ends; what it says is kept.
    runtime.shutdown_timeout(LAST_THREADS);
    served
}

/// Reads the configuration as at the start: the same file, variables and flags.
fn reader(settings: &Settings, args: &Args) -> ReadConfig {
    let (settings, listen) = (settings.clone(), args.listen.clone());
    let (keys, state) = (args.keys.clone(), args.state.clone());
    ReadConfig::new(move || {
        let layers = settings.layers(&[
            ("--listen", "server.listen", listen.as_deref()),
            ("--keys", "keys.directory", keys.as_deref()),
            ("--state", "state.directory", state.as_deref()),
        ])?;
        let values = layers.values().into_iter();
        let in_force = values.map(|(key, value)| (key, value.to_string())).collect();
        Ok((Config::from_layers(&layers)?, in_force))
    })
}

async fn either(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn start_log(log: Log) {
    let is_terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_max_level(log.level)
        .with_target(false)
        // Told of on the same stream, a line that cannot be written would end its request.
        .log_internal_errors(false)
        .with_ansi(is_terminal && std::env::var_os("NO_COLOR").is_none())
        .with_writer(io::stderr);
    let is_pretty = match log.format {
        LogFormat::Auto => is_terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    if is_pretty {
        builder.init();
    } else {
        builder.json().flatten_event(true).with_current_span(false).init();
    }
}

/// Where the audit trail goes to standard output, nothing else may stand there.
fn greet(started: &Started, to_stderr: bool) {
    tracing::info!(address = %started.listen, "listening");
    let banner = banner(started);
    // Nobody may be reading; that is no reason to stop.
    let _ = if to_stderr {
        io::stderr().write_all(banner.as_bytes())
    } else {
        io::stdout().write_all(banner.as_bytes())
    };
}

fn banner(started: &Started) -> String {
    let url = started.listen.url(started.has_tls);
    let mut lines = vec![format!("resetd listens on {url}")];
    if let Some(listen) = &started.admin_listen {
        let url = listen.url(started.has_tls);
        lines.push(format!("keys are managed and metrics are read on {url}"));
    }
    for (kid, folder) in &started.first_keys {
        lines.push(format!("made the first key {kid} in {}", folder.display()));
    }
    if let Some(key) = &started.one_run_api_key {
        let key = key.expose();
        // The client commands do not speak to Unix sockets; curl does, and then wants some URL.
        let (variables, curl) = match &started.listen {
            Listen::Address(_) => (format!("RESETD_URL={url} "), format!("curl -s {url}")),
            Listen::Socket(path) => {
                let curl = format!("curl -s --unix-socket '{}' http://localhost", path.display());
                (String::new(), curl)
            }
        };
        lines.push(format!(
            "no caller is configured, so this API key is good for this run only:

  export {variables}RESETD_API_KEY={key}

make a token:

  {curl}/password-tokens -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' -d '{{\"username\": \"alice@example.com\"}}'"
        ));
    }
    lines.join("\n") + "\n"
}
