//! Events as bytes that outlive the process, in the journal of durable executions.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::EventType;
use super::history::{Detail, Event};

const TEXT: u8 = 0;
const JSON: u8 = 1;
const NUMBER: u8 = 2;
const MEMBERS: u8 = 3;

/// Appends an event.
pub(crate) fn write(event: &Event, out: &mut Vec<u8>) {
    for number in [event.id, event.previous, event.time_ms] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    write_text(event.event_type.name(), out);
    out.extend_from_slice(&(event.details.len() as u32).to_le_bytes());
    for (name, detail) in &event.details {
        write_text(name, out);
        write_detail(detail, out);
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn write_detail(detail: &Detail, out: &mut Vec<u8>) {
    match detail {
        Detail::Text(text) => {
            out.push(TEXT);
            write_text(text, out);
        }
        Detail::Json(text) => {
            out.push(JSON);
            write_text(text, out);
        }
        Detail::Number(number) => {
            out.push(NUMBER);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Detail::Members(members) => {
            out.push(MEMBERS);
            out.extend_from_slice(&(members.len() as u32).to_le_bytes());
            for (name, detail) in members {
                write_text(name, out);
                write_detail(detail, out);
            }
        }
    }
}

/// Reads events that were written behind each other; `None` if they are malformed.
pub(crate) fn read(mut bytes: &[u8], mut take: impl FnMut(Event)) -> Option<()> {
    let from = &mut bytes;
    while !from.is_empty() {
        let (id, previous, time_ms) = (number(from)?, number(from)?, number(from)?);
        let name = text(from)?;
        let event_type = *EventType::ALL.iter().find(|it| it.name() == name)?;
        let mut details = Vec::new();
        for _ in 0..length(from)? {
            let name = lasting(text(from)?);
            details.push((name, read_detail(from, 0)?));
        }
        take(Event { id, previous, time_ms, event_type, details });
    }
    Some(())
}

fn read_detail(from: &mut &[u8], depth: usize) -> Option<Detail> {
    let (&kind, rest) = from.split_first()?;
    *from = rest;
    Some(match kind {
        TEXT => Detail::Text(text(from)?.into()),
        JSON => Detail::Json(text(from)?.into()),
        NUMBER => Detail::Number(number(from)?),
        // Written events are nested twice at most.
        MEMBERS if depth < 8 => {
            let mut members = Vec::new();
            for _ in 0..length(from)? {
                members.push((text(from)?.into(), read_detail(from, depth + 1)?));
            }
            Detail::Members(members)
        }
        _ => return None,
    })
}

fn number(from: &mut &[u8]) -> Option<u64> {
    let (number, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u64::from_le_bytes(*number))
}

fn length(from: &mut &[u8]) -> Option<usize> {
    let (length, rest) = from.split_first_chunk()?;
    *from = rest;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

fn text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let length = length(from)?;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    std::str::from_utf8(text).ok()
}

/// The name of a member, leaked: there are some tens of them.
fn lasting(name: &str) -> &'static str {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some(known) = names.get(name) {
        return known;
    }
    let lasting: &'static str = Box::leak(name.into());
    names.insert(lasting);
    lasting
}
