//! Every text of the page, in each language that it speaks. A text that one of them lacks does not
//! compile.

use serde::Serialize;

/// The texts of one language.
#[derive(Debug, Serialize)]
pub(super) struct Texts {
    /// Its tag.
    pub(super) lang: &'static str,
    title: &'static str,
    checking: &'static str,
    /// What stands there until the script runs, and so where it does not.
    without_page: &'static str,
    without_script: &'static str,
    working: &'static str,
    advice: &'static str,
    asked: &'static str,
    account: &'static str,
    good_until: &'static str,
    proceed: &'static str,
    not_me: &'static str,
    doubt: Message,
    disown: &'static str,
    back: &'static str,
    /// The link was live until its holder switched it off.
    disowned: Message,
    /// It is not known what became of the link before.
    dead: &'static str,
    again: &'static str,
    refusals: [Refusal; 9],
}

/// What is said at one moment.
#[derive(Debug, Serialize)]
struct Message {
    headline: &'static str,
    text: &'static str,
}

/// What is said where there is no live token.
#[derive(Debug, Serialize)]
struct Refusal {
    /// The code of the problem, or `incomplete` and `failed` for what has none.
    code: &'static str,
    headline: &'static str,
    text: &'static str,
    /// Whether another try may end otherwise.
    can_change: bool,
    /// Whether there is still something to switch off.
    can_be_killed: bool,
}

/// The one that is spoken to whoever speaks none of them stands first.
pub(super) const ALL: [&Texts; 2] = [&ENGLISH, &GERMAN];

const ENGLISH: Texts = Texts {
    lang: "en",
    title: "Set a new password",
    checking: "Your link is being checked.",
    without_page: "If nothing else comes up here, load the page again.",
    without_script: "This page needs JavaScript. Turn it on and open the link in your mail once more. If you did not ask for a new password, there is nothing to do: without you the link ends by itself.",
    working: "One moment, please.",
    advice: "Keep the link to yourself: whoever has it can set your password.",
    asked: "Somebody asked for a new password for this account. Nothing is changed until you set one.",
    account: "Account",
    good_until: "The link works until",
    proceed: "Set a new password",
    not_me: "This was not me",
    doubt: Message {
        headline: "You did not ask for this?",
        text: "Then switch the link off, and nobody can set a password with it any more.",
    },
    disown: "Switch the link off",
    back: "Go back",
    disowned: Message {
        headline: "The link is dead now",
        text: "Nobody has set a password with it, and nobody can any more. You can close this page.",
    },
    dead: "Nobody can set a password with it any more. If you cannot log in with your password, ask for a new link and set another one.",
    again: "Try again",
    refusals: [
        Refusal {
            code: "incomplete",
            headline: "The link is missing",
            text: "Open the link in your mail once more. After it was opened, the page keeps no copy of it, so it cannot be reloaded.",
            can_change: false,
            can_be_killed: false,
        },
        Refusal {
            code: "token_unknown",
            headline: "This link does not work",
            text: "It may have been cut off. Open it in your mail once more, as a whole, or ask for a new one.",
            can_change: false,
            can_be_killed: false,
        },
        Refusal {
            code: "token_expired",
            headline: "This link has expired",
            text: "Its time is over. Ask for a new one.",
            can_change: false,
            can_be_killed: false,
        },
        Refusal {
            code: "token_used",
            headline: "This link was already used",
            text: "A link sets a password once. If that was not you, ask for a new one at once and set another password.",
            can_change: false,
            can_be_killed: false,
        },
        Refusal {
            code: "token_revoked",
            headline: "This link does not work any more",
            text: "It was switched off, or a newer one took its place. Use the link in your newest mail, or ask for a new one.",
            can_change: false,
            can_be_killed: false,
        },
        Refusal {
            code: "token_predates_start",
            headline: "This link is too old",
            text: "The service has started anew since it was sent. Ask for a new one.",
            can_change: false,
            can_be_killed: false,
        },
        Refusal {
            code: "token_held",
            headline: "This link is in use",
            text: "A password is being set with it at this moment. If that is you, go on there. If not, switch the link off.",
            can_change: true,
            can_be_killed: true,
        },
        Refusal {
            code: "rate_limited",
            headline: "Too many tries",
            text: "Wait a minute, then try again.",
            can_change: true,
            can_be_killed: false,
        },
        Refusal {
            code: "failed",
            headline: "That did not work",
            text: "The service could not be asked. Try again in a moment.",
            can_change: true,
            can_be_killed: false,
        },
    ],
};

