//! The usual configuration chain: environment, shared files with profiles, the container, the machine (AWS SDKs and
//! Tools Reference Guide, "Standardized credential providers").

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use sha1::{Digest, Sha1};

use super::credential_source::Source;
use super::credentials::Credentials;
use super::endpoint::{Endpoint, SettingsError};
use super::providers::{self, Provided, Role, Way};
use super::settings::{Settings, variable};
use crate::models;

/// Variables of the environment, by name.
pub(super) type Variables = HashMap<String, String>;

/// Settings from the environment, as in AWS's SDKs.
pub(super) fn settings(variables: &Variables) -> Result<Settings, SettingsError> {
    let get = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
    let files = Files::read(&get);
    let profile = files.profile(&get("AWS_PROFILE").unwrap_or_else(|| "default".to_owned()));
    let region = get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")).or_else(|| profile.get("region"));
    let mut endpoints = HashMap::new();
    // The variables of Step Functions Local come last: they take precedence.
    let mut named: Vec<(String, &str, &str)> = Vec::new();
    let mut named_by = HashMap::new();
    let is_read =
        get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_none_or(|it| !it.eq_ignore_ascii_case("true"));
    if is_read {
        named.extend(variables.iter().filter_map(|(name, url)| {
            Some((name.strip_prefix("AWS_ENDPOINT_URL_")?.to_owned(), url.as_str(), name.as_str()))
        }));
    }
    named.extend(variables.iter().filter_map(|(name, url)| {
        let service = name.strip_suffix("_ENDPOINT").filter(|it| !it.is_empty())?;
        let service = if service == "STEP_FUNCTIONS" { "SFN" } else { service };
        // Other programs have variables with such names.
        if !url.contains("://") && !models::identifiers().any(|id| variable(id) == service) {
            return None;
        }
        Some((service.to_owned(), url.as_str(), name.as_str()))
    }));
    // A variable for all services takes precedence over a profile's settings.
    if let Some(services) = profile.get("services").filter(|_| is_read && get("AWS_ENDPOINT_URL").is_none()) {
        for (service, url) in nested(&files.config, &format!("services {services}"), "endpoint_url") {
            let by = format!("the section services {services} of the profile {}", profile.name);
            endpoints.insert(variable(&service), named_endpoint(&by, &url)?);
            named_by.insert(variable(&service), by);
        }
    }
    for (service, url, name) in named.into_iter().filter(|(_, url, _)| !url.is_empty()) {
        endpoints.insert(variable(&service), named_endpoint(name, url)?);
        named_by.insert(variable(&service), name.to_owned());
    }
    let every = get("AWS_ENDPOINT_URL").or_else(|| profile.get("endpoint_url")).filter(|_| is_read);
    if every.is_some() {
        let by = match get("AWS_ENDPOINT_URL") {
            Some(_) => "AWS_ENDPOINT_URL".to_owned(),
            None => format!("endpoint_url of the profile {}", profile.name),
        };
        named_by.insert(String::new(), by);
    }
    let by = named_by.get("").map_or("", String::as_str);
    let endpoint = every.map(|url| named_endpoint(by, &url)).transpose()?;
    let settings = Settings { region, endpoints, endpoint, named_by, ..Settings::default() };
    let credentials = Chain { get: &get, files: &files, settings: &settings }.source(&profile);
    Ok(Settings { credentials, ..settings })
}

/// The endpoint that a variable, or a profile, has.
fn named_endpoint(by: &str, url: &str) -> Result<Endpoint, SettingsError> {
    Endpoint::parse(url).map_err(|_| SettingsError::NotAnEndpoint(format!("{by}={url}")))
}

/// The source of credentials.
struct Chain<'v> {
    get: &'v dyn Fn(&str) -> Option<String>,
    files: &'v Files,
    /// The settings for calls of STS.
    settings: &'v Settings,
}

/// Profiles that refer to each other.
const PROFILES_MAX: usize = 16;

