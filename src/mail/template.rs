//! What mails say: a subject, a text and an HTML page for each kind of mail and each language. All of them are
//! compiled and rendered once when they are read, so that a mistake is told at the start and not in a mail.

mod check;
mod files;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior};

use crate::domain::identifier::is_harmless;
use crate::domain::language::Language;
use crate::domain::secret::Secret;
use files::Files;

pub use values::{About, VALUES, Values};

/// What a mail is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Has the link that leads to a new password.
    Reset,
    /// Tells that the password was reset. It has no link and no token.
    Redeemed,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Reset, Self::Redeemed];

    /// The name, as files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Redeemed => "redeemed",
        }
    }
}

/// A part of a mail, each with a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// One line.
    Subject,
    /// For programs that show no HTML, and for people who want none.
    Text,
    /// A page.
    Html,
}

impl Part {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Subject, Self::Text, Self::Html];

    /// What the names of its files end with.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Subject => ".subject.txt",
            Self::Text => ".txt",
            Self::Html => ".html",
        }
    }
}

/// Templates that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The setting of `[mail]` that must be mended, or that leads to what must be.
    pub setting: &'static str,
    /// The file or the folder, unless the setting alone is wrong.
    pub file: Option<PathBuf>,
    /// The line, from 1, where there is one.
    pub line: Option<usize>,
    /// What was wanted, what was found, and the mend.
    pub problem: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(formatter, "{}:{line}: ", file.display())?,
            (Some(file), None) => write!(formatter, "{}: ", file.display())?,
            (None, _) => {}
        }
        formatter.write_str(&self.problem)
    }
}

impl std::error::Error for TemplateError {}

/// What one mail says. Only templates make it, so its subject is one line.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    subject: String,
    text: Secret,
    html: Secret,
    language: Language,
}

impl Rendered {
    /// The subject: one line.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The text. It may have a link in it that resets a password.
    pub fn text(&self) -> &Secret {
        &self.text
    }

    /// The page. So may it.
    pub fn html(&self) -> &Secret {
        &self.html
    }

    /// The language that was there.
    pub fn language(&self) -> &Language {
        &self.language
    }

    /// The same with something before its subject.
    #[must_use]
    pub fn marked(mut self, mark: &str) -> Self {
        self.subject = single_line(&format!("{mark} {}", self.subject));
        self
    }
}

impl fmt::Debug for Rendered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Rendered({})", self.language)
    }
}

/// All templates of one tenant. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Templates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    environment: Environment<'static>,
    languages: BTreeMap<Kind, Vec<Language>>,
    default: Language,
    files: Files,
}

impl Templates {
    /// Reads the built-in templates and, over them, those of a folder, and tries each one.
    ///
    /// # Errors
    /// The first [`TemplateError`].
    pub fn load(folder: Option<&Path>, default: &Language) -> Result<Self, TemplateError> {
        let files = Files::read(folder)?;
        let languages = files.languages()?;
        for kind in Kind::ALL {
            if !languages[&kind].contains(default) {
                return Err(files.without_default(kind, default, &languages[&kind]));
            }
        }
        let mut environment = empty_environment();
        for (name, source) in files.sources() {
            let added = environment.add_template_owned(name.clone(), source.to_owned());
            added.map_err(|error| files.fault(&name, &error))?;
        }
        let inner = Inner { environment, languages, default: default.clone(), files };
        let templates = Self(Arc::new(inner));
        templates.check()?;
        Ok(templates)
    }

    /// The languages in which there is a kind of mail.
    pub fn languages(&self, kind: Kind) -> &[Language] {
        &self.0.languages[&kind]
    }

    /// Says it in the first of the wanted languages that is there, or in the default one.
    ///
    /// # Errors
    /// [`TemplateError`], where something fails that did not with the values it was tried with.
    pub fn render(
        &self,
        wanted: &[Language],
        values: &Values<'_>,
    ) -> Result<Rendered, TemplateError> {
        let kind = values.about.kind();
        let there = self.languages(kind);
        let language = Language::best(wanted, there).unwrap_or(&self.0.default).clone();
        let context = values.context();
        let part = |part| self.render_part(&name_of(kind, &language, part), &context);
        Ok(Rendered {
            subject: single_line(&part(Part::Subject)?),
            // The engine drops the end of the last line.
            text: Secret::new(part(Part::Text)? + "\n"),
            html: Secret::new(part(Part::Html)?),
            language,
        })
    }

    fn render_part(&self, name: &str, context: &Value) -> Result<String, TemplateError> {
        let template = self.0.environment.get_template(name);
        template
            .and_then(|template| template.render(context))
            .map_err(|error| self.0.files.fault(name, &error))
    }
}

/// The name of a template, which is that of its file.
fn name_of(kind: Kind, language: &Language, part: Part) -> String {
    format!("{}.{language}{}", kind.name(), part.ending())
}

/// What can become a header has no end of a line in it.
fn single_line(text: &str) -> String {
    const MOST_CHARACTERS: usize = 200;
    let text: String = text.chars().map(|c| if is_harmless(c) { c } else { ' ' }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MOST_CHARACTERS).collect()
}

/// A value that is not there is an error. Nothing turns escaping off: the values come from others.
fn empty_environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|name| {
        if is_page(name) { AutoEscape::Html } else { AutoEscape::None }
    });
    environment.set_formatter(write_escaped);
    environment.remove_filter("safe");
    environment
}

fn is_page(template: &str) -> bool {
    template.ends_with(Part::Html.ending())
}

/// As the library does it, but for the slash, which means nothing in HTML: a link stays one that people and
/// programs can read in the source. What is a page is told by its name, since a template can say something
/// else of itself (`autoescape`).
fn write_escaped(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    let text = value.to_string();
    if is_page(state.name()) && !value.is_safe() {
        write_html(out, &text)?;
    } else {
        out.write_str(&text)?;
    }
    Ok(())
}

fn write_html(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            '&' => out.write_str("&amp;")?,
            '<' => out.write_str("&lt;")?,
            '>' => out.write_str("&gt;")?,
            '"' => out.write_str("&quot;")?,
            '\'' => out.write_str("&#39;")?,
            other => out.write_char(other)?,
        }
    }
    Ok(())
}
