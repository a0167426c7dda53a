//! The order as a workflow of DBOS: its three tasks are steps, and what is between them is code.

use std::time::{Duration, Instant};

use dbos::{Config, DBOS, WorkflowRef};
use serde::{Deserialize, Serialize};

use crate::bed::filler;

/// Twice as many as DBOS has unless told otherwise. Others were not tried.
const CONNECTIONS: u32 = 20;

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Answer {
    ok: bool,
    text: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Order {
    order: u64,
    total: i64,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved: Option<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charged: Option<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shipped: Option<Answer>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Rejected;

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rejected")
    }
}

impl std::error::Error for Rejected {}

/// The result of a task: as large as the other engine's.
async fn answer(order: u64) -> dbos::Result<Answer, Rejected> {
    Ok(Answer { ok: true, text: filler(order, 560) })
}

async fn order(mut order: Order) -> dbos::Result<Order, Rejected> {
    let id = order.order;
    if order.total <= 0 {
        return Err(Rejected.into());
    }
    order.reserved = Some(dbos::step("Reserve", || answer(id)).await?);
    order.price = Some(3);
    let charged = dbos::step("Charge", || answer(id)).await?;
    let is_paid = charged.ok;
    order.charged = Some(charged);
    if !is_paid {
        return Err(Rejected.into());
    }
    order.shipped = Some(dbos::step("Ship", || answer(id)).await?);
    Ok(order)
}

/// DBOS in a database, with the workflow.
pub(crate) struct Dbos {
    runtime: tokio::runtime::Runtime,
    instance: DBOS,
    order: WorkflowRef<Order, Order, Rejected>,
}

impl Dbos {
    pub(crate) fn new(url: &str) -> Dbos {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let config = Config {
            app_version: Some("1".to_owned()),
            max_connections: CONNECTIONS,
            ..Config::new("orders", url)
        };
        let instance = DBOS::new(config);
        let order = instance.register_workflow("order", order).expect("it is the only one");
        runtime.block_on(instance.launch()).expect("the database is there");
        Dbos { runtime, instance, order }
    }

    /// Keeps so many workflows in flight for so long. How many were done in a second.
    pub(crate) fn closed_loop(&self, in_flight: u64, budget: Duration) -> f64 {
        let begin = Instant::now();
        let done: u64 = self.runtime.block_on(async {
            let mut loops = tokio::task::JoinSet::new();
            for n in 0..in_flight {
                let order = self.order.clone();
                loops.spawn(async move {
                    let mut done = 0;
                    while begin.elapsed() < budget || done == 0 {
                        let (reserved, price, charged, shipped) = Default::default();
                        let text = filler(n, 200);
                        let input = Order { order: n, total: 17, text, reserved, price, charged, shipped };
                        let output = order.run(input).await.expect("it succeeds");
                        assert!(output.shipped.is_some_and(|shipped| shipped.ok));
                        done += 1;
                    }
                    done
                });
            }
            loops.join_all().await.into_iter().sum()
        });
        done as f64 / begin.elapsed().as_secs_f64()
    }
}

impl Drop for Dbos {
    fn drop(&mut self) {
        self.runtime.block_on(self.instance.shutdown());
    }
}
