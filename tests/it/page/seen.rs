//! The page in a real browser: what a person sees and does, and what the browser does without them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::browser::Browser;
use super::forged;
use crate::cli::tell;
use crate::server::Server;

/// The app that the page leads on to. It keeps the heads of the requests it gets.
struct App {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl App {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/new-password", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = heads.clone();
        // Ends with the test run; nobody waits for it.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let head = answer(stream);
                kept.lock().unwrap().push(head);
            }
        });
        Self { url, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream) -> String {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let page = "<!doctype html><title>App</title><h1>New password</h1>";
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    let _ = stream.write_all(answer.as_bytes());
    head.join("\n")
}

/// A service with a page, the app behind it, and somebody who looks at it.
struct Scene {
    server: Server,
    app: App,
    browser: Browser,
}

impl Scene {
    fn start() -> Self {
        Self::start_with("")
    }

    fn start_with(more: &str) -> Self {
        let app = App::start();
        let page = format!(
            "[page]\nenabled = true\nname = \"Example\"\ncontinue_url = \"{}#{{token}}\"\n[limits]\nholder_revocations_per_minute = 1000\n{more}",
            app.url
        );
        let server = Server::start_with(&page, &[]);
        Self { server, app, browser: Browser::start() }
    }

    fn issue(&self, arguments: &[&str]) -> String {
        let mut command = self.server.client();
        let told =
            tell(command.args(["issue", "alice@example.com", "-o", "json"]).args(arguments), 0);
        told.json()["token"].as_str().unwrap().to_owned()
    }

    /// Opens the page with a token and waits for its answer.
    fn open(&self, token: &str) {
        self.open_at(&format!("/reset#{token}"));
    }

    fn open_at(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.server.url));
        self.wait_until_told();
    }

    /// Waits until nothing is under way any more.
    #[track_caller]
    fn wait_until_told(&self) {
        let is_told = "document.getElementById('status').textContent && !document.querySelector('[aria-busy]')";
        self.browser.wait_until(is_told);
    }

    #[track_caller]
    fn wait_for_headline(&self, headline: &str) {
        let quoted = Value::from(headline);
        self.browser.wait_until(&format!("document.querySelector('h1').textContent === {quoted}"));
    }

    /// From here on the page asks only when it is let, and what it asked for stands in `asked`.
    fn hold_requests(&self) {
        self.browser.run(
            "const real = fetch; window.asked = []; window.held = [];
            window.fetch = (path, options) => {
                asked.push({ path, body: options.body, options: [options.credentials, options.redirect] });
                return new Promise((go, fail) => {
                    held.push({ let: () => go(real(path, options)), fail });
                    options.signal.addEventListener('abort', () => fail(options.signal.reason));
                });
            };",
        );
    }

    /// Lets the oldest request go that is held, as soon as there is one.
    #[track_caller]
    fn let_request_go(&self) {
        self.browser.wait_until("held.length");
        self.browser.run("held.shift().let();");
    }

    /// The paths that were asked for since then.
    fn asked(&self) -> String {
        self.browser.text("asked.map((it) => it.path).join(' ')")
    }

    /// Sets a token aside, as an app does while it sets a password, and says how the hold is named.
    fn hold(&self, token: &str) -> String {
        let body = serde_json::json!({ "token": token, "hold": 600 }).to_string();
        ask(self, "/redemptions", &body)["redemptionId"].as_str().unwrap().to_owned()
    }

    fn headline(&self) -> String {
        self.browser.text("document.querySelector('h1').textContent")
    }

    fn redeem(&self, token: &str, code: i32) {
        tell(self.server.client().args(["redeem", token, "-o", "json"]), code);
    }

    /// Presses, and waits until the headline has changed to this.
    #[track_caller]
    fn press(&self, step: &str, headline: &str) {
        self.browser.press(&format!("[data-does={step}]"));
        self.browser.wait_until("!document.querySelector('[aria-busy]')");
        self.wait_for_headline(headline);
        let focused = self.browser.text("document.activeElement.textContent");
        assert_eq!(focused, headline, "the focus is elsewhere");
    }

    /// Fails if anything but the service was asked for anything, or has the token where it is kept.
    #[track_caller]
    fn assert_quiet(&self, token: &str) {
        for request in self.browser.requests() {
            let url = request["url"].as_str().unwrap();
            let (own, blank) = (url.starts_with(&self.server.url), url == "about:blank");
            assert!(own || blank, "{request}");
            // The fragment stands by itself here, since it is not sent.
            assert!(!url.contains(token), "{request}");
            assert!(!request["headers"].to_string().contains(token), "{request}");
        }
        assert_eq!(self.app.heads(), Vec::<String>::new());
        assert!(!self.server.log().contains(token), "the log has the token");
    }
}

