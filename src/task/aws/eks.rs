//! Kubernetes in EKS clusters: `eks:call` and `eks:runJob` (developer guide, "Create and manage Amazon EKS clusters").
//!
//! Requests to the cluster use TLS, with the certificate authority that the task names. The bearer token is the URL of
//! a signed request to STS, which proves the caller's identity, as in `aws eks get-token`. The same hosts are allowed
//! as for HTTP tasks.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value as Json, json};
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::http1::{Message, Reply};
use super::jobs::{self, TRIES_MAX};
use super::net::NetError;
use super::parameters::Parameters;
use super::percent;
use super::pool::{self, ANSWER_BYTES_MAX, Limits};
use super::settings::Pauses;
use super::settings::Settings;
use super::sign::{self, Scope};
use super::ssrf_policy::Denied;
use crate::fault;
use crate::json;
use crate::task::{AsyncHandler, Attempt, Call as TaskCall, TaskError, TaskFuture};

const CALL_FIELDS: [&str; 7] =
    ["ClusterName", "CertificateAuthority", "Endpoint", "Method", "Path", "QueryParameters", "RequestBody"];
const JOB_FIELDS: [&str; 6] =
    ["ClusterName", "CertificateAuthority", "Endpoint", "Namespace", "Job", "LogOptions"];
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"];
/// Containers of a job whose logs are read.
const LOGS_MAX: usize = 256;
/// Bytes of all logs of a job: more than a workflow's data may have.
const LOG_BYTES_MAX: usize = ANSWER_BYTES_MAX;

/// `eks:call`.
#[derive(Debug)]
pub(super) struct Call(pub(super) Arc<Settings>);

impl AsyncHandler for Call {
    fn begin(&self, call: &TaskCall<'_>, _: Attempt) -> Result<TaskFuture, TaskError> {
        let parameters = Parameters::read(call, &CALL_FIELDS)?;
        let cluster = Cluster::of(&parameters, &self.0)?;
        let method = parameters.required("Method")?;
        let method = METHODS.iter().copied().find(|known| *known == method);
        let method = method.ok_or_else(|| parameters.misshapen("Method"))?;
        let path = parameters.required("Path")?;
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte)) {
            return Err(parameters.misshapen("Path"));
        }
        let mut query = String::new();
        super::http::add_query(&parameters, &mut query)?;
        let body = text_or_json(&parameters, "RequestBody");
        let path = format!("/{}", path.trim_start_matches('/'));
        Ok(Box::pin(async move {
            let reply = cluster.ask(method, &path, &query, body.as_deref().unwrap_or(b"")).await;
            Ok(shown(&accepted(reply)?).to_string().into_bytes())
        }))
    }

    fn wants_attempt(&self) -> bool {
        false
    }

    fn calls_out(&self) -> bool {
        true
    }
}

/// `eks:runJob`.
#[derive(Debug)]
pub(super) struct RunJob {
    pub(super) settings: Arc<Settings>,
    /// Whether it waits for the job's end.
    pub(super) waits: bool,
}

impl AsyncHandler for RunJob {
    fn begin(&self, call: &TaskCall<'_>, attempt: Attempt) -> Result<TaskFuture, TaskError> {
        let parameters = Parameters::read(call, &JOB_FIELDS)?;
        let cluster = Cluster::of(&parameters, &self.settings)?;
        let namespace = parameters.text("Namespace")?.unwrap_or("default");
        if !is_name(namespace) {
            return Err(parameters.misshapen("Namespace"));
        }
        let job = text_or_json(&parameters, "Job");
        let job = job.ok_or_else(|| parameters.refuse("The field 'Job' is required but was missing"))?;
        let logs = Logs::of(&parameters)?;
        let jobs = format!("/apis/batch/v1/namespaces/{namespace}/jobs");
        let (namespace, waits, pauses) = (namespace.to_owned(), self.waits, self.settings.pauses);
        let cluster = Arc::new(cluster);
        Ok(Box::pin(async move {
            let reply = accepted(cluster.ask("POST", &jobs, "", &job).await)?;
            let response = shown(&reply);
            if !waits {
                return Ok(response.to_string().into_bytes());
            }
            attempt.submitted(response.to_string().into_bytes());
            let name = response.pointer("/ResponseBody/metadata/name").and_then(Json::as_str);
            let name = name.filter(|name| is_name(name)).ok_or_else(|| {
                let cause = format!("The cluster's answer does not say which job was started: {response}");
                TaskError::new(fault::TASK_FAILED, cause)
            })?;
            let path = format!("{jobs}/{name}");
            let mut unwanted = Unwanted { cluster: Arc::clone(&cluster), path: Some(path.clone()), attempt };
            let ended = cluster.wait(&path, pauses).await;
            unwanted.path = None;
            let (mut job, has_failed) = ended?;
            if let (Some(logs), Some(job)) = (&logs, job.as_object_mut()) {
                job.insert("logs".to_owned(), cluster.logs(&namespace, name, logs).await);
            }
            if has_failed {
                Err(TaskError::new(fault::TASK_FAILED, job.to_string()))
            } else {
                Ok(job.to_string().into_bytes())
            }
        }))
    }

