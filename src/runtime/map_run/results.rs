//! The results of a Map Run's children: as the Map's result, or as files of a `ResultWriter` (developer guide,
//! "ResultWriter").

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use serde_json::{Value as Json, json};

use super::children::{Child, End};
use super::{MapRun, Setup};
use crate::engine::{self, Execution, MapRunRequest};
use crate::fault::{self, Fault};
use crate::json;
use crate::limits;
use crate::program::{Distributed, ResultWriter, Transformation};
use crate::runtime::Status;
use crate::task::data::{self, DataStore, Sink};

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

/// The destination of results.
struct Files {
    store: Arc<dyn DataStore>,
    arguments: Json,
    /// The folder of the Map Run's files.
    folder: String,
    succeeded: Series,
    failed: Series,
    /// Children that never began.
    pending: Series,
    /// Written after all other files.
    manifest: Option<ResultFile>,
}

/// Files of one kind, each of which has a number.
struct Series {
    /// Of the first file, without its number and what follows it.
    name: String,
    end: &'static str,
    /// From so many bytes on the next file is begun.
    bytes_max: u64,
    /// Names and sizes of those that are written.
    written: Vec<(String, u64)>,
    file: ResultFile,
}

struct ResultFile {
    /// Of the file, without the folder.
    name: String,
    out: Option<Box<dyn Sink>>,
    /// Data that is not written yet.
    buffer: Vec<u8>,
    bytes: u64,
    /// Whether anything was added.
    is_used: bool,
    /// Whether everything is in the buffer, or written.
    is_whole: bool,
    is_finished: bool,
}

/// Bytes of one write.
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

    /// Whether more than outputs is needed of children.
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
            let files =
                if end.status == Status::Succeeded { &mut files.succeeded } else { &mut files.failed };
            files.add(&text, self.lines);
            return Ok(());
        }
        self.bytes += text.len() + 1;
        if self.is_too_large() {
            // It fails at the end in any case.
            self.parts = Vec::new();
            return Ok(());
        }
        // Results are few, or too large.
        let index = end.share.index as usize;
        if self.parts.len() <= index {
            self.parts.resize_with(index + 1, || None);
        }
        self.parts[index] = Some(text.into());
        Ok(())
    }

    /// Whether children that never begin are listed.
    pub(super) fn lists_pending(&self) -> bool {
        self.files.is_some()
    }

    /// Lists a child that never begins.
    pub(super) fn add_pending(&mut self, text: &[u8]) {
        if let Some(files) = &mut self.files {
            files.pending.add(text, self.lines);
        }
    }

    fn is_too_large(&self) -> bool {
        self.bytes > limits::PAYLOAD_BYTES_MAX as usize + 1
    }

    /// Writes collected results. Ready when there is room for more.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        let Some(files) = &mut self.files else { return Ok(Poll::Ready(())) };
        let mut has_room = Poll::Ready(());
        let Files { store, arguments, succeeded, failed, pending, .. } = files;
        for series in [succeeded, failed, pending] {
            match series.poll_write(context, &**store, arguments, self.lines) {
                Poll::Ready(written) => written?,
                Poll::Pending => has_room = Poll::Pending,
            }
        }
        Ok(has_room)
    }

    /// The Map's result, JSON text. With a writer, when all files are written.
    pub(super) fn poll_finish(
        &mut self,
        context: &mut Context<'_>,
        run: &MapRun,
    ) -> Poll<Result<Vec<u8>, Fault>> {
        match &mut self.files {
            Some(files) => files.poll_finish(context, run, self.lines),
            None => Poll::Ready(self.collected()),
        }
    }

    fn collected(&self) -> Result<Vec<u8>, Fault> {
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
    /// `None` if the writer only transforms results.
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
        let series = |kind: &str| Series::new(format!("{folder}/{kind}"), writer.lines);
        let (succeeded, failed, pending) = (series("SUCCEEDED"), series("FAILED"), series("PENDING"));
        Ok(Some(Files { store, arguments, folder, succeeded, failed, pending, manifest: None }))
    }

    /// Ends the files, and writes the manifest after them.
    fn poll_finish(
        &mut self,
        context: &mut Context<'_>,
        run: &MapRun,
        lines: bool,
    ) -> Poll<Result<Vec<u8>, Fault>> {
        let Files { store, arguments, folder, succeeded, failed, pending, manifest } = self;
        for series in [&mut *succeeded, &mut *failed, &mut *pending] {
            ready!(series.poll_finish(context, &**store, arguments, lines))?;
        }
        let manifest = manifest.get_or_insert_with(|| {
            let listed = |series: &Series| -> Vec<Json> {
                let entry = |(name, bytes): &(String, u64)| {
                    let mut entry = store.listed(arguments, name);
                    entry["Size"] = (*bytes).into();
                    entry
                };
                series.written.iter().map(entry).collect()
            };
            let mut text = json!({"MapRunArn": run.arn(), "ResultFiles":
                {"FAILED": listed(failed), "PENDING": listed(pending), "SUCCEEDED": listed(succeeded)}});
            if let Some(bucket) = arguments.get("Bucket") {
                text["DestinationBucket"] = bucket.clone();
            }
            let mut file = ResultFile::new(format!("{folder}/manifest.json"));
            file.buffer = text.to_string().into_bytes();
            file.is_used = true;
            file
        });
        ready!(manifest.poll_finish(context, &**store, arguments))?;
        let place = store.place(arguments, &manifest.name);
        let result = json!({"MapRunArn": run.arn(), "ResultWriterDetails": place});
        Poll::Ready(Ok(result.to_string().into_bytes()))
    }
}

