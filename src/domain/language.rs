//! The languages people read, in the order they prefer them.

use std::fmt;

/// A language as a tag of letters, digits and hyphens (RFC 5646 §2.1), in lower case: `en`, `pt-br`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Language(String);

impl Language {
    /// What a text must be to be one.
    pub const WANTED: &str = "a language tag such as \"en\" or \"pt-BR\", of at most 35 characters";

    /// Reads a tag, whatever its case.
    pub fn parse(text: &str) -> Option<Self> {
        let is_subtag = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        let (first, is_short) = (text.split('-').next()?, text.len() <= 35);
        let is_primary = first.len() >= 2 && first.bytes().all(|b| b.is_ascii_alphabetic());
        (is_short && is_primary && text.split('-').all(is_subtag))
            .then(|| Self(text.to_ascii_lowercase()))
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The languages of an `Accept-Language` (RFC 9110 §12.5.4), the most wanted first. What cannot be
    /// read, and what is not wanted at all, is left out.
    pub fn accepted(header: &str) -> Vec<Self> {
        const MOST: usize = 8;
        let mut weighed: Vec<(u16, Self)> = header
            .split(',')
            .filter_map(|item| {
                let mut parts = item.split(';').map(str::trim);
                let language = Self::parse(parts.next()?)?;
                let weight = match parts.find_map(|part| part.strip_prefix("q=")) {
                    None => 1000,
                    Some(q) => thousandths(q)?,
                };
                (weight > 0).then_some((weight, language))
            })
            .collect();
        weighed.sort_by_key(|(weight, _)| u16::MAX - weight);
        weighed.into_iter().map(|(_, language)| language).take(MOST).collect()
    }

    /// The one of those there are that suits best (RFC 4647 §3.4): the first wanted one that is there,
    /// each also with fewer subtags.
    pub fn best<'l>(wanted: &[Self], there: &'l [Self]) -> Option<&'l Self> {
        wanted.iter().find_map(|wanted| {
            let mut tag = wanted.0.as_str();
            loop {
                if let Some(found) = there.iter().find(|language| language.0 == tag) {
                    return Some(found);
                }
                tag = tag.rsplit_once('-')?.0;
            }
        })
    }
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A weight of at most three decimals (RFC 9110 §12.4.2).
fn thousandths(q: &str) -> Option<u16> {
    let (whole, decimals) = q.split_once('.').unwrap_or((q, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let weight = match whole {
        "1" => 1000,
        "0" => 0,
        _ => return None,
    };
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    (weight + decimals <= 1000).then_some(weight + decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn languages(tags: &[&str]) -> Vec<Language> {
        tags.iter().map(|tag| Language::parse(tag).unwrap()).collect()
    }

    #[test]
    fn a_tag_is_letters_digits_and_hyphens() {
        assert_eq!(Language::parse("pt-BR").unwrap().as_str(), "pt-br");
        for text in ["", "e", "*", "en_US", "en-", "../en", "en\r\n", "12", &"abc-".repeat(20)] {
            assert!(Language::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn the_most_wanted_language_comes_first() {
        let accepted = Language::accepted("fr;q=0.5, de-CH, en;q=0.8, *;q=0.1, it;q=0, es;q=7");
        assert_eq!(accepted, languages(&["de-ch", "en", "fr"]));
        assert_eq!(Language::accepted("\u{0}"), []);
    }

    #[test]
    fn a_region_falls_back_to_its_language() {
        let there = languages(&["de", "en"]);
        let best =
            |wanted: &[&str]| Language::best(&languages(wanted), &there).map(Language::as_str);
        assert_eq!(best(&["de-ch"]), Some("de"));
        assert_eq!(best(&["fr", "en-us"]), Some("en"));
        assert_eq!(best(&["fr"]), None);
    }
}
