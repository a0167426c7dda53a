//! Replies: JSON written directly into the body, in the order the API documents.

use crate::json::{shortest, write_string};

/// An object that is being written.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

/// The body of an empty reply.
pub(super) const EMPTY: &[u8] = b"{}";

/// A body that is one object.
pub(super) fn object(fill: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    nested(&mut out, fill);
    out
}

fn nested(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fill(&mut Object { out, empty: true });
    out.push(b'}');
}

impl Object<'_> {
    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        write_string(name, self.out);
        self.out.push(b':');
        self.out
    }

    pub(super) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        write_string(text, self.name(name));
        self
    }

    pub(super) fn maybe_text(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.text(name, text);
        }
        self
    }

    /// A point of time: seconds since 1970 with a fraction.
    pub(super) fn time(&mut self, name: &str, ms: u64) -> &mut Self {
        time(ms, self.name(name));
        self
    }

    pub(super) fn maybe_time(&mut self, name: &str, ms: Option<u64>) -> &mut Self {
        if let Some(ms) = ms {
            self.time(name, ms);
        }
        self
    }

    pub(super) fn number(&mut self, name: &str, number: u64) -> &mut Self {
        let out = self.name(name);
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self
    }

    pub(super) fn maybe_number(&mut self, name: &str, number: Option<u64>) -> &mut Self {
        if let Some(number) = number {
            self.number(name, number);
        }
        self
    }

    pub(super) fn fraction(&mut self, name: &str, fraction: f64) -> &mut Self {
        shortest(fraction, self.name(name));
        self
    }

    pub(super) fn flag(&mut self, name: &str, flag: bool) -> &mut Self {
        let text: &[u8] = if flag { b"true" } else { b"false" };
        self.name(name).extend_from_slice(text);
        self
    }

    pub(super) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        nested(self.name(name), fill);
        self
    }

    /// A list of objects.
    pub(super) fn objects<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Object<'_>, T),
    ) -> &mut Self {
        let out = self.name(name);
        out.push(b'[');
        for (n, item) in items.into_iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            nested(out, |object| fill(object, item));
        }
        out.push(b']');
        self
    }

    /// A list of strings.
    pub(super) fn texts<'t>(&mut self, name: &str, items: impl IntoIterator<Item = &'t str>) -> &mut Self {
        let out = self.name(name);
        out.push(b'[');
        for (n, item) in items.into_iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            write_string(item, out);
        }
        out.push(b']');
        self
    }
}

/// `1674142093.123`
pub(super) fn time(ms: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(ms / 1_000).as_bytes());
    let fraction = ms % 1_000;
    let digit = |n: u64| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[b'.', digit(fraction / 100), digit(fraction / 10), digit(fraction)]);
}
