//! From one JetStream stream to another: orders come in, priced ones and dead letters go out.
//!
//! `nats-server -js` in another terminal, then `cargo run --example nats_pipeline --features nats`; `NATS_URL` is the
//! server's URL.

use std::time::Duration;

use async_nats::jetstream::{self, stream};
use expressway::pipe::{Nats, NatsConsumer, NatsOptions, Pipe};
use expressway::runtime::Engine;
use expressway::task::TaskError;

const PRICE: &str = "arn:aws:lambda:us-east-1:123456789012:function:price";
const DEFINITION: &str = r#"{
  "StartAt": "Price",
  "States": {"Price": {"Type": "Task", "ResultPath": "$.total", "End": true,
    "Resource": "arn:aws:lambda:us-east-1:123456789012:function:price"}}
}"#;

#[derive(serde::Deserialize)]
struct Order {
    price: f64,
    n: f64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned());

    // Usually there already: streams, and events in them. The last of these is no order.
    let context = jetstream::new(async_nats::connect(&url).await?);
    for name in ["orders", "orders-done", "orders-dead"] {
        let config = stream::Config {
            name: name.to_uppercase(),
            subjects: vec![name.to_owned()],
            storage: stream::StorageType::Memory,
            ..Default::default()
        };
        context.get_or_create_stream(config).await?.purge().await?;
    }
    for n in 1..=3 {
        context.publish("orders", format!(r#"{{"price": 2.5, "n": {n}}}"#).into()).await?.await?;
    }
    context.publish("orders", "{}".into()).await?.await?;

    // The pipeline: an order is acknowledged once it is in one of the other two streams.
    let price = |order: Order| async move { Ok::<_, TaskError>(order.price * order.n) };
    let engine = Engine::builder().task(PRICE, price).build()?;
    let machine = engine.create_state_machine("orders", DEFINITION)?;
    let nats = Nats::connect(&url, NatsOptions::default()).await?;
    let source = nats.source(NatsConsumer::new("ORDERS", "pricing")).await?;
    let attempts =
        expressway::pipe::Attempts { max: 2, delay: Duration::from_millis(100), ..Default::default() };
    let pipe = Pipe::new(engine, machine, source)
        .sink(nats.sink("orders-done"))
        .dead_letters(nats.sink("orders-dead"))
        .attempts(attempts);

    // It runs until it is stopped.
    let (stop, stats) = (pipe.stopper(), pipe.stats());
    let running = tokio::spawn(pipe.run());
    while stats.report().succeeded + stats.report().dead < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.stop();
    let report = running.await??;
    println!("{} orders priced, {} dead", report.succeeded, report.dead);
    for name in ["ORDERS-DONE", "ORDERS-DEAD"] {
        let mut stream = context.get_stream(name).await?;
        println!("{name}: {} messages", stream.info().await?.state.messages);
    }
    Ok(())
}
