//! The usual chain: environment, shared files with profiles, the container, the machine (AWS SDKs and Tools Reference
//! Guide, "Standardized credential providers").

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::Method;

use super::credentials::{Credentials, Source};
use super::http1::Message;
use super::pool::{self, Limits};
use super::settings::{Endpoint, Settings, SettingsError, variable};

/// Variables of the environment, by name.
pub(super) type Variables = HashMap<String, String>;

/// Settings as AWS's SDKs take them from the environment.
pub(super) fn settings(variables: &Variables) -> Result<Settings, SettingsError> {
    let get = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
    let profile = Profile::read(&get);
    let region = get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")).or_else(|| profile.get("region"));
    let mut endpoints = HashMap::new();
    // The names that Step Functions Local knows come last: they say most.
    let mut named: Vec<(String, &str, &str)> = Vec::new();
    let mut named_by = HashMap::new();
    if get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_none_or(|it| !it.eq_ignore_ascii_case("true")) {
        named.extend(variables.iter().filter_map(|(name, url)| {
            Some((name.strip_prefix("AWS_ENDPOINT_URL_")?.to_owned(), url.as_str(), name.as_str()))
        }));
    }
    named.extend(variables.iter().filter_map(|(name, url)| {
        let service = name.strip_suffix("_ENDPOINT").filter(|it| !it.is_empty() && url.contains("://"))?;
        let service = if service == "STEP_FUNCTIONS" { "SFN" } else { service };
        Some((service.to_owned(), url.as_str(), name.as_str()))
    }));
    for (service, url, name) in named.into_iter().filter(|(_, url, _)| !url.is_empty()) {
        endpoints.insert(variable(&service), Endpoint::parse(url)?);
        named_by.insert(variable(&service), name.to_owned());
    }
    let every = get("AWS_ENDPOINT_URL").or_else(|| profile.get("endpoint_url"));
    if every.is_some() {
        let by = match get("AWS_ENDPOINT_URL") {
            Some(_) => "AWS_ENDPOINT_URL".to_owned(),
            None => format!("endpoint_url of the profile {}", profile.name),
        };
        named_by.insert(String::new(), by);
    }
    let endpoint = every.map(|url| Endpoint::parse(&url)).transpose()?;
    let credentials = source(&get, &profile);
    Ok(Settings { region, credentials, endpoints, endpoint, named_by, ..Settings::default() })
}

fn source(get: &dyn Fn(&str) -> Option<String>, profile: &Profile) -> Source {
    if let (Some(id), Some(secret)) = (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
        return Source::Fixed(Arc::new(Credentials::new(id, secret, get("AWS_SESSION_TOKEN"))));
    }
    if let (Some(id), Some(secret)) = (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key"))
    {
        return Source::Fixed(Arc::new(Credentials::new(id, secret, profile.get("aws_session_token"))));
    }
    let unknown =
        ["credential_process", "role_arn", "sso_session", "sso_start_url", "web_identity_token_file"];
    if let Some(way) = unknown.into_iter().find(|way| profile.get(way).is_some()) {
        let text = format!("the profile '{}' uses {way}, which is not supported", profile.name);
        return Source::Unsupported(text.into());
    }
    if get("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() {
        return Source::Unsupported("AWS_WEB_IDENTITY_TOKEN_FILE is not supported".into());
    }
    if let Some(path) = get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        return Source::Fetched(Arc::new(Fetched::new(Place::Container {
            url: format!("http://169.254.170.2{path}"),
            token: None,
            token_file: None,
        })));
    }
    if let Some(url) = get("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        return Source::Fetched(Arc::new(Fetched::new(Place::Container {
            url,
            token: get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
            token_file: get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from),
        })));
    }
    if get("AWS_EC2_METADATA_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true")) {
        return Source::None;
    }
    let url = get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| "http://169.254.169.254".to_owned());
    Source::Machine(Arc::new(Fetched::new(Place::Machine { url })))
}

/// What a profile says, of both shared files.
#[derive(Debug, Default)]
struct Profile {
    name: String,
    values: HashMap<String, String>,
}

