//! The arrows of `ARCHITECTURE.md`: which module may name which. Read from the source text.

use std::fs;
use std::path::{Path, PathBuf};

/// A module, and the modules that it may name besides its own inside. The longest match counts.
const TABLE: [(&str, &[&str]); 23] = [
    ("main", &["cli"]),
    (
        "cli",
        &[
            "serve",
            "audit",
            "key_admin",
            "tls",
            "webhook",
            "directory",
            "fetch",
            "mail",
            "config",
            "keystore",
            "domain",
            "clock",
            "random",
        ],
    ),
    (
        "serve",
        &[
            "http",
            "audit",
            "key_admin",
            "service",
            "delivery",
            "outbox",
            "revocation",
            "journal",
            "config",
            "keystore",
            "domain",
            "clock",
            "random",
            "tls",
            "webhook",
            "directory",
            "fetch",
            "mail",
            "file_path",
        ],
    ),
    ("http", &["audit", "key_admin", "service", "outbox", "tls", "journal", "domain", "random"]),
    ("key_admin", &["audit", "service", "keystore", "domain", "clock"]),
    (
        "service",
        &["revocation", "outbox", "directory", "webhook", "journal", "domain", "clock", "random"],
    ),
    ("outbox", &["domain"]),
    ("tls", &["config", "file_path", "domain"]),
    ("directory", &["fetch", "file_path", "domain"]),
    ("webhook", &["fetch", "domain", "random"]),
    ("fetch", &["domain"]),
    ("mail", &["file_path", "domain", "random"]),
    ("delivery", &["mail", "webhook", "outbox", "service", "audit", "domain", "random"]),
    ("keystore", &["file_lock", "domain"]),
    ("revocation", &["journal", "domain"]),
    ("audit", &["file_lock", "domain", "clock"]),
    ("journal", &["file_lock"]),
    ("file_lock", &[]),
    ("file_path", &[]),
    ("config", &["file_path", "domain"]),
    ("domain", &[]),
    ("clock", &[]),
    ("random", &[]),
];

#[test]
fn modules_name_only_the_layers_below_them() {
    let mut faults = Vec::new();
    for path in sources() {
        let module = module_of(&path);
        let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == module) else {
            if module != "lib" {
                faults.push(format!("{}: {module} is not in the table", path.display()));
            }
            continue;
        };
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let at = format!("{}:{}", path.display(), number + 1);
            for named in named_modules(line) {
                if named == "{" {
                    faults.push(format!("{at}: one `use` per module, no group on the crate"));
                } else if named != module && !allowed.contains(&named) {
                    faults.push(format!("{at}: {module} may not name {named}"));
                }
            }
            if line.contains("super::super") {
                faults.push(format!("{at}: write the path from the crate, not super::super"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_pure_layers_touch_no_file_socket_or_clock() {
    let pure = |path: &PathBuf| module_of(path) == "domain" || path.starts_with("crates/verify");
    let impure = ["std::fs", "std::net::Tcp", "std::net::Udp", "tokio::", "::now()", "std::env"];
    let mut faults = Vec::new();
    for path in sources().into_iter().chain(files_in("crates/verify/src")).filter(pure) {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code.filter(|line| impure.iter().any(|word| line.contains(word))) {
            faults.push(format!("{}: {}", path.display(), line.trim()));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn sources() -> Vec<PathBuf> {
    let sources = files_in("src");
    assert!(sources.len() > 30, "where are the sources? found {}", sources.len());
    sources
}

pub(crate) fn files_in(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// `src/http/api.rs` belongs to `http`.
fn module_of(path: &Path) -> String {
    let below = path.strip_prefix("src").unwrap_or(path);
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    first.strip_suffix(".rs").unwrap_or(first).to_owned()
}

/// What follows each `crate::` (in the program: `resetd::`) on a line of code.
fn named_modules(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or_default();
    let after = |mark: &'static str| code.split(mark).skip(1);
    after("crate::")
        .chain(after("resetd::"))
        .map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            if rest.starts_with('{') { "{" } else { &rest[..end] }
        })
        .collect()
}