    fn wants_attempt(&self) -> bool {
        self.waits
    }

    fn calls_out(&self) -> bool {
        true
    }
}

/// Deletes a job, with its pods, when its future is dropped because the workflow no longer needs it.
struct Unwanted {
    cluster: Arc<Cluster>,
    /// `None` when the job is over.
    path: Option<String>,
    attempt: Attempt,
}

impl Drop for Unwanted {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        let cluster = Arc::clone(&self.cluster);
        jobs::cancel(&self.attempt, async move || {
            // Without a propagation policy, Kubernetes deletes the job and keeps its pods.
            match cluster.ask("DELETE", &path, "propagationPolicy=Background", b"").await {
                Ok(reply) => reply.status.is_server_error() || reply.status.as_u16() == 429,
                Err(Trouble::Passing(_)) => true,
                Err(Trouble::Lasting(_)) => false,
            }
        });
    }
}

/// Whether a text can be the name of a namespace, job or pod of Kubernetes.
fn is_name(name: &str) -> bool {
    let is_letter =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(is_letter) && !name.contains("..")
}

/// A member that is JSON, or a string that contains JSON.
fn text_or_json(parameters: &Parameters<'_>, name: &str) -> Option<Vec<u8>> {
    let (arena, value) = (parameters.arena(), parameters.get(name)?);
    Some(match arena.as_str(value) {
        Some(text) => text.as_bytes().to_vec(),
        None => json::to_string(arena, value).into_bytes(),
    })
}

/// Which logs of a job are read (`LogOptions`).
struct Logs {
    is_raw: bool,
    query: String,
}

impl Logs {
    fn of(parameters: &Parameters<'_>) -> Result<Option<Logs>, TaskError> {
        let Some(options) = parameters.get("LogOptions") else { return Ok(None) };
        let options = json::to_string(parameters.arena(), options);
        let misshapen = || parameters.misshapen("LogOptions");
        let options: Map<String, Json> = serde_json::from_str(&options).map_err(|_| misshapen())?;
        let (mut logs, mut retrieves) = (Logs { is_raw: false, query: String::new() }, false);
        for (name, value) in &options {
            // Jackson also reads a boolean from a string.
            let flag = || value.as_bool().or_else(|| value.as_str()?.parse().ok()).ok_or_else(misshapen);
            match name.as_str() {
                "RetrieveLogs" => retrieves = flag()?,
                "RawLogs" => logs.is_raw = flag()?,
                "LogParameters" => {
                    for (name, values) in value.as_object().ok_or_else(misshapen)? {
                        for value in values.as_array().ok_or_else(misshapen)? {
                            let value = value.as_str().ok_or_else(misshapen)?;
                            percent::pair(name, value, &mut logs.query);
                        }
                    }
                }
                other => {
                    let why = format!("The field \"{other}\" is not supported by Step Functions");
                    return Err(parameters.refuse(&why));
                }
            }
        }
        Ok(retrieves.then_some(logs))
    }
}

/// A cluster that a task calls.
struct Cluster {
    settings: Arc<Settings>,
    name: String,
    endpoint: Endpoint,
}

/// Why a request to a cluster failed.
enum Trouble {
    /// A later attempt may succeed.
    Passing(TaskError),
    Lasting(TaskError),
}

impl Cluster {
    fn of(parameters: &Parameters<'_>, settings: &Arc<Settings>) -> Result<Cluster, TaskError> {
        let name = parameters.required("ClusterName")?.to_owned();
        let authority = parameters.required("CertificateAuthority")?;
        let endpoint = Endpoint::parse(parameters.required("Endpoint")?);
        let mut endpoint = endpoint.map_err(|_| parameters.misshapen("Endpoint"))?;
        if endpoint.origin.tls {
            let pem = STANDARD.decode(authority.trim()).ok().and_then(|pem| String::from_utf8(pem).ok());
            let pem = pem.filter(|pem| {
                let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
                certificates.next().is_some_and(|it| it.is_ok())
            });
            let pem = pem.ok_or_else(|| parameters.misshapen("CertificateAuthority"))?;
            endpoint.origin.authority_pem = Some(pem.into());
        }
        Ok(Cluster { settings: Arc::clone(settings), name, endpoint })
    }

