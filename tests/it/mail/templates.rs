//! What templates may say, and how a mistake in one is told.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use resetd::mail::{About, Kind, TemplateError, Templates, VALUES, Values};
use tempfile::TempDir;

use super::{NOON, built_in, language, long_link, render, reset, username};

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load(folder: &Path, default: &str) -> Result<Templates, TemplateError> {
    Templates::load(Some(folder), &language(default))
}

/// The message of a refusal without the folder.
fn refusal(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let error = load(folder.path(), "en").map(drop).unwrap_err().to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn a_name_is_literal_in_text_and_escaped_in_html() {
    let rendered = render(&username("{{7*7}}<b>&\"'"), "A & B <i>", reset(&long_link()));
    assert_eq!(rendered.subject(), "Reset your password for A & B <i>");
    let text = rendered.text().expose();
    assert!(text.contains("\n{{7*7}}<b>&\"'\n") && text.contains("A & B <i>:"), "{text}");
    let html = rendered.html().expose();
    assert!(html.contains("<p class=\"account\">{{7*7}}&lt;b&gt;&amp;&quot;&#39;</p>"), "{html}");
    assert!(html.contains("A &amp; B &lt;i&gt;:") && !html.contains("<b>") && !html.contains("49"));
}

#[test]
fn no_template_turns_escaping_in_html_off_or_on_in_text() {
    for wanted in ["false", "'none'"] {
        let page = format!(
            "{{% autoescape {wanted} %}}{{{{ username }}}}{{% endautoescape %}}{{{{ link }}}}"
        );
        let text = "{% autoescape true %}{{ username }} {{ link }}{% endautoescape %}";
        let folder = folder(&[("reset.en.html", &page), ("reset.en.txt", text)]);
        let templates = load(folder.path(), "en").unwrap();
        let name = username("<b>&");
        let values = Values { username: &name, product: "Example", about: reset(&long_link()) };
        let rendered = templates.render(&[], &values).unwrap();
        let html = rendered.html().expose();
        assert!(html.starts_with("&lt;b&gt;&amp;https://"), "{html}");
        assert!(rendered.text().expose().starts_with("<b>& https://"));
    }
}

#[test]
fn a_mail_is_in_the_first_wanted_language_that_is_there() {
    let templates = built_in();
    let name = username("alice");
    let language_of = |wanted: &[&str]| {
        let wanted: Vec<_> = wanted.iter().map(|tag| language(tag)).collect();
        let values = Values { username: &name, product: "Example", about: reset(&long_link()) };
        templates.render(&wanted, &values).unwrap().language().to_string()
    };
    assert_eq!(language_of(&["fr", "de-CH", "en"]), "de");
    assert_eq!(language_of(&["fr"]), "en");
    assert_eq!(language_of(&[]), "en");
    for kind in Kind::ALL {
        assert_eq!(templates.languages(kind), [language("de"), language("en")]);
    }
}

#[test]
fn the_end_of_a_link_is_told_in_utc_and_in_minutes_as_long_as_those_are_few() {
    let name = username("alice");
    for (seconds, english, german) in [
        (60, "until 2026-11-26 12:01 UTC (for 1 minute).", "12:01 UTC (noch 1 Minute)."),
        (900, "until 2026-11-26 12:15 UTC (for 15 minutes).", "12:15 UTC (noch 15 Minuten)."),
        (86_400, "until 2026-11-27 12:00 UTC.", "bis 2026-11-27 12:00 UTC."),
    ] {
        for (tag, wanted) in [("en", english), ("de", german)] {
            let link = resetd::domain::secret::Secret::new(long_link());
            let about = About::Reset { link, expires: NOON.plus(seconds), now: NOON };
            let values = Values { username: &name, product: "Example", about };
            let rendered = built_in().render(&[language(tag)], &values).unwrap();
            assert!(rendered.text().expose().contains(wanted), "{}", rendered.text().expose());
        }
    }
}

#[test]
fn the_built_in_pages_load_nothing_and_suit_readers_of_screens() {
    for (about, has_link) in [(reset(&long_link()), true), (About::Redeemed { at: NOON }, false)] {
        for tag in ["en", "de"] {
            let name = username("alice");
            let values = Values { username: &name, product: "Example", about: about.clone() };
            let rendered = built_in().render(&[language(tag)], &values).unwrap();
            let html = rendered.html().expose();
            assert!(html.starts_with(&format!("<!DOCTYPE html>\n<html lang=\"{tag}\" ")), "{html}");
            for loads in ["<img", "<script", "<link", "url(", "@import", "src=", "http-equiv"] {
                assert!(!html.contains(loads), "{loads}");
            }
            let links = html.matches("href=").count();
            assert_eq!(links, if has_link { 2 } else { 0 });
            assert!(html.contains("color-scheme") && html.contains("prefers-color-scheme: dark"));
            assert!(html.len() < 100_000, "{}", html.len());
        }
    }
}

#[test]
fn a_file_goes_over_the_built_in_one_and_leaves_the_others() {
    let folder = folder(&[("reset.en.subject.txt", "Hello {{ username }}\n"), ("logo.svg", "<")]);
    let templates = load(folder.path(), "en").unwrap();
    let name = username("alice");
    let values = Values { username: &name, product: "Example", about: reset(&long_link()) };
    let rendered = templates.render(&[], &values).unwrap();
    assert_eq!(rendered.subject(), "Hello alice");
    assert_eq!(rendered.text(), render(&name, "Example", reset(&long_link())).text());
}

#[test]
fn a_folder_may_add_a_language_to_one_kind_of_mail() {
    let french = [
        ("reset.FR.subject.txt", "Nouveau mot de passe"),
        ("reset.fr.txt", "{{ link }}"),
        ("reset.fr.html", "<p lang=fr><a href=\"{{ link }}\">{{ link }}</a></p>"),
    ];
    let folder = folder(&french);
    let templates = load(folder.path(), "en").unwrap();
    let name = username("alice");
    let render = |about| {
        let values = Values { username: &name, product: "Example", about };
        templates.render(&[language("fr-CA")], &values).unwrap()
    };
    assert_eq!(render(reset(&long_link())).subject(), "Nouveau mot de passe");
    assert_eq!(render(About::Redeemed { at: NOON }).language(), &language("en"));
    let error = load(folder.path(), "fr").unwrap_err().to_string();
    let wanted = format!(
        "wanted a language in which all mails are there, for \"redeemed\" \"de\", \"en\", found \"fr\"; choose one of those, or add redeemed.fr.subject.txt, redeemed.fr.txt, redeemed.fr.html to {}",
        folder.path().display()
    );
    assert_eq!(error, wanted);
}

#[test]
fn a_mistake_is_told_at_the_start_with_file_line_and_mend() {
    let values = "expires, expires_date, expires_time, link, minutes, product, username";
    for (files, wanted) in [
        (
            [("reset.en.txt", "Hello\n\n{{ usrname }} {{ link }}")],
            format!("reset.en.txt:3: there is no value \"usrname\" in this mail, there are {values}; did you mean username?"),
        ),
        // Also where no value that it is tried with leads.
        (
            [("reset.de.txt", "{{ link }}{% if minutes > 99999 %}\n{{ when }}{% endif %}")],
            format!("reset.de.txt:2: there is no value \"when\" in this mail, there are {values}"),
        ),
        (
            [("redeemed.en.html", "<p>\n{{ link }}</p>")],
            "redeemed.en.html:2: there is no value \"link\" in this mail, there are product, time, username".into(),
        ),
        ([("reset.en.html", "<p>\n\n{% if link %}")], "reset.en.html:3: unexpected end of input, expected end of block".into()),
        (
            [("reset.en.html", "\n{{ link|safe }}")],
            "reset.en.html:2: filter safe is unknown".into(),
        ),
        ([("reset.en.txt", "{{ link + 1 }}")], "reset.en.txt:1: ".into()),
        ([("reset.en.txt", "{{ product }}")], "reset.en.txt: has no {{ link }}, so nobody could follow it; add it".into()),
        ([("reset.en.html", "{{ product }}")], "reset.en.html: has no {{ link }}, so nobody could follow it; add it".into()),
        ([("reset.en.subject.txt", "one\ntwo")], "reset.en.subject.txt: wanted one line, found more".into()),
        ([("reset.en.subject.txt", "\n")], "reset.en.subject.txt: wanted one line, found nothing".into()),
        (
            [("reset.fr.txt", "{{ link }}")],
            "reset.fr.subject.txt: is missing, and other parts of the same mail are there; wanted reset.fr.subject.txt, reset.fr.txt, reset.fr.html".into(),
        ),
        (
            [("rest.en.html", "{{ link }}")],
            "rest.en.html: is no template; wanted reset or redeemed, a language, and subject.txt, txt or html, as in \"reset.fr.html\"".into(),
        ),
    ] {
        let found = refusal(&files);
        assert!(found.starts_with(&wanted), "wanted {wanted}\nfound {found}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_refused() {
    let error = load(Path::new("/nowhere/at/all"), "en").unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/at/all: No such file or directory"), "{error}");
    let error = Templates::load(None, &language("fr")).unwrap_err().to_string();
    assert_eq!(
        error,
        "wanted a language in which all mails are there, for \"reset\" \"de\", \"en\", found \"fr\"; choose one of those, or add reset.fr.subject.txt, reset.fr.txt, reset.fr.html to a folder that mail.templates names"
    );
}

#[test]
fn the_page_about_mail_has_every_value_and_says_which_mail_has_it() {
    let page = include_str!("../../../docs/mail.md");
    let (_, table) = page.split_once("| value | in | is |\n| --- | --- | --- |\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let found: BTreeSet<_> =
        cells.map(|cells| (cells[1].to_owned(), cells[2].to_owned())).collect();
    let wanted = VALUES.map(|(name, kinds)| {
        let kinds = match kinds {
            [kind] => format!("`{}`", kind.name()),
            _ => "both".into(),
        };
        (format!("`{name}`"), kinds)
    });
    assert_eq!(found, BTreeSet::from(wanted));
}
