//! One process of a function, from its start to its end: its requests, its invocations, and its timeouts.

use crate::os;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until, timeout};

use super::host::{Function, Host, is_over};
use super::invocation::{Answer, QueuedInvocation};
use super::lines::{self, Tail};
use super::runtime_api::{self, Done, Given, Said};
use crate::limits::LAMBDA_PAYLOAD_BYTES_MAX;
use crate::{random, uuid};

/// A process that was idle for so long is ended.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// How long a process may take to end once it is asked to.
const END_WITHIN: Duration = Duration::from_secs(1);
/// How long to wait for the rest of a process's output once it has ended.
const REST_WITHIN: Duration = Duration::from_millis(200);

/// A process with its runtime API. Dropping it kills the process, and what it started.
struct Process<'h> {
    host: &'h Host,
    child: Child,
    group: u32,
    tail: Rc<Tail>,
    api: JoinHandle<std::convert::Infallible>,
    logs: Vec<JoinHandle<()>>,
}

/// The present invocation of a process.
struct Running {
    invocation: QueuedInvocation,
    id: String,
    deadline: Instant,
    deadline_ms: u64,
    is_given: bool,
}

/// The next event.
enum Event {
    Said(Said),
    Exited(io::Result<ExitStatus>),
    /// A timeout: of the invocation, of the start, or of the idle time.
    TimeIsOver,
    /// The caller no longer waits for the answer.
    Unwanted,
    /// An invocation is in the queue.
    Arrived,
    /// Everything is to end.
    Over,
}

/// Starts a process for a function, and runs it until it ends. Each process does an invocation, or fails one: so
/// processes are not restarted endlessly without effect.
pub(super) async fn live(host: &Host, function: &Function, mut ending: watch::Receiver<bool>) {
    let (said, mut hears) = mpsc::channel(16);
    let started = async {
        let (listener, address) = runtime_api::listen().await?;
        Process::start(host, function, address, spawn_local(runtime_api::serve(listener, said)))
    };
    let mut process = match started.await {
        Ok(process) => process,
        Err(error) => {
            function.free.set(function.free.get() - 1);
            let shown = &function.program.shown;
            let message = format!("Error: cannot start {shown}: {}", os::words(&error));
            let payload = failed("Runtime.InvalidEntrypoint", &new_id(), &message);
            if let Some(invocation) = function.take() {
                conclude(host, invocation, Answer { payload, is_error: true, ..Answer::default() });
            }
            return;
        }
    };
    let left = work(&mut process, function, &mut hears, &mut ending).await;
    // With an invocation, it was not idle.
    if left.is_free {
        function.free.set(function.free.get() - 1);
    }
    process.end(left.gently).await;
    if let Some((invocation, payload)) = left.failed {
        let log_tail = process.tail.take();
        conclude(host, invocation, Answer { payload, is_error: true, log_tail });
    }
}

/// Sends the answer of an invocation; if no caller waits for it, failures are logged.
fn conclude(host: &Host, invocation: QueuedInvocation, answer: Answer) {
    if invocation.answer.is_none() && answer.is_error {
        let error = String::from_utf8_lossy(&answer.payload);
        (host.setup.log)(&invocation.function, &format!("an event failed: {error}"));
    }
    invocation.answer(Ok(answer));
}

/// How a process ended.
struct Left {
    is_free: bool,
    /// Whether it is asked to end before it is killed.
    gently: bool,
    /// The invocation that fails, and its error as a payload.
    failed: Option<(QueuedInvocation, Vec<u8>)>,
}