    /// Sends a request.
    async fn ask(&self, method: &str, path: &str, query: &str, body: &[u8]) -> Result<Reply, Trouble> {
        let Cluster { settings, endpoint, .. } = self;
        let failed = |why: String| TaskError::new(fault::TASK_FAILED, why);
        let origin = settings.http.admit(endpoint.origin.clone()).await.map_err(|denied| match denied {
            Denied::Forbidden(why) => Trouble::Lasting(failed(why)),
            Denied::Unknown(why) => Trouble::Passing(failed(why)),
        })?;
        let credentials = settings.credentials().get(origin.tls).await;
        let credentials = credentials.map_err(|why| Trouble::Lasting(failed(why)))?;
        if credentials.is_none() && origin.tls {
            let why = "Unable to load credentials from any of the providers in the chain";
            return Err(Trouble::Lasting(failed(why.to_owned())));
        }
        let mark = if query.is_empty() { "" } else { "?" };
        let target = [&*endpoint.base, path, mark, query];
        let mut message = Message::new(method, &target, 1_024 + body.len());
        let mut add = |name: &str, value: &str| {
            message.field(name, value).map_err(|why| Trouble::Lasting(failed(format!("{name}: {why}"))))
        };
        add("host", &origin.authority())?;
        add("user-agent", concat!("expressway/", env!("CARGO_PKG_VERSION")))?;
        add("accept", "application/json, */*")?;
        if let Some(credentials) = &credentials {
            let token = token(credentials, settings.region(), &self.name, SystemTime::now());
            add("authorization", &format!("Bearer {token}"))?;
        }
        let message = if body.is_empty() {
            message.without_body()
        } else {
            add("content-type", content_type(method, body))?;
            message.with_body(body)
        };
        let limits = Limits { bytes_max: ANSWER_BYTES_MAX, connections_max: settings.connections_max };
        match timeout(settings.http.timeout, pool::exchange(&origin, message, limits)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(NetError::Failed(why))) => Err(Trouble::Passing(failed(why))),
            Ok(Err(NetError::TooLarge)) => Err(Trouble::Lasting(super::failure::too_large("eks"))),
            Err(_) => Err(Trouble::Passing(failed("The request timed out".to_owned()))),
        }
    }

    /// Polls a job until it is over. Returns the job, and whether it has failed.
    async fn wait(&self, path: &str, pauses: Pauses) -> Result<(Json, bool), TaskError> {
        let (mut pause, mut tries) = (pauses.first, 0);
        loop {
            sleep(pause).await;
            pause = (pause + pause / 2).min(pauses.longest);
            let trouble = match self.ask("GET", path, "", b"").await {
                Err(trouble) => trouble,
                Ok(reply) if reply.status.is_success() => {
                    let job = serde_json::from_slice::<Json>(&reply.body).ok();
                    match job.and_then(|job| Some((is_over(&job)?, job))) {
                        Some((has_failed, job)) => return Ok((job, has_failed)),
                        None => {
                            tries = 0;
                            continue;
                        }
                    }
                }
                Ok(reply) => {
                    let passes = reply.status.is_server_error() || reply.status.as_u16() == 429;
                    let error = refused(&reply);
                    if passes { Trouble::Passing(error) } else { Trouble::Lasting(error) }
                }
            };
            tries += 1;
            match trouble {
                Trouble::Passing(_) if tries < TRIES_MAX => {}
                Trouble::Passing(error) | Trouble::Lasting(error) => return Err(error),
            }
        }
    }

    /// The logs of the containers of a job's pods. The error takes the place of a log that cannot be read.
    async fn logs(&self, namespace: &str, job: &str, logs: &Logs) -> Json {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let mut query = String::new();
        percent::pair("labelSelector", &format!("job-name={job}"), &mut query);
        let list = match accepted(self.ask("GET", &pods, &query, b"").await) {
            Ok(reply) => serde_json::from_slice(&reply.body).unwrap_or(Json::Null),
            Err(TaskError { error, cause }) => return json!({"error": error, "cause": cause}),
        };
        let (mut read, mut left, mut count) = (Map::new(), LOG_BYTES_MAX, 0);
        for pod in list["items"].as_array().into_iter().flatten() {
            let Some(name) = pod.pointer("/metadata/name").and_then(Json::as_str).filter(|it| is_name(it))
            else {
                continue;
            };
            let mut containers = Map::new();
            for container in pod.pointer("/spec/containers").and_then(Json::as_array).into_iter().flatten() {
                let Some(container) = container["name"].as_str() else { continue };
                count += 1;
                let path = format!("{pods}/{name}/log");
                let log = if count > LOGS_MAX || left == 0 {
                    json!({"error": fault::DATA_LIMIT_EXCEEDED, "cause": "The logs of the job are too large"})
                } else {
                    self.log(&path, container, logs, &mut left).await
                };
                containers.insert(container.to_owned(), log);
            }
            read.insert(name.to_owned(), json!({ "containers": containers }));
        }
        json!({ "pods": read })
    }

    async fn log(&self, path: &str, container: &str, logs: &Logs, left: &mut usize) -> Json {
        let mut query = logs.query.clone();
        percent::pair("container", container, &mut query);
        match accepted(self.ask("GET", path, &query, b"").await) {
            Err(TaskError { error, cause }) => json!({"error": error, "cause": cause}),
            Ok(reply) => {
                *left = left.saturating_sub(reply.body.len());
                let parsed =
                    if logs.is_raw { None } else { serde_json::from_slice::<Json>(&reply.body).ok() };
                json!({"log": parsed.unwrap_or_else(|| String::from_utf8_lossy(&reply.body).into())})
            }
        }
    }
}

