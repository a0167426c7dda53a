//! Providers of temporary credentials: the container, the machine, a process, STS, IAM Identity Center (AWS SDKs and
//! Tools Reference Guide, "Standardized credential providers").
//!
//! They are fetched by one caller at a time, and again before they expire: until then all others use the old ones.

use crate::os;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::Method;
use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use serde_json::Value as Json;

use super::caller::Caller;
use super::credential_source::Source;
use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::http1::{Message, Reply};
use super::percent;
use super::percent::UNRESERVED;
use super::pool::{self, Limits};
use super::query_protocol::Element;
use super::request::{CallError, Draft};
use super::settings::Settings;

/// Credentials, and their provider.
pub(super) struct Provided {
    way: Way,
    /// The last ones, and when they expire.
    last: Mutex<Option<(Arc<Credentials>, SystemTime)>>,
    /// Held while new ones are fetched.
    turn: tokio::sync::Mutex<()>,
}

/// The kind of provider.
pub(super) enum Way {
    Container {
        url: String,
        token: Option<String>,
        token_file: Option<PathBuf>,
    },
    Machine {
        url: String,
    },
    /// A command whose output they are.
    Process(String),
    /// STS, with these credentials.
    Role {
        role: Role,
        of: Source,
        settings: Box<Settings>,
    },
    /// STS, with the token in a file.
    WebIdentity {
        role: Role,
        token_file: PathBuf,
        endpoint: Endpoint,
    },
    /// IAM Identity Center, after a login: the file of the session, and the path of the request.
    SingleSignOn {
        session: PathBuf,
        endpoint: Endpoint,
        query: String,
    },
}

/// A role to assume.
#[derive(Clone, Debug, Default)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) session_name: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) seconds: Option<String>,
    /// Whether a task's `Credentials` name it: a refusal of STS then has AWS's text.
    pub(super) is_of_task: bool,
}

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provided").finish_non_exhaustive()
    }
}

/// New ones are fetched so long before the old ones expire.
const AHEAD: Duration = Duration::from_secs(300);
/// The lifetime of credentials without an expiry.
const UNTIL: Duration = Duration::from_secs(365 * 24 * 3_600);
/// The time limit for the container or the machine, which are near.
const NEAR_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(60);
const FETCH: Limits = Limits { bytes_max: 64 * 1_024, connections_max: 1 };

type Fetched = Result<(Credentials, SystemTime), String>;

impl Provided {
    pub(super) fn by(way: Way) -> Arc<Provided> {
        Arc::new(Provided { way, last: Mutex::default(), turn: tokio::sync::Mutex::default() })
    }

    fn last(&self, ahead: Duration) -> Option<Arc<Credentials>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (credentials, until) = last.as_ref()?;
        (SystemTime::now() + ahead < *until).then(|| Arc::clone(credentials))
    }

    /// Valid ones, if there are any.
    pub(super) fn known(&self) -> Option<Arc<Credentials>> {
        self.last(AHEAD)
    }

    pub(super) async fn get(&self) -> Result<Arc<Credentials>, String> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let good = self.last(Duration::ZERO);
        let _turn = match &good {
            None => self.turn.lock().await,
            // Another caller fetches them.
            Some(good) => match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(Arc::clone(good)),
            },
        };
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let is_near = matches!(self.way, Way::Container { .. } | Way::Machine { .. });
        let within = if is_near { NEAR_TIMEOUT } else { TIMEOUT };
        let fetched = match tokio::time::timeout(within, self.fetch()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("{} did not respond within {} s", self.way.shown(), within.as_secs())),
        };
        match (fetched, good) {
            (Ok((credentials, until)), _) => {
                let credentials = Arc::new(credentials);
                let last = Some((Arc::clone(&credentials), until));
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
                Ok(credentials)
            }
            // It is retried with the next request.
            (Err(why), Some(good)) => {
                tracing::warn!(reason = %why, "credentials cannot be renewed yet");
                Ok(good)
            }
            (Err(why), None) => Err(why),
        }
    }

    async fn fetch(&self) -> Fetched {
        match &self.way {
            Way::Container { url, token, token_file } => {
                let token = match token_file {
                    Some(path) => Some(read(path)?),
                    None => token.clone(),
                };
                let header = token.as_deref().map(|token| ("authorization", token.trim()));
                told(&ask(Method::GET, url, header).await?, "Token", self.way.shown())
            }
            Way::Machine { url } => {
                let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", "21600");
                let token = ask(Method::PUT, &format!("{url}/latest/api/token"), Some(ttl)).await?;
                let header = ("x-aws-ec2-metadata-token", token.trim());
                let roles = format!("{url}/latest/meta-data/iam/security-credentials/");
                let role = ask(Method::GET, &roles, Some(header)).await?;
                let role = role.lines().next().unwrap_or("").trim();
                let text = ask(Method::GET, &format!("{roles}{role}"), Some(header)).await?;
                told(&text, "Token", self.way.shown())
            }
            Way::Process(command) => told(&output(command).await?, "SessionToken", self.way.shown()),
            Way::Role { role, of, settings } => {
                // An STS at an endpoint that the user set may need no credentials.
                let is_own = role.is_of_task && settings.endpoint("STS").is_some();
                let credentials = match Box::pin(of.get(!is_own)).await? {
                    Some(credentials) => Source::Fixed(credentials),
                    None if is_own => Source::None,
                    None => {
                        return Err(format!("there are no credentials with which to take on {}", role.arn));
                    }
                };
                let settings = Settings { credentials, ..(**settings).clone() };
                let caller = Caller::new(&settings, "STS", "sts", "sts", None)?;
                let body = role.request("AssumeRole", None).into_bytes();
                let headers = vec![("content-type", FORM.into())];
                let draft = Draft { path: "/".to_owned(), body, headers, ..Draft::default() };
                match Box::pin(caller.send("POST", &draft, FETCH.bytes_max)).await {
                    Ok(reply) => assumed(&reply, role),
                    Err(CallError::Client(why)) => Err(format!("STS: {why}")),
                    Err(CallError::TooLarge) => Err("STS answers too much".to_owned()),
                }
            }
            Way::WebIdentity { role, token_file, endpoint } => {
                let token = read(token_file)?;
                let body = role.request("AssumeRoleWithWebIdentity", Some(token.trim()));
                let reply = post(endpoint, &body).await?;
                assumed(&reply, role)
            }
            Way::SingleSignOn { session, endpoint, query } => signed_on(session, endpoint, query).await,
        }
    }
}

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

