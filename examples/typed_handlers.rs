//! Tasks done by functions from one Rust type to another: in line, as futures, and on threads that may block.
//!
//! `cargo run --example typed_handlers`

use std::time::Duration;

use expressway::runtime::{Engine, Json};
use expressway::task::{self, TaskError};
use serde::{Deserialize, Serialize};

const DEFINITION: &str = r#"{
  "StartAt": "Price",
  "States": {
    "Price": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:price",
      "ResultPath": "$.total", "Next": "Charge"},
    "Charge": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:charge",
      "Retry": [{"ErrorEquals": ["Bank.Busy"], "IntervalSeconds": 1, "MaxAttempts": 3}],
      "Catch": [{"ErrorEquals": ["Bank.Refused"], "ResultPath": "$.refused", "Next": "Tell"}],
      "ResultPath": "$.receipt", "Next": "Print"},
    "Print": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:print",
      "InputPath": "$.receipt", "End": true},
    "Tell": {"Type": "Pass", "Parameters": {"sorry.$": "$.refused.Cause"}, "End": true}
  }
}"#;

#[derive(Serialize, Deserialize)]
struct Order {
    customer: String,
    lines: Vec<Line>,
    #[serde(default)]
    total: f64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    price: f64,
    n: u32,
}

#[derive(Serialize, Deserialize)]
struct Receipt {
    customer: String,
    charged: f64,
}

fn function(name: &str) -> String {
    format!("arn:aws:lambda:us-east-1:123456789012:function:{name}")
}

/// In line: called on the thread that runs the execution.
fn price(order: Order) -> Result<f64, TaskError> {
    Ok(order.lines.iter().map(|line| line.price * f64::from(line.n)).sum())
}

/// A future: may await anything that tokio supports. Errors have the names that Retry and Catch match.
async fn charge(order: Order) -> Result<Receipt, TaskError> {
    tokio::time::sleep(Duration::from_millis(10)).await;
    match order.total {
        ..=1_000.0 => Ok(Receipt { customer: order.customer, charged: order.total }),
        total => Err(TaskError::new("Bank.Refused", format!("{total} is too much for {}", order.customer))),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::builder()
        .handler(function("price"), task::typed(price))
        .task(function("charge"), charge)
        .async_handler(
            function("print"),
            task::blocking(|receipt: Receipt, _| {
                Ok::<_, TaskError>(format!("{} paid {:.2}", receipt.customer, receipt.charged))
            }),
        )
        .build()?;
    let machine = engine.create_state_machine("orders", DEFINITION)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for (customer, n) in [("Ada", 3), ("Bob", 3_000)] {
        let order = Order { customer: customer.to_owned(), lines: vec![Line { price: 12.5, n }], total: 0.0 };
        let outcome = runtime.block_on(engine.run(&machine, Json(&order)))?;
        println!("{}", String::from_utf8_lossy(outcome.json()));
    }
    Ok(())
}