async fn work(
    process: &mut Process<'_>,
    function: &Function,
    hears: &mut mpsc::Receiver<Said>,
    ending: &mut watch::Receiver<bool>,
) -> Left {
    let mut running: Option<Running> = None;
    // A request for an invocation that is not answered yet.
    let mut asks: Option<oneshot::Sender<Given>> = None;
    let mut has_begun = false;
    let time = process.host.setup.timeout;
    let mut idle_until = Instant::now() + time;
    loop {
        if running.is_none() && asks.is_some() {
            has_begun = true;
            running = function.take().map(|invocation| Running::new(invocation, time));
            if running.is_some() {
                function.free.set(function.free.get() - 1);
                // Earlier output is not part of this invocation.
                process.tail.take();
            }
        }
        if let Some(running) = running.as_mut().filter(|it| !it.is_given)
            && let Some(ask) = asks.take()
        {
            running.is_given = ask.send(running.given()).is_ok();
        }
        match event(process, function, hears, ending, running.as_mut(), asks.is_some(), idle_until).await {
            Event::Said(Said::Next(ask)) => match running.as_ref().filter(|it| it.is_given) {
                Some(_) => drop(ask.send(Given::NotYet)),
                None => {
                    idle_until = Instant::now() + IDLE_MAX;
                    asks = Some(ask);
                }
            },
            Event::Said(Said::Done { id, result, known }) => {
                let done = running.take_if(|running| running.is_given && running.id == id);
                let _ = known.send(done.is_some());
                if let Some(Running { invocation, .. }) = done {
                    function.free.set(function.free.get() + 1);
                    idle_until = Instant::now() + time;
                    conclude(process.host, invocation, answer(result, &id, process));
                }
            }
            Event::Said(Said::Unable(payload)) if running.is_none() => {
                return Left::failing(true, function.take(), payload);
            }
            // It has begun; further errors are those of invocations.
            Event::Said(Said::Unable(_)) | Event::Arrived => {}
            Event::Over => return Left { is_free: running.is_none(), gently: true, failed: None },
            Event::Unwanted => return Left { is_free: false, gently: false, failed: None },
            Event::TimeIsOver if running.is_none() && has_begun => {
                return Left { is_free: true, gently: true, failed: None };
            }
            Event::TimeIsOver => return ended(function, running, |id| timed_out(id, time)),
            Event::Exited(status) if running.is_none() && has_begun => {
                log(
                    process.host,
                    function,
                    &format!("ended while it had nothing to do: {}", reason(&status)),
                );
                return Left { is_free: true, gently: false, failed: None };
            }
            Event::Exited(status) => return ended(function, running, |id| exited(id, &status)),
        }
    }
}

