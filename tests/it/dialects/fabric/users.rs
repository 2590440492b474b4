//! With a directory: a caller learns who is a user only where it may.

use std::fs;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use resetd::directory::{Directory, DirectoryLimits};
use resetd::domain::directory::DirectorySource;
use resetd::service::Users;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{RESET, USER_ID, assert_refused, masked, patch, start_with};
use crate::app::TestApp;

const PEOPLE: &str = "\
[[people]]
username = \"ann\"
user_id = \"6169b2d892a5f30009d76480\"

[[people]]
username = \"ben\"
enabled = false
";

fn start(are_revealed: bool) -> (TestApp, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.toml");
    fs::write(&path, PEOPLE).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let limits = DirectoryLimits { timeout: Duration::from_secs(60), cache_for: Duration::ZERO };
    let directory = Directory::open(DirectorySource::File(path), limits).unwrap();
    let app = start_with(|options, _| {
        options.sending.users = Some(Users { directory, are_revealed });
        options.rates.all.user_tokens_per_hour = NonZeroU32::new(1);
    });
    (app, folder)
}

fn of(username: &str) -> Value {
    json!({ "username": username })
}

#[tokio::test]
async fn a_caller_who_may_know_is_told_of_users_in_the_words_of_the_dialect() {
    let (app, _folder) = start(true);
    let issued = patch(&app, RESET, &of("ann")).await;
    issued.assert_status(200);
    assert_eq!(masked(issued.json())["userId"], USER_ID);
    let unknown = patch(&app, RESET, &of("nobody")).await;
    assert_refused(&unknown, 404, "USER_NOT_FOUND", "404");
    let disabled = patch(&app, RESET, &of("ben")).await;
    assert_refused(&disabled, 401, "USER_NOT_ACTIVE", "401");
}

#[tokio::test]
async fn a_caller_who_may_not_know_gets_the_same_answer_for_every_name_however_often() {
    let (app, _folder) = start(false);
    for username in ["ann", "nobody", "ben", "ann"] {
        let refused = patch(&app, RESET, &of(username)).await;
        assert_refused(&refused, 403, "DELIVERY_ONLY", "403");
    }
}
