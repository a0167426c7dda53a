//! Situations that only a cluster in NATS has: streams of earlier releases.

use async_nats::jetstream::{self, stream::Config};
use expressway::journal::Journal as _;
use expressway::journal::cluster::Cluster;

use super::cluster::{InCluster, begin, records};
use super::contract::append;
use crate::engines::{Engine as _, Nats, Sync};

/// Creates the streams as releases did that had one owner for all, and the message of the cluster.
fn make(server: &Nats, name: &str, cluster: Option<&'static str>) {
    let url = format!("nats://127.0.0.1:{}", server.port());
    let made = async {
        let context = jetstream::new(async_nats::connect(url).await.expect("the server"));
        let at = |what: &str| format!("expressway.{name}.{what}");
        for (stream, subjects, of_each) in [
            ("state", vec![at("cluster"), at("owner"), at("node.*")], 1),
            ("blocks", vec![at("blocks")], -1),
            ("items", vec![at("items.>")], 1),
        ] {
            let name = format!("expressway-{name}-{stream}");
            let config = Config {
                name,
                subjects,
                max_messages_per_subject: of_each,
                deny_delete: true,
                ..Config::default()
            };
            context.create_stream(config).await.expect("a stream");
        }
        if let Some(cluster) = cluster {
            let published = context.publish(at("cluster"), cluster.into()).await.expect("it is sent");
            published.await.expect("it is stored");
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(made);
}

#[test]
fn a_cluster_of_an_earlier_release_goes_on_with_one_owner() {
    let Some(server) = Nats::start(Sync::AtIntervals) else { return };
    let cluster = r#"{"format": 1, "journal": "00000000000000a7", "secret":
        "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f", "offset": 0}"#;
    make(&server, "earlier", Some(cluster));
    let cluster = Cluster::new(&server.url(), "earlier").expect("a URL").spread(true);
    assert!(!cluster.is_spread().expect("it is there"), "it stays as it is");
    let place = InCluster::new(server.url(), "earlier");
    for bytes in [b"one", b"two"] {
        let journal = begin(&place.node(), Vec::new());
        journal.wait(append(&journal, bytes)).expect("it is the owner");
        journal.close().expect("it ends");
    }
    assert_eq!(records(&place), [b"one", b"two"]);
    assert!(cluster.status().expect("it is there").partitions.is_empty());
}

#[test]
fn a_cluster_that_an_earlier_release_has_begun_to_make_is_made() {
    let Some(server) = Nats::start(Sync::AtIntervals) else { return };
    make(&server, "begun", None);
    let cluster = Cluster::new(&server.url(), "begun").expect("a URL");
    assert!(cluster.is_spread().expect("it is made"));
    let partitions = cluster.status().expect("it is there").partitions;
    assert!(partitions.len() == 64 && partitions.iter().all(|it| it.epoch == 0 && it.owner.is_none()));
}