impl Chain<'_> {
    fn source(&self, profile: &Profile) -> Source {
        let get = self.get;
        if let Some(fixed) = self.variables() {
            return fixed;
        }
        // What comes next would be the credentials of somebody else.
        if get("AWS_PROFILE").is_some() && profile.values.is_empty() && profile.name != "default" {
            let why = format!(
                "AWS_PROFILE names the profile '{}', which is neither in AWS's config file nor in its credentials file",
                profile.name
            );
            return Source::Unsupported(why.into());
        }
        if let Some(source) = self.profile(profile, &mut Vec::new()) {
            return source.unwrap_or_else(|why| Source::Unsupported(why.into()));
        }
        if let (Some(token_file), Some(arn)) = (get("AWS_WEB_IDENTITY_TOKEN_FILE"), get("AWS_ROLE_ARN")) {
            let role = Role { arn, session_name: get("AWS_ROLE_SESSION_NAME"), ..Role::default() };
            let source = self.web_identity(role, &token_file);
            return source.unwrap_or_else(|why| Source::Unsupported(why.into()));
        }
        self.container().unwrap_or_else(|| self.machine())
    }

    fn variables(&self) -> Option<Source> {
        let (id, secret) = ((self.get)("AWS_ACCESS_KEY_ID")?, (self.get)("AWS_SECRET_ACCESS_KEY")?);
        Some(Source::Fixed(Arc::new(Credentials::new(id, secret, (self.get)("AWS_SESSION_TOKEN")))))
    }

    /// From a profile. The profiles that refer to it are in `before`.
    fn profile(&self, profile: &Profile, before: &mut Vec<String>) -> Option<Result<Source, String>> {
        if let Some(arn) = profile.get("role_arn") {
            return Some(self.role(arn, profile, before));
        }
        if profile.get("sso_session").is_some() || profile.get("sso_start_url").is_some() {
            return Some(self.single_sign_on(profile));
        }
        if let Some(keys) = profile.keys() {
            return Some(Ok(keys));
        }
        let command = profile.get("credential_process")?;
        Some(Ok(Source::Provided(Provided::by(Way::Process(command)))))
    }

    fn role(&self, arn: String, profile: &Profile, before: &mut Vec<String>) -> Result<Source, String> {
        let name = &profile.name;
        let role = Role {
            arn,
            session_name: profile.get("role_session_name"),
            external_id: profile.get("external_id"),
            seconds: profile.get("duration_seconds"),
            ..Role::default()
        };
        if profile.get("mfa_serial").is_some() {
            return Err(format!(
                "the profile '{name}' needs an MFA code (mfa_serial), which is not supported"
            ));
        }
        if let Some(token_file) = profile.get("web_identity_token_file") {
            return self.web_identity(role, &token_file);
        }
        let of = match (profile.get("source_profile"), profile.get("credential_source").as_deref()) {
            (Some(source), _) => {
                if before.contains(name) || before.len() >= PROFILES_MAX {
                    return Err(format!("the profile '{name}' refers to itself (source_profile)"));
                }
                let next = self.files.profile(&source);
                let from = if source == *name {
                    profile.keys().map(Ok)
                } else {
                    before.push(name.clone());
                    self.profile(&next, before)
                };
                from.ok_or_else(|| {
                    format!("the profile '{source}', which '{name}' refers to, has no credentials")
                })??
            }
            (None, Some("Environment")) => {
                self.variables().ok_or("credential_source is Environment, which has no credentials")?
            }
            (None, Some("EcsContainer")) => {
                self.container().ok_or("credential_source is EcsContainer, and there is none")?
            }
            (None, Some("Ec2InstanceMetadata")) => self.machine(),
            (None, Some(other)) => return Err(format!("the credential_source '{other}' is not known")),
            (None, None) => {
                return Err(format!(
                    "the profile '{name}' has a role_arn, but no source_profile or credential_source"
                ));
            }
        };
        let settings = Box::new(self.settings.clone());
        Ok(Source::Provided(Provided::by(Way::Role { role, of, settings })))
    }

    fn web_identity(&self, role: Role, token_file: &str) -> Result<Source, String> {
        let endpoint = match self.settings.endpoint("STS") {
            Some(endpoint) => endpoint,
            None => Endpoint::of_aws("sts", self.settings.region())?,
        };
        let token_file = PathBuf::from(token_file);
        Ok(Source::Provided(Provided::by(Way::WebIdentity { role, token_file, endpoint })))
    }

    fn single_sign_on(&self, profile: &Profile) -> Result<Source, String> {
        let session = profile.get("sso_session");
        let of_session =
            session.as_ref().map(|session| self.files.section(&format!("sso-session {session}")));
        let value = |name: &str| {
            let from = of_session.as_ref().and_then(|values| values.get(name).cloned());
            from.or_else(|| profile.get(name))
        };
        let need = |name: &str| {
            value(name)
                .ok_or_else(|| format!("the profile '{}' needs {name} for IAM Identity Center", profile.name))
        };
        let (region, account, role) = (need("sso_region")?, need("sso_account_id")?, need("sso_role_name")?);
        let key = match session {
            Some(session) => session,
            None => need("sso_start_url")?,
        };
        let digest: String = Sha1::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let session = self.files.home.join(".aws/sso/cache").join(format!("{digest}.json"));
        let endpoint = match self.settings.endpoint("SSO") {
            Some(endpoint) => endpoint,
            None => Endpoint::of_aws("portal.sso", &region)?,
        };
        let query = providers::sign_on_query(&role, &account);
        Ok(Source::Provided(Provided::by(Way::SingleSignOn { session, endpoint, query })))
    }

    fn container(&self) -> Option<Source> {
        let get = self.get;
        let relative = get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let way = match (relative, get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            (Some(path), _) => {
                let url = format!("http://169.254.170.2{path}");
                Way::Container { url, token: None, token_file: None }
            }
            (None, url) => Way::Container {
                url: url?,
                token: get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
                token_file: get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from),
            },
        };
        Some(Source::Provided(Provided::by(way)))
    }

    fn machine(&self) -> Source {
        let get = self.get;
        if get("AWS_EC2_METADATA_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true")) {
            return Source::None;
        }
        match get("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
            // Who names it wants its credentials for every endpoint.
            Some(url) => {
                let url = url.trim_end_matches('/').to_owned();
                Source::Provided(Provided::by(Way::Machine { url }))
            }
            None => {
                let url = "http://169.254.169.254".to_owned();
                Source::Machine(Provided::by(Way::Machine { url }))
            }
        }
    }
}

