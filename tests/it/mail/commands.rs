//! `resetd mail preview` and `resetd mail test`.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::servers::MailServer;
use crate::cli::{Told, contents, tell};
use crate::server::resetd;

fn mail(folder: &Path, config: &str, arguments: &[&str], code: i32) -> Told {
    fs::write(folder.join("c.toml"), config).unwrap();
    tell(resetd(folder).args(["--config", "c.toml", "mail"]).args(arguments), code)
}

#[test]
fn a_preview_has_every_mail_in_every_language() {
    let folder = tempfile::tempdir().unwrap();
    let config = "link.template = \"https://app.example/reset#{token}\"\nmail.from = \"Example <a@example.com>\"\n";
    let told = mail(folder.path(), config, &["preview", "--output-directory", "look"], 0);
    assert_eq!(
        told.out,
        "mails    reset.de, reset.en, redeemed.de, redeemed.en\nlook at  look/index.html\n"
    );
    let look = contents(&folder.path().join("look"));
    let index = fs::read_to_string(folder.path().join("look/index.html")).unwrap();
    for kind in ["reset", "redeemed"] {
        for language in ["de", "en"] {
            for ending in ["html", "subject.txt", "txt", "eml"] {
                let name = format!("{kind}.{language}.{ending}");
                assert!(look.contains_key(&name), "{name}");
                assert!(index.contains(&format!("\"{name}\"")), "{name}");
            }
        }
    }
    assert_eq!(look.len(), 17);
    let text = fs::read_to_string(folder.path().join("look/reset.en.txt")).unwrap();
    assert!(
        text.contains("\nhttps://app.example/reset#this-is-an-example-and-no-token."),
        "{text}"
    );
    let eml = fs::read_to_string(folder.path().join("look/reset.en.eml")).unwrap();
    assert!(eml.starts_with("From: Example <a@example.com>\r\n"), "{eml}");
    // Nothing else is made.
    assert_eq!(contents(folder.path()).len(), 18);
}

#[test]
fn where_no_link_is_configured_a_preview_and_a_test_lead_to_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let config = "mail.from = \"a@example.com\"\n[token]\nissuer = \"https://reset.example\"\n[page]\nenabled = true\ncontinue_url = \"https://app.example/new#{token}\"\n";
    mail(folder.path(), config, &["preview", "--output-directory", "look"], 0);
    let text = fs::read_to_string(folder.path().join("look/reset.en.txt")).unwrap();
    let link = "\nhttps://reset.example/reset#this-is-an-example-and-no-token.";
    assert!(text.contains(link), "{text}");
}

#[test]
fn a_preview_is_of_one_tenant_and_one_language_if_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("acme")).unwrap();
    fs::write(folder.path().join("acme/reset.en.subject.txt"), "From {{ product }}").unwrap();
    let config = "[tenants.acme]\naudience = \"acme\"\n[tenants.acme.mail]\nfrom = \"Acme <a@acme.example>\"\ntemplates = \"acme\"\n";
    let preview =
        |more: &[&str], code| mail(folder.path(), config, &[&["preview"], more].concat(), code);
    let subject =
        || fs::read_to_string(folder.path().join("mail-preview/reset.en.subject.txt")).unwrap();
    let told = preview(&["--tenant", "acme", "--language", "en", "-o", "json"], 0).json();
    assert_eq!(told["mails"], json!(["reset.en", "redeemed.en"]));
    assert_eq!(subject(), "From Acme");
    preview(&[], 0);
    assert_eq!(subject(), "Reset your password for localhost");
    let told = preview(&["--language", "fr"], 2);
    assert_eq!(
        told.err,
        "resetd: --language: no template \"reset\" is there in fr, there are de, en\n"
    );
    let told = preview(&["--tenant", "nobody"], 2);
    assert!(told.err.starts_with("resetd: --tenant: no tenant \"nobody\""), "{}", told.err);
}

#[test]
fn a_preview_without_a_browser_is_done_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = resetd(folder.path());
    command.env("PATH", "/nowhere").args(["mail", "preview", "--open"]);
    let told = tell(&mut command, 0);
    assert_eq!(
        told.err,
        "No browser was opened (there is no xdg-open); open mail-preview/index.html yourself.\n"
    );
}

