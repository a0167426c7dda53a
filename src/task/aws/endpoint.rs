//! Endpoints of services: those of a user, and AWS's own.

use http::Uri;

use super::net::Origin;

/// Why settings are invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// An endpoint is not a URL of a server.
    #[error("the endpoint '{0}' is not an http or https URL, such as http://localhost:9001")]
    NotAnEndpoint(String),
    /// A service's identifier is misspelt: what was written, and what was probably meant.
    #[error("there is no service '{0}': {1}")]
    Misspelt(String, String),
    /// The file of connections is invalid.
    #[error("the connections cannot be used: {0}")]
    Connections(String),
}

/// An endpoint: a server, and the service's base path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) origin: Origin,
    /// A path.
    pub(super) base: String,
}

impl Endpoint {
    /// A service's root: a trailing slash is ignored.
    pub(super) fn parse(text: &str) -> Result<Endpoint, SettingsError> {
        let Endpoint { origin, base } = Endpoint::parse_exactly(text)?;
        Ok(Endpoint { origin, base: base.trim_end_matches('/').to_owned() })
    }

    /// A URL with its path, but no query.
    pub(super) fn parse_exactly(text: &str) -> Result<Endpoint, SettingsError> {
        let wrong = || SettingsError::NotAnEndpoint(text.to_owned());
        let uri: Uri = text.trim().parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let named = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        let host = uri.host().filter(|host| named && !host.is_empty()).ok_or_else(wrong)?;
        // `Uri` has no port if the number is too large; it must not become the default one.
        let has_port = uri.authority().is_some_and(|authority| authority.as_str() != host);
        if has_port && uri.port_u16().is_none() {
            return Err(wrong());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').into();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let base = uri.path().to_owned();
        Ok(Endpoint { origin: Origin { tls, host, port, pinned: None, authority_pem: None }, base })
    }

    /// AWS's own endpoint of a service in a region.
    pub(super) fn of_aws(host_prefix: &str, region: &str) -> Result<Endpoint, String> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.is_empty() || !region.bytes().all(is_name) {
            return Err(format!("'{region}' is not a region"));
        }
        let is_in_china = region.starts_with("cn-");
        let suffix = match host_prefix {
            _ if is_in_china => "amazonaws.com.cn",
            _ if ONLY_DUAL_STACK.contains(&host_prefix) => "api.aws",
            _ => "amazonaws.com",
        };
        let host = match region_of_all(host_prefix, region) {
            Some("us-east-1") if WITHOUT_REGION.contains(&host_prefix) => {
                format!("{host_prefix}.{suffix}").into()
            }
            Some("us-gov-west-1") => format!("{host_prefix}.us-gov.{suffix}").into(),
            // Route 53 alone has no region in the name of its host in China.
            Some(_) if host_prefix == "route53" => format!("{host_prefix}.{suffix}").into(),
            Some(region) => format!("{host_prefix}.{region}.{suffix}").into(),
            None => format!("{host_prefix}.{region}.{suffix}").into(),
        };
        let origin = Origin { tls: true, host, port: 443, pinned: None, authority_pem: None };
        Ok(Endpoint { origin, base: String::new() })
    }
}

/// Services that are the same in all regions of a partition, by their host prefixes (endpoint rules of botocore 1.44.8): those
/// whose hosts have no region, and others.
const WITHOUT_REGION: [&str; 7] =
    ["budgets", "cloudfront", "iam", "importexport", "route53", "savingsplans", "waf"];
const IN_US_EAST_1: [&str; 8] = [
    "account",
    "billingconductor",
    "ce",
    "chime",
    "notifications-contacts",
    "organizations",
    "shield",
    "tax",
];
/// Services whose hosts are in another domain, from the same rules.
const ONLY_DUAL_STACK: [&str; 8] = [
    "datazone",
    "eks-auth",
    "gameliftstreams",
    "internetmonitor",
    "kendra-ranking",
    "notifications",
    "notifications-contacts",
    "qbusiness",
];

/// The region in signatures of a service that is the same in all regions of a partition, whichever is given.
pub(super) fn region_of_all(host_prefix: &str, region: &str) -> Option<&'static str> {
    let is_in_china = region.starts_with("cn-");
    match host_prefix {
        "iam" if is_in_china => Some("cn-north-1"),
        "cloudfront" | "route53" if is_in_china => Some("cn-northwest-1"),
        "iam" | "route53" if region.starts_with("us-gov-") => Some("us-gov-west-1"),
        // These have other hosts in the other partitions.
        _ if is_in_china || region.starts_with("us-gov-") => None,
        "networkmanager" => Some("us-west-2"),
        _ if WITHOUT_REGION.contains(&host_prefix) || IN_US_EAST_1.contains(&host_prefix) => {
            Some("us-east-1")
        }
        _ => None,
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.origin.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.origin.authority(), self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    /// As the endpoint rules of each service have it.
    #[test]
    fn hosts_of_aws_are_those_of_the_region_or_the_partition() {
        for (host_prefix, region, expected) in [
            ("ec2", "eu-west-1", "ec2.eu-west-1.amazonaws.com"),
            ("ec2", "cn-north-1", "ec2.cn-north-1.amazonaws.com.cn"),
            ("123.s3-control", "eu-west-1", "123.s3-control.eu-west-1.amazonaws.com"),
            ("iam", "eu-west-1", "iam.amazonaws.com"),
            ("iam", "cn-northwest-1", "iam.cn-north-1.amazonaws.com.cn"),
            ("iam", "us-gov-east-1", "iam.us-gov.amazonaws.com"),
            ("route53", "eu-west-1", "route53.amazonaws.com"),
            ("route53", "cn-north-1", "route53.amazonaws.com.cn"),
            ("route53", "us-gov-west-1", "route53.us-gov.amazonaws.com"),
            ("cloudfront", "ap-south-1", "cloudfront.amazonaws.com"),
            ("cloudfront", "cn-north-1", "cloudfront.cn-northwest-1.amazonaws.com.cn"),
        ] {
            let endpoint = Endpoint::of_aws(host_prefix, region).expect("an endpoint");
            assert_eq!(endpoint.to_string(), format!("https://{expected}"), "{host_prefix} {region}");
        }
    }
}
