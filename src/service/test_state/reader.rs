//! The items of a distributed Map from the data of its `ItemReader` (developer guide, "ItemReader").

use serde_json::{Map, Value as Json};

use crate::asl::model::ItemReader;
use crate::json::source::Node;
use crate::service::Error;

/// The items, and whether `ItemsPointer` pointed to them.
pub(super) fn items(reader: &ItemReader, data: &str) -> Result<(Vec<Json>, bool), Error> {
    let config = |name: &str| reader.config.as_ref().and_then(|config| config.get(name));
    let word = |name: &str| config(name).and_then(Node::as_str);
    let pointer = word("ItemsPointer");
    let items = match word("InputType").unwrap_or("JSON") {
        "JSONL" => data
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| serde_json::from_str(line).map_err(|_| unreadable("JSONL")))
            .collect::<Result<_, _>>()?,
        "CSV" => {
            let delimiter = match word("CSVDelimiter").unwrap_or("COMMA") {
                "PIPE" => '|',
                "SEMICOLON" => ';',
                "SPACE" => ' ',
                "TAB" => '\t',
                _ => ',',
            };
            let given = config("CSVHeaders").and_then(Node::items).map(|names| {
                names.iter().filter_map(Node::as_str).map(str::to_owned).collect::<Vec<String>>()
            });
            csv(data, delimiter, given)
        }
        "JSON" | "MANIFEST" => {
            let json: Json = serde_json::from_str(data).map_err(|_| unreadable("JSON"))?;
            let found = match pointer {
                Some(pointer) => json.pointer(pointer).cloned(),
                None => Some(json),
            };
            match found {
                Some(Json::Array(items)) => items,
                // Recorded facts of 2025: the members of an object are items, too.
                Some(Json::Object(members)) => members.into_iter().map(pair).collect(),
                _ => {
                    return Err(Error::validation(
                        "The data of mapItemReaderData must be a JSON array or object.",
                    ));
                }
            }
        }
        other => {
            let text = format!("mapItemReaderData is not supported for the InputType '{other}'.");
            return Err(Error::validation(text));
        }
    };
    Ok((items, pointer.is_some()))
}

fn unreadable(what: &str) -> Error {
    Error::validation(format!("The data of mapItemReaderData must be valid {what}."))
}

fn pair((key, value): (String, Json)) -> Json {
    Json::Object(Map::from_iter([("Key".to_owned(), Json::from(key)), ("Value".to_owned(), value)]))
}

/// The rows as objects by header: the first row's, unless headers are given. Fields may be quoted.
fn csv(data: &str, delimiter: char, given: Option<Vec<String>>) -> Vec<Json> {
    let mut rows = rows(data, delimiter).into_iter();
    let headers = match given {
        Some(headers) => headers,
        None => rows.next().unwrap_or_default(),
    };
    let object = |row: Vec<String>| {
        let mut fields = row.into_iter();
        let members =
            headers.iter().map(|name| (name.clone(), Json::from(fields.next().unwrap_or_default())));
        Json::Object(members.collect())
    };
    rows.map(object).collect()
}

fn rows(data: &str, delimiter: char) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut any) = (false, false);
    let mut rest = data.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => {
                field.push('"');
                rest.next();
            }
            '"' => quoted = !quoted,
            '\r' if !quoted => continue,
            '\n' if !quoted => {
                if any {
                    row.push(std::mem::take(&mut field));
                    rows.push(std::mem::take(&mut row));
                }
                any = false;
                continue;
            }
            c if c == delimiter && !quoted => row.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
        any = true;
    }
    if any {
        row.push(field);
        rows.push(row);
    }
    rows
}