const GERMAN: Texts = Texts {
    lang: "de",
    title: "Neues Passwort setzen",
    checking: "Ihr Link wird geprüft.",
    without_page: "Wenn hier sonst nichts erscheint, laden Sie die Seite neu.",
    without_script: "Diese Seite braucht JavaScript. Schalten Sie es ein und öffnen Sie den Link in Ihrer E-Mail noch einmal. Wenn Sie kein neues Passwort wollten, müssen Sie nichts tun: Ohne Sie endet der Link von selbst.",
    working: "Einen Moment bitte.",
    advice: "Behalten Sie den Link für sich: Wer ihn hat, kann Ihr Passwort setzen.",
    asked: "Für dieses Konto wurde ein neues Passwort angefordert. Es ändert sich nichts, bis Sie eines setzen.",
    account: "Konto",
    good_until: "Der Link gilt bis",
    proceed: "Neues Passwort setzen",
    not_me: "Das war ich nicht",
    doubt: Message {
        headline: "Sie haben das nicht angefordert?",
        text: "Dann schalten Sie den Link ab, und niemand kann damit noch ein Passwort setzen.",
    },
    disown: "Link abschalten",
    back: "Zurück",
    disowned: Message {
        headline: "Der Link ist jetzt wertlos",
        text: "Niemand hat damit ein Passwort gesetzt, und niemand kann es noch. Sie können diese Seite schließen.",
    },
    dead: "Niemand kann damit noch ein Passwort setzen. Wenn Sie sich mit Ihrem Passwort nicht anmelden können, fordern Sie einen neuen Link an und setzen Sie ein anderes.",
    again: "Noch einmal versuchen",
    refusals: [
        Refusal {
            code: "incomplete",
            headline: "Der Link fehlt",
            text: "Öffnen Sie den Link in Ihrer E-Mail noch einmal. Die Seite behält keine Kopie von ihm und kann deshalb nicht neu geladen werden.",
            can_change: false,
            can_be_killed: false,
        },
        Refusal {
            code: "token_unknown",
            headline: "Dieser Link funktioniert nicht",
            text: "Vielleicht ist er abgeschnitten. Öffnen Sie ihn in Ihrer E-Mail noch einmal ganz, oder fordern Sie einen neuen an.",
            can_change: false,
            can_be_killed: false,
        },
        Refusal {
            code: "token_expired",
            headline: "Dieser Link ist abgelaufen",
            text: "Seine Zeit ist um. Fordern Sie einen neuen an.",
            can_change: false,
            can_be_killed: false,
        },
        Refusal {
            code: "token_used",
            headline: "Dieser Link wurde schon benutzt",
            text: "Ein Link setzt ein Passwort nur einmal. Wenn Sie das nicht waren, fordern Sie gleich einen neuen an und setzen Sie ein anderes Passwort.",
            can_change: false,
            can_be_killed: false,
        },
        Refusal {
            code: "token_revoked",
            headline: "Dieser Link gilt nicht mehr",
            text: "Er wurde abgeschaltet, oder ein neuerer hat ihn ersetzt. Nehmen Sie den Link in Ihrer neuesten E-Mail, oder fordern Sie einen neuen an.",
            can_change: false,
            can_be_killed: false,
        },
        Refusal {
            code: "token_predates_start",
            headline: "Dieser Link ist zu alt",
            text: "Der Dienst wurde neu gestartet, seit er verschickt wurde. Fordern Sie einen neuen an.",
            can_change: false,
            can_be_killed: false,
        },
        Refusal {
            code: "token_held",
            headline: "Dieser Link wird gerade benutzt",
            text: "Mit ihm wird in diesem Moment ein Passwort gesetzt. Wenn Sie das sind, machen Sie dort weiter. Wenn nicht, schalten Sie den Link ab.",
            can_change: true,
            can_be_killed: true,
        },
        Refusal {
            code: "rate_limited",
            headline: "Zu viele Versuche",
            text: "Warten Sie eine Minute und versuchen Sie es dann noch einmal.",
            can_change: true,
            can_be_killed: false,
        },
        Refusal {
            code: "failed",
            headline: "Das hat nicht geklappt",
            text: "Der Dienst war nicht zu erreichen. Versuchen Sie es gleich noch einmal.",
            can_change: true,
            can_be_killed: false,
        },
    ],
};

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::REGISTRY;

    /// Every text by where it stands.
    fn texts(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
        match value {
            Value::String(text) => found.push((at.into(), text.clone())),
            Value::Object(members) => {
                members.iter().for_each(|(name, it)| texts(it, &format!("{at}.{name}"), found));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(n, it)| texts(it, &format!("{at}.{n}"), found));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    #[test]
    fn both_languages_have_the_same_keys_and_no_text_in_common() {
        let [english, german] = ALL.map(|language| {
            let mut found = Vec::new();
            texts(&json!(language), "", &mut found);
            found
        });
        assert!(english.len() > 30, "{}", english.len());
        assert_eq!(english.len(), german.len());
        for ((key, english), (other, german)) in english.iter().zip(&german) {
            assert_eq!(key, other);
            assert!(!english.trim().is_empty() && !german.trim().is_empty(), "{key}");
            assert_eq!(english == german, key.rsplit('.').next() == Some("code"), "{key}");
        }
    }

    #[test]
    fn whatever_may_be_wrong_with_a_token_has_its_text() {
        for texts in ALL {
            let codes = texts.refusals.iter().map(|refusal| refusal.code);
            let codes: Vec<_> = codes.filter(|code| code.starts_with("token_")).collect();
            let mut wanted: Vec<_> = REGISTRY.iter().map(|kind| kind.code()).collect();
            wanted.retain(|code| code.starts_with("token_"));
            wanted.sort_unstable();
            let mut found = codes.clone();
            found.sort_unstable();
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn another_try_is_offered_for_the_same_refusals_in_both() {
        let [english, german] =
            ALL.map(|texts| texts.refusals.each_ref().map(|it| (it.can_change, it.can_be_killed)));
        assert_eq!(english, german);
    }
}