impl Series {
    fn new(name: String, lines: bool) -> Series {
        let end = if lines { "jsonl" } else { "json" };
        let file = ResultFile::new(format!("{name}_0.{end}"));
        let bytes_max = limits::MAP_RUN_RESULT_FILE_BYTES;
        Series { name, end, bytes_max, written: Vec::new(), file }
    }

    fn add(&mut self, text: &[u8], lines: bool) {
        self.file.add(text, lines);
    }

    /// Ready when there is room for more. A file that is large enough is ended, and the next one begun.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        store: &dyn DataStore,
        arguments: &Json,
        lines: bool,
    ) -> Poll<Result<(), Fault>> {
        if self.file.bytes + self.file.buffer.len() as u64 >= self.bytes_max {
            return self.poll_finish(context, store, arguments, lines);
        }
        self.file.poll_write(context, store, arguments, BUFFER_BYTES)
    }

    /// Ends the file that is being written.
    fn poll_finish(
        &mut self,
        context: &mut Context<'_>,
        store: &dyn DataStore,
        arguments: &Json,
        lines: bool,
    ) -> Poll<Result<(), Fault>> {
        let file = &mut self.file;
        if !file.is_used {
            return Poll::Ready(Ok(()));
        }
        if !file.is_whole && !lines {
            file.buffer.push(b']');
        }
        file.is_whole = true;
        ready!(file.poll_finish(context, store, arguments))?;
        let next = ResultFile::new(format!("{}_{}.{}", self.name, self.written.len() + 1, self.end));
        let ResultFile { name, bytes, .. } = std::mem::replace(file, next);
        self.written.push((name, bytes));
        Poll::Ready(Ok(()))
    }
}

impl ResultFile {
    fn new(name: String) -> ResultFile {
        let (out, buffer, bytes) = (None, Vec::new(), 0);
        ResultFile { name, out, buffer, bytes, is_used: false, is_whole: false, is_finished: false }
    }