impl Profile {
    fn read(get: &dyn Fn(&str) -> Option<String>) -> Profile {
        let home = get("HOME").or_else(|| get("USERPROFILE")).map(PathBuf::from).unwrap_or_default();
        let file = |name: &str, usual: &str| {
            let path = get(name).map_or_else(|| home.join(".aws").join(usual), PathBuf::from);
            // A file that is not there says nothing.
            std::fs::read_to_string(path).unwrap_or_default()
        };
        let name = get("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
        let mut values = section(&file("AWS_CONFIG_FILE", "config"), &format!("profile {name}"));
        if name == "default" {
            values.extend(section(&file("AWS_CONFIG_FILE", "config"), "default"));
        }
        values.extend(section(&file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), &name));
        Profile { name, values }
    }

    fn get(&self, key: &str) -> Option<String> {
        self.values.get(key).cloned()
    }
}

/// The settings of one section. Those below a setting, which are indented, are of no interest here.
fn section(text: &str, name: &str) -> HashMap<String, String> {
    let mut inside = false;
    let mut values = HashMap::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) || line.starts_with([' ', '\t']) {
            continue;
        }
        if let Some(head) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = head.split_whitespace().eq(name.split_whitespace());
        } else if let (true, Some((key, value))) = (inside, trimmed.split_once('=')) {
            let value = value.split(" #").next().unwrap_or_default().trim();
            values.insert(key.trim().to_ascii_lowercase(), value.to_owned());
        }
    }
    values
}

/// Credentials that someone else hands out for a while.
pub(super) struct Fetched {
    place: Place,
    /// The last ones, until when they are good.
    last: Mutex<Option<(Arc<Credentials>, SystemTime)>>,
}

enum Place {
    Container { url: String, token: Option<String>, token_file: Option<PathBuf> },
    Machine { url: String },
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched").finish_non_exhaustive()
    }
}

/// New ones are fetched so long before the old ones end.
const AHEAD: Duration = Duration::from_secs(300);
/// How long whoever hands them out may take; it is on this machine or its network.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
const FETCH: Limits = Limits { bytes_max: 64 * 1_024, connections_max: 1 };

impl Fetched {
    fn new(place: Place) -> Fetched {
        Fetched { place, last: Mutex::default() }
    }

    pub(super) async fn get(&self) -> Result<Arc<Credentials>, String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((credentials, until)) = last
            && SystemTime::now() + AHEAD < until
        {
            return Ok(credentials);
        }
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.fetch()).await;
        let (credentials, until) =
            fetched.map_err(|_| "the credentials endpoint did not respond in time".to_owned())??;
        let credentials = Arc::new(credentials);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(&credentials), until));
        Ok(credentials)
    }

    async fn fetch(&self) -> Result<(Credentials, SystemTime), String> {
        let text = match &self.place {
            Place::Container { url, token, token_file } => {
                let token = match token_file {
                    Some(path) => Some(std::fs::read_to_string(path).map_err(|error| error.to_string())?),
                    None => token.clone(),
                };
                let header = token.as_deref().map(|token| ("authorization", token.trim()));
                ask(Method::GET, url, header).await?
            }
            Place::Machine { url } => {
                let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", "21600");
                let token = ask(Method::PUT, &format!("{url}/latest/api/token"), Some(ttl)).await?;
                let header = ("x-aws-ec2-metadata-token", token.trim());
                let roles = format!("{url}/latest/meta-data/iam/security-credentials/");
                let role = ask(Method::GET, &roles, Some(header)).await?;
                let role = role.lines().next().unwrap_or_default().trim();
                ask(Method::GET, &format!("{roles}{role}"), Some(header)).await?
            }
        };
        let told: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let text = |name: &str| told.get(name).and_then(|it| it.as_str()).map(str::to_owned);
        let (Some(id), Some(secret)) = (text("AccessKeyId"), text("SecretAccessKey")) else {
            return Err(
                "the credentials endpoint's response has no AccessKeyId or SecretAccessKey".to_owned()
            );
        };
        let until = text("Expiration").and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let until = until.map_or_else(|| SystemTime::now() + 2 * AHEAD, SystemTime::from);
        Ok((Credentials::new(id, secret, text("Token")), until))
    }
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
