//! Mails that tell whose password was reset.

use serde_json::json;

use super::people::{PEOPLE, only, start};
use super::{App, Letter, directory, mail_server, mail_to};
use crate::mail::servers::count;

/// The letters that tell of a new password.
fn notices(app: &App) -> Vec<Letter> {
    let mails = app.folder_of_mails().into_iter();
    mails.filter(|mail| !mail.text.contains("https://")).collect()
}

#[test]
fn whose_password_was_reset_is_told_so_without_a_link() {
    let app = start("", "");
    app.deliver(&only("dan"));
    let mail = app.mails(1).remove(0);
    app.redeem_once(mail.token());
    app.mails(2);
    let told = notices(&app).remove(0);
    assert_eq!(told.to, ["dan@u.example"]);
    assert_eq!(told.subject, "Your password for localhost was changed");
    assert!(!told.text.contains("eyJ") && !told.text.contains("://"), "{}", told.text);
    app.wait_until_all_is_sent();
    assert_eq!(app.folder_of_mails().len(), 2);
    let lines = app.delivered(2);
    assert!(lines.iter().all(|line| line["outcome"] == "ok"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line["jti"].is_null()).count(), 1);
}

#[test]
fn a_notice_comes_after_a_commit_and_not_after_a_hold_or_a_cancel() {
    let app = start("", "");
    app.deliver(&only("dan"));
    let mail = app.mails(1).remove(0);
    let hold = || {
        let body = json!({ "token": mail.token(), "hold": 60 });
        let (status, held) = app.post("/redemptions", &body);
        assert_eq!(status, 201, "{held}");
        held["redemptionId"].as_str().unwrap().to_owned()
    };
    let end = |id: &str, how: &str| {
        let (status, answer) = app.post(&format!("/redemptions/{id}/{how}"), &json!({}));
        assert_eq!(status, 200, "{answer}");
    };
    end(&hold(), "cancel");
    let id = hold();
    app.wait_until_all_is_sent();
    assert!(notices(&app).is_empty());
    end(&id, "commit");
    end(&id, "commit");
    app.mails(2);
    app.wait_until_all_is_sent();
    assert_eq!(notices(&app).len(), 1);
}

#[test]
fn nobody_is_told_where_that_is_not_wanted() {
    let app = start("", "mail.notices = false\n");
    app.deliver(&only("dan"));
    app.redeem_once(app.mails(1)[0].token());
    app.wait_until_all_is_sent();
    assert!(notices(&app).is_empty());
}

#[test]
fn a_notice_that_is_refused_ends_and_the_password_is_reset_all_the_same() {
    let smtp = mail_server("refuse_recipient");
    let folder = tempfile::tempdir().unwrap();
    let directory = directory(folder.path(), PEOPLE, "reveal_unknown_users = true");
    let app = App::start_in(folder, &format!("{}{directory}", mail_to(&smtp)));
    let (_, issued) = app.post("/password-tokens", &only("dan"));
    app.redeem_once(issued["token"].as_str().unwrap());
    assert_eq!(app.outcomes(1), ["mail_refused"]);
    app.wait_until_all_is_sent();
    assert_eq!(count(&smtp.end(), "recipient"), 1);
}