impl Way {
    fn shown(&self) -> &'static str {
        match self {
            Way::Container { .. } => "the container's credentials endpoint",
            Way::Machine { .. } => "the machine's credentials endpoint",
            Way::Process(_) => "the credential_process",
            Way::Role { .. } | Way::WebIdentity { .. } => "STS",
            Way::SingleSignOn { .. } => "IAM Identity Center",
        }
    }
}

impl Role {
    /// The request to STS (STS API reference, "AssumeRole", "AssumeRoleWithWebIdentity").
    fn request(&self, action: &str, token: Option<&str>) -> String {
        let mut body = String::new();
        let session = self.session_name.as_deref().unwrap_or("expressway");
        for (name, value) in [
            ("Action", Some(action)),
            ("DurationSeconds", self.seconds.as_deref()),
            ("ExternalId", self.external_id.as_deref()),
            ("RoleArn", Some(&*self.arn)),
            ("RoleSessionName", Some(session)),
            ("Version", Some("2011-06-15")),
            ("WebIdentityToken", token),
        ] {
            if let Some(value) = value {
                percent::pair(name, value, &mut body);
            }
        }
        body
    }
}

/// The answer of STS.
fn assumed(reply: &Reply, role: &Role) -> Fetched {
    let root = Element::parse(&reply.body).ok_or("STS's answer is no XML")?;
    if !reply.status.is_success() {
        let empty = Element::default();
        let error = root.child("Error").unwrap_or(&empty);
        let (code, message) = (error.text_of("Code"), error.text_of("Message"));
        if role.is_of_task && reply.status.is_client_error() {
            tracing::warn!(role = %role.arn, code, message, "STS does not give the role of a task");
            // AWS's text, as measured.
            return Err(format!(
                "The principal states.amazonaws.com is not authorized to assume the provided role. (role: {})",
                role.arn
            ));
        }
        return Err(format!("STS does not give the role {}: {code}: {message}", role.arn));
    }
    let result = root.children.iter().find_map(|child| child.child("Credentials"));
    let given = result.ok_or("STS's answer has no Credentials")?;
    let (id, secret) = (given.text_of("AccessKeyId"), given.text_of("SecretAccessKey"));
    if id.is_empty() || secret.is_empty() {
        return Err("STS's answer has no AccessKeyId or SecretAccessKey".to_owned());
    }
    let token = Some(given.text_of("SessionToken")).filter(|token| !token.is_empty());
    let until = until(Some(given.text_of("Expiration")));
    Ok((Credentials::new(id, secret, token.map(str::to_owned)), until))
}

/// When credentials with this expiry end.
fn until(text: Option<&str>) -> SystemTime {
    let until = text.and_then(|text| text.parse::<Timestamp>().ok());
    until.map_or_else(|| SystemTime::now() + UNTIL, SystemTime::from)
}

/// Credentials in JSON; the member of the session's token has this name.
fn told(text: &str, token: &str, whose: &str) -> Fetched {
    let told: Json = serde_json::from_str(text).map_err(|error| format!("{whose} gives no JSON: {error}"))?;
    let text = |name: &str| told.get(name).and_then(Json::as_str);
    let (Some(id), Some(secret)) = (text("AccessKeyId"), text("SecretAccessKey")) else {
        return Err(format!("{whose}'s response has no AccessKeyId or SecretAccessKey"));
    };
    Ok((Credentials::new(id, secret, text(token).map(str::to_owned)), until(text("Expiration"))))
}

