//! A workflow whose tasks call services over HTTP: a Lambda function behind `LAMBDA_ENDPOINT`, or, where that is not
//! set, behind a few lines of this example.
//!
//! ```sh
//! cargo run --example service_tasks --features integrations
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use expressway::runtime::{Engine, Json};
use expressway::task::aws::Integrations;
use serde_json::{Value, json};

const DEFINITION: &str = r#"{
  "StartAt": "Price",
  "States": {
    "Price": {
      "Type": "Task",
      "Resource": "arn:aws:states:::lambda:invoke",
      "Parameters": {"FunctionName": "price", "Payload.$": "$.lines"},
      "ResultSelector": {"total.$": "$.Payload.total"},
      "ResultPath": "$.price",
      "TimeoutSeconds": 5,
      "Retry": [{"ErrorEquals": ["Lambda.TooManyRequestsException", "Lambda.SdkClientException"]}],
      "End": true
    }
  }
}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Region, credentials and endpoints as AWS's SDKs take them from the environment.
    let mut integrations = Integrations::from_env()?;
    if std::env::var_os("LAMBDA_ENDPOINT").is_none() {
        integrations = integrations.endpoint("Lambda", &function()?)?;
    }
    let engine = Engine::builder().aws(integrations).build()?;
    let machine = engine.create_state_machine("orders", DEFINITION)?;

    let order = json!({"id": "o-1", "lines": [{"price": 2.5, "n": 2}, {"price": 7.5, "n": 1}]});
    let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    let outcome = tokio.block_on(engine.run(&machine, Json(&order)))?;
    match outcome.output::<Value>() {
        Ok(output) => println!("{output}"),
        Err(fault) => println!("{fault:?}"),
    }
    Ok(())
}

/// Something that speaks like Lambda: its address.
fn function() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || -> std::io::Result<()> {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream?);
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line)?;
                match line.trim_end().to_ascii_lowercase().split_once(':') {
                    Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0),
                    Some(_) => {}
                    // The request's own line has none; an empty one ends its head.
                    None if line.trim().is_empty() => break,
                    None => {}
                }
            }
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload)?;
            let lines: Vec<Value> = serde_json::from_slice(&payload).unwrap_or_default();
            let number = |line: &Value, name: &str| line[name].as_f64().unwrap_or_default();
            let total: f64 = lines.iter().map(|line| number(line, "price") * number(line, "n")).sum();
            let body = json!({"total": total}).to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.get_mut().write_all((head + &body).as_bytes())?;
        }
        Ok(())
    });
    Ok(format!("http://{address}"))
}
