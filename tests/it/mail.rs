//! Mails: to mail servers that nobody here wrote, read back by a reader that nobody here wrote, and what
//! templates may say.

mod commands;
pub(crate) mod messages;
pub(crate) mod servers;
mod smtp;
mod templates;

use resetd::domain::email::EmailAddress;
use resetd::domain::identifier::Username;
use resetd::domain::language::Language;
use resetd::domain::mail::Sender;
use resetd::domain::secret::Secret;
use resetd::mail::{About, Letter, LetterId, Rendered, Templates, Values};
use resetd_verify::Timestamp;

/// 26 November 2026, 12:00 UTC.
const NOON: Timestamp = Timestamp::from_seconds(1_795_694_400);

/// As long as a link with an RS256 token, with what quoted-printable and HTML have to escape.
fn long_link() -> String {
    format!("https://app.example.com/reset?from=mail&lang=en#{}", "eyJ_abc-DEF.=20".repeat(50))
}

fn language(tag: &str) -> Language {
    Language::parse(tag).unwrap()
}

fn username(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn reset(link: &str) -> About {
    About::Reset { link: Secret::new(link), expires: NOON.plus(900), now: NOON }
}

fn built_in() -> Templates {
    Templates::load(None, &language("en")).unwrap()
}

fn render(username: &Username, product: &str, about: About) -> Rendered {
    built_in().render(&[], &Values { username, product, about }).unwrap()
}

fn letter_to(to: &str, id: &str) -> Letter {
    let rendered = render(&username("alice"), "Example", reset(&long_link()));
    letter_with(to, id, rendered)
}

fn letter_with(to: &str, id: &str, rendered: Rendered) -> Letter {
    Letter {
        id: LetterId::parse(id).unwrap(),
        to: EmailAddress::parse(to).unwrap(),
        from: Sender::parse("Zoë's \u{1f511} Shop <reset@example.com>").unwrap(),
        date: NOON,
        rendered,
    }
}
