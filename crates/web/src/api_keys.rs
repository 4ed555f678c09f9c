//! API keys: what a caller shows, and the digest that is kept of it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use application::caller::KeyName;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The keys that open the API, by their digests; where there is none, it is open.
///
/// A plain digest is enough for a key that nobody chose: with 256 random bits there is nothing to guess. A
/// name may have several keys, so that one can take the place of another without a pause.
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<(KeyName, [u8; 32])>);

/// Whether a caller showed a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    Known(KeyName),
    Unknown,
    Nothing,
}

impl ApiKeys {
    /// What the settings keep of a key.
    pub fn entry(name: &KeyName, key: &str) -> String {
        let digest = Sha256::digest(key.as_bytes());
        let digits = digest.iter().map(|byte| format!("{byte:02x}"));
        format!("{name}:{}", digits.collect::<String>())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Where there are no keys, whatever is shown is somebody else's.
    pub(crate) fn shown(&self, headers: &HeaderMap) -> Shown {
        match presented(headers).filter(|_| !self.is_empty()) {
            None => Shown::Nothing,
            Some(key) => self.holder(key).map_or(Shown::Unknown, Shown::Known),
        }
    }

    /// Takes the same time whichever key it is, and whether it is one.
    fn holder(&self, key: &[u8]) -> Option<KeyName> {
        let digest = Sha256::digest(key);
        let mut found = u32::MAX;
        for (idx, (_, known)) in (0..).zip(&self.0) {
            let is_it: Choice = known.ct_eq(digest.as_slice());
            found.conditional_assign(&idx, is_it);
        }
        Some(self.0.get(usize::try_from(found).ok()?)?.0.clone())
    }
}

/// A proxy may have a use of its own for `Authorization`, so the other goes first.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = || {
        let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
    };
    headers.get(API_KEY).map(|value| value.as_bytes().trim_ascii()).or_else(bearer)
}

/// Neither a key nor its digest is repeated: whoever mistyped one may have written the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry {0} is not NAME:DIGEST as `globeco api-key NAME` prints it")]
pub struct NoApiKey(usize);

/// Entries are separated by commas or blanks of any kind, line ends included.
impl FromStr for ApiKeys {
    type Err = NoApiKey;

    fn from_str(text: &str) -> Result<Self, NoApiKey> {
        let entries = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        let read = |(idx, entry)| pair(entry).ok_or(NoApiKey(idx));
        (1..).zip(entries).map(read).collect::<Result<_, _>>().map(Self)
    }
}

fn pair(entry: &str) -> Option<(KeyName, [u8; 32])> {
    let (name, digits) = entry.split_once(':')?;
    let mut digest = [0; 32];
    if digits.len() != 2 * digest.len() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (idx, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * idx..][..2], 16).ok()?;
    }
    Some((name.parse().ok()?, digest))
}

/// Names alone.
impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.0.iter().map(|(name, _)| name.to_string()).collect::<BTreeSet<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    /// SHA-256 of `abc`, from FIPS 180-2.
    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn shown(keys: &ApiKeys, headers: &[(HeaderName, &str)]) -> Shown {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        keys.shown(&map)
    }

    fn keys() -> ApiKeys {
        let other = ApiKeys::entry(&"load".parse().unwrap(), "other");
        format!("portal:{OF_ABC},\n {other}\n").parse().unwrap()
    }

    #[test]
    fn an_entry_is_the_name_and_the_digest() {
        assert_eq!(ApiKeys::entry(&"portal".parse().unwrap(), "abc"), format!("portal:{OF_ABC}"));
    }

    #[test]
    fn a_key_is_known_by_either_header() {
        let portal = Shown::Known("portal".parse().unwrap());
        for (name, value) in [
            (AUTHORIZATION, "Bearer abc"),
            (AUTHORIZATION, "bearer  abc "),
            (API_KEY, "abc"),
            (API_KEY, " abc "),
        ] {
            assert_eq!(shown(&keys(), &[(name.clone(), value)]), portal, "{name}: {value}");
        }
        assert_eq!(shown(&keys(), &[(API_KEY, "other")]), Shown::Known("load".parse().unwrap()));
        assert_eq!(shown(&keys(), &[(AUTHORIZATION, "Bearer x"), (API_KEY, "abc")]), portal);
    }

    #[test]
    fn neither_a_part_nor_a_digest_nor_another_scheme_is_a_key() {
        for (name, value, expected) in [
            (API_KEY, "ab", Shown::Unknown),
            (API_KEY, "abcd", Shown::Unknown),
            (API_KEY, "", Shown::Unknown),
            (API_KEY, OF_ABC, Shown::Unknown),
            (AUTHORIZATION, "Bearer ", Shown::Unknown),
            (AUTHORIZATION, "Basic abc", Shown::Nothing),
            (AUTHORIZATION, "abc", Shown::Nothing),
        ] {
            assert_eq!(shown(&keys(), &[(name.clone(), value)]), expected, "{name}: {value}");
        }
        assert_eq!(shown(&keys(), &[]), Shown::Nothing);
        assert_eq!(shown(&ApiKeys::default(), &[(API_KEY, "abc")]), Shown::Nothing);
    }

    #[test]
    fn what_is_no_entry_is_refused_without_being_repeated() {
        let short = &OF_ABC[1..];
        for text in ["abc", "portal:abc", &format!("portal:{short}"), &format!("por tal:{OF_ABC}"), ":"] {
            let error = text.parse::<ApiKeys>().unwrap_err();
            assert_eq!(error, NoApiKey(1), "{text}");
            assert!(!error.to_string().contains(short));
        }
        let second = format!("portal:{OF_ABC} portal:{OF_ABC}é");
        assert_eq!(second.parse::<ApiKeys>().unwrap_err(), NoApiKey(2));
        assert!(" \n,".parse::<ApiKeys>().unwrap().is_empty());
    }

    #[test]
    fn a_key_is_shown_by_its_name_alone() {
        assert_eq!(format!("{:?}", keys()), r#"{"load", "portal"}"#);
    }
}
