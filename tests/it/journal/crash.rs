//! The proof of the promise: a server is killed at random moments under load, again and again, and no
//! redemption that was acknowledged happens a second time, and no token that was not is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use resetd::domain::caller::{KeyHash, api_key};
use serde_json::Value;

use crate::server::Server;

/// Kills in a usual run; `RESETD_TEST_KILLS` says another number.
const KILLS: u64 = 200;
const CLIENTS: usize = 6;

/// What a client knows of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was issued, and nothing more is known.
    Issued,
    /// A redemption was acknowledged.
    Redeemed,
    /// A revocation was acknowledged.
    Revoked,
    /// A redemption was asked for and no answer came.
    RedemptionLost,
    /// A revocation was asked for and no answer came.
    RevocationLost,
    /// It was held, and its caller knows that.
    Held,
    /// It was to be held and no answer came.
    HoldLost,
    /// A commit was acknowledged.
    Committed,
    /// A commit was asked for and no answer came.
    CommitLost,
    /// A cancel was acknowledged.
    Cancelled,
    /// A cancel was asked for and no answer came.
    CancelLost,
}

/// A token, what is known of it, and the name of its hold.
type Known = (String, Fate, String);

fn settings() -> String {
    let hash = KeyHash::of(api_key([7; 32]).expose());
    format!(
        "[token]\nissuer = \"https://reset.example.com\"\n[limits]\nuser_tokens_per_hour = 0\nsource_per_minute = 0\n[log]\nlevel = \"warn\"\n[[callers]]\nname = \"all\"\nkey_sha256 = \"{hash}\"\nscopes = [\"issue\", \"check\", \"redeem\", \"revoke\"]\n"
    )
}

/// The status and body of an answer; nothing if the server died before it was whole.
fn ask(address: &str, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
    ask_with(address, method, path, body, "")
}

/// The same in a way that may be repeated: the body is its own key.
fn ask_again(address: &str, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
    let key = KeyHash::of(body);
    ask_with(address, method, path, body, &format!("Idempotency-Key: {key}\r\n"))
}

fn ask_with(
    address: &str,
    method: &str,
    path: &str,
    body: &str,
    header: &str,
) -> Option<(u16, Value)> {
    let key = api_key([7; 32]);
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\n{header}X-API-Key: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        key.expose(),
        body.len()
    );
    let answer = Server::try_exchange_at(address, request.as_bytes())?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let value = if body.is_empty() { Value::Null } else { serde_json::from_str(body).ok()? };
    Some((status, value))
}

/// Issues, redeems and revokes until the server is gone.
fn hammer(address: &str, stop: &AtomicBool, fates: &Mutex<Vec<Known>>, first: usize) {
    let mut turn = first;
    while !stop.load(Ordering::SeqCst) {
        let body = format!("{{\"username\": \"user-{first}-{turn}\"}}");
        let Some((201, issued)) = ask(address, "POST", "/password-tokens", &body) else { continue };
        let token = issued["token"].as_str().unwrap().to_owned();
        turn += 1;
        let mut id = String::new();
        let fate = match turn % 6 {
            0 => Fate::Issued,
            1 | 2 => hold(address, &token, turn, &mut id),
            3 => match ask(address, "DELETE", &format!("/password-tokens/{token}"), "") {
                Some((204, _)) => Fate::Revoked,
                Some(other) => panic!("{other:?}"),
                None => Fate::RevocationLost,
            },
            _ => match ask_again(
                address,
                "POST",
                "/redemptions",
                &format!("{{\"token\": \"{token}\"}}"),
            ) {
                Some((201, _)) => Fate::Redeemed,
                Some(other) => panic!("{other:?}"),
                None => Fate::RedemptionLost,
            },
        };
        fates.lock().unwrap().push((token, fate, id));
    }
}

/// Holds a token, and two times of three says what became of it.
fn hold(address: &str, token: &str, turn: usize, id: &mut String) -> Fate {
    let Some((status, held)) = ask_again(address, "POST", "/redemptions", &held_body(token)) else {
        return Fate::HoldLost;
    };
    assert_eq!(status, 201, "{held}");
    *id = held["redemptionId"].as_str().unwrap().into();
    let (how, told, lost) = match turn / 6 % 3 {
        0 => return Fate::Held,
        1 => ("commit", Fate::Committed, Fate::CommitLost),
        _ => ("cancel", Fate::Cancelled, Fate::CancelLost),
    };
    match end(address, id, how) {
        Some((200, _)) => told,
        Some(other) => panic!("{other:?}"),
        None => lost,
    }
}

