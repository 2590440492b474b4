//! Lays one layer of settings over another and remembers where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::raw::RawConfig;
use super::{ConfigError, DEFAULTS, read_text, suggestion};
use crate::domain::secret::Secret;

/// What every variable that is a setting begins with.
pub const ENVIRONMENT_PREFIX: &str = "RESETD_";

/// Variables with the prefix that are no settings of the server: they belong to the command line.
pub const RESERVED_VARIABLES: [&str; 4] =
    ["RESETD_CONFIG", "RESETD_URL", "RESETD_API_KEY", "RESETD_OUTPUT"];

/// The variable that holds the passphrase of the keys itself.
pub const PASSPHRASE_VARIABLE: &str = "RESETD_KEYS_PASSPHRASE";

/// The variable that holds the password of the mail server itself.
pub const MAIL_PASSWORD_VARIABLE: &str = "RESETD_MAIL_PASSWORD";

/// What a variable begins with that holds the secrets of a webhook, with white space between them. Its name
/// follows, in capitals. They are kept apart like all secrets.
pub const WEBHOOK_SECRETS_PREFIX: &str = "RESETD_WEBHOOK_SECRETS_";

/// Variables that hold a secret itself, each with the setting that names a file with it instead. They are
/// kept apart from the settings, so that nothing that lists those can show them.
const SECRET_VARIABLES: [(&str, &str); 4] = [
    (PASSPHRASE_VARIABLE, "keys.passphrase_file"),
    (MAIL_PASSWORD_VARIABLE, "mail.password_file"),
    ("RESETD_DIRECTORY_BIND_PASSWORD", "directory.bind_password_file"),
    ("RESETD_DIRECTORY_TOKEN", "directory.token_file"),
];

/// The variable that holds what is otherwise in the file that this setting names.
pub(super) fn secret_variable(key: &str) -> Option<&'static str> {
    SECRET_VARIABLES.into_iter().find(|(_, setting)| *setting == key).map(|(name, _)| name)
}

/// Sections that a tenant can have of its own. What is left out there has the documented default, not what
/// the section of that name at the top says.
const OF_TENANTS: [&str; 1] = ["directory"];

/// Sections whose names are the user's own: they stand in files only.
const IN_FILES_ONLY: [&str; 7] = [
    "tenants.",
    "callers.",
    "bearers.",
    "webhooks.",
    "servicestack.appliances.",
    "servicestack.suites.",
    "servicestack.subdomains.",
];

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The compiled-in `config.toml`.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Variable(name) => write!(formatter, "environment variable {name}"),
            Self::Flag(name) => write!(formatter, "flag {name}"),
        }
    }
}

/// The layers laid so far. `Debug` shows where values came from, not the values: a secret may stand where none
/// belongs.
#[derive(Clone)]
pub struct Layers {
    values: Table,
    /// By dotted key, as in `token.issuer` or `callers.0.name`; also for sections.
    origins: BTreeMap<String, Origin>,
    webhook_secrets: BTreeMap<String, Secret>,
    /// What [`SECRET_VARIABLES`] hold.
    secrets: BTreeMap<&'static str, Secret>,
}

impl fmt::Debug for Layers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Layers").field("origins", &self.origins).finish_non_exhaustive()
    }
}

impl Layers {
    /// Starts from the defaults.
    ///
    /// # Errors
    /// [`ConfigError`] if the compiled-in file were faulty.
    pub fn defaults() -> Result<Self, ConfigError> {
        let mut layers = Self {
            values: Table::new(),
            origins: BTreeMap::new(),
            webhook_secrets: BTreeMap::new(),
            secrets: BTreeMap::new(),
        };
        layers.add_text(DEFAULTS, |_| Origin::Default, Path::new("config.toml"))?;
        Ok(layers)
    }