#[test]
fn a_live_link_shows_whose_it_is_and_nothing_happens_by_itself() {
    let scene = Scene::start();
    let token = scene.issue(&[]);
    scene.open(&token);
    assert_eq!(scene.headline(), "Set a new password");
    assert_eq!(
        scene.browser.text("document.querySelector('[data-is=username]').textContent"),
        "a***@e***.com"
    );
    let expires = scene.browser.text("document.querySelector('time').dateTime");
    assert!(expires.ends_with('Z') && expires.len() == 20, "{expires}");
    let shown = scene.browser.text("document.querySelector('time').textContent");
    assert!(shown.contains("20") && shown.contains(':'), "{shown}");
    assert_eq!(scene.browser.text("document.title"), "Set a new password – Example");
    assert_eq!(
        scene.browser.text("document.getElementById('status').textContent"),
        "Set a new password"
    );
    assert_eq!(scene.browser.text("document.querySelectorAll('h1').length"), "1");
    assert_eq!(scene.browser.text("location.href"), format!("{}/reset", scene.server.url));
    assert!(!scene.browser.text("document.documentElement.outerHTML").contains(&token));
    let kept = "JSON.stringify([localStorage, sessionStorage, document.cookie, history.state])";
    assert_eq!(scene.browser.text(kept), "[{},{},\"\",null]");
    // What a scanner does beyond opening it: it waits, scrolls, looks at it again and clicks by script.
    scene.browser.run("scrollTo(0, 10000); dispatchEvent(new Event('focus'));");
    for step in ["proceed", "doubt", "disown"] {
        scene.browser.run(&format!("document.querySelector('[data-does={step}]')?.click();"));
        scene.browser.wait_for_two_frames();
        assert_eq!(scene.headline(), "Set a new password", "{step}");
    }
    assert_eq!(scene.browser.text("location.href"), format!("{}/reset", scene.server.url));
    scene.assert_quiet(&token);
    assert_eq!(scene.browser.complaints(), Vec::<String>::new());
    scene.redeem(&token, 0);
}

#[test]
fn a_press_leads_on_to_the_app_with_the_token_where_no_server_sees_it() {
    let scene = Scene::start();
    let token = scene.issue(&[]);
    scene.open(&token);
    scene.browser.press("[data-does=proceed]");
    scene.browser.wait_until("document.title === 'App'");
    assert_eq!(scene.browser.text("location.href"), format!("{}#{token}", scene.app.url));
    assert_eq!(scene.browser.text("document.referrer"), "");
    let heads = scene.app.heads();
    assert!(heads[0].starts_with("GET /new-password HTTP/1.1"), "{heads:?}");
    assert!(!heads[0].to_lowercase().contains("referer"), "{heads:?}");
    assert!(!heads.join("").contains(&token), "{heads:?}");
    scene.redeem(&token, 0);
}

#[test]
fn whoever_did_not_ask_switches_the_link_off_by_a_second_press() {
    let scene = Scene::start();
    let token = scene.issue(&[]);
    scene.open(&token);
    scene.press("doubt", "You did not ask for this?");
    scene.press("back", "Set a new password");
    scene.press("doubt", "You did not ask for this?");
    scene.assert_quiet(&token);
    scene.press("disown", "The link is dead now");
    assert_eq!(scene.browser.text("document.querySelectorAll('button').length"), "0");
    let told = scene.browser.text("document.querySelector('#view p').textContent");
    assert!(told.starts_with("Nobody has set a password with it"), "{told}");
    // The page asks what became of the link, and the browser notes that the answer is a refusal.
    let complaints = scene.browser.complaints();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].contains("/reset/check - Failed to load resource"), "{complaints:?}");
    scene.redeem(&token, 1);
    scene.open(&token);
    assert_eq!(scene.headline(), "This link does not work any more");
}

#[test]
fn a_link_that_somebody_used_meanwhile_is_not_called_dead_and_nothing_else() {
    let scene = Scene::start_with("[token]\nsupersede = false\n");
    let token = scene.issue(&[]);
    scene.open(&token);
    scene.press("doubt", "You did not ask for this?");
    scene.redeem(&token, 0);
    scene.press("disown", "This link was already used");
    // Where it cannot be learned what became of it, nothing is said of that.
    let token = scene.issue(&[]);
    scene.open(&token);
    scene.press("doubt", "You did not ask for this?");
    scene.hold_requests();
    scene.browser.press("[data-does=disown]");
    scene.let_request_go();
    scene.browser.wait_until("held.length");
    scene.browser.run("held.shift().fail(new TypeError());");
    scene.wait_for_headline("The link is dead now");
    let told = scene.browser.text("document.querySelector('#view p').textContent");
    assert!(!told.contains("Nobody has set a password"), "{told}");
    scene.redeem(&token, 1);
}