fn held_body(token: &str) -> String {
    format!("{{\"token\": \"{token}\", \"hold\": 600}}")
}

fn end(address: &str, id: &str, how: &str) -> Option<(u16, Value)> {
    ask(address, "POST", &format!("/redemptions/{id}/{how}"), "")
}

#[test]
fn no_acknowledged_redemption_happens_twice_and_no_honest_token_is_lost_whenever_it_is_killed() {
    let kills = std::env::var("RESETD_TEST_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut folder = tempfile::tempdir().unwrap();
    let mut checked = [0; 11];
    for kill in 0..kills {
        let server = Server::start_in(folder, &settings(), &[]);
        let address = server.address().to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let fates = Arc::new(Mutex::new(Vec::new()));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (address, stop, fates) = (address.clone(), stop.clone(), fates.clone());
                let first = CLIENTS * usize::try_from(kill).unwrap() + client;
                thread::spawn(move || hammer(&address, &stop, &fates, first))
            })
            .collect();
        // Another moment each time; nothing depends on which.
        thread::sleep(Duration::from_millis(20 + kill * 7919 % 90));
        folder = server.kill();
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().unwrap();
        }
        let server = Server::start_in(folder, &settings(), &[]);
        for (token, fate, id) in fates.lock().unwrap().drain(..) {
            checked[fate as usize] += 1;
            check(server.address(), &token, fate, &id);
        }
        folder = server.stop().1;
    }
    println!(
        "{kills} kills; tokens only issued, redeemed, revoked, redemption lost, revocation lost, held, hold lost, committed, commit lost, cancelled, cancel lost: {checked:?}"
    );
    assert!(kills < KILLS || checked.iter().all(|count| *count > 0), "{checked:?}");
}

fn check(address: &str, token: &str, fate: Fate, id: &str) {
    let redeem = || {
        let body = format!("{{\"token\": \"{token}\"}}");
        let (status, body) = ask(address, "POST", "/redemptions", &body).unwrap();
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    };
    let (used, revoked) = ((409, "token_used".to_owned()), (410, "token_revoked".to_owned()));
    match fate {
        Fate::Issued => assert_eq!(redeem(), (201, String::new()), "an honest token was lost"),
        Fate::Redeemed | Fate::Committed => {
            assert_eq!(redeem(), used, "a redemption happened twice");
        }
        Fate::Revoked => assert_eq!(redeem(), revoked, "a revocation was forgotten"),
        Fate::RedemptionLost => {
            let body = format!("{{\"token\": \"{token}\"}}");
            for _ in 0..2 {
                let again = ask_again(address, "POST", "/redemptions", &body).unwrap();
                assert_eq!(again.0, 201, "a lost answer is not given again: {again:?}");
            }
            assert_eq!(redeem(), used, "a redemption happened twice");
        }
        Fate::Held | Fate::CommitLost | Fate::HoldLost => {
            let mut id = id.to_owned();
            if fate == Fate::HoldLost {
                let again = ask_again(address, "POST", "/redemptions", &held_body(token)).unwrap();
                assert_eq!(again.0, 201, "a lost answer is not given again: {again:?}");
                id = again.1["redemptionId"].as_str().unwrap().into();
            }
            for _ in 0..2 {
                let (status, answer) = end(address, &id, "commit").unwrap();
                assert_eq!(status, 200, "a hold was lost: {answer}");
            }
            assert_eq!(redeem(), used, "a commit happened and was forgotten");
        }
        Fate::Cancelled | Fate::CancelLost => {
            if fate == Fate::CancelLost {
                assert_eq!(end(address, id, "cancel").unwrap().0, 200);
            }
            assert_eq!(redeem(), (201, String::new()), "a cancel was forgotten");
            assert_eq!(redeem(), used);
        }
        Fate::RevocationLost => {
            let first = redeem();
            let was_done = [&used, &revoked].contains(&&first);
            assert!(was_done || first.0 == 201, "{first:?}");
            let second = redeem();
            assert!(second == used || second == revoked, "{second:?}");
        }
    }
}