async fn event(
    process: &mut Process<'_>,
    function: &Function,
    hears: &mut mpsc::Receiver<Said>,
    ending: &mut watch::Receiver<bool>,
    running: Option<&mut Running>,
    is_ready: bool,
    idle_until: Instant,
) -> Event {
    let until = running.as_ref().map_or(idle_until, |running| running.deadline);
    let is_idle = running.is_none();
    let gone = async {
        match running.and_then(|running| running.invocation.answer.as_mut()) {
            Some(answer) => answer.closed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // Requests of a process before its end are handled first.
        biased;
        Some(said) = hears.recv() => Event::Said(said),
        status = process.child.wait() => Event::Exited(status),
        () = gone => Event::Unwanted,
        () = is_over(ending) => Event::Over,
        () = sleep_until(until) => Event::TimeIsOver,
        () = function.arrived.notified(), if is_idle && is_ready => Event::Arrived,
    }
}

impl Left {
    fn failing(is_free: bool, invocation: Option<QueuedInvocation>, failed: Vec<u8>) -> Left {
        Left { is_free, gently: false, failed: invocation.map(|invocation| (invocation, failed)) }
    }
}

/// Fails the process's invocation, or, if it has none yet, the one it was started for.
fn ended(function: &Function, running: Option<Running>, failed: impl Fn(&str) -> Vec<u8>) -> Left {
    match running {
        Some(Running { invocation, id, .. }) => Left::failing(false, Some(invocation), failed(&id)),
        None => Left::failing(true, function.take(), failed(&new_id())),
    }
}

fn answer(result: Done, id: &str, process: &Process<'_>) -> Answer {
    let log_tail = process.tail.take();
    match result {
        Done::Returned(payload) => Answer { payload: payload.into(), is_error: false, log_tail },
        Done::Failed(payload) => Answer { payload, is_error: true, log_tail },
        Done::TooLarge => {
            let message = format!(
                "Response payload size exceeded maximum allowed payload size ({LAMBDA_PAYLOAD_BYTES_MAX} bytes)."
            );
            let payload = failed("Function.ResponseSizeTooLarge", id, &message);
            Answer { payload, is_error: true, log_tail }
        }
    }
}

/// An error in Lambda's format.
fn failed(kind: &str, id: &str, message: &str) -> Vec<u8> {
    let message = match kind {
        "Function.ResponseSizeTooLarge" => message.to_owned(),
        _ => format!("RequestId: {id} {message}"),
    };
    json!({"errorType": kind, "errorMessage": message}).to_string().into_bytes()
}

fn timed_out(id: &str, time: Duration) -> Vec<u8> {
    let message = format!("Error: Task timed out after {:.2} seconds", time.as_secs_f64());
    failed("Sandbox.Timedout", id, &message)
}

fn exited(id: &str, status: &io::Result<ExitStatus>) -> Vec<u8> {
    failed("Runtime.ExitError", id, &format!("Error: {}", reason(status)))
}

fn reason(status: &io::Result<ExitStatus>) -> String {
    let status = match status {
        Ok(status) => status,
        Err(error) => return format!("Runtime exited with error: {}", os::words(error)),
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => "Runtime exited without providing a reason".to_owned(),
        (Some(code), _) => format!("Runtime exited with error: exit status {code}"),
        (None, Some(9)) => "Runtime exited with error: signal: killed".to_owned(),
        (None, Some(15)) => "Runtime exited with error: signal: terminated".to_owned(),
        (None, signal) => format!("Runtime exited with error: signal: {}", signal.unwrap_or(0)),
    }
}

fn new_id() -> String {
    String::from_utf8_lossy(&uuid::text(random::next(), random::next())).into_owned()
}

impl Running {
    fn new(invocation: QueuedInvocation, time: Duration) -> Running {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let deadline_ms = (now.map_or(0, |now| (now + time).as_millis()) as u64).max(1);
        Running { invocation, id: new_id(), deadline: Instant::now() + time, deadline_ms, is_given: false }
    }

    fn given(&self) -> Given {
        Given::Invocation {
            headers: runtime_api::headers(&self.invocation, &self.id, self.deadline_ms),
            payload: self.invocation.payload.clone(),
        }
    }
}

impl<'h> Process<'h> {
    fn start(
        host: &'h Host,
        function: &Function,
        address: SocketAddr,
        api: JoinHandle<std::convert::Infallible>,
    ) -> io::Result<Process<'h>> {
        let program = &function.program;
        let mut command = Command::new(&program.program);
        command
            .args(&program.arguments)
            .envs(environment(host, function, address))
            .envs(program.variable)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(folder) = &program.folder {
            command.current_dir(folder);
        }
        let mut child = command.spawn().inspect_err(|_| api.abort())?;
        // The process id is there until its end was awaited.
        let group = child.id().unwrap_or(0);
        host.watchdog.add(group);
        let tail = Rc::new(Tail::default());
        let log = |line: &str, name: &str, log: &super::program::Log| log(name, line);
        let listen = |from: Box<dyn tokio::io::AsyncRead + Unpin>| {
            let (tail, name, to) = (Rc::clone(&tail), function.name.clone(), host.setup.log.clone());
            spawn_local(async move { lines::hand_on(from, &tail, |line| log(line, &name, &to)).await })
        };
        let out = child.stdout.take().map(|out| listen(Box::new(out)));
        let err = child.stderr.take().map(|err| listen(Box::new(err)));
        let logs = out.into_iter().chain(err).collect();
        Ok(Process { host, child, group, tail, api, logs })
    }

    /// Ends it, with its child processes.
    async fn end(&mut self, gently: bool) {
        if gently {
            self.signal(rustix::process::Signal::TERM);
            let _ = timeout(END_WITHIN, self.child.wait()).await;
        }
        self.signal(rustix::process::Signal::KILL);
        let _ = self.child.wait().await;
        self.host.watchdog.remove(self.group);
        self.group = 0;
        for log in &mut self.logs {
            // A process that left the group may still hold the pipe.
            let _ = timeout(REST_WITHIN, log).await;
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let group = i32::try_from(self.group).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            // It may be gone.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.api.abort();
        self.logs.iter().for_each(JoinHandle::abort);
    }
}

fn log(host: &Host, function: &Function, line: &str) {
    (host.setup.log)(&function.name, line);
}

/// The environment variables that Lambda sets for functions (developer guide, "Defined runtime environment variables"),
/// beside those of this process.
fn environment(host: &Host, function: &Function, address: SocketAddr) -> Vec<(&'static str, String)> {
    let name = &function.name;
    let region = &host.setup.region;
    let mut variables = vec![
        ("AWS_LAMBDA_RUNTIME_API", address.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".to_owned()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
        ("AWS_LAMBDA_LOG_STREAM_NAME", new_id()),
    ];
    let folder = function.program.folder.as_ref().map(|folder| folder.to_string_lossy().into_owned());
    variables.extend(folder.map(|folder| ("LAMBDA_TASK_ROOT", folder)));
    let given = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let unset = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().filter(|name| !given(name));
    variables.extend(unset.map(|name| (name, region.clone())));
    if !given("_HANDLER") {
        variables.push(("_HANDLER", format!("{name}.handler")));
    }
    variables
}