/// The content type of a body: a patch that is an array is a JSON patch, any other is a merge patch.
fn content_type(method: &str, body: &[u8]) -> &'static str {
    match (method, body.trim_ascii_start().first()) {
        ("PATCH", Some(b'[')) => "application/json-patch+json",
        ("PATCH", _) => "application/merge-patch+json",
        _ => "application/json",
    }
}

/// Whether a job has failed; `None` if it is not over.
fn is_over(job: &Json) -> Option<bool> {
    let conditions = job.pointer("/status/conditions").and_then(Json::as_array)?;
    conditions.iter().find_map(|condition| {
        match (condition["type"].as_str()?, condition["status"].as_str()?) {
            ("Complete", "True") => Some(false),
            ("Failed", "True") => Some(true),
            _ => None,
        }
    })
}

fn accepted(reply: Result<Reply, Trouble>) -> Result<Reply, TaskError> {
    match reply {
        Ok(reply) if reply.status.is_success() => Ok(reply),
        Ok(reply) => Err(refused(&reply)),
        Err(Trouble::Passing(error) | Trouble::Lasting(error)) => Err(error),
    }
}

fn refused(reply: &Reply) -> TaskError {
    TaskError::new(format!("EKS.{}", reply.status.as_u16()), shown(reply).to_string())
}

/// An answer, as workflows see it.
fn shown(reply: &Reply) -> Json {
    let body = serde_json::from_slice::<Json>(&reply.body);
    let body = body.unwrap_or_else(|_| String::from_utf8_lossy(&reply.body).into());
    let text = reply.status.canonical_reason().unwrap_or("");
    json!({"ResponseBody": body, "StatusCode": reply.status.as_u16(), "StatusText": text})
}

/// The bearer token: a request to STS that is signed for this cluster, valid for a minute.
fn token(credentials: &Credentials, region: &str, cluster: &str, now: SystemTime) -> String {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let host = format!("sts.{region}.{suffix}");
    let scope = Scope { region, service: "sts" };
    let headers = [("host", &*host), ("x-k8s-aws-id", cluster)];
    let form = "Action=GetCallerIdentity&Version=2011-06-15";
    let url = sign::url(credentials, scope, &headers, form, 60, now);
    format!("k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(url))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// Compares with signatures of botocore, with which `aws eks get-token` makes its token.
    #[test]
    fn tokens_are_those_of_the_command_line() {
        let now = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        for (session, signature) in [
            (None, "393dffdcf851beeb373f04f933b26ffa1d480490f11385a3dbd509617bb7cb79"),
            (Some("tok/en"), "503c4fae46cc6683aa7c77ab3b19bd5e6feadd75f2f1acd3c7c253bbe7828f86"),
        ] {
            let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
            let credentials = Credentials::new("AKIDEXAMPLE", secret, session.map(str::to_owned));
            let token = token(&credentials, "us-east-1", "my-cluster", now);
            let url = URL_SAFE_NO_PAD.decode(token.strip_prefix("k8s-aws-v1.").expect("a prefix"));
            let url = String::from_utf8(url.expect("base64")).expect("UTF-8");
            let session = if session.is_some() { "&X-Amz-Security-Token=tok%2Fen" } else { "" };
            assert_eq!(
                url,
                format!(
                    "https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15\
                     &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fsts\
                     %2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60{session}\
                     &X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature={signature}"
                )
            );
        }
    }
}