async fn signed_on(session: &PathBuf, endpoint: &Endpoint, query: &str) -> Fetched {
    let log_in = "log in with `aws sso login`";
    let text = std::fs::read_to_string(session).map_err(|_| format!("there is no session: {log_in}"))?;
    let known: Json = serde_json::from_str(&text).map_err(|error| format!("the session: {error}"))?;
    let token = known.get("accessToken").and_then(Json::as_str).ok_or("the session has no accessToken")?;
    if until(known.get("expiresAt").and_then(Json::as_str)) <= SystemTime::now() {
        return Err(format!("the session is over: {log_in}"));
    }
    let Endpoint { origin, base } = endpoint;
    let target = [base, "/federation/credentials", query];
    let mut message = Message::new("GET", &target, 2_048);
    message.field("host", &origin.authority())?;
    message.field("x-amz-sso_bearer_token", token)?;
    let reply = pool::exchange(origin, message.without_body(), FETCH).await;
    let reply = reply.map_err(|error| format!("IAM Identity Center: {error:?}"))?;
    if !reply.status.is_success() {
        return Err(format!("IAM Identity Center says {}: {log_in}", reply.status));
    }
    let told: Json = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
    let given = &told["roleCredentials"];
    let text = |name: &str| given.get(name).and_then(Json::as_str);
    let (Some(id), Some(secret)) = (text("accessKeyId"), text("secretAccessKey")) else {
        return Err("IAM Identity Center's response has no roleCredentials".to_owned());
    };
    let until = given.get("expiration").and_then(Json::as_u64);
    let until = until.map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
    let until = until.unwrap_or_else(|| SystemTime::now() + 2 * AHEAD);
    Ok((Credentials::new(id, secret, text("sessionToken").map(str::to_owned)), until))
}

/// The query for IAM Identity Center, behind the path.
pub(super) fn sign_on_query(role: &str, account: &str) -> String {
    let mut query = "?role_name=".to_owned();
    query.extend(utf8_percent_encode(role, UNRESERVED));
    query.push_str("&account_id=");
    query.extend(utf8_percent_encode(account, UNRESERVED));
    query
}

fn read(path: &PathBuf) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {}", path.display(), os::words(&error)))
}

/// The output of a command. It runs on a separate thread, and is not stopped when it takes too long.
async fn output(command: &str) -> Result<String, String> {
    let (done, answer) = tokio::sync::oneshot::channel();
    let command = command.to_owned();
    let thread = std::thread::Builder::new().name("credentials".to_owned());
    let run = move || {
        let shell = if cfg!(windows) { ["cmd", "/C"] } else { ["sh", "-c"] };
        let ran = Command::new(shell[0]).arg(shell[1]).arg(&command).output();
        drop(done.send(ran));
    };
    thread.spawn(run).map_err(|error| format!("the credential_process cannot run: {}", os::words(&error)))?;
    let ran = answer.await.map_err(|_| "the credential_process did not run".to_owned())?;
    let ran = ran.map_err(|error| format!("the credential_process cannot run: {}", os::words(&error)))?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        return Err(format!("the credential_process failed with {}: {}", ran.status, said.trim()));
    }
    String::from_utf8(ran.stdout).map_err(|_| "the credential_process writes no UTF-8".to_owned())
}

async fn ask(method: Method, url: &str, header: Option<(&'static str, &str)>) -> Result<String, String> {
    let Endpoint { origin, base } = Endpoint::parse_exactly(url).map_err(|error| error.to_string())?;
    let mut message = Message::new(method.as_str(), &[&base], 256);
    message.field("host", &origin.authority())?;
    if let Some((name, value)) = header {
        message.field(name, value)?;
    }
    let message = if method == Method::PUT { message.with_body(&[]) } else { message.without_body() };
    let reply = pool::exchange(&origin, message, FETCH).await.map_err(|error| format!("{error:?}"))?;
    if reply.status.is_success() {
        String::from_utf8(reply.body).map_err(|error| error.to_string())
    } else {
        Err(format!("{} says {}", origin.authority(), reply.status))
    }
}

/// An unsigned request to STS.
async fn post(endpoint: &Endpoint, body: &str) -> Result<Reply, String> {
    let Endpoint { origin, base } = endpoint;
    let mut message = Message::new("POST", &[base, "/"], 512 + body.len());
    message.field("host", &origin.authority())?;
    message.field("content-type", FORM)?;
    let reply = pool::exchange(origin, message.with_body(body.as_bytes()), FETCH).await;
    reply.map_err(|error| format!("STS: {error:?}"))
}