#[test]
fn a_link_that_is_held_can_be_switched_off_and_the_password_change_is_refused() {
    let scene = Scene::start();
    let token = scene.issue(&[]);
    let id = scene.hold(&token);
    scene.open(&token);
    assert_eq!(scene.headline(), "This link is in use");
    scene.press("doubt", "You did not ask for this?");
    scene.press("back", "This link is in use");
    scene.press("doubt", "You did not ask for this?");
    scene.press("disown", "The link is dead now");
    // Somebody was about to set one, so nothing is said of passwords.
    let told = scene.browser.text("document.querySelector('#view p').textContent");
    assert!(!told.contains("Nobody has set a password"), "{told}");
    assert_eq!(ask(&scene, &format!("/redemptions/{id}/commit"), "")["code"], "token_revoked");
}

#[test]
fn a_second_press_while_the_first_is_under_way_is_the_same_press() {
    let scene = Scene::start();
    let token = scene.issue(&[]);
    scene.open(&token);
    scene.press("doubt", "You did not ask for this?");
    scene.hold_requests();
    for step in ["disown", "disown", "back"] {
        scene.browser.press(&format!("[data-does={step}]"));
    }
    assert_eq!(scene.headline(), "You did not ask for this?");
    assert_eq!(scene.asked(), "revocations");
    let status = scene.browser.text("document.getElementById('status').textContent");
    assert_eq!(status, "One moment, please.");
    scene.let_request_go();
    scene.let_request_go();
    scene.wait_for_headline("The link is dead now");
    assert_eq!(scene.asked(), "revocations reset/check");
    // No cookie goes along, and the token goes to no other address.
    let options = scene.browser.text("JSON.stringify(asked.map((it) => it.options))");
    assert_eq!(options, r#"[["omit","error"],["omit","error"]]"#);
}

#[test]
fn what_was_pressed_for_one_link_is_never_done_to_another() {
    let scene = Scene::start_with("[token]\nsupersede = false\n");
    let [first, second] = [scene.issue(&[]), scene.issue(&[])];
    scene.open(&first);
    scene.press("doubt", "You did not ask for this?");
    scene.hold_requests();
    scene.browser.press("[data-does=disown]");
    assert_eq!(scene.asked(), "revocations");
    scene.browser.run(&format!("location.hash = '#{second}';"));
    // It does not wait for what is under way about the other, and nothing of that can be pressed.
    scene.browser.wait_until("asked.length === 2");
    assert_eq!(scene.browser.text("document.querySelectorAll('button').length"), "0");
    scene.browser.run("held.shift().fail(new TypeError());");
    scene.browser.wait_for_two_frames();
    assert_eq!(scene.headline(), "Set a new password");
    scene.browser.run("held.shift().fail(new TypeError());");
    scene.wait_for_headline("That did not work");
    scene.browser.press("[data-does=again]");
    scene.let_request_go();
    scene.wait_for_headline("Set a new password");
    scene.browser.wait_until("document.querySelector('[data-does=proceed]')");
    assert_eq!(scene.asked(), "revocations reset/check reset/check");
    let with = |token: &str| {
        let found = format!("asked.map((it) => it.body.includes('{token}')).join(' ')");
        scene.browser.text(&found)
    };
    assert_eq!(with(&first), "true false false");
    assert_eq!(with(&second), "false true true");
    scene.redeem(&first, 0);
    scene.redeem(&second, 0);
}

#[test]
fn a_service_that_does_not_answer_is_given_up_and_can_be_asked_again() {
    let scene = Scene::start();
    let token = scene.issue(&[]);
    scene.open(&token);
    scene.press("doubt", "You did not ask for this?");
    scene.hold_requests();
    scene.browser.run(
        "AbortSignal.timeout = (time) => {
            const abort = new AbortController();
            window.givenUp = { time, now: () => abort.abort() };
            return abort.signal;
        };",
    );
    scene.browser.press("[data-does=disown]");
    assert_eq!(scene.browser.text("givenUp.time"), "15000");
    scene.browser.run("givenUp.now(); held.length = 0;");
    scene.wait_for_headline("That did not work");
    scene.browser.press("[data-does=again]");
    scene.let_request_go();
    scene.let_request_go();
    scene.wait_for_headline("The link is dead now");
}

