//! What the children of a Map Run came to: as the Map's result, or as files of a `ResultWriter` (developer guide,
//! "ResultWriter").

use std::io::Write;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::children::{Child, End};
use super::{MapRun, Setup};
use crate::engine::{self, Execution, MapRunRequest};
use crate::fault::{self, Fault};
use crate::json;
use crate::limits;
use crate::program::{Distributed, ResultWriter, Transformation};
use crate::runtime::Status;
use crate::task::data::DataStore;

/// Collects results.
pub(super) struct Results {
    transformation: Transformation,
    lines: bool,
    /// JSON texts, in the order of the children.
    parts: Vec<Option<Box<[u8]>>>,
    bytes: usize,
    state: Box<str>,
    files: Option<Files>,
}

/// Where results are written.
struct Files {
    store: Arc<dyn DataStore>,
    arguments: Json,
    /// Of the Map Run: the folder of its files.
    folder: String,
    succeeded: ResultFile,
    failed: ResultFile,
}

struct ResultFile {
    name: &'static str,
    out: Option<Box<dyn Write + Send>>,
    /// What is to be written soon.
    buffer: Vec<u8>,
    bytes: u64,
    has_results: bool,
}

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 256 << 10;

fn failed(cause: impl Into<String>) -> Fault {
    Fault::new(fault::RESULT_WRITER_FAILED, cause)
}

impl Results {
    pub(super) fn new(
        setup: &Setup,
        distributed: &Distributed,
        execution: &Execution,
        request: &MapRunRequest,
        state: &str,
    ) -> Result<Results, Fault> {
        let writer = distributed.writer.as_ref();
        let files = writer.map(|writer| Files::new(setup, writer, execution, request)).transpose()?.flatten();
        Ok(Results {
            transformation: writer.map_or(Transformation::Compact, |writer| writer.transformation),
            lines: writer.is_some_and(|writer| writer.lines),
            parts: Vec::new(),
            bytes: 0,
            state: state.into(),
            files,
        })
    }

    /// Whether more is wanted of children than their outputs.
    pub(super) fn wants_all(&self) -> bool {
        self.transformation == Transformation::None
    }

    pub(super) fn add(&mut self, end: End) -> Result<(), Fault> {
        let text = match (&end.child, end.status) {
            (Some(child), _) => described(child, &end),
            (None, Status::Succeeded) => end.output,
            (None, _) => failed_child(&end),
        };
        let text = match (self.transformation, end.status) {
            (Transformation::Flatten, Status::Succeeded) => {
                elements(&text).map(<[u8]>::to_vec).unwrap_or(text)
            }
            _ => text,
        };
        if let Some(files) = &mut self.files {
            let file = if end.status == Status::Succeeded { &mut files.succeeded } else { &mut files.failed };
            file.add(&text, self.lines);
            return match file.buffer.len() >= BUFFER_BYTES {
                true => files.write(end.status == Status::Succeeded, self.lines),
                false => Ok(()),
            };
        }
        self.bytes += text.len() + 1;
        if self.is_too_large() {
            // It fails in the end, whatever else comes.
            self.parts = Vec::new();
            return Ok(());
        }
        // Results are few, or too large.
        let index = end.index as usize;
        if self.parts.len() <= index {
            self.parts.resize_with(index + 1, || None);
        }
        self.parts[index] = Some(text.into());
        Ok(())
    }

    fn is_too_large(&self) -> bool {
        self.bytes > limits::PAYLOAD_BYTES_MAX as usize + 1
    }

    /// The Map's result, JSON text.
    pub(super) fn finish(&mut self, run: &MapRun) -> Result<Vec<u8>, Fault> {
        if let Some(files) = &mut self.files {
            return files.finish(run, self.lines);
        }
        if self.is_too_large() {
            return Err(engine::too_large_result(&self.state));
        }
        let mut all = vec![b'['];
        for part in self.parts.iter().flatten().filter(|part| !part.is_empty()) {
            if all.len() > 1 {
                all.push(b',');
            }
            all.extend_from_slice(part);
        }
        all.push(b']');
        Ok(all)
    }
}

impl Files {
    /// None where the writer only says how results look.
    fn new(
        setup: &Setup,
        writer: &ResultWriter,
        execution: &Execution,
        request: &MapRunRequest,
    ) -> Result<Option<Files>, Fault> {
        let Some(resource) = &writer.resource else {
            return Ok(None);
        };
        let store = setup.stores.find(resource).cloned();
        let store = store
            .ok_or_else(|| failed(format!("Nothing writes results for the resource {resource} here")))?;
        let arguments = super::arguments(execution, request.writer);
        let arn = execution.arena.str(request.arn);
        let folder = arn.rsplit_once(':').map_or(arn, |(_, uuid)| uuid).to_owned();
        let file = |name| ResultFile { name, out: None, buffer: Vec::new(), bytes: 0, has_results: false };
        Ok(Some(Files { store, arguments, folder, succeeded: file("SUCCEEDED_0"), failed: file("FAILED_0") }))
    }

    fn file_name(&self, name: &str, lines: bool) -> String {
        format!("{}/{name}.{}", self.folder, if lines { "jsonl" } else { "json" })
    }

