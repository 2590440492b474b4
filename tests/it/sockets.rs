//! Unix sockets: who may connect, and whose socket it is when a file is there already.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use tempfile::TempDir;

use crate::server::{PATIENCE, Server, run, stderr};

const SETTINGS: &str = "[token]\nissuer = \"https://reset.example\"\n";
const LISTEN: [&str; 2] = ["--listen", "unix:a.sock"];

fn start_in(folder: TempDir) -> Server {
    Server::start_in(folder, SETTINGS, &LISTEN)
}

/// The whole answer of what listens on a socket.
fn ask(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn is_live(socket: &Path) -> bool {
    ask(socket, "GET /health/live HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200 ")
}

#[test]
fn a_unix_socket_answers_those_who_may_write_to_it() {
    let server = start_in(tempfile::tempdir().unwrap());
    let socket = server.folder.path().join("a.sock");
    assert!(server.banner.starts_with("resetd listens on unix:a.sock\n"), "{}", server.banner);
    assert!(server.banner.contains("curl -s --unix-socket 'a.sock' http://localhost/password-"));
    let file = fs::symlink_metadata(&socket).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o660);
    let (key, body) = (&server.api_key, r#"{"username":"alice"}"#);
    let issue = format!(
        "POST /password-tokens HTTP/1.0\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = ask(&socket, &issue);
    assert!(answer.starts_with("HTTP/1.0 201 "), "{answer}");
    assert!(!answer.contains("strict-transport-security"), "{answer}");
    let (ended, folder) = server.stop();
    assert!(ended.success());
    assert!(!folder.path().join("a.sock").exists(), "it is removed in the end");
}

#[test]
fn who_may_write_to_it_is_configured() {
    let settings =
        format!("[server]\nsocket_mode = \"0600\"\nadmin_listen = \"unix:b.sock\"\n{SETTINGS}");
    let server = Server::start_in(tempfile::tempdir().unwrap(), &settings, &LISTEN);
    for name in ["a.sock", "b.sock"] {
        let file = fs::symlink_metadata(server.folder.path().join(name)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let metrics = "GET /metrics HTTP/1.0\r\n\r\n";
    let [apps, admins] =
        ["a.sock", "b.sock"].map(|name| ask(&server.folder.path().join(name), metrics));
    assert!(apps.contains(" 404 ") && admins.contains(" 401 "), "{apps}\n{admins}");
}

#[test]
fn those_without_an_address_are_limited_as_one() {
    let settings = format!("[limits]\nholder_revocations_per_minute = 1\n{SETTINGS}");
    let server = Server::start_in(tempfile::tempdir().unwrap(), &settings, &LISTEN);
    let socket = server.folder.path().join("a.sock");
    let body = r#"{"token":"a.b.c"}"#;
    let disown = format!(
        "POST /revocations HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let [first, second] = [ask(&socket, &disown), ask(&socket, &disown)];
    assert!(first.contains(" 201 ") && second.contains(" 429 "), "{first}\n{second}");
}

#[test]
fn of_connections_those_without_an_address_may_have_all() {
    let settings = format!("[server]\nmax_connections = 4\n{SETTINGS}");
    let server = Server::start_in(tempfile::tempdir().unwrap(), &settings, &LISTEN);
    let socket = server.folder.path().join("a.sock");
    let _idle = [(); 3].map(|()| UnixStream::connect(&socket).unwrap());
    assert!(is_live(&socket));
}

#[test]
fn what_a_killed_process_left_behind_is_replaced() {
    let server = start_in(tempfile::tempdir().unwrap());
    let folder = server.kill();
    assert!(folder.path().join("a.sock").exists());
    let server = start_in(folder);
    assert!(is_live(&server.folder.path().join("a.sock")));
}

#[test]
fn what_another_process_listens_on_is_left_to_it() {
    let server = start_in(tempfile::tempdir().unwrap());
    let folder = server.folder.path();
    let serve = ["--config", "settings.toml", "serve", "--listen", "unix:a.sock"];
    let wanted = "resetd: cannot listen on unix:a.sock: another process listens on it\n";
    let output = run(folder, &serve);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(2), wanted));
    assert!(is_live(&folder.join("a.sock")));

    let _other = UnixListener::bind(folder.join("other.sock")).unwrap();
    let output = run(folder, &[&serve[..4], &["unix:other.sock"]].concat());
    assert_eq!(stderr(&output), wanted.replace("a.sock", "other.sock"));
    assert!(UnixStream::connect(folder.join("other.sock")).is_ok());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("settings.toml"), SETTINGS).unwrap();
    fs::write(folder.path().join("a.sock"), "precious").unwrap();
    let output =
        run(folder.path(), &["--config", "settings.toml", "serve", "--listen", "unix:a.sock"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "resetd: cannot listen on unix:a.sock: is there and is no socket\n"
    );
    assert_eq!(fs::read_to_string(folder.path().join("a.sock")).unwrap(), "precious");
}
