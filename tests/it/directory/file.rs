//! A file of users.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use resetd::directory::Directory;
use resetd::domain::directory::DirectorySource;
use tempfile::TempDir;

use super::{FRESH, HOSTILE, email, name, shown};
use crate::server::{PATIENCE, Server};

const TOML: &str = "\
[[people]]
username = \"ann\"
email = \"ann@u.example\"
user_id = \"17\"
credential_id = \"ann-password\"
enabled = false
identity_providers = [\"google\", \"saml:corp\"]
language = \"pt-BR\"

[[people]]
username = \"bob\"
";

const CSV: &str = "\
email,username,user_id,credential_id,enabled,identity_providers,language
ann@u.example,ann,17,ann-password,false,google;saml:corp,pt-BR
,bob,,,,,
";

/// A file of this name that only its owner may write to, and the directory.
struct Users {
    folder: TempDir,
    file: PathBuf,
}

impl Users {
    fn new(file: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(file);
        let users = Self { folder, file };
        users.write(text);
        users
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(&self.file, text).unwrap();
        fs::set_permissions(&self.file, Permissions::from_mode(0o644)).unwrap();
    }

    fn open(&self) -> Result<Directory, String> {
        let opened = Directory::open(DirectorySource::File(self.file.clone()), FRESH);
        opened.map_err(|error| error.to_string().replace(&self.folder_text(), ""))
    }

    fn folder_text(&self) -> String {
        format!("{}/", self.folder.path().display())
    }
}

#[tokio::test]
async fn toml_and_csv_tell_the_same() {
    for (file, text) in [
        ("users.toml", TOML.to_owned()),
        ("users.csv", CSV.to_owned()),
        ("USERS.CSV", format!("\u{feff}{}", CSV.replace('\n', "\r\n"))),
    ] {
        let directory = Users::new(file, &text).open().unwrap();
        let ann = directory.find(&name("ann")).await.unwrap().unwrap();
        let text = |text: &str| Some(text.to_owned());
        let wanted = (
            "ann".to_owned(),
            false,
            text("ann@u.example"),
            text("17"),
            text("ann-password"),
            vec!["google".to_owned(), "saml:corp".to_owned()],
            text("pt-br"),
        );
        assert_eq!(shown(&ann), wanted, "{file}");
        let bob = directory.find(&name("bob")).await.unwrap().unwrap();
        assert_eq!(shown(&bob), ("bob".to_owned(), true, None, None, None, vec![], None));
        // A name is the same when it is written the same.
        for other in ["Ann", "ann ", "nobody"].iter().chain(&HOSTILE) {
            assert_eq!(directory.find(&name(other)).await.unwrap(), None, "{other}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_its_line_and_repeats_nothing() {
    let cases = [
        (
            "u.toml",
            "[[people]]\nusername = \"ann\"\n\n[[people]]\nusername = \"ann\"\n",
            "u.toml:4: this username stands further up already",
        ),
        ("u.toml", "[[people]]\nusername = \"ann\nemail = 5\n", "u.toml:2: "),
        ("u.toml", "[[people]]\nusername = 5\n", "u.toml:2: username: wanted a text"),
        ("u.toml", "[[people]]\nemail = \"ann@u.example\"\n", "u.toml:1: wanted a username"),
        (
            "u.toml",
            "[[people]]\nusername = \"ann\"\nmail = \"ann@u.example\"\n",
            "u.toml:3: no such setting",
        ),
        (
            "u.toml",
            "[[people]]\nusername = \"ann\"\nenabled = \"no\"\n",
            "u.toml:3: enabled: wanted true or false",
        ),
        (
            "u.toml",
            "[[people]]\nusername = \"ann\"\nidentity_providers = \"x\"\n",
            "u.toml:3: identity_providers: wanted a list",
        ),
        (
            "u.toml",
            "[[people]]\nusername = \"ann\"\nemail = \"ann@u.example, b@c.d\"\n",
            "u.toml:1: its email cannot be used",
        ),
        (
            "u.toml",
            "[[people]]\nusername = \"ann\"\nlanguage = \"en_US\"\n",
            "u.toml:1: its language cannot be used",
        ),
        (
            "u.toml",
            "[[people]]\nusername = \"zoe\u{308}\"\n",
            "u.toml:1: its username cannot be used",
        ),
        ("u.toml", "[[persons]]\nusername = \"ann\"\n", "u.toml:1: wanted [[people]]"),
        ("u.toml", "people = 5\n", "u.toml:1: wanted [[people]]"),
        ("u.toml", "", "u.toml:1: wanted [[people]], found none"),
        ("u.toml", "\n# nobody yet\n", "u.toml:1: wanted [[people]], found none"),
        ("u.toml", "people = [5]\n", "u.toml:1: wanted a table"),
        (
            "u.csv",
            "username,email\nann,ann@u.example\nbob\n",
            "u.csv:3: wanted 2 fields as in the first row, found 1",
        ),
        (
            "u.csv",
            "username,email\n\nann,a@b.c\nann,d@e.f\n",
            "u.csv:4: this username stands further up already",
        ),
        ("u.csv", "username,enabled\nann,no\n", "u.csv:2: enabled: wanted true or false"),
        ("u.csv", "email\na@b.c\n", "u.csv:1: wanted a row of names"),
        ("u.csv", "username;email\nann;a@b.c\n", "u.csv:1: wanted a row of names"),
        ("u.csv", "username,email\n\"ann,a@b.c\n", "u.csv:2: found no end"),
        ("u.csv", "username,email\nann,no address\n", "u.csv:2: its email cannot be used"),
        ("u.csv", "username,email\n,a@b.c\n", "u.csv:2: wanted a username"),
        ("u.csv", "", "u.csv:1: wanted a row of names"),
        ("u.csv", "username,ema", "u.csv:1: the file ends in this row"),
        (
            "u.csv",
            "username,email\nbob,b@u.example\nann,ann@u.example",
            "u.csv:3: the file ends in this row, and may have been cut off",
        ),
        (
            "u.csv",
            "enabled,username\n,bob\nfalse,\"ann\"",
            "u.csv:3: the file ends in this row, and may have been cut off",
        ),
        ("u.json", "{}", "u.json: wanted a file whose name ends in .toml or .csv"),
    ];
    for (file, text, wanted) in cases {
        let error = Users::new(file, text).open().unwrap_err();
        assert!(error.starts_with(&format!("file: {wanted}")), "{text}\n{error}");
        assert!(!error.contains("ann@u.example"), "{error}");
    }
}

#[tokio::test]
async fn a_file_may_have_no_users_where_it_says_so() {
    for (file, text) in [("u.toml", "people = []\n"), ("u.csv", "username\n")] {
        let directory = Users::new(file, text).open().unwrap();
        assert_eq!(directory.find(&name("ann")).await.unwrap(), None, "{file}");
    }
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let users = Users::new("u.csv", CSV);
    fs::remove_file(&users.file).unwrap();
    assert!(Command::new("mkfifo").arg(&users.file).status().unwrap().success());
    let (sender, opened) = mpsc::channel();
    let (source, wanted) = (DirectorySource::File(users.file.clone()), "is no regular file");
    thread::spawn(move || sender.send(Directory::open(source, FRESH).map(drop)));
    let error = opened.recv_timeout(PATIENCE).unwrap().unwrap_err().to_string();
    assert!(error.contains(wanted), "{error}");
    fs::remove_file(&users.file).unwrap();
    fs::create_dir(&users.file).unwrap();
    assert!(users.open().unwrap_err().contains(wanted));
}

#[test]
fn a_file_that_others_may_write_to_or_that_is_no_text_is_refused() {
    let users = Users::new("u.toml", TOML);
    for mode in [0o664, 0o646, 0o602] {
        fs::set_permissions(&users.file, Permissions::from_mode(mode)).unwrap();
        let error = users.open().unwrap_err();
        assert!(error.contains(&format!("has mode {mode:04o}")), "{error}");
        assert!(error.contains("chmod go-w"), "{error}");
    }
    users.write(b"\xff");
    assert!(users.open().unwrap_err().contains("is not UTF-8"));
    fs::remove_file(&users.file).unwrap();
    assert!(users.open().unwrap_err().contains("No such file"));
}

/// Looks again and again, as a server does.
fn look_until(directory: &Directory, what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        directory.look();
        thread::sleep(Duration::from_millis(1));
    }
}

fn address(directory: &Directory, username: &str) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(email(directory, username))
}

#[test]
fn a_changed_file_is_taken_up_after_two_looks_that_see_it_alike() {
    let users = Users::new("u.csv", "username,email\nann,old@example.com\n");
    let directory = users.open().unwrap();
    let ann = || address(&directory, "ann").unwrap();
    for text in ["username,email\nann,new@example.com\n", "username,email\nann,newer@example.com\n"]
    {
        let before = ann();
        users.write(text);
        directory.look();
        assert_eq!(ann(), before, "it may be half written");
        directory.look();
        assert_eq!(ann(), text.split(['\n', ',']).nth(3).unwrap());
    }
    // Another file in its place, as whoever writes files whole does it.
    let other = users.folder.path().join("new.csv");
    fs::write(&other, "username,email\nann,last@example.com\n").unwrap();
    fs::set_permissions(&other, Permissions::from_mode(0o600)).unwrap();
    fs::rename(&other, &users.file).unwrap();
    look_until(&directory, "the other file", || ann() == "last@example.com");
}

#[test]
fn a_broken_file_leaves_the_old_one_in_use_until_it_is_mended() {
    let users =
        Users::new("u.toml", "[[people]]\nusername = \"ann\"\nemail = \"old@example.com\"\n");
    let directory = users.open().unwrap();
    let ann = || address(&directory, "ann").unwrap();
    users.write("[[people]]\nusername = \"bob\"\n[[people]]\nusername = \"bob\"\n");
    (0..5).for_each(|_| directory.look());
    assert_eq!((ann(), address(&directory, "nobody")), ("old@example.com".into(), None));
    // Nobody at all, as when somebody begins to write it.
    for text in ["", "people = []\n"] {
        users.write(text);
        (0..5).for_each(|_| directory.look());
        assert_eq!(ann(), "old@example.com", "{text:?}");
    }
    fs::remove_file(&users.file).unwrap();
    (0..5).for_each(|_| directory.look());
    assert_eq!(ann(), "old@example.com");
    users.write("[[people]]\nusername = \"ann\"\nemail = \"new@example.com\"\n");
    fs::set_permissions(&users.file, Permissions::from_mode(0o666)).unwrap();
    (0..5).for_each(|_| directory.look());
    assert_eq!(ann(), "old@example.com", "anybody could have written it");
    fs::set_permissions(&users.file, Permissions::from_mode(0o600)).unwrap();
    look_until(&directory, "the mended file", || ann() == "new@example.com");
}

#[test]
fn a_table_that_is_cut_off_leaves_the_old_one_in_use() {
    let old = "username,email,enabled\nann,old@example.com,\nbob,,false\n";
    let new = "username,email,enabled\nann,ann@example.community,\nbob,,false\n";
    let users = Users::new("u.csv", old);
    let directory = users.open().unwrap();
    // In a domain that is another one, and before the word that disables.
    for end in [".com", "bob,,"] {
        users.write(&new[..new.find(end).unwrap() + end.len()]);
        (0..5).for_each(|_| directory.look());
        assert_eq!(address(&directory, "ann").unwrap(), "old@example.com");
        assert!(!is_enabled(&directory, "bob"));
    }
    users.write(new);
    let is_new = || address(&directory, "ann").unwrap() == "ann@example.community";
    look_until(&directory, "the whole table", is_new);
    assert!(!is_enabled(&directory, "bob"));
}

fn is_enabled(directory: &Directory, username: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(directory.find(&name(username))).unwrap().unwrap().is_enabled
}

#[tokio::test]
async fn a_hundred_thousand_users_are_read_and_found() {
    use std::fmt::Write as _;
    let mut text = "username,email,user_id\n".to_owned();
    for index in 0..100_000 {
        writeln!(text, "user{index},user{index}@example.com,{index}").unwrap();
    }
    let directory = Users::new("u.csv", &text).open().unwrap();
    for index in [0, 1, 99_999] {
        let found = email(&directory, &format!("user{index}")).await.unwrap();
        assert_eq!(found, format!("user{index}@example.com"));
    }
    assert_eq!(directory.find(&name("user100000")).await.unwrap(), None);
}

fn wait_for(server: &Server, what: &str) {
    let until = Instant::now() + PATIENCE;
    while !server.log().contains(what) {
        assert!(Instant::now() < until, "{what}: {}", server.log());
        thread::sleep(Duration::from_millis(20));
    }
}

fn write_users(folder: &Path, text: &str) {
    fs::write(folder.join("users.toml"), text).unwrap();
    fs::set_permissions(folder.join("users.toml"), Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_running_server_tells_once_of_a_broken_file_and_takes_up_the_mended_one() {
    let folder = tempfile::tempdir().unwrap();
    write_users(folder.path(), TOML);
    let settings = "[directory]\nkind = \"file\"\nfile = \"users.toml\"\n";
    let server = Server::start_in(folder, settings, &[]);
    let broken = "[[people]]\nusername = \"ann\"\nemail = \"secret@example.com,\"\n";
    write_users(server.folder.path(), broken);
    wait_for(&server, "the changed file of users cannot be used");
    assert!(server.log().contains("users.toml:1: its email cannot be used"), "{}", server.log());
    write_users(server.folder.path(), TOML);
    wait_for(&server, "the changed file of users is taken up");
    let log = server.log();
    assert_eq!(log.matches("cannot be used; the old one stays").count(), 1, "{log}");
    assert!(!log.contains("secret@") && !log.contains("ann@u"), "{log}");
}