    fn write(&mut self, succeeded: bool, lines: bool) -> Result<(), Fault> {
        let name = if succeeded { self.succeeded.name } else { self.failed.name };
        let name = self.file_name(name, lines);
        let file = if succeeded { &mut self.succeeded } else { &mut self.failed };
        let out = match &mut file.out {
            Some(out) => out,
            None => {
                let out = self.store.write(&self.arguments, &name).map_err(failed)?;
                file.out.insert(out)
            }
        };
        let written = out.write_all(&file.buffer);
        written.map_err(|error| failed(format!("The file '{name}' cannot be written: {error}")))?;
        file.bytes += file.buffer.len() as u64;
        file.buffer.clear();
        Ok(())
    }

    /// Ends the files and writes the manifest.
    fn finish(&mut self, run: &MapRun, lines: bool) -> Result<Vec<u8>, Fault> {
        let mut listed = [json!([]), json!([])];
        for (succeeded, list) in [true, false].into_iter().zip(&mut listed) {
            let file = if succeeded { &mut self.succeeded } else { &mut self.failed };
            if !file.has_results {
                continue;
            }
            if !lines {
                file.buffer.push(b']');
            }
            self.write(succeeded, lines)?;
            let file = if succeeded { &mut self.succeeded } else { &mut self.failed };
            let (name, bytes, out) = (file.name, file.bytes, file.out.take());
            let name = self.file_name(name, lines);
            out.map_or(Ok(()), |mut out| out.flush())
                .map_err(|error| failed(format!("The file '{name}' cannot be written: {error}")))?;
            let mut entry = self.store.place(&self.arguments, &name);
            entry["Size"] = bytes.into();
            *list = json!([entry]);
        }
        let name = format!("{}/manifest.json", self.folder);
        let [succeeded, failures] = listed;
        let mut manifest = json!({"MapRunArn": run.arn(),
            "ResultFiles": {"FAILED": failures, "PENDING": [], "SUCCEEDED": succeeded}});
        if let Some(bucket) = self.arguments.get("Bucket") {
            manifest["DestinationBucket"] = bucket.clone();
        }
        let mut out = self.store.write(&self.arguments, &name).map_err(failed)?;
        let written = out.write_all(manifest.to_string().as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| failed(format!("The file '{name}' cannot be written: {error}")))?;
        let place = self.store.place(&self.arguments, &name);
        Ok(json!({"MapRunArn": run.arn(), "ResultWriterDetails": place}).to_string().into_bytes())
    }
}

impl ResultFile {
    fn add(&mut self, text: &[u8], lines: bool) {
        if text.is_empty() {
            return;
        }
        match (lines, self.has_results) {
            (true, _) => {}
            (false, true) => self.buffer.push(b','),
            (false, false) => self.buffer.push(b'['),
        }
        self.has_results = true;
        self.buffer.extend_from_slice(text);
        if lines {
            self.buffer.push(b'\n');
        }
    }
}

/// What stands between the brackets of an array, JSON text as it is written here: without white space.
fn elements(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"[")?.strip_suffix(b"]")
}

fn name(status: Status) -> &'static str {
    match status {
        Status::Succeeded => "SUCCEEDED",
        Status::TimedOut => "TIMED_OUT",
        Status::Aborted => "ABORTED",
        Status::Failed | Status::Running => "FAILED",
    }
}

/// What stands for a child that failed, where that is tolerated (measured).
fn failed_child(end: &End) -> Vec<u8> {
    let mut text = format!("{{\"Status\":\"{}\"", name(end.status)).into_bytes();
    let (error, cause) = why(end);
    member("Error", error, &mut text);
    member("Cause", cause, &mut text);
    text.push(b'}');
    text
}

fn why(end: &End) -> (Option<&str>, Option<&str>) {
    match &end.fault {
        Some(fault) => (fault.error.as_deref(), fault.cause.as_deref()),
        None => ((end.status == Status::TimedOut).then_some(fault::TIMEOUT), None),
    }
}

fn member(name: &str, value: Option<&str>, text: &mut Vec<u8>) {
    if let Some(value) = value {
        if !text.ends_with(b"{") {
            text.push(b',');
        }
        json::write_string(name, text);
        text.push(b':');
        json::write_string(value, text);
    }
}

/// A child as `DescribeExecution` describes it, in the order of names.
fn described(child: &Child, end: &End) -> Vec<u8> {
    let (error, cause) = why(end);
    let mut text = vec![b'{'];
    member("Cause", cause, &mut text);
    member("Error", error, &mut text);
    member("ExecutionArn", Some(&child.arn), &mut text);
    member("Input", Some(&String::from_utf8_lossy(&child.input)), &mut text);
    text.extend_from_slice(b",\"InputDetails\":{\"Included\":true}");
    member("Name", Some(&child.name), &mut text);
    if end.status == Status::Succeeded {
        member("Output", Some(&String::from_utf8_lossy(&end.output)), &mut text);
        text.extend_from_slice(b",\"OutputDetails\":{\"Included\":true}");
    }
    text.extend_from_slice(b",\"RedriveCount\":0,\"RedriveStatus\":\"NOT_REDRIVABLE\"");
    let time = |ms: u64| crate::clock::format_millis(ms);
    member("StartDate", Some(&time(child.started_ms)), &mut text);
    member("StateMachineArn", Some(&child.machine_arn), &mut text);
    member("Status", Some(name(end.status)), &mut text);
    member("StopDate", Some(&time(child.stopped_ms)), &mut text);
    text.push(b'}');
    text
}
