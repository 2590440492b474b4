//! What `{:?}` shows: each type whose derived `Debug` prints something that may be secret or personal is in a
//! table with the reason why it may.

use std::collections::BTreeSet;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd::config::{Config, Layers};
use resetd::domain::caller::api_key;
use resetd_verify::UnverifiedToken;

use crate::layers::files_in;

/// Parts of names and types that tell of something that not everybody should read.
const TELLING: [&str; 22] = [
    "token",
    "secret",
    "password",
    "passphrase",
    "private",
    "seed",
    "username",
    "user_id",
    "email",
    "mailbox",
    "link",
    "body",
    "payload",
    "signing_input",
    "credential",
    "api_key",
    "text",
    "raw",
    "login",
    "bind",
    "said",
    "html",
];
/// Whole names and types that do.
const TELLING_WHOLE: [&str; 6] = ["to", "sub", "user", "key", "jwk", "url"];
/// What can hold text or bytes. Any other type has a `Debug` of its own, which is looked at where it is.
const PLAIN: [&str; 8] =
    ["String", "Vec<u8>", "str", "Cow<", "Box<str>", "[u8", "Zeroizing", "Value"];

/// `path: type`, and why its `Debug` may print what it has.
const MAY_PRINT: [(&str, &str); 25] = [
    (
        "src/config/raw.rs: RawLoginRadius",
        "the key of an app that everybody may know; a caller's is refused there",
    ),
    (
        "src/domain/dialect.rs: LoginRadius",
        "the key of an app that everybody may know; a caller's is refused there",
    ),
    (
        "src/audit.rs: Event",
        "its username is masked before it gets here, and the trail has the rest for all to read",
    ),
    (
        "src/cli/client.rs: IssueArgs",
        "what somebody typed into a command of their own; no secret is taken there",
    ),
    (
        "src/cli/client.rs: RedeemArgs",
        "what somebody typed into a command of their own; the token is a Secret",
    ),
    (
        "src/cli/client.rs: RevokeArgs",
        "what somebody typed into a command of their own; the token is a Secret",
    ),
    (
        "src/cli/client.rs: Service",
        "the address of the service; the key is read from a file or a variable",
    ),
    ("src/cli/directory.rs: FindArgs", "what somebody typed into a command of their own"),
    ("src/config/bearers.rs: BearerKeys", "the address of a set of public keys"),
    (
        "src/directory.rs: Unavailable",
        "its user is masked when it is made, and the reason has no secret",
    ),
    (
        "src/config/mail.rs: Smtp",
        "the account at the mail server is no person's; its password is a Secret",
    ),
    (
        "src/config/raw.rs: RawDirectory",
        "the name of a service account, and paths of files with secrets",
    ),
    ("src/config/raw.rs: RawKeys", "the path of the file with passphrases"),
    (
        "src/config/raw.rs: RawMail",
        "the account at the mail server, and the path of the file with its password",
    ),
    ("src/domain/directory/ldap.rs: LdapAttributes", "names of attributes, not their values"),
    (
        "src/domain/directory/ldap.rs: LdapSource",
        "the name of a service account; its password is a Secret",
    ),
    ("src/http/document.rs: Document", "a document for everybody"),
    ("src/http/page/texts.rs: Message", "a sentence of the page that is in the program"),
    ("src/http/page/texts.rs: Refusal", "a sentence of the page that is in the program"),
    ("src/journal/record.rs: Attempt", "hashes of the key and of the body"),
    (
        "src/mail/error.rs: Hindrance",
        "what a server said is told without addresses, links and tokens when it is made",
    ),
    (
        "src/mail/error.rs: SendError",
        "what a server said is told without addresses, links and tokens when it is made",
    ),
    (
        "src/mail/smtp.rs: Login",
        "the account at the mail server is no person's; its password is a Secret",
    ),
    ("src/mail/template/files.rs: File", "a template, before anything is put into it"),
    ("src/revocation/memory.rs: Attempted", "a hash of the body"),
];