    /// Lays a file over what is there.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, and the line where there is one.
    pub fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = read_text(path)
            .map_err(|error| ConfigError::Unreadable { path: path.into(), error })?;
        self.add_text(&text, |line| Origin::File { path: path.into(), line }, path)?;
        // Read at once, so that a mistake in the file is told before one that covers it.
        self.read().map(drop)
    }

    /// Lays environment variables over what is there.
    ///
    /// # Errors
    /// [`ConfigError`] names the variable.
    pub fn add_variables(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        let settings = self.settings();
        for (name, text) in variables {
            if !name.starts_with(ENVIRONMENT_PREFIX) || is_for_others(&name, &text) {
                continue;
            }
            if name.starts_with(WEBHOOK_SECRETS_PREFIX) {
                self.webhook_secrets.insert(name, Secret::new(text));
                continue;
            }
            let mut secrets = SECRET_VARIABLES.into_iter();
            if let Some((secret, _)) = secrets.find(|(secret, _)| *secret == name) {
                self.secrets.insert(secret, Secret::new(text));
                continue;
            }
            let Some(key) = settings.iter().find(|key| variable_of(key) == name) else {
                let known = settings.iter().map(|key| variable_of(key));
                let nearest = nearest(&name, known.chain(secrets_by_variable()));
                return Err(ConfigError::UnknownVariable { name, nearest });
            };
            self.set(key, &text, Origin::Variable(name))?;
        }
        Ok(())
    }

    /// Lays a flag over what is there.
    ///
    /// # Errors
    /// [`ConfigError`] names the flag.
    pub fn add_flag(
        &mut self,
        flag: &'static str,
        key: &str,
        text: &str,
    ) -> Result<(), ConfigError> {
        self.set(key, text, Origin::Flag(flag))
    }

    /// Where a setting, or the nearest section around it, was set.
    pub fn origin(&self, key: &str) -> &Origin {
        let mut key = key;
        loop {
            if let Some(origin) = self.origins.get(key) {
                return origin;
            }
            match key.rsplit_once('.') {
                Some((section, _)) => key = section,
                None => return &Origin::Default,
            }
        }
    }

    /// What the variables that begin with [`WEBHOOK_SECRETS_PREFIX`] hold, by their whole names.
    pub(super) fn webhook_secrets(&self) -> &BTreeMap<String, Secret> {
        &self.webhook_secrets
    }

    /// What a variable of [`SECRET_VARIABLES`] holds.
    pub(super) fn secret(&self, variable: &str) -> Option<&Secret> {
        self.secrets.get(variable)
    }

    /// Every setting in force, by dotted key, in the order of the keys.
    pub fn values(&self) -> Vec<(String, Value)> {
        let mut values = Vec::new();
        collect(&Value::Table(self.values.clone()), String::new(), &mut values);
        values
    }

    /// The settings as written, types and names checked.
    pub(super) fn read(&self) -> Result<RawConfig, ConfigError> {
        serde_path_to_error::deserialize(self.filled_in()?).map_err(|error| {
            let key = dotted(error.path());
            let message = error.inner().message();
            let problem = message.replace("expected u64", "wanted a whole number, 0 or more");
            let problem = problem + &suggestion(meant(message).as_deref());
            ConfigError::Invalid { origin: self.origin(&key).clone(), key, problem }
        })
    }

    /// The values, with the defaults in the sections of tenants.
    fn filled_in(&self) -> Result<Table, ConfigError> {
        let mut values = self.values.clone();
        let Some(Value::Table(tenants)) = values.get_mut("tenants") else {
            return Ok(values);
        };
        let defaults = Self::defaults()?.values;
        for tenant in tenants.iter_mut().filter_map(|(_, tenant)| tenant.as_table_mut()) {
            for name in OF_TENANTS {
                if let Some(Value::Table(section)) = tenant.get_mut(name)
                    && let Some(Value::Table(whole)) = defaults.get(name)
                {
                    let mut whole = whole.clone();
                    overlay(&mut whole, std::mem::take(section));
                    *section = whole;
                }
            }
        }
        Ok(values)
    }

    fn add_text(
        &mut self,
        text: &str,
        origin: impl Fn(usize) -> Origin,
        path: &Path,
    ) -> Result<(), ConfigError> {
        let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: path.into(),
            line: error.span().map_or(1, |span| line_of(span.start)),
            message: error.message().into(),
        })?;
        let origins = &mut self.origins;
        record(table.get_ref(), "", &mut |key, offset| {
            origins.insert(key, origin(line_of(offset)));
        });
        let values: Table = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.into(),
            line: error.span().map_or(1, |span| line_of(span.start)),
            message: error.message().into(),
        })?;
        overlay(&mut self.values, values);
        Ok(())
    }

    /// The keys that a variable or a flag can set: all of the defaults.
    fn settings(&self) -> Vec<String> {
        let is_setting =
            |key: &String| !IN_FILES_ONLY.iter().any(|section| key.starts_with(section));
        self.values().into_iter().map(|(key, _)| key).filter(is_setting).collect()
    }

    /// Sets one value from text, in the type it already has.
    fn set(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let Some((section, name)) = key.split_once('.') else {
            return Ok(());
        };
        let Some(Value::Table(section)) = self.values.get_mut(section) else {
            return Ok(());
        };
        let Some(value) = section.get_mut(name) else {
            return Ok(());
        };
        let parsed = match value {
            Value::Integer(_) => text.parse().map(Value::Integer).map_err(|_| "a whole number"),
            Value::Boolean(_) => text.parse().map(Value::Boolean).map_err(|_| "true or false"),
            Value::Array(_) => Ok(Value::Array(listed(text))),
            Value::String(_) | Value::Float(_) | Value::Datetime(_) | Value::Table(_) => {
                Ok(Value::String(text.into()))
            }
        };
        match parsed {
            Ok(parsed) => *value = parsed,
            Err(wanted) => {
                let problem = format!("wanted {wanted}, found {text:?}");
                return Err(ConfigError::Invalid { origin, key: key.into(), problem });
            }
        }
        self.origins.insert(key.into(), origin);
        self.read().map(drop)
    }
}

