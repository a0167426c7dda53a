//! From one Kafka topic to another, in the order of the keys.
//!
//! `KAFKA_SERVERS=127.0.0.1:9092 cargo run --example kafka_pipeline --features kafka`; without servers, librdkafka
//! pretends to be a cluster.

use std::time::Duration;

use expressway::pipe::{Kafka, KeyOf, Order, Pipe};
use expressway::runtime::Engine;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::FutureRecord;

const DEFINITION: &str = r#"{
  "StartAt": "Shout",
  "States": {"Shout": {"Type": "Pass", "End": true,
    "Parameters": {"customer.$": "$.customer", "n.$": "$.n", "text.$": "States.Format('order {} of {}', $.n, $.customer)"}}}
}"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pretended = MockCluster::new(1)?;
    let servers = std::env::var("KAFKA_SERVERS").unwrap_or_else(|_| {
        let _ = pretended.create_topic("orders", 3, 1);
        let _ = pretended.create_topic("orders-done", 3, 1);
        pretended.bootstrap_servers()
    });

    let kafka = Kafka::new(servers);
    let producer = kafka.producer()?;
    for n in 0..9 {
        let customer = ["ada", "bob", "eve"][n % 3];
        let event = format!(r#"{{"customer": "{customer}", "n": {n}}}"#);
        let record = FutureRecord::to("orders").key(customer).payload(&event);
        producer.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| error)?;
    }

    let engine = Engine::builder().build()?;
    let machine = engine.create_state_machine("orders", DEFINITION)?;
    let source = kafka.source("shouting", &["orders"]).await?;
    // Messages with the same key are published in the order in which they came.
    let pipe = Pipe::new(engine, machine, source)
        .sink(kafka.sink("orders-done")?)
        .order(Order::Key(KeyOf::source()));

    // It runs until it is stopped.
    let (stop, stats) = (pipe.stopper(), pipe.stats());
    let running = tokio::spawn(pipe.run());
    while stats.report().succeeded < 9 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.stop();
    println!("{} orders shouted", running.await??.succeeded);
    Ok(())
}