#[test]
fn each_type_that_prints_what_may_be_secret_or_personal_has_a_reason() {
    let mut found = BTreeSet::new();
    let mut seen = 0;
    for path in files_in("src").into_iter().chain(files_in("crates/verify/src")) {
        let text = fs::read_to_string(&path).unwrap();
        for derived in types_with_debug(&text) {
            seen += 1;
            if fields(&derived.inside).any(|(name, kind)| is_telling(&name, &kind)) {
                found.insert(format!("{}: {}", path.display(), derived.name));
            }
        }
    }
    assert!(seen > 200, "where are the types? found {seen}");
    let known: BTreeSet<_> = MAY_PRINT.iter().map(|(place, _)| (*place).to_owned()).collect();
    assert_eq!(known.len(), MAY_PRINT.len(), "each type stands in the table once");
    let new: Vec<_> = found.difference(&known).collect();
    assert!(new.is_empty(), "write a Debug that shows less, or the reason why not: {new:#?}");
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(gone.is_empty(), "need no reason any more: {gone:#?}");
    assert!(MAY_PRINT.iter().all(|(_, reason)| reason.len() > 10));
}

#[test]
fn the_search_finds_what_it_is_for() {
    let finds = |text: &str| {
        let types = types_with_debug(text);
        types.iter().any(|it| fields(&it.inside).any(|(name, kind)| is_telling(&name, &kind)))
    };
    for text in [
        "#[derive(Clone, Debug)]\npub struct A {\n    /// It.\n    pub token: String,\n}",
        "#[derive(Debug)]\n#[serde(a = \"b\")]\nstruct A<'t> {\n    x: u8,\n    to: Option<&'t str>,\n}",
        "#[derive(Debug, Clone)]\npub(super) enum A {\n    One { username: String },\n}",
        "#[derive(Debug)]\npub struct Token(String);",
        "#[derive(Debug)]\nenum A {\n    Password(String),\n}",
        "#[derive(\n    Debug,\n)]\nstruct A {\n    #[serde(rename = \"a, b\")]\n    api_key: Cow<'static, str>,\n}",
        "#[derive(Debug)]\nstruct A {\n    login: Option<(String, Secret)>,\n}",
    ] {
        assert!(finds(text), "{text}");
    }
    for text in [
        "#[derive(Clone)]\npub struct A {\n    token: String,\n}",
        "#[derive(Debug)]\nstruct A {\n    token: Secret,\n}",
        "#[derive(Debug)]\nstruct A {\n    path: String,\n}",
        "#[derive(Debug)]\nstruct A;\nstruct B {\n    token: String,\n}",
    ] {
        assert!(!finds(text), "{text}");
    }
}

/// A type with a derived `Debug`: its name, and what stands between its braces or parentheses.
struct Derived {
    name: String,
    inside: String,
}

fn types_with_debug(text: &str) -> Vec<Derived> {
    let code = without_comments_and_texts(text);
    let mut found = Vec::new();
    for (_, rest) in code.match_indices("#[derive(").map(|(at, _)| code.split_at(at)) {
        let (derived, rest) = rest.split_once(")]").unwrap();
        if !derived.split(|c: char| !c.is_alphanumeric()).any(|word| word == "Debug") {
            continue;
        }
        let words: Vec<_> = rest.split_whitespace().collect();
        let keyword = words.iter().position(|word| matches!(*word, "struct" | "enum")).unwrap();
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let name: String = words[keyword + 1].chars().take_while(|c| is_name(*c)).collect();
        let after = &rest[rest.find(&format!("{} {name}", words[keyword])).unwrap()..];
        let begin = after.find(['{', '(', ';']).unwrap();
        let inside = balanced(&after[begin..]);
        // The name of a wrapper tells what is in it.
        let inside =
            if after[begin..].starts_with('(') { format!("{name}({inside})") } else { inside };
        found.push(Derived { name, inside });
    }
    found
}