#[test]
fn a_mistake_in_a_template_is_told_by_check_by_serve_and_by_preview() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/reset.en.txt"), "{{ link }}\n{{ nme }}").unwrap();
    fs::write(folder.path().join("c.toml"), "mail.templates = \"mine\"\n").unwrap();
    for command in [&["config", "check"][..], &["serve"], &["mail", "preview"]] {
        let told = tell(resetd(folder.path()).args(["--config", "c.toml"]).args(command), 2);
        let wanted =
            "resetd: mail.templates: mine/reset.en.txt:2: there is no value \"nme\" in this mail";
        assert!(told.err.contains(wanted), "{}", told.err);
    }
}

#[test]
fn settings_of_templates_that_lead_nowhere_are_named_with_the_tenant_and_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("nothere").display().to_string();
    let no_folder = format!(
        "{there}: No such file or directory (os error 2); wanted a folder of templates; make it, or name the right path (a relative one begins where resetd is started)"
    );
    for (config, wanted) in [
        ("mail.templates = \"nothere\"\n", format!("mail.templates: {no_folder}")),
        (
            "[tenants.acme]\naudience = \"acme\"\nmail.templates = \"nothere\"\n",
            format!("tenants.acme.mail.templates: {no_folder}"),
        ),
        (
            "mail.default_language = \"fr\"\n",
            "mail.default_language: wanted a language in which all mails are there, for \"reset\" \"de\", \"en\", found \"fr\"; choose one of those, or add reset.fr.subject.txt, reset.fr.txt, reset.fr.html to a folder that mail.templates names".into(),
        ),
    ] {
        fs::write(folder.path().join("c.toml"), config).unwrap();
        for command in [&["config", "check"][..], &["serve"]] {
            let told = tell(resetd(folder.path()).args(["--config", "c.toml"]).args(command), 2);
            assert_eq!(told.err, format!("resetd: {wanted}\n"));
        }
    }
}

#[test]
fn a_test_mail_goes_into_the_folder_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let told = mail(folder.path(), "", &["test", "alice@example.net", "--language", "de"], 0);
    assert!(told.out.starts_with("sent  yes\nby    the folder mail\n"), "{}", told.out);
    assert!(told.out.contains("a***@e***.net") && !told.out.contains("alice"), "{}", told.out);
    let new: Vec<_> = fs::read_dir(folder.path().join("mail/new")).unwrap().collect();
    assert_eq!(new.len(), 1);
    let text = fs::read_to_string(new[0].as_ref().unwrap().path()).unwrap();
    assert!(text.contains("To: alice@example.net\r\nSubject: [Test] Neues Passwort"), "{text}");
}

#[test]
fn a_test_mail_says_what_the_server_said() {
    let folder = tempfile::tempdir().unwrap();
    for (behaviour, code) in [("accept", 0), ("refuse_recipient", 2)] {
        let server = MailServer::behaving(behaviour);
        let settings = server.settings();
        let config = format!(
            "[mail]\ntransport = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\nca_file = \"{}\"\nfrom = \"a@example.com\"\n",
            settings.port,
            settings.ca_file.unwrap().display()
        );
        let told = mail(folder.path(), &config, &["test", "alice@example.net", "-o", "json"], code);
        if code == 0 {
            assert_eq!(told.json()["sent"], true);
            assert_eq!(server.mail().1, ["alice@example.net"]);
        } else {
            assert_eq!(
                told.err,
                "resetd: refused for good, at the recipient: 550 5.1.1 a***@e***.net Recipient address rejected: User unknown\n"
            );
        }
    }
}

#[test]
fn where_mail_is_off_no_test_mail_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let off = "mail.transport = \"off\"\n";
    let told = mail(folder.path(), off, &["test", "alice@example.net"], 2);
    assert!(told.err.starts_with("resetd: mail.transport is \"off\""), "{}", told.err);
    let told = mail(folder.path(), "", &["test", "Alice <alice@example.net>"], 2);
    assert!(told.err.contains("wanted one e-mail address"), "{}", told.err);
}
