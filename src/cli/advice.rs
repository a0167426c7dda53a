//! What went wrong, and the next step: texts for people are put together here.

#[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
use std::{io, net::SocketAddr};

use expressway::os;

/// A server that is asked for something.
#[cfg(any(feature = "cli-cluster", feature = "cli-pipe"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    #[cfg(feature = "cli-pipe")]
    Nats,
    #[cfg(feature = "cli-pipe")]
    Redis,
    #[cfg(feature = "kafka")]
    Kafka,
    #[cfg(feature = "cli-pipe")]
    Sqs,
    /// That of a cluster's journal.
    #[cfg(feature = "cli-cluster")]
    Journal,
}

/// A reason, and what to try next.
pub(super) fn with_next_step(why: impl std::fmt::Display, next: &str) -> String {
    format!("{}; {next}", os::without_number(&why.to_string()).trim_end().trim_end_matches('.'))
}

/// Why a server does not answer, and what to try.
#[cfg(any(feature = "cli-cluster", feature = "cli-pipe"))]
pub(super) fn away(server: Server, why: impl std::fmt::Display) -> String {
    let why = why.to_string();
    let next = if is_about_credentials(&why) {
        server.credentials()
    } else if why.contains("InvalidContentType") {
        "its answer is not TLS: does the server speak that at this port?"
    } else {
        server.address()
    };
    with_next_step(why, next)
}

/// Why a server refuses, and what to try if that is because of the user.
#[cfg(feature = "cli-pipe")]
pub(super) fn refused(server: Server, why: String) -> String {
    if is_about_credentials(&why) { with_next_step(why, server.credentials()) } else { why }
}

#[cfg(any(feature = "cli-cluster", feature = "cli-pipe"))]
fn is_about_credentials(why: &str) -> bool {
    let why = why.to_lowercase();
    ["authori", "authenti", "credentials", "password"].iter().any(|word| why.contains(word))
}

#[cfg(any(feature = "cli-cluster", feature = "cli-pipe"))]
impl Server {
    /// What to try when it cannot be reached.
    fn address(self) -> &'static str {
        match self {
            #[cfg(feature = "cli-pipe")]
            Server::Nats => {
                "is a NATS server up there (`nats-server -js` starts one)? `url` says where it is"
            }
            #[cfg(feature = "cli-pipe")]
            Server::Redis => "is a Redis server up there (`redis-server` starts one)? `url` says where it is",
            #[cfg(feature = "kafka")]
            Server::Kafka => "is a server of the Kafka cluster up there? `servers` says where they are",
            #[cfg(feature = "cli-pipe")]
            Server::Sqs => {
                "is that service up? AWS_ENDPOINT_URL says where it is, if it is not AWS's own, and `url` which queue"
            }
            #[cfg(feature = "cli-cluster")]
            Server::Journal => "is that server up, and is its URL right?",
        }
    }

    /// What to try when it refuses the user.
    fn credentials(self) -> &'static str {
        match self {
            #[cfg(feature = "cli-pipe")]
            Server::Nats => "are the user and the password in `url`, or the file `credentials`, right?",
            #[cfg(feature = "cli-pipe")]
            Server::Redis => {
                "are the user and the password in `url` right (redis://USER:PASSWORD@HOST:PORT)?"
            }
            #[cfg(feature = "kafka")]
            Server::Kafka => "are `sasl.username`, `sasl.password` and the like in `properties` right?",
            #[cfg(feature = "cli-pipe")]
            Server::Sqs => {
                "are the credentials right (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)?"
            }
            #[cfg(feature = "cli-cluster")]
            Server::Journal => "are the user and the password in the URL right?",
        }
    }
}

/// Why an address cannot be listened on, and which to choose.
#[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
pub(super) fn cannot_listen(address: SocketAddr, error: &io::Error, choose: &str) -> String {
    format!("cannot listen on {address}: {}", with_next_step(os::words(error), choose))
}

/// Why the server of a cluster's journal does not answer, and what to try.
#[cfg(feature = "cli-cluster")]
pub(super) fn journal_away(url: &str, why: impl std::fmt::Display) -> String {
    format!("{}: {}", place(url), away(Server::Journal, why))
}

/// The server of a URL, and what it is asked for, without user, password and options.
#[cfg(feature = "cli-cluster")]
pub(super) fn place(url: &str) -> &str {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let place = place.split_once('?').map_or(place, |(place, _)| place);
    place.rsplit_once('@').map_or(place, |(_, place)| place)
}
