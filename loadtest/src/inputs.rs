//! Inputs of executions, from a file or generated from a seed.

use std::path::Path;

/// Inputs that are made, and bytes they take, at most.
const MADE_MAX: usize = 1_024;
const MADE_BYTES_MAX: usize = 64 << 20;
/// Bytes of a file of inputs, at most.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Inputs that are sent in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    texts: Vec<Box<[u8]>>,
}

/// What made inputs look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// An order with its customer, as large as asked for.
    Order,
    /// A list of so many items under `$.items`.
    Items,
    /// `{"x":1}` and the like.
    Tiny,
}

impl Inputs {
    /// One input for all.
    pub fn one(text: Vec<u8>) -> Inputs {
        Inputs { texts: vec![text.into()] }
    }

    /// The inputs of a file: one JSON text, or one on each line.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, or holds something else than JSON; the message names the line.
    pub fn read(path: &Path) -> Result<Inputs, String> {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let size = std::fs::metadata(path).map_err(|error| named(&error))?.len();
        if size > FILE_BYTES_MAX {
            return Err(named(&format!("{size} bytes of inputs are more than {FILE_BYTES_MAX}")));
        }
        let text = std::fs::read(path).map_err(|error| named(&error))?;
        if is_json(&text).is_ok() {
            return Ok(Inputs::one(text));
        }
        let mut texts = Vec::new();
        for (n, line) in text.split(|&byte| byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            is_json(line).map_err(|error| named(&format!("line {}: {error}", n + 1)))?;
            texts.push(line.trim_ascii().into());
        }
        if texts.is_empty() { Err(named(&"there is no input in it")) } else { Ok(Inputs { texts }) }
    }

    /// Inputs made from a seed: orders of about `bytes` bytes each, or lists of `items` items.
    pub fn made(shape: Shape, seed: u64, bytes: usize, items: usize) -> Inputs {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = MADE_MAX.min(MADE_BYTES_MAX / bytes.max(items * 32).max(1)).max(1);
        let make = |n: usize| match shape {
            Shape::Order => order(n, bytes, &mut random),
            Shape::Items => list(n, items, &mut random),
            Shape::Tiny => format!(r#"{{"x":{}}}"#, n % 10),
        };
        Inputs { texts: (0..count).map(make).map(|text| text.into_bytes().into()).collect() }
    }

    /// The input of the n-th start.
    pub fn get(&self, n: u64) -> &[u8] {
        &self.texts[(n % self.texts.len() as u64) as usize]
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.texts.len()
    }

    /// How large they are, in the mean.
    pub fn mean_bytes(&self) -> f64 {
        self.texts.iter().map(|text| text.len() as f64).sum::<f64>() / self.texts.len().max(1) as f64
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.texts.iter().map(|text| &**text)
    }
}

fn is_json(text: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).map(|_| ())
}

const NAMES: [&str; 8] = ["Ines", "Oluwaseun", "Bartholomew", "Mei", "Zoë", "Arjun", "Henriette", "Tom"];
const FAMILIES: [&str; 8] = ["Okafor", "Roy", "Lindqvist", "Castellanos", "Wu", "O'Neill", "Novotná", "Abe"];
const TIERS: [&str; 4] = ["gold", "silver", "bronze", "none"];
const COUNTRIES: [&str; 6] = ["DE", "NG", "IN", "SE", "US", "JP"];
const TAGS: [&str; 6] = ["new", "priority", "used", "gift", "fragile", "standard"];
const WORDS: [&str; 8] = ["ring", "the", "bell", "twice", "leave", "at", "door", "please"];

/// An order, padded by its note to `bytes` bytes.
fn order(n: usize, bytes: usize, random: &mut fastrand::Rng) -> String {
    let mut pick = |from: &[&'static str]| from[random.usize(..from.len())];
    let (name, family, tier) = (pick(&NAMES), pick(&FAMILIES), pick(&TIERS));
    let (country, first, second) = (pick(&COUNTRIES), pick(&TAGS), pick(&TAGS));
    let (quantity, cents) = (random.u32(1..200), random.u32(100..10_000));
    let (id, sku) = (random.u64(..1_000_000_000), n % 4_096);
    let head = format!(
        r#"{{"order":{{"id":"ord-{id:012}","sku":"sku-{sku}","qty":{quantity},"price":{}.{:02},"tags":["{first}","{second}"],"note":""#,
        cents / 100,
        cents % 100,
    );
    let tail = format!(
        r#""}},"customer":{{"name":"{name} {family}","tier":"{tier}","country":"{country}"}},"ts":"2026-11-{:02}T{:02}:30:00Z"}}"#,
        1 + n % 28,
        n % 24,
    );
    let mut text = head;
    let note = bytes.saturating_sub(text.len() + tail.len());
    let until = text.len() + note;
    while text.len() < until {
        text.push_str(WORDS[random.usize(..WORDS.len())]);
        text.push(' ');
    }
    text.truncate(until);
    text + &tail
}

fn list(n: usize, items: usize, random: &mut fastrand::Rng) -> String {
    let first = random.u32(..1_000);
    let items: Vec<String> = (0..items as u64)
        .map(|item| format!(r#"{{"id":{},"name":"thing-{item}"}}"#, u64::from(first) + item))
        .collect();
    format!(r#"{{"prefix":"run-{n}","items":[{}]}}"#, items.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_inputs_are_json_of_the_size_asked_for_and_follow_from_the_seed() {
        for bytes in [200, 1_024, 16_384, 262_000] {
            let inputs = Inputs::made(Shape::Order, 1, bytes, 0);
            let least = inputs.iter().map(<[u8]>::len).min().unwrap();
            let most = inputs.iter().map(<[u8]>::len).max().unwrap();
            assert!(least >= bytes && most <= bytes.max(260), "{bytes}: {least} to {most}");
            assert!(inputs.iter().all(|text| is_json(text).is_ok()));
            assert_eq!(inputs, Inputs::made(Shape::Order, 1, bytes, 0));
            assert_ne!(inputs, Inputs::made(Shape::Order, 2, bytes, 0));
        }
        let lists = Inputs::made(Shape::Items, 1, 0, 100);
        let first: serde_json::Value = serde_json::from_slice(lists.get(0)).unwrap();
        assert_eq!(first["items"].as_array().unwrap().len(), 100);
    }

    #[test]
    fn a_file_is_one_text_or_lines_of_them() {
        let folder = std::env::temp_dir().join(format!("loadtest-inputs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("inputs");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Inputs::read(&file)
        };
        assert_eq!(read("{\n \"a\": 1\n}\n").unwrap().count(), 1);
        assert_eq!(read("{\"a\": 1}\n\n[2]\n").unwrap().count(), 2);
        assert!(read("{\"a\": 1}\nnonsense\n").unwrap_err().contains("line 2"));
        assert!(read("\n").unwrap_err().contains("no input"));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(Inputs::read(&file).is_err());
    }
}