    /// Ready when fewer than so many bytes are still to be written.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        store: &dyn DataStore,
        arguments: &Json,
        bytes_min: usize,
    ) -> Poll<Result<(), Fault>> {
        if let Some(out) = &mut self.out {
            out.poll_begun(context).map_err(|error| unwritable(&self.name, &error))?;
        }
        while self.buffer.len() >= bytes_min.max(1) {
            let out = match &mut self.out {
                Some(out) => out,
                None => self.out.insert(store.write(arguments, &self.name).map_err(failed)?),
            };
            let written = ready!(out.poll_write(context, &self.buffer));
            let written = match written {
                Ok(0) => Err(std::io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                written => written,
            };
            let written = written.map_err(|error| unwritable(&self.name, &error))?;
            self.bytes += written as u64;
            self.buffer.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the rest. A file without content is not created.
    fn poll_finish(
        &mut self,
        context: &mut Context<'_>,
        store: &dyn DataStore,
        arguments: &Json,
    ) -> Poll<Result<(), Fault>> {
        if self.is_finished || !self.is_used {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_write(context, store, arguments, 0))?;
        if let Some(out) = &mut self.out {
            ready!(out.poll_finish(context)).map_err(|error| unwritable(&self.name, &error))?;
        }
        self.is_finished = true;
        Poll::Ready(Ok(()))
    }

    fn add(&mut self, text: &[u8], lines: bool) {
        if text.is_empty() {
            return;
        }
        match (lines, self.is_used) {
            (true, _) => {}
            (false, true) => self.buffer.push(b','),
            (false, false) => self.buffer.push(b'['),
        }
        self.is_used = true;
        self.buffer.extend_from_slice(text);
        if lines {
            self.buffer.push(b'\n');
        }
    }
}

fn unwritable(name: &str, error: &std::io::Error) -> Fault {
    failed(data::cause(&format!("The file '{name}' cannot be written"), error))
}

/// The content between the brackets of an array, JSON text without white space.
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

/// The entry of a failed child, if failures are tolerated (measured).
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

/// A child that never began, as in `DescribeExecution`, in the order of names.
pub(super) fn never_began(arn: &str, name: &str, input: &[u8], machine_arn: &str) -> Vec<u8> {
    let mut text = vec![b'{'];
    member("ExecutionArn", Some(arn), &mut text);
    member("Input", Some(&String::from_utf8_lossy(input)), &mut text);
    text.extend_from_slice(b",\"InputDetails\":{\"Included\":true}");
    member("Name", Some(name), &mut text);
    member("StateMachineArn", Some(machine_arn), &mut text);
    member("Status", Some("PENDING"), &mut text);
    text.push(b'}');
    text
}

/// A child as in `DescribeExecution`, in the order of names.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::data::Files as Folder;

    #[test]
    fn a_file_that_is_large_enough_is_followed_by_another() {
        let folder = std::env::temp_dir().join(format!("expressway-series-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let store = Folder::below(&folder).expect("a folder");
        for lines in [true, false] {
            let arguments = json!({"Path": if lines { "lines" } else { "arrays" }});
            let mut context = Context::from_waker(std::task::Waker::noop());
            let mut series = Series { bytes_max: 8, ..Series::new("SUCCEEDED".to_owned(), lines) };
            let until = |poll: &mut dyn FnMut() -> Poll<Result<(), Fault>>| {
                while poll().map(|done| done.expect("it is written")).is_pending() {
                    std::thread::yield_now();
                }
            };
            for n in 0..5 {
                series.add(format!("{{\"n\":{n}}}").as_bytes(), lines);
                until(&mut || series.poll_write(&mut context, &store, &arguments, lines));
            }
            until(&mut || series.poll_finish(&mut context, &store, &arguments, lines));
            let place = folder.join(arguments["Path"].as_str().expect("a path"));
            let read = |(name, bytes): &(String, u64)| {
                let text = std::fs::read_to_string(place.join(name)).expect("a file");
                assert_eq!(text.len() as u64, *bytes);
                (name.clone(), text)
            };
            let files: Vec<(String, String)> = series.written.iter().map(read).collect();
            let expected = (0..5).map(|n| {
                let text = format!("{{\"n\":{n}}}");
                if lines {
                    (format!("SUCCEEDED_{n}.jsonl"), text + "\n")
                } else {
                    (format!("SUCCEEDED_{n}.json"), format!("[{text}]"))
                }
            });
            assert_eq!(files, expected.collect::<Vec<_>>());
        }
        let _ = std::fs::remove_dir_all(&folder);
    }
}
