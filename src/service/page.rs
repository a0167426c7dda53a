//! Pagination tokens.
//!
//! A token has the list it belongs to, when it was made, and the key of the last item shown; what follows is looked up
//! anew, so items may be added and removed between two pages. It is signed, so that one from elsewhere, or for another
//! list, is refused.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, RandomState};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;

use super::Error;

/// The requested part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The most items; 0 stands for 100.
    pub results_max: Option<u32>,
    /// Where to continue, from the page before.
    pub token: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where to continue, if there is more.
    pub next_token: Option<String>,
}

/// How long a token is valid, in milliseconds: a day.
const TOKEN_MS_MAX: u64 = 24 * 3_600_000;

/// Makes and reads tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    key: Box<[u8]>,
}

impl Default for Tokens {
    /// Of this process alone.
    fn default() -> Tokens {
        let (one, other) = (RandomState::new().hash_one(1), RandomState::new().hash_one(2));
        Tokens { key: [one.to_le_bytes(), other.to_le_bytes()].concat().into() }
    }
}

impl Tokens {
    /// Of all processes that know this secret.
    #[cfg(feature = "clustered")]
    pub(super) fn of(secret: &[u8]) -> Tokens {
        Tokens { key: secret.into() }
    }

    fn signature(&self, list: &str, made_ms: u64, key: &str) -> [u8; 8] {
        // Its keys are fixed, so that all nodes of a cluster agree.
        BuildHasherDefault::<DefaultHasher>::default().hash_one((&self.key, list, made_ms, key)).to_le_bytes()
    }

    /// How many items the page shows, and the key after which it begins.
    pub(super) fn read(
        &self,
        page: &Page,
        list: &str,
        now_ms: u64,
    ) -> Result<(usize, Option<String>), Error> {
        let results_max = match page.results_max {
            None | Some(0) => 100,
            Some(results_max) => results_max.min(1_000) as usize,
        };
        let after = match &page.token {
            None => None,
            Some(token) => Some(self.open(token, list, now_ms).ok_or_else(Error::invalid_token)?),
        };
        Ok((results_max, after))
    }

    /// The page of collected items, one more than it shows if there is more.
    pub(super) fn part<S, T>(
        &self,
        mut found: Vec<S>,
        results_max: usize,
        list: &str,
        now_ms: u64,
        key: impl Fn(&S) -> String,
        show: impl FnMut(S) -> T,
    ) -> Part<T> {
        let more = found.len() > results_max;
        found.truncate(results_max);
        let next_token = match (more, found.last()) {
            (true, Some(last)) => Some(self.seal(list, now_ms, &key(last))),
            _ => None,
        };
        Part { items: found.into_iter().map(show).collect(), next_token }
    }

    fn seal(&self, list: &str, now_ms: u64, key: &str) -> String {
        let mut bytes = self.signature(list, now_ms, key).to_vec();
        bytes.extend_from_slice(&now_ms.to_le_bytes());
        bytes.extend_from_slice(key.as_bytes());
        BASE64.encode(bytes)
    }

    fn open(&self, token: &str, list: &str, now_ms: u64) -> Option<String> {
        let bytes = BASE64.decode(token).ok()?;
        let (signature, rest) = bytes.split_first_chunk::<8>()?;
        let (made_ms, key) = rest.split_first_chunk::<8>()?;
        let (made_ms, key) = (u64::from_le_bytes(*made_ms), std::str::from_utf8(key).ok()?);
        let ours = self.signature(list, made_ms, key) == *signature;
        (ours && now_ms.saturating_sub(made_ms) <= TOKEN_MS_MAX).then(|| key.to_owned())
    }
}