/// The shared files.
struct Files {
    home: PathBuf,
    config: String,
    credentials: String,
}

/// The settings of a profile, of both shared files.
#[derive(Debug, Default)]
struct Profile {
    name: String,
    values: HashMap<String, String>,
}

impl Files {
    fn read(get: &dyn Fn(&str) -> Option<String>) -> Files {
        let home = get("HOME").or_else(|| get("USERPROFILE")).map(PathBuf::from).unwrap_or_default();
        let file = |name: &str, usual: &str| {
            let path = get(name).map_or_else(|| home.join(".aws").join(usual), PathBuf::from);
            // A missing file counts as empty.
            std::fs::read_to_string(path).unwrap_or_default()
        };
        let (config, credentials) =
            (file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials"));
        Files { home, config, credentials }
    }

    fn section(&self, name: &str) -> HashMap<String, String> {
        section(&self.config, name)
    }

    fn profile(&self, name: &str) -> Profile {
        let mut values = self.section(&format!("profile {name}"));
        if name == "default" {
            values.extend(self.section("default"));
        }
        values.extend(section(&self.credentials, name));
        Profile { name: name.to_owned(), values }
    }
}

impl Profile {
    fn get(&self, key: &str) -> Option<String> {
        self.values.get(key).cloned()
    }

    fn keys(&self) -> Option<Source> {
        let (id, secret) = (self.get("aws_access_key_id")?, self.get("aws_secret_access_key")?);
        Some(Source::Fixed(Arc::new(Credentials::new(id, secret, self.get("aws_session_token")))))
    }
}

/// The values of a nested setting in one section, by what they are nested in.
fn nested(text: &str, name: &str, key: &str) -> Vec<(String, String)> {
    let (mut inside, mut of, mut values) = (false, String::new(), Vec::new());
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(head) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = head.split_whitespace().eq(name.split_whitespace());
        } else if let (true, Some((found, value))) = (inside, trimmed.split_once('=')) {
            if !line.starts_with([' ', '\t']) {
                found.trim().clone_into(&mut of);
            } else if found.trim() == key {
                values.push((of.clone(), value.trim().to_owned()));
            }
        }
    }
    values
}

/// The settings of one section. Nested settings, which are indented, are ignored.
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
