//! The files of templates: those that are built in, and those of a folder that go over them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Kind, Part, TemplateError, name_of};
use crate::domain::language::Language;
use crate::file_path::{absolute, unreadable};

/// The longest template in bytes. Mail programs cut off what is longer.
const MAX_BYTES: usize = 100 * 1024;

/// The folder of the repository, compiled in.
const BUILT_IN: [(&str, &str); 12] = [
    ("redeemed.de.html", include_str!("../../../templates/redeemed.de.html")),
    ("redeemed.de.subject.txt", include_str!("../../../templates/redeemed.de.subject.txt")),
    ("redeemed.de.txt", include_str!("../../../templates/redeemed.de.txt")),
    ("redeemed.en.html", include_str!("../../../templates/redeemed.en.html")),
    ("redeemed.en.subject.txt", include_str!("../../../templates/redeemed.en.subject.txt")),
    ("redeemed.en.txt", include_str!("../../../templates/redeemed.en.txt")),
    ("reset.de.html", include_str!("../../../templates/reset.de.html")),
    ("reset.de.subject.txt", include_str!("../../../templates/reset.de.subject.txt")),
    ("reset.de.txt", include_str!("../../../templates/reset.de.txt")),
    ("reset.en.html", include_str!("../../../templates/reset.en.html")),
    ("reset.en.subject.txt", include_str!("../../../templates/reset.en.subject.txt")),
    ("reset.en.txt", include_str!("../../../templates/reset.en.txt")),
];

/// What a file's name must be.
const NAME_WANTED: &str =
    "wanted reset or redeemed, a language, and subject.txt, txt or html, as in \"reset.fr.html\"";

/// The setting that names the folder.
const SETTING: &str = "templates";

type Place = (Kind, Language, Part);

#[derive(Debug)]
struct File {
    path: PathBuf,
    text: String,
}

/// All files, each once.
#[derive(Debug)]
pub(super) struct Files {
    folder: Option<PathBuf>,
    files: BTreeMap<Place, File>,
}

impl Files {
    pub(super) fn read(folder: Option<&Path>) -> Result<Self, TemplateError> {
        let mut files = BTreeMap::new();
        for (name, text) in BUILT_IN {
            let path = Path::new("(built in)").join(name);
            if let Some(place) = place(name) {
                files.insert(place, File { path, text: text.into() });
            }
        }
        if let Some(folder) = folder {
            lay_over(&mut files, folder)?;
        }
        Ok(Self { folder: folder.map(Path::to_owned), files })
    }

    /// Each template by its name.
    pub(super) fn sources(&self) -> impl Iterator<Item = (String, &str)> {
        let files = self.files.iter();
        files.map(|((kind, language, part), file)| {
            (name_of(*kind, language, *part), file.text.as_str())
        })
    }

    /// The languages of each kind of mail, in which all its parts are there.
    pub(super) fn languages(&self) -> Result<BTreeMap<Kind, Vec<Language>>, TemplateError> {
        let mut languages: BTreeMap<Kind, Vec<Language>> =
            Kind::ALL.map(|kind| (kind, vec![])).into();
        for (kind, language, _) in self.files.keys() {
            let known = languages.entry(*kind).or_default();
            if known.contains(language) {
                continue;
            }
            for part in Part::ALL {
                self.require(*kind, language, part)?;
            }
            known.push(language.clone());
        }
        Ok(languages)
    }

    fn require(&self, kind: Kind, language: &Language, part: Part) -> Result<(), TemplateError> {
        if self.files.contains_key(&(kind, language.clone(), part)) {
            return Ok(());
        }
        let file = self.folder.clone().unwrap_or_default().join(name_of(kind, language, part));
        let problem = format!(
            "is missing, and other parts of the same mail are there; wanted {}",
            Part::ALL.map(|part| name_of(kind, language, part)).join(", ")
        );
        Err(in_file(file, None, problem))
    }

    pub(super) fn without_default(
        &self,
        kind: Kind,
        default: &Language,
        known: &[Language],
    ) -> TemplateError {
        let names = Part::ALL.map(|part| name_of(kind, default, part)).join(", ");
        let known = known.iter().map(|language| format!("\"{language}\"")).collect::<Vec<_>>();
        let folder = self.folder.as_deref().map_or_else(
            || "a folder that mail.templates names".into(),
            |folder| absolute(folder).display().to_string(),
        );
        let problem = format!(
            "wanted a language in which all mails are there, for \"{}\" {}, found \"{default}\"; choose one of those, or add {names} to {folder}",
            kind.name(),
            known.join(", ")
        );
        TemplateError { setting: "default_language", file: None, line: None, problem }
    }

    /// What the engine found wrong.
    pub(super) fn fault(&self, name: &str, error: &minijinja::Error) -> TemplateError {
        let what = error.detail().map_or_else(|| error.kind().to_string(), String::from);
        let name = error.name().unwrap_or(name);
        self.error(name, error.line(), what)
    }

    pub(super) fn error(
        &self,
        name: &str,
        line: Option<usize>,
        problem: impl Into<String>,
    ) -> TemplateError {
        let file = place(name).and_then(|place| self.files.get(&place));
        let file = file.map_or_else(|| PathBuf::from(name), |file| file.path.clone());
        in_file(file, line, problem.into())
    }
}

/// What is no template by its ending, as a picture or a note, is let be; what nearly has the name of one is a
/// mistake, and its mail would be the built-in one.
fn lay_over(files: &mut BTreeMap<Place, File>, folder: &Path) -> Result<(), TemplateError> {
    let failed = |file: &Path, problem: String| in_file(file.to_owned(), None, problem);
    let unread = |path: &Path, error: &io::Error, wanted: &str| {
        let problem = unreadable(path, error, wanted);
        TemplateError { setting: SETTING, file: None, line: None, problem }
    };
    let unread_folder = |error: &io::Error| unread(folder, error, "a folder of templates");
    let entries = fs::read_dir(folder).map_err(|error| unread_folder(&error))?;
    for entry in entries {
        let path = entry.map_err(|error| unread_folder(&error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let has_ending = Part::ALL.iter().any(|part| name.ends_with(part.ending()));
        if name.starts_with('.') || !has_ending {
            continue;
        }
        let Some(place) = place(&name) else {
            return Err(failed(&path, format!("is no template; {NAME_WANTED}")));
        };
        let text = fs::read_to_string(&path)
            .map_err(|error| unread(&path, &error, "a template in UTF-8"))?;
        if text.len() > MAX_BYTES {
            let problem = format!("has {} bytes, wanted at most {MAX_BYTES}", text.len());
            return Err(failed(&path, problem));
        }
        files.insert(place, File { path, text });
    }
    Ok(())
}

fn in_file(file: PathBuf, line: Option<usize>, problem: String) -> TemplateError {
    TemplateError { setting: SETTING, file: Some(file), line, problem }
}

fn place(name: &str) -> Option<Place> {
    let mut endings = Part::ALL.into_iter();
    let (part, rest) = endings.find_map(|part| Some((part, name.strip_suffix(part.ending())?)))?;
    let (kind, language) = rest.split_once('.')?;
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
    Some((kind, Language::parse(language)?, part))
}
