//! The fields of an answer's head.

/// Names in lower case and values, sorted by name; bytes above ASCII are read as Latin-1. One text, because most
/// answers' fields are only copied.
#[derive(Debug, Default)]
pub(super) struct Fields {
    text: String,
    spans: Vec<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    name_at: u32,
    value_at: u32,
    end: u32,
}

impl Fields {
    /// Heads are much shorter than the four gigabytes of a span.
    pub(super) fn of(headers: &[httparse::Header<'_>]) -> Fields {
        let bytes = headers.iter().map(|header| header.name.len() + header.value.len()).sum();
        let mut fields =
            Fields { text: String::with_capacity(bytes), spans: Vec::with_capacity(headers.len()) };
        let Fields { text, spans } = &mut fields;
        for header in headers {
            let name_at = text.len() as u32;
            text.push_str(header.name);
            text[name_at as usize..].make_ascii_lowercase();
            let value_at = text.len() as u32;
            match std::str::from_utf8(header.value) {
                Ok(value) if value.is_ascii() => text.push_str(value),
                _ => text.extend(header.value.iter().copied().map(char::from)),
            }
            spans.push(Span { name_at, value_at, end: text.len() as u32 });
        }
        let name = |span: &Span| &text[span.name_at as usize..span.value_at as usize];
        spans.sort_by(|one, other| name(one).cmp(name(other)));
        fields
    }

    /// All, sorted by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.spans.iter().map(|span| {
            let (name_at, value_at) = (span.name_at as usize, span.value_at as usize);
            (&self.text[name_at..value_at], &self.text[value_at..span.end as usize])
        })
    }

    /// The values of one name, in the order they came.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The first value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }
}
