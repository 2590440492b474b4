//! What templates can name.

use std::collections::BTreeMap;

use minijinja::value::Value;
use resetd_verify::Timestamp;

use super::{Kind, single_line};
use crate::domain::identifier::Username;
use crate::domain::secret::Secret;
use crate::domain::time::to_rfc3339;

/// Every value there is, and the kinds of mail that have it.
pub const VALUES: [(&str, &[Kind]); 8] = [
    ("expires", &[Kind::Reset]),
    ("expires_date", &[Kind::Reset]),
    ("expires_time", &[Kind::Reset]),
    ("link", &[Kind::Reset]),
    ("minutes", &[Kind::Reset]),
    ("product", &Kind::ALL),
    ("time", &[Kind::Redeemed]),
    ("username", &Kind::ALL),
];

/// What one mail is about.
#[derive(Clone, Debug)]
pub struct Values<'v> {
    /// Whose password it is.
    pub username: &'v Username,
    /// What people know the place as where the password is for.
    pub product: &'v str,
    /// What happened, or is to happen.
    pub about: About,
}

/// What happened, or is to happen. A notice has no link, since there is no place for one.
#[derive(Clone, Debug)]
pub enum About {
    /// A password may be reset.
    Reset {
        /// By this link.
        link: Secret,
        /// Until then.
        expires: Timestamp,
        /// Which is so far from now.
        now: Timestamp,
    },
    /// A password was reset.
    Redeemed {
        /// At this time.
        at: Timestamp,
    },
}

impl About {
    /// The kind of mail that tells it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Reset { .. } => Kind::Reset,
            Self::Redeemed { .. } => Kind::Redeemed,
        }
    }
}

impl Values<'_> {
    pub(super) fn context(&self) -> Value {
        let text = |text: &str| Value::from(single_line(text));
        let mut values = BTreeMap::from([
            ("username", text(self.username.as_str())),
            ("product", text(self.product)),
        ]);
        match &self.about {
            About::Reset { link, expires, now } => {
                let (date, time) = date_and_time(*expires);
                values.extend([
                    // As it is: a link that is cut short or mended is another one.
                    ("link", Value::from(link.expose())),
                    ("expires", Value::from(format!("{date} {time} UTC"))),
                    ("expires_date", Value::from(date)),
                    ("expires_time", Value::from(time)),
                    ("minutes", Value::from(expires.since(*now) / 60)),
                ]);
            }
            About::Redeemed { at } => {
                let (date, time) = date_and_time(*at);
                values.insert("time", Value::from(format!("{date} {time} UTC")));
            }
        }
        Value::from_pairs(values)
    }
}

/// The day and the minute, in UTC.
fn date_and_time(time: Timestamp) -> (String, String) {
    let text = to_rfc3339(time);
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let minutes = time.rsplit_once(':').map_or(time, |(minutes, _)| minutes);
    (date.into(), minutes.into())
}
