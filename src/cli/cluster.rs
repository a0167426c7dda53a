//! `--journal` and `--cluster` of `serve`, and `cluster`: the state of a cluster.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use expressway::journal::JournalError;
use expressway::journal::cluster::{Cluster, Node, Partition, Standby as Looked, Status};
use expressway::server::{Config, Standby};
use serde_json::json;

use super::{Stop, Went, advice, print, say};

/// Where a cluster is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Several machines")]
pub(super) struct ClusterArguments {
    /// Keep in PostgreSQL or NATS JetStream what --state keeps in a folder, as postgres://USER:PASSWORD@HOST/DATABASE or
    /// nats://HOST:PORT,HOST:PORT
    #[arg(
        long,
        value_name = "URL",
        group = "kept",
        conflicts_with = "testing",
        env = VARIABLE,
        hide_env_values = true
    )]
    journal: Option<String>,
    /// The name of the cluster there
    #[arg(long, value_name = "NAME", default_value = DEFAULT)]
    cluster: String,
    /// Seconds after which a node that is not heard of is replaced
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=300))]
    lease: u16,
    /// Let one node do all the work of a new cluster, while the others stand by
    #[arg(long, requires = "journal")]
    single_owner: bool,
    /// Where other nodes reach this one; by default its address towards the database
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
}

/// How often a standby node checks who owns the cluster.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const DEFAULT: &str = "expressway";
/// May hold the URL.
pub(super) const VARIABLE: &str = "EXPRESSWAY_JOURNAL";

/// The command line for an empty variable, which counts as unset.
pub(super) fn without_variable(command: clap::Command) -> clap::Command {
    let unset = |argument: clap::Arg| argument.env(clap::builder::Resettable::Reset);
    command
        .mut_subcommand("serve", |serve| serve.mut_arg("journal", unset))
        .mut_subcommand("cluster", |cluster| {
            cluster.mut_subcommand("status", |status| status.mut_arg("url", unset))
        })
}

/// What is wrong with a URL, and where it was given: by an option, or in the environment.
fn wrong(url: &str, option: &str, error: &JournalError) -> Stop {
    let is_given = |argument: std::ffi::OsString| argument.to_str().is_some_and(|it| it.ends_with(url));
    let by = if std::env::args_os().any(is_given) { option } else { VARIABLE };
    Stop::failed(format!("{by}: {error}"))
}

impl ClusterArguments {
    /// Whether a cluster is configured.
    pub(super) fn is_given(&self) -> bool {
        self.journal.is_some()
    }

    /// The configured cluster, if any.
    pub(super) fn cluster(&self) -> Result<Option<Cluster>, Stop> {
        let Some(url) = &self.journal else { return Ok(None) };
        let refused = |error| wrong(url, "--journal", &error);
        let cluster = Cluster::new(url, &self.cluster).map_err(refused)?;
        let cluster = cluster.lease(Duration::from_secs(self.lease.into()));
        Ok(Some(if self.single_owner { cluster.spread(false) } else { cluster }))
    }
}

/// A node of a cluster that it owns.
pub(super) struct Owning {
    pub(super) cluster: Cluster,
    address: String,
    secret: String,
    standby: Option<Standby>,
}

impl Owning {
    /// The server answers directly from now on.
    pub(super) fn server_began(&mut self) {
        if let Some(standby) = self.standby.take() {
            standby.end(&self.address, &self.secret);
        }
    }
}

impl ClusterArguments {
    /// Waits until this node owns the cluster, if one is configured; meanwhile it forwards requests to the owner.
    pub(super) fn own(&self, listener: &TcpListener, config: &mut Config) -> Result<Option<Owning>, Stop> {
        let (Some(cluster), Some(url)) = (self.cluster()?, &self.journal) else { return Ok(None) };
        let address = self.published(&cluster, listener, config);
        let cluster = cluster.published(&address);
        // Encrypted connections are not forwarded: clients wait until this node owns the cluster.
        let standby = match config.tls {
            None => Some(Standby::start(listener, config).map_err(|error| Stop::failed(error.to_string()))?),
            Some(_) => None,
        };
        let secret = stand_by(&cluster, url, &address, standby.as_ref())?;
        let is_spread = cluster.is_spread().map_err(|error| Stop::failed(format!("--journal: {error}")))?;
        if self.single_owner && is_spread {
            return Err(Stop::failed(format!(
                "--single-owner: the cluster {} exists, and its work is spread over its nodes: name a new one with --cluster, \
                 or leave --single-owner out",
                cluster.name()
            )));
        }
        config.hop_secret = Some(secret.clone());
        Ok(Some(Owning { cluster, address, secret, standby }))
    }