#[test]
fn without_its_script_it_says_what_to_do_and_is_not_empty() {
    let scene = Scene::start();
    scene.browser.block("*/page.js");
    scene.browser.open(&format!("{}/reset#{}", scene.server.url, scene.issue(&[])));
    let seen = scene.browser.seen_text();
    assert!(seen.contains("If nothing else comes up here, load the page again."), "{seen}");
    scene.browser.block("");
    scene.open(&scene.issue(&[]));
    let seen = scene.browser.seen_text();
    assert!(!seen.contains("If nothing else comes up here"), "{seen}");
}

#[test]
fn what_is_wrong_with_a_link_is_told_in_a_sentence() {
    let scene = Scene::start_with("[token]\nmin_lifetime_seconds = 1\nsupersede = false\n");
    let [live, used, brief] = [scene.issue(&[]), scene.issue(&[]), scene.issue(&["--ttl", "1"])];
    scene.redeem(&used, 0);
    for (token, headline) in [
        (forged(&live).as_str(), "This link does not work"),
        (&used, "This link was already used"),
        (&live[..live.len() - 5], "This link does not work"),
        ("", "The link is missing"),
        ("section-2", "The link is missing"),
    ] {
        scene.open(token);
        assert_eq!(scene.headline(), headline, "{token}");
        assert_eq!(scene.browser.text("document.querySelectorAll('button').length"), "0");
        let status = scene.browser.text("document.getElementById('status').textContent");
        assert_eq!(status, headline);
    }
    let deadline = std::time::Instant::now() + crate::server::PATIENCE;
    loop {
        scene.open(&brief);
        if scene.headline() == "This link has expired" {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{}", scene.headline());
    }
    // The browser itself notes that an answer was a refusal; the page has nothing to complain of.
    for complaint in scene.browser.complaints() {
        assert!(complaint.contains("/reset/check - Failed to load resource"), "{complaint}");
        assert!(complaint.contains("status of 404"), "{complaint}");
    }
    scene.assert_quiet(&live);
    scene.redeem(&live, 0);
}

#[test]
fn what_may_end_otherwise_can_be_tried_again() {
    let scene = Scene::start();
    let token = scene.issue(&[]);
    let id = scene.hold(&token);
    scene.open(&token);
    assert_eq!(scene.headline(), "This link is in use");
    scene.press("look", "This link is in use");
    ask(&scene, &format!("/redemptions/{id}/cancel"), "");
    scene.press("look", "Set a new password");
    // A service that is not there.
    let Scene { server, browser, app } = scene;
    let (status, folder) = server.stop();
    assert!(status.success());
    browser.press("[data-does=doubt]");
    browser.press("[data-does=disown]");
    browser.wait_until("document.querySelector('h1').textContent === 'That did not work'");
    assert_eq!(app.heads(), Vec::<String>::new());
    drop(folder);
}

/// Asks with the key of the run.
fn ask(scene: &Scene, path: &str, body: &str) -> Value {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        scene.server.api_key,
        body.len()
    );
    let answer = scene.server.exchange(request.as_bytes());
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn a_token_in_the_query_is_taken_and_taken_out_of_the_address() {
    let scene = Scene::start();
    let token = scene.issue(&[]);
    for path in [format!("/reset?lang=en&token={token}"), format!("/reset#/x?token={token}")] {
        scene.open_at(&path);
        assert_eq!(scene.headline(), "Set a new password", "{path}");
        assert_eq!(scene.browser.text("location.href"), format!("{}/reset", scene.server.url));
    }
    assert!(!scene.server.log().contains(&token));
    for request in scene.browser.requests() {
        assert_eq!(request["headers"]["Referer"].as_str().unwrap_or_default(), "", "{request}");
    }
    // Another link that is opened in the same window.
    let other = scene.issue(&[]);
    scene.browser.run(&format!("location.hash = '#{}';", forged(&other)));
    scene
        .browser
        .wait_until("document.querySelector('h1').textContent === 'This link does not work'");
    assert_eq!(scene.browser.text("location.hash"), "");
}

#[test]
fn without_scripts_it_says_what_to_do() {
    let scene = Scene::start();
    scene.browser.turn_scripts_off();
    scene.browser.open(&format!("{}/reset#{}", scene.server.url, scene.issue(&[])));
    let seen = scene.browser.seen_text();
    for text in ["Set a new password", "This page needs JavaScript.", "there is nothing to do"] {
        assert!(seen.contains(text), "{seen}");
    }
    assert!(!seen.contains("being checked"), "{seen}");
}

#[test]
fn it_can_be_used_with_the_keyboard_alone_and_shows_where_the_focus_is() {
    const TAB: char = '\u{e004}';
    const ENTER: char = '\u{e007}';
    let scene = Scene::start();
    scene.open(&scene.issue(&[]));
    for step in ["proceed", "doubt"] {
        scene.browser.type_key(TAB);
        assert_eq!(scene.browser.text("document.activeElement.dataset.does"), step);
        let outline = scene.browser.text("getComputedStyle(document.activeElement).outlineStyle");
        assert_eq!(outline, "solid");
    }
    scene.browser.type_key(ENTER);
    scene.browser.wait_until("document.activeElement.tagName === 'H1'");
    scene.browser.type_key(TAB);
    scene.browser.type_key(ENTER);
    scene.browser.wait_until("document.querySelector('h1').textContent === 'The link is dead now'");
}

#[test]
fn the_page_of_a_tenant_is_about_its_tokens_and_switches_them_off_there() {
    let key = resetd::domain::caller::api_key([2; 32]);
    let hash = resetd::domain::caller::KeyHash::of(key.expose());
    let scene = Scene::start_with(&format!(
        "[tenants.acme]\naudience = \"acme\"\nkeys = \"shared\"\n[tenants.acme.page]\nenabled = true\nname = \"Acme\"\ncontinue_url = \"https://acme.example/#{{token}}\"\n[[callers]]\nname = \"acme\"\ntenant = \"acme\"\nscopes = [\"issue\", \"redeem\"]\nkey_sha256 = \"{hash}\"\n"
    ));
    let as_acme = |arguments: &[&str], code| {
        let mut command = scene.server.client();
        command.env("RESETD_API_KEY", key.expose());
        tell(command.args(arguments).args(["-o", "json"]), code)
    };
    let token = as_acme(&["issue", "bob"], 0).json()["token"].as_str().unwrap().to_owned();
    scene.open(&token);
    assert_eq!(scene.headline(), "This link does not work");
    scene.open_at(&format!("/tenants/acme/reset#{token}"));
    assert_eq!(scene.browser.text("document.querySelector('header').textContent"), "Acme");
    scene.press("doubt", "You did not ask for this?");
    scene.press("disown", "The link is dead now");
    as_acme(&["redeem", &token], 1);
}

/// Each state that the page can be in: what it is opened with, and what is pressed then.
const STATES: [(&str, bool, &[&str]); 7] = [
    ("live", true, &[]),
    ("doubt", true, &["doubt"]),
    ("unknown", false, &[]),
    ("held", true, &["hold"]),
    ("failed", true, &["doubt", "fail", "disown"]),
    ("dead", true, &["hold", "doubt", "disown"]),
    ("disowned", true, &["doubt", "disown"]),
];

#[test]
fn nobody_is_kept_out_in_either_language_and_scheme_on_any_screen() {
    let scene = Scene::start();
    let browser = &scene.browser;
    let mut found = Vec::new();
    for language in ["en", "de"] {
        browser.prefer_language(language);
        for (state, is_live, presses) in STATES {
            let token = scene.issue(&[]);
            if presses.first() == Some(&"hold") {
                scene.hold(&token);
            }
            scene.open(&if is_live { token } else { forged(&token) });
            assert_eq!(browser.text("document.documentElement.lang"), language);
            for press in presses {
                match *press {
                    "hold" => continue,
                    "fail" => {
                        browser.run("window.fetch = () => Promise.reject(new TypeError());");
                        continue;
                    }
                    _ => {}
                }
                let before = Value::from(scene.headline());
                browser.press(&format!("[data-does={press}]"));
                browser
                    .wait_until(&format!("document.querySelector('h1').textContent !== {before}"));
            }
            for scheme in ["light", "dark"] {
                browser.prefer_scheme(scheme);
                for (width, height) in [(320, 568), (375, 667), (1100, 800)] {
                    browser.resize(width, height);
                    let is_narrow = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
                    assert_eq!(browser.text(is_narrow), "true", "{state} {language} {width}");
                    browser.picture(&format!("{state}-{language}-{scheme}-{width}.png"));
                }
                for violation in browser.violations() {
                    found.push(format!("{state} {language} {scheme}: {violation}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn nothing_moves() {
    let scene = Scene::start();
    scene.open(&scene.issue(&[]));
    let moving = "document.getAnimations().length + [...document.querySelectorAll('*')].filter((it) => getComputedStyle(it).transitionDuration !== '0s').length";
    assert_eq!(scene.browser.text(moving), "0");
}
