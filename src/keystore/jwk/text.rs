//! The text of a key's file, for `jwk.rs`: public members, times, private half, in this order.

use std::io;
use std::path::Path;

use resetd_verify::PublicKey;
use resetd_verify::json::{Object, Value};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::times::Times;
use crate::domain::keyring::KeyTimes;
use crate::keystore::error::{KeystoreError, io_error};
use crate::keystore::file::MAX_FILE_BYTES;
use crate::keystore::private::Wiped;

/// What is to stand in a file. `P` is how the private half is held.
#[derive(Serialize)]
pub(super) struct Contents<'a, P: Serialize> {
    #[serde(flatten)]
    public: Option<&'a PublicKey>,
    #[serde(flatten)]
    others: Members<'a, Kept<'a>>,
    #[serde(flatten)]
    times: Option<Times<'a>>,
    #[serde(flatten)]
    private: Members<'a, P>,
}

impl<'a, P: Serialize> Contents<'a, P> {
    /// A key by its parts.
    pub(super) fn of_new(
        public: &'a PublicKey,
        times: Option<&'a KeyTimes>,
        private: Vec<(&'a str, P)>,
    ) -> Self {
        let (public, others) = (Some(public), Members(Vec::new()));
        Self { public, others, times: times.map(Times::from), private: Members(private) }
    }

    /// A key as it stands, its private half and perhaps its times apart.
    pub(super) fn of_old(
        jwk: &'a Object<'a>,
        keep: impl Fn(&str) -> bool,
        times: Option<&'a KeyTimes>,
        private: Vec<(&'a str, P)>,
    ) -> Self {
        let others = Members(members(jwk, keep));
        Self { public: None, others, times: times.map(Times::from), private: Members(private) }
    }

    /// The text. All its room is taken beforehand: a buffer that grows leaves copies behind.
    pub(super) fn to_json(&self, path: &Path) -> Result<Wiped, KeystoreError> {
        // What is read back has a line feed at its end.
        let most = usize::try_from(MAX_FILE_BYTES - 1).unwrap_or(usize::MAX);
        let mut text = Zeroizing::new(vec![0; most]);
        let mut rest = &mut text[..];
        serde_json::to_writer_pretty(&mut rest, self).map_err(|_| {
            let too_long = "would be longer than a key's file may be";
            io_error(path)(io::Error::new(io::ErrorKind::FileTooLarge, too_long))
        })?;
        let length = most - rest.len();
        text.truncate(length);
        Ok(text)
    }
}

/// Members in the order given.
struct Members<'a, V>(Vec<(&'a str, V)>);

impl<V: Serialize> Serialize for Members<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The members of a file whose name is wanted, as they stand.
pub(super) fn members<'a>(
    jwk: &'a Object<'a>,
    wanted: impl Fn(&str) -> bool,
) -> Vec<(&'a str, Kept<'a>)> {
    jwk.names()
        .filter(|name| wanted(name))
        .filter_map(|name| jwk.member(name).map(|value| (name, Kept(value))))
        .collect()
}

/// A value that is written as it was read.
pub(super) struct Kept<'a>(&'a Value<'a>);

impl Serialize for Kept<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Integer(value) => serializer.serialize_i128(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(values) => serializer.collect_seq(values.iter().map(Kept)),
            Value::Object(object) => Members(members(object, |_| true)).serialize(serializer),
        }
    }
}