    /// The address at which other nodes reach this one.
    fn published(&self, cluster: &Cluster, listener: &TcpListener, config: &Config) -> String {
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        if let Some(address) = &self.advertise {
            return format!("{scheme}://{address}");
        }
        let local = listener.local_addr().unwrap_or(config.listen);
        let ip = if local.ip().is_unspecified() { cluster.local_ip() } else { local.ip() };
        format!("{scheme}://{}", SocketAddr::new(ip, local.port()))
    }
}

/// Waits until this node owns the cluster; returns the cluster's secret.
fn stand_by(cluster: &Cluster, url: &str, address: &str, standby: Option<&Standby>) -> Result<String, Stop> {
    let refused = |error| Stop::failed(format!("--journal {}: {error}", advice::place(url)));
    let (mut seen, mut said, mut secret) = (None, None, String::new());
    let tell = |owner: Option<&str>, secret: &str, text: &str| {
        if let Some(standby) = standby {
            standby.owner(owner, secret, text);
        }
    };
    loop {
        let looked = cluster.look(&mut seen).map_err(refused)?;
        if secret.is_empty() && !matches!(looked, Looked::Away(_)) {
            let bytes = cluster.secret().map_err(refused)?;
            secret = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        }
        let why = match &looked {
            Looked::Owner => {
                tell(None, &secret, "this node takes over");
                say(&format!("expressway: node {} owns the cluster {}", cluster.node(), cluster.name()));
                return Ok(secret);
            }
            Looked::Spread => {
                say(&format!(
                    "expressway: node {} is a node of the cluster {}",
                    cluster.node(),
                    cluster.name()
                ));
                return Ok(secret);
            }
            Looked::Owned { node, .. } => format!("node {node} owns the cluster {}", cluster.name()),
            Looked::Away(why) => {
                format!("the server of the cluster does not answer: {}", advice::journal_away(url, why))
            }
            _ => format!("the owner of the cluster {} is not heard of", cluster.name()),
        };
        match &looked {
            Looked::Owned { address, .. } => tell(Some(address.as_str()), &secret, &why),
            // The owner may be alive although the database is unreachable.
            Looked::Away(_) if said.is_some() => {}
            _ => tell(None, &secret, &why),
        }
        if said.as_ref() != Some(&looked) {
            say(&format!("expressway: node {} stands by on {address}: {why}", cluster.node()));
            said = Some(looked);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A cluster by its URL and its name.
pub(super) fn named(url: &str, name: &str) -> Result<Cluster, Stop> {
    Cluster::new(url, name).map_err(|error| wrong(url, "cluster status", &error))
}

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print nodes, owner, last block and size as one JSON object
    #[command(after_help = STATUS_HELP)]
    Status {
        /// Where it is, as `serve --journal` has it
        #[arg(value_name = "URL", env = VARIABLE, hide_env_values = true)]
        url: String,
        /// The name of the cluster
        #[arg(long, value_name = "NAME", default_value = DEFAULT)]
        cluster: String,
    },
}

const STATUS_HELP: &str = "\
Examples:
  expressway cluster status postgres://USER@HOST/DATABASE
  expressway cluster status nats://HOST:4222 --cluster orders";

const AFTER_HELP: &str = "\
A cluster is several machines that each run `expressway serve --journal URL`, and share its work, or, with \
--single-owner, stand by for the one that does it. \
EXPRESSWAY_JOURNAL may hold the URL.

Examples:
  expressway cluster status postgres://USER@HOST/DATABASE
  expressway cluster status nats://HOST:4222 --cluster orders";

pub(super) fn cluster(arguments: &Arguments) -> Result<Went, Stop> {
    let What::Status { url, cluster } = &arguments.what;
    let status = named(url, cluster)?.status().map_err(|error| {
        // A password is not shown.
        Stop::failed(advice::journal_away(url, &error))
    })?;
    print(format!("{}\n", shown(cluster, &status)).as_bytes())?;
    Ok(Went::Well)
}

fn shown(name: &str, status: &Status) -> serde_json::Value {
    let node = |it: &Node| {
        json!({
            "node": it.node,
            "address": it.address,
            "release": it.release,
            "isOwner": status.owner.as_ref() == Some(&it.node),
            "partitions": status.partitions.iter().filter(|of| of.owner.as_ref() == Some(&it.node)).count(),
            "lives": it.lives,
            "beganMsAgo": it.began_ms,
            "seenMsAgo": it.seen_ms,
        })
    };
    let partition = |(n, it): (usize, &Partition)| json!({"partition": n, "epoch": it.epoch, "owner": it.owner, "ownerLives": it.owner_lives});
    let mut shown = json!({
        "cluster": name,
        "epoch": status.epoch,
        "owner": status.owner,
        "ownerLives": status.owner_lives,
        "firstBlock": status.blocks.0,
        "lastBlock": status.blocks.1,
        "tableBytes": status.bytes,
        "nodes": status.nodes.iter().map(node).collect::<Vec<_>>(),
    });
    if !status.partitions.is_empty() {
        shown["partitions"] = status.partitions.iter().enumerate().map(partition).collect();
    }
    shown
}