/// Variables of the command line, and those that Kubernetes gives to every container beside a
/// Service named `resetd`.
fn is_for_others(name: &str, value: &str) -> bool {
    RESERVED_VARIABLES.contains(&name)
        || (name == "RESETD_PORT" && value.contains("://"))
        || ["RESETD_SERVICE_", "RESETD_PORT_"].iter().any(|prefix| name.starts_with(prefix))
}

/// A list as a variable or a flag has it: with commas.
fn listed(text: &str) -> Vec<Value> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| Value::String(item.into())).collect()
}

fn secrets_by_variable() -> impl Iterator<Item = String> {
    SECRET_VARIABLES.into_iter().map(|(name, _)| name.to_owned())
}

fn variable_of(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// Sections are laid over member by member, everything else as a whole.
fn overlay(below: &mut Table, above: Table) {
    for (name, value) in above {
        match (below.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => {
                below.insert(name, value);
            }
        }
    }
}

fn record(table: &DeTable<'_>, prefix: &str, note: &mut impl FnMut(String, usize)) {
    for (name, value) in table {
        let key = join(prefix, name.get_ref());
        record_value(value, &key, name.span().start, note);
    }
}

fn record_value(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    offset: usize,
    note: &mut impl FnMut(String, usize),
) {
    note(key.into(), offset);
    if let DeValue::Table(table) = value.get_ref() {
        record(table, key, note);
    }
    if let DeValue::Array(values) = value.get_ref() {
        for (index, value) in values.iter().enumerate() {
            record_value(value, &join(key, &index.to_string()), value.span().start, note);
        }
    }
}

fn collect(value: &Value, key: String, values: &mut Vec<(String, Value)>) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                collect(value, join(&key, name), values);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, join(&key, &index.to_string()), values);
            }
        }
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_) => values.push((key, value.clone())),
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.into() } else { format!("{prefix}.{name}") }
}

/// `callers[0].name` becomes `callers.0.name`.
fn dotted(path: &serde_path_to_error::Path) -> String {
    path.to_string().replace('[', ".").replace(']', "")
}

/// The name that serde's message about an unknown one may have meant. All names in it stand between
/// backticks.
fn meant(message: &str) -> Option<String> {
    let mut names = message.strip_prefix("unknown field `")?.split('`');
    let unknown = names.next()?;
    let known = names.skip(1).step_by(2);
    // Two letters that changed places are one mistake.
    let differs = |known: &str| (strsim::osa_distance(unknown, known), known.to_owned());
    let (distance, nearest) = known.map(differs).min()?;
    (distance <= (unknown.len() / 3).max(1)).then_some(nearest)
}

/// The known name that `name` begins, or that differs least from it and not much.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let differs = |known: &str| {
        let begins = known.starts_with(name) && name.len() > ENVIRONMENT_PREFIX.len();
        if begins { 0 } else { strsim::levenshtein(name, known) }
    };
    let (distance, nearest) = known.map(|known| (differs(&known), known)).min()?;
    (distance <= 4).then_some(nearest)
}
