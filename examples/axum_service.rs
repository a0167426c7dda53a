//! A workflow inside an axum service: a request is an execution, whose output is the answer.
//!
//! `cargo run --example axum_service`, then
//! `curl -H 'content-type: application/json' -d '{"lines": [{"price": 2.5, "n": 4}]}' http://127.0.0.1:3000/orders`;
//! with `--once`, it sends that request to itself, prints the answer and ends.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use expressway::runtime::{Engine, Machine, StartError, Status};
use expressway::task::TaskError;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PRICE: &str = "arn:aws:lambda:us-east-1:123456789012:function:price";
const DEFINITION: &str = r#"{
  "StartAt": "Price",
  "States": {
    "Price": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:price",
      "ResultPath": "$.total", "Next": "Enough?"},
    "Enough?": {"Type": "Choice", "Default": "Fine",
      "Choices": [{"Variable": "$.total", "NumericLessThan": 1, "Next": "Refuse"}]},
    "Refuse": {"Type": "Fail", "Error": "Order.TooSmall", "Cause": "Orders begin at 1."},
    "Fine": {"Type": "Succeed"}
  }
}"#;

#[derive(serde::Deserialize)]
struct Order {
    lines: Vec<Line>,
}

#[derive(serde::Deserialize)]
struct Line {
    price: f64,
    n: f64,
}

#[derive(Clone)]
struct App {
    engine: Engine,
    orders: Machine,
}

/// The body goes into the execution as it came, and its output out again: neither is parsed here.
async fn order(State(app): State<App>, body: Bytes) -> Response {
    // When the client goes away, the future is dropped, and that aborts the execution.
    match app.engine.run(&app.orders, &*body).await {
        Ok(outcome) if outcome.status == Status::Succeeded => {
            ([(header::CONTENT_TYPE, "application/json")], outcome.json().to_vec()).into_response()
        }
        Ok(outcome) => {
            let told = outcome.fault.map(|fault| json!({"error": fault.error, "cause": fault.cause}));
            (StatusCode::UNPROCESSABLE_ENTITY, Json(told)).into_response()
        }
        Err(StartError::Throttled(throttled)) => {
            let seconds = throttled.retry_after.as_secs().max(1).to_string();
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, seconds)]).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let price = |order: Order| async move {
        Ok::<f64, TaskError>(order.lines.iter().map(|line| line.price * line.n).sum())
    };
    let engine = Engine::builder().task(PRICE, price).build()?;
    let orders = engine.create_state_machine("orders", DEFINITION)?;
    let service = Router::new().route("/orders", post(order)).with_state(App { engine, orders });
    let once = std::env::args().any(|argument| argument == "--once");
    let listener = TcpListener::bind(if once { "127.0.0.1:0" } else { "127.0.0.1:3000" }).await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move { axum::serve(listener, service).await });
    if !once {
        println!("http://{address}/orders");
        return Ok(serving.await??);
    }
    let body = r#"{"lines": [{"price": 2.5, "n": 4}]}"#;
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let head =
        format!("POST /orders HTTP/1.1\r\nhost: it\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    println!("{}", answer.lines().last().unwrap_or_default());
    Ok(())
}
