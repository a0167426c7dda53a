//! The ways to do the work: bytes to bytes, everything that can be prepared prepared.

use std::cell::RefCell;

use expressway::runtime::inline::Driver;
use expressway::{asl as expressway_asl, compile};

use crate::by_hand;
use crate::workloads::Workload;

/// One way to do the work.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// What kind of thing it is.
    pub(crate) kind: &'static str,
    work: Result<Work, String>,
}

type Work = Box<dyn FnMut(&[u8]) -> Result<Vec<u8>, String>>;

impl Way {
    pub(crate) fn call(&mut self, input: &[u8]) -> Result<Vec<u8>, String> {
        match &mut self.work {
            Ok(work) => work(input),
            Err(reason) => Err(reason.clone()),
        }
    }
}

/// Each language's form of a workload, or why it has none.
struct Programs {
    jq: Said,
    jsonata: Said,
    cel: Said,
    vrl: Said,
}

type Said = Result<&'static str, &'static str>;

const NOTHING: Said = Err("no program was written for this workload");

fn programs(workload: &str) -> Programs {
    match workload {
        "w1" => Programs { jq: Ok("."), jsonata: Ok("$"), cel: Ok("input"), vrl: Ok(".") },
        "w2" => Programs {
            jq: Ok(r#"(if .order.qty > 100 then . elif .order.qty >= 10 then . else . end)
                | {id: .order.id, qty: .order.qty, customer: {name: .customer.name, tier: .customer.tier},
                   tags: .order.tags, source: "express", version: 3}
                | (if .customer.tier == "silver" then . elif .customer.tier == "gold" then . else . end)"#),
            jsonata: Ok(r#"($o := order.qty > 100 ? $ : order.qty >= 10 ? $ : $;
                $r := {"id": $o.order.id, "qty": $o.order.qty,
                  "customer": {"name": $o.customer.name, "tier": $o.customer.tier},
                  "tags": $o.order.tags, "source": "express", "version": 3};
                $r.customer.tier = "silver" ? $r : $r.customer.tier = "gold" ? $r : $r)"#),
            // An expression has no variables: the decisions choose between inputs, as they do in the state machine.
            cel: Ok(
                r#"{"id": input.order.id, "qty": input.order.qty > 100 ? input.order.qty : input.order.qty >= 10 ? input.order.qty : input.order.qty,
                "customer": {"name": input.customer.name, "tier": input.customer.tier == "silver" ? input.customer.tier : input.customer.tier == "gold" ? input.customer.tier : input.customer.tier},
                "tags": input.order.tags, "source": "express", "version": 3}"#,
            ),
            vrl: Ok(r#"
                qty = int!(.order.qty)
                if qty > 100 { qty = qty } else if qty >= 10 { qty = qty }
                . = {"id": .order.id, "qty": .order.qty,
                     "customer": {"name": .customer.name, "tier": .customer.tier},
                     "tags": .order.tags, "source": "express", "version": 3}
                if .customer.tier == "silver" { qty = 1 } else if .customer.tier == "gold" { qty = 2 }
                "#),
        },
        "w3" => Programs {
            jq: Ok(r#"[.prefix as $p | .items as $i | range($i | length) | {idx: ., item: $i[.], prefix: $p}]"#),
            jsonata: Ok(
                r#"($p := prefix; $map(items, function($v, $i) { {"idx": $i, "item": $v, "prefix": $p} }))"#,
            ),
            cel: Err("its `map` does not tell the place of an item"),
            vrl: Ok(r#"
                prefix = .prefix
                idx = -1
                . = map_values(array!(.items)) -> |item| {
                    idx = idx + 1
                    {"idx": idx, "item": item, "prefix": prefix}
                }
                "#),
        },
        "event" => Programs {
            jq: Ok(r#".detail | if .payment.authorised != true then error("NotAuthorised") else
                {order: .orderId, amount: {total: .total, currency: .currency}, customer: .customer.id, lines: .items}
                + (if .flags.express == true then {carrier: "courier", days: 1} else {carrier: "post", days: 5} end) end"#),
            jsonata: Ok(r#"detail.(payment.authorised = true ? (
                $express := flags.express = true;
                {"order": orderId, "amount": {"total": total, "currency": currency}, "customer": customer.id,
                  "lines": items, "carrier": $express ? "courier" : "post", "days": $express ? 1 : 5})
                : $error("NotAuthorised"))"#),
            // Its only failures are errors of its own, such as a missing field.
            cel: Ok(r#"input.detail.payment.authorised == true ? {"order": input.detail.orderId,
                "amount": {"total": input.detail.total, "currency": input.detail.currency},
                "customer": input.detail.customer.id, "lines": input.detail.items,
                "carrier": input.detail.flags.express == true ? "courier" : "post",
                "days": input.detail.flags.express == true ? 1 : 5} : {"NotAuthorised": input.NotAuthorised}"#),
            vrl: Ok(r#"
                if .detail.payment.authorised != true { abort }
                carrier = "post"
                days = 5
                if .detail.flags.express == true {
                    carrier = "courier"
                    days = 1
                }
                . = {"order": .detail.orderId, "amount": {"total": .detail.total, "currency": .detail.currency},
                     "customer": .detail.customer.id, "lines": .detail.items, "carrier": carrier, "days": days}
                "#),
        },
        _ => Programs { jq: NOTHING, jsonata: NOTHING, cel: NOTHING, vrl: NOTHING },
    }
}

/// Ours first.
pub(crate) fn all(workload: &str, found: &Workload) -> Vec<Way> {
    let said = programs(workload);
    let language = |text: Said, make: fn(&'static str) -> Result<Work, String>| {
        text.map_err(str::to_owned).and_then(make)
    };
    let mut ways =
        vec![Way { name: "expressway", version: "this commit", kind: "ASL", work: ours(&found.definition) }];
    for (name, job) in by_hand::jobs(workload) {
        let work: Work = Box::new(move |input| job(input).map_err(|error| error.to_string()));
        ways.push(Way { name, version: "by hand", kind: "Rust", work: Ok(work) });
    }
    let definition = found.definition.clone();
    ways.extend([
        Way { name: "asl", version: locked("asl"), kind: "ASL", work: asl_crate(&definition) },
        Way {
            name: "vrl",
            version: locked("vrl"),
            kind: "transformation",
            work: language(said.vrl, vrl_program),
        },
        Way {
            name: "jaq",
            version: locked("jaq-core"),
            kind: "transformation",
            work: language(said.jq, jaq),
        },
        Way {
            name: "jsonata-core",
            version: locked("jsonata-core"),
            kind: "transformation",
            work: language(said.jsonata, jsonata),
        },
        Way {
            name: "cel",
            version: locked("cel"),
            kind: "transformation",
            work: language(said.cel, cel_expression),
        },
    ]);
    ways
}

fn ours(definition: &str) -> Result<Work, String> {
    let (read, problems) = expressway_asl::read(definition.as_bytes(), &expressway_asl::Options::default());
    let read = read.ok_or_else(|| format!("{problems:?}"))?;
    let program = compile::compile(&read).map_err(|errors| format!("{errors:?}"))?;
    let mut driver = Driver::new(program.into());
    Ok(Box::new(move |input| {
        let mut output = Vec::new();
        driver.run(input).map_err(|error| error.to_string())?.write_output(&mut output);
        Ok(output)
    }))
}

/// The version of a crate that this program is built with.
fn locked(name: &str) -> &'static str {
    let (_, after) = include_str!("../Cargo.lock")
        .split_once(&format!("name = \"{name}\"\nversion = \""))
        .unwrap_or_default();
    after.split('"').next().unwrap_or_default()
}

struct NoTasks;

impl asl::asl::execution::StateExecutionHandler for NoTasks {
    type TaskExecutionError = String;

    fn execute_task(
        &self,
        _: &str,
        _: &serde_json::Value,
        _: Option<&serde_json::Value>,
    ) -> Result<Option<serde_json::Value>, String> {
        Err("there are no tasks".to_owned())
    }
}

fn asl_crate(definition: &str) -> Result<Work, String> {
    use asl::asl::state_machine::StateMachine;
    use asl::asl::types::execution::EmptyContext;

    let machine =
        StateMachine::parse(definition).map_err(|error| format!("it refuses the definition: {error:?}"))?;
    // The machine is borrowed by its executions, and lives as long as the process.
    let machine: &'static StateMachine = Box::leak(Box::new(machine));
    Ok(Box::new(move |input| {
        let input: serde_json::Value = serde_json::from_slice(input).map_err(|error| error.to_string())?;
        let last = machine.start(&input, NoTasks, EmptyContext {}).last().ok_or("no state")?;
        let result = last.result.ok_or("it gives no result")?;
        serde_json::to_vec(&result).map_err(|error| error.to_string())
    }))
}

fn jaq(code: &'static str) -> Result<Work, String> {
    use jaq_core::load::{Arena, File, Loader};
    use jaq_core::{Ctx, Vars, data, unwrap_valr};
    use jaq_json::Val;

    let arena = Arena::default();
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let modules =
        Loader::new(defs).load(&arena, File { code, path: () }).map_err(|error| format!("{error:?}"))?;
    let filter = jaq_core::Compiler::default()
        .with_funs(funs)
        .compile(modules)
        .map_err(|error| format!("{error:?}"))?;
    let pretty: jaq_json::write::Pp = Default::default();
    Ok(Box::new(move |input| {
        let value = jaq_json::read::parse_single(input).map_err(|error| format!("{error:?}"))?;
        let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
        let result = filter.id.run((context, value)).map(unwrap_valr).next().ok_or("it gives nothing")?;
        let result = result.map_err(|error| error.to_string())?;
        let mut output = Vec::new();
        jaq_json::write::write(&mut output, &pretty, 0, &result).map_err(|error| error.to_string())?;
        Ok(output)
    }))
}

fn jsonata(code: &'static str) -> Result<Work, String> {
    use jsonata_core::{evaluator::Evaluator, parser, value::JValue};

    let tree = parser::parse(code).map_err(|error| format!("{error:?}"))?;
    let mut evaluator = Evaluator::new();
    Ok(Box::new(move |input| {
        let text = std::str::from_utf8(input).map_err(|error| error.to_string())?;
        let value = JValue::from_json_str(text).map_err(|error| error.to_string())?;
        let result = evaluator.evaluate(&tree, &value).map_err(|error| format!("{error:?}"))?;
        result.to_json_string().map(String::into_bytes).map_err(|error| error.to_string())
    }))
}

fn cel_expression(code: &'static str) -> Result<Work, String> {
    let program = cel::Program::compile(code).map_err(|error| format!("{error}"))?;
    // It holds all functions, and is made once.
    let root = cel::Context::default();
    Ok(Box::new(move |input| {
        let value: serde_json::Value = serde_json::from_slice(input).map_err(|error| error.to_string())?;
        let mut context = root.new_inner_scope();
        context.add_variable("input", value).map_err(|error| error.to_string())?;
        let result = program.execute(&context).map_err(|error| error.to_string())?;
        let json = result.json().map_err(|error| error.to_string())?;
        serde_json::to_vec(&json).map_err(|error| error.to_string())
    }))
}

fn vrl_program(code: &'static str) -> Result<Work, String> {
    use vrl::compiler::{Context, TargetValue, TimeZone, state::RuntimeState};
    use vrl::value::{Secrets, Value};

    let program = vrl::compiler::compile(code, &vrl::stdlib::all())
        .map_err(|list| list.iter().map(|it| format!("{}; ", it.message)).collect::<String>())?
        .program;
    let state = RefCell::new(RuntimeState::default());
    Ok(Box::new(move |input| {
        let value: Value = serde_json::from_slice(input).map_err(|error| error.to_string())?;
        let mut target =
            TargetValue { value, metadata: Value::Object(Default::default()), secrets: Secrets::default() };
        let mut state = state.borrow_mut();
        state.clear();
        let timezone = TimeZone::default();
        let mut context = Context::new(&mut target, &mut state, &timezone);
        // As Vector does: what the program leaves in its target counts; its last value would be another copy.
        program.resolve(&mut context).map_err(|error| error.to_string())?;
        serde_json::to_vec(&target.value).map_err(|error| error.to_string())
    }))
}
