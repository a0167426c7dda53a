//! Addresses of brokers, as they are shown.

/// A URL without its user name and password.
pub fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}://{}{path}", host(authority))
        }
        None => host(url).to_owned(),
    }
}

/// As [`without_credentials`], of one or several that are separated by commas.
pub fn all_without_credentials(urls: &str) -> String {
    urls.split(',').map(|url| without_credentials(url.trim())).collect::<Vec<_>>().join(",")
}

fn host(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_and_no_password_is_shown() {
        for (url, shown) in [
            ("nats://a:4222", "nats://a:4222"),
            ("nats://me:p@ss@a:4222/x", "nats://a:4222/x"),
            ("redis://:one,two@h/0", "redis://h/0"),
            ("me:pass@a:4222", "a:4222"),
            ("unix:///run/redis@1.sock", "unix:///run/redis@1.sock"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
        let several = "nats://me:pass@a:4222, me:pass@b:4222";
        assert_eq!(all_without_credentials(several), "nats://a:4222,b:4222");
    }
}
