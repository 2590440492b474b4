//! RFC 3339 on the outside, whole seconds on the inside.

use chrono::{DateTime, SecondsFormat, Utc};
use resetd_verify::Timestamp;

/// Writes a time in UTC, to the second.
pub fn to_rfc3339(time: Timestamp) -> String {
    let seconds = i64::try_from(time.seconds()).unwrap_or(i64::MAX);
    DateTime::<Utc>::from_timestamp(seconds, 0)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Reads a time at or after 1970, rounded down to the second.
pub fn from_rfc3339(text: &str) -> Option<Timestamp> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    u64::try_from(time.timestamp()).ok().map(Timestamp::from_seconds)
}

/// Reads a time at or after 1970, rounded up to the second.
pub fn from_rfc3339_rounded_up(text: &str) -> Option<Timestamp> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    let second = u64::try_from(time.timestamp()).ok().map(Timestamp::from_seconds)?;
    Some(if time.timestamp_subsec_nanos() > 0 { second.plus(1) } else { second })
}

/// Reads a date of HTTP (RFC 9110 §5.6.7) in the form that is written today.
pub fn from_http_date(text: &str) -> Option<Timestamp> {
    let time = DateTime::parse_from_rfc2822(text).ok()?;
    u64::try_from(time.timestamp()).ok().map(Timestamp::from_seconds)
}

/// For serde: a time as RFC 3339.
pub mod rfc3339 {
    use resetd_verify::Timestamp;
    use serde::Serializer;

    /// Writes a time.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::to_rfc3339(*time))
    }

    /// For a time that may not be there.
    pub mod option {
        use resetd_verify::Timestamp;
        use serde::Serializer;

        /// Writes a time, or null.
        ///
        /// # Errors
        /// Those of the serializer.
        pub fn serialize<S: Serializer>(
            time: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, serializer),
                None => serializer.serialize_none(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_any_zone_and_written_in_utc() {
        let time = from_rfc3339("2026-11-24T10:00:00.9+01:00").unwrap();
        assert_eq!(to_rfc3339(time), "2026-11-24T09:00:00Z");
        let time = from_rfc3339_rounded_up("2026-11-24T10:00:00.9+01:00").unwrap();
        assert_eq!(to_rfc3339(time), "2026-11-24T09:00:01Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "tomorrow", "2026-11-24", "1969-12-31T23:59:59Z", "2026-11-24T10:00:00"] {
            assert_eq!(from_rfc3339(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_date_of_http_is_read() {
        let time = from_http_date("Tue, 24 Nov 2026 09:00:00 GMT").unwrap();
        assert_eq!(to_rfc3339(time), "2026-11-24T09:00:00Z");
        for text in ["", "60", "2026-11-24T09:00:00Z", "Tue, 31 Nov 2026 09:00:00 GMT"] {
            assert_eq!(from_http_date(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_far_end_of_time_is_written_without_a_panic() {
        assert!(to_rfc3339(Timestamp::from_seconds(u64::MAX)).starts_with("+262142"));
    }
}