/// What is inside the bracket that the text begins with; nothing if it begins with none.
fn balanced(text: &str) -> String {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.get(1..at).unwrap_or_default().to_owned();
        }
    }
    String::new()
}

/// Comments, and what stands in quotes, may hold any bracket.
fn without_comments_and_texts(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
        for (number, part) in line.replace("\\\"", "").split('"').enumerate() {
            if number % 2 == 0 {
                code.push_str(part);
            }
        }
        code.push('\n');
    }
    code
}

/// Names and types: of members, and of variants, which give what they wrap their name.
fn fields(inside: &str) -> impl Iterator<Item = (String, String)> {
    let mut fields = Vec::new();
    for piece in pieces(inside) {
        let piece = without_attributes(&piece);
        let name = |text: &str| text.rsplit(' ').next().unwrap_or_default().to_owned();
        match piece.find([':', '(', '{']) {
            Some(at) if piece[at..].starts_with(':') => {
                fields.push((name(piece[..at].trim()), piece[at + 1..].trim().to_owned()));
            }
            Some(at) if piece[at..].starts_with('(') => {
                fields.push((name(piece[..at].trim()), balanced(&piece[at..])));
            }
            Some(at) => fields.extend(fields_of(&balanced(&piece[at..]))),
            None => {}
        }
    }
    fields.into_iter()
}

fn fields_of(inside: &str) -> Vec<(String, String)> {
    fields(inside).collect()
}

/// What stands between the commas outside of brackets.
fn pieces(inside: &str) -> Vec<String> {
    let (mut pieces, mut depth) = (vec![String::new()], 0);
    for c in inside.chars() {
        match c {
            '{' | '(' | '[' | '<' => depth += 1,
            '}' | ')' | ']' | '>' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            pieces.push(String::new());
        } else if let Some(last) = pieces.last_mut() {
            last.push(c);
        }
    }
    pieces
}

fn without_attributes(piece: &str) -> String {
    let mut piece = piece.trim();
    while let Some(attribute) = piece.strip_prefix('#') {
        piece = attribute[balanced(attribute).len() + 2..].trim();
    }
    let visible = piece.strip_prefix("pub(crate)").or_else(|| piece.strip_prefix("pub(super)"));
    visible.unwrap_or(piece).trim().to_owned()
}

fn is_telling(name: &str, kind: &str) -> bool {
    let name = name.to_lowercase();
    let is_plain = PLAIN.iter().any(|plain| kind.contains(plain));
    let tells = TELLING.iter().any(|telling| name.contains(telling));
    is_plain && (tells || TELLING_WHOLE.contains(&name.as_str()))
}

#[test]
fn what_holds_a_token_or_a_key_shows_neither_it_nor_the_user() {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let head = part(
        r#"{"alg":"ES256","typ":"reset+jwt","kid":"Wk2fxPTPdXeJVnSjletnlyhtzIe9GharcgSp7c9ldCA"}"#,
    );
    let token = format!("{head}.{}.{}", part(r#"{"sub":"alice"}"#), part("signature"));
    let shown = format!("{:?}", UnverifiedToken::parse(&token).unwrap());
    assert_eq!(
        shown,
        r#"UnverifiedToken { kid: KeyId("Wk2fxPTPdXeJVnSjletnlyhtzIe9GharcgSp7c9ldCA"), alg: Some("ES256"), .. }"#
    );
    let key = api_key([7; 32]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    fs::write(&file, format!("log.level = \"{}\"\n", key.expose())).unwrap();
    let mut layers = Layers::defaults().unwrap();
    layers.add_file(&file).unwrap();
    let error = Config::from_layers(&layers).unwrap_err();
    for shown in [format!("{layers:?}"), format!("{error:?}")] {
        assert!(shown.contains("c.toml") && !shown.contains(&key.expose()[4..]), "{shown}");
    }
}
