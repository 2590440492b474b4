//! `resetd mail preview | test`: mails before anybody gets one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Subcommand;
use data_encoding::HEXLOWER;
use resetd_verify::Timestamp;
use serde_json::json;

use super::output::{Output, facts, remark};
use super::{Outcome, Settings, named_tenant};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, MailTransport, Tenant};
use crate::domain::email::EmailAddress;
use crate::domain::identifier::{Username, masked};
use crate::domain::language::Language;
use crate::domain::policy::TenantName;
use crate::mail::{About, Kind, Letter, LetterId, Part, Rendered, Templates, Values};
use crate::random::Random;
use crate::serve::mail::{example_link, mailer, product, templates};

/// Who a preview is for.
const NOBODY: &str = "ann@example.com";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write every mail in every language, with made-up values, into files to look at
    Preview(PreviewArgs),
    /// Send a mail by the configured way, and say what came of it
    Test(TestArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct PreviewArgs {
    /// The tenant whose mails they are
    #[arg(long, default_value = TenantName::DEFAULT)]
    tenant: String,
    /// This language alone
    #[arg(long, value_parser = parse_language)]
    language: Option<Language>,
    /// Folder for the files; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "mail-preview")]
    output_directory: PathBuf,
    /// Open it in the browser
    #[arg(long)]
    open: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct TestArgs {
    /// Address that it goes to
    #[arg(value_parser = parse_address)]
    to: EmailAddress,
    /// The tenant that it comes from
    #[arg(long, default_value = TenantName::DEFAULT)]
    tenant: String,
    /// The language of the mail
    #[arg(long, value_parser = parse_language)]
    language: Option<Language>,
}

fn parse_language(text: &str) -> Result<Language, String> {
    Language::parse(text).ok_or_else(|| format!("wanted {}", Language::WANTED))
}

fn parse_address(text: &str) -> Result<EmailAddress, String> {
    EmailAddress::parse(text).ok_or_else(|| format!("wanted {}", EmailAddress::WANTED))
}

pub(super) fn run(settings: &Settings, command: &Command, output: Output) -> Result<Outcome> {
    let config = settings.config(&[])?;
    match command {
        Command::Preview(args) => preview(&config, args, output),
        Command::Test(args) => test(&config, args, output),
    }
}

fn preview(config: &Config, args: &PreviewArgs, output: Output) -> Result<Outcome> {
    let tenant = named_tenant(config, &args.tenant)?;
    let (templates, now) = (templates(tenant)?, SystemClock::new().now());
    let folder = &args.output_directory;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut shown = Vec::new();
    for kind in Kind::ALL {
        for language in chosen(&templates, kind, args.language.as_ref())? {
            let name = format!("{}.{language}", kind.name());
            let to = address_of_nobody()?;
            let rendered = made_up(tenant, &templates, kind, &language, now)?;
            write_all(folder, &name, &letter(&name.replace('.', "-"), tenant, to, now, rendered)?)?;
            shown.push(name);
        }
    }
    let index = folder.join("index.html");
    write(&index, index_page(&shown).as_bytes())?;
    output.print(&json!({ "index": index, "mails": shown }), || {
        facts([("mails", shown.join(", ")), ("look at", index.display().to_string())])
    })?;
    if args.open {
        open(&index);
    }
    Ok(Outcome::Done)
}

/// All languages, or the one that was asked for.
fn chosen(templates: &Templates, kind: Kind, wanted: Option<&Language>) -> Result<Vec<Language>> {
    let there = templates.languages(kind);
    match wanted {
        None => Ok(there.to_vec()),
        Some(wanted) if there.contains(wanted) => Ok(vec![wanted.clone()]),
        Some(wanted) => {
            let there: Vec<_> = there.iter().map(Language::as_str).collect();
            let there = there.join(", ");
            bail!(
                "--language: no template {:?} is there in {wanted}, there are {there}",
                kind.name()
            )
        }
    }
}

fn write_all(folder: &Path, name: &str, letter: &Letter) -> Result<()> {
    let rendered = &letter.rendered;
    let file = |ending: &str| folder.join(format!("{name}{ending}"));
    write(&file(Part::Html.ending()), rendered.html().expose().as_bytes())?;
    write(&file(Part::Subject.ending()), rendered.subject().as_bytes())?;
    write(&file(Part::Text.ending()), rendered.text().expose().as_bytes())?;
    write(&file(".eml"), letter.message()?.bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Says nothing about anybody: its values are made up.
fn made_up(
    tenant: &Tenant,
    templates: &Templates,
    kind: Kind,
    language: &Language,
    now: Timestamp,
) -> Result<Rendered> {
    let username = Username::parse(NOBODY).ok_or_else(|| anyhow!("{NOBODY} is no username"))?;
    let expires = now.plus(tenant.policy.lifetime.default);
    let about = match kind {
        Kind::Reset => About::Reset { link: example_link(tenant), expires, now },
        Kind::Redeemed => About::Redeemed { at: now },
    };
    let values = Values { username: &username, product: product(tenant), about };
    Ok(templates.render(std::slice::from_ref(language), &values)?)
}

fn letter(
    id: &str,
    tenant: &Tenant,
    to: EmailAddress,
    date: Timestamp,
    rendered: Rendered,
) -> Result<Letter> {
    let wanted = || anyhow!("wanted {}, found {id:?}", LetterId::WANTED);
    let id = LetterId::parse(id).ok_or_else(wanted)?;
    Ok(Letter { id, to, from: tenant.mail.from.clone(), date, rendered })
}

fn address_of_nobody() -> Result<EmailAddress> {
    EmailAddress::parse(NOBODY).ok_or_else(|| anyhow!("{NOBODY} is no address"))
}

/// Each mail as it looks in a light and in a dark window, wide and narrow.
fn index_page(names: &[String]) -> String {
    let mails: String = names.iter().map(|name| index_entry(name)).collect();
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mails, with made-up values</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 24px; background: #ffffff; color: #1c2430; }}
iframe {{ border: 1px solid #7b8794; height: 720px; max-width: 100%; }}
.wide {{ width: 640px; }}
.narrow {{ width: 320px; }}
.dark {{ color-scheme: dark; }}
.light {{ color-scheme: light; }}
</style>
<h1>Mails, with made-up values</h1>
{mails}</html>
"#
    )
}

fn index_entry(name: &str) -> String {
    let frame = |look: &str, width: &str| {
        format!(
            "<iframe class=\"{look} {width}\" title=\"{name}, {look}, {width}\" src=\"{name}.html\"></iframe>\n"
        )
    };
    let frames = [("light", "wide"), ("dark", "wide"), ("light", "narrow"), ("dark", "narrow")]
        .map(|(look, width)| frame(look, width));
    format!(
        "<h2>{name}</h2>\n<p><a href=\"{name}.html\">HTML</a>, <a href=\"{name}.subject.txt\">subject</a>, <a href=\"{name}.txt\">text</a>, <a href=\"{name}.eml\">the whole mail</a></p>\n<div>\n{}</div>\n",
        frames.concat()
    )
}

/// What opens a file is another program's matter; the files are there in any case.
fn open(index: &Path) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut process = Process::new(opener);
    process.arg(index).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let why = match process.status() {
        Ok(status) if status.success() => return,
        Ok(status) => format!("{opener} ended with {status}"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!("there is no {opener}"),
        Err(error) => format!("{opener}: {error}"),
    };
    remark(&format!("No browser was opened ({why}); open {} yourself.", index.display()));
}

fn test(config: &Config, args: &TestArgs, output: Output) -> Result<Outcome> {
    let tenant = named_tenant(config, &args.tenant)?;
    let Some(way) = way(config) else {
        bail!("mail.transport is \"off\", so no mail leaves; set it to \"smtp\" or \"maildir\"");
    };
    let (templates, now) = (templates(tenant)?, SystemClock::new().now());
    let language = args.language.as_ref().unwrap_or(&tenant.mail.default_language);
    // Looks like a mail with a link, since filters judge by the looks, and says that it is none.
    let rendered = made_up(tenant, &templates, Kind::Reset, language, now)?.marked("[Test]");
    let id = format!("test-{}", HEXLOWER.encode(&Random::new().bytes::<16>()?));
    let letter = letter(&id, tenant, args.to.clone(), now, rendered)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        // Inside the runtime, where connections belong.
        let Some(mailer) = mailer(config)? else { bail!("mail is off") };
        mailer.send(&letter).await.map_err(anyhow::Error::from)
    })?;
    let (to, from) = (masked(args.to.as_str()), tenant.mail.from.to_string());
    output.print(&json!({ "sent": true, "by": way, "from": from, "to": to, "id": id }), || {
        facts([("sent", "yes".into()), ("by", way), ("from", from), ("to", to), ("id", id)])
    })?;
    Ok(Outcome::Done)
}

/// How mail leaves, in words.
fn way(config: &Config) -> Option<String> {
    match &config.mail.transport {
        MailTransport::Off => None,
        MailTransport::Maildir(directory) => Some(format!("the folder {}", directory.display())),
        MailTransport::Smtp(smtp) => Some(format!("{}:{}", smtp.host, smtp.port)),
    }
}
