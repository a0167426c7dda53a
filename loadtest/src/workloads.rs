//! The built-in workloads, and those of users.

use std::path::{Path, PathBuf};

use crate::inputs::{Inputs, Shape};

/// A definition and what its executions begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What it is called in reports.
    pub name: String,
    /// Amazon States Language, as JSON text.
    pub definition: String,
    /// What executions begin with.
    pub inputs: Inputs,
    /// Where both came from.
    pub source: String,
}

/// A workload that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    definition: Definition,
    shape: Shape,
    bytes: usize,
    items: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Definition {
    Text(&'static str),
    /// As large as a definition may be.
    Large,
}

const fn built_in(name: &'static str, about: &'static str, text: &'static str) -> BuiltIn {
    let definition = Definition::Text(text);
    BuiltIn { name, about, definition, shape: Shape::Order, bytes: 200, items: 0 }
}

/// The workloads that come with the program.
pub const BUILT_IN: [BuiltIn; 9] = [
    BuiltIn {
        shape: Shape::Tiny,
        ..built_in("w1", "one Pass state", include_str!("../workloads/w1.asl.json"))
    },
    built_in(
        "w2",
        "the canonical one: five states that route and reshape an order of 200 bytes",
        include_str!("../workloads/w2.asl.json"),
    ),
    BuiltIn {
        shape: Shape::Items,
        items: 10,
        ..built_in("w3", "a Map over ten items", include_str!("../workloads/w3.asl.json"))
    },
    built_in("jsonata", "w2 with JSONata for its paths", include_str!("../workloads/jsonata.asl.json")),
    BuiltIn {
        shape: Shape::Items,
        items: 100,
        ..built_in("map100", "a Map over a hundred items", include_str!("../workloads/w3.asl.json"))
    },
    built_in("tasks", "three tasks one after the other", include_str!("../workloads/tasks.asl.json")),
    built_in(
        "retries",
        "a retry storm: each task fails twice, a second apart",
        include_str!("../workloads/retries.asl.json"),
    ),
    BuiltIn {
        definition: Definition::Large,
        ..built_in("large", "a definition of one megabyte, thousands of rules and states", "")
    },
    built_in("waits", "two Wait states of a second each", include_str!("../workloads/waits.asl.json")),
];

/// Where a user's inputs come from.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct InputPlan {
    /// A file: one JSON text, or one on each line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What they are made to look like, when there is no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// How large each is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// How many items a list is to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<usize>,
}

/// Finds a workload: one that comes with the program, or a definition of the user's own.
///
/// # Errors
/// When there is none of the name, or a file cannot be read.
pub fn load(
    name: Option<&str>,
    definition: Option<&Path>,
    input: Option<&InputPlan>,
    seed: u64,
) -> Result<Workload, String> {
    let mut workload = match (name, definition) {
        (Some(name), None) => load_built_in(name, seed)?,
        (None, None) => load_built_in("w2", seed)?,
        (name, Some(path)) => {
            let text =
                std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Workload {
                name: name.map_or(file.clone(), str::to_owned),
                definition: text,
                inputs: Inputs::made(Shape::Order, seed, 200, 10),
                source: format!("{file}, made inputs"),
            }
        }
    };
    if let Some(input) = input {
        workload.inputs = match &input.file {
            Some(path) => {
                workload.source = format!("inputs of {}", path.display());
                Inputs::read(path)?
            }
            None => {
                let shape =
                    input.shape.unwrap_or(if input.items.is_some() { Shape::Items } else { Shape::Order });
                let (bytes, items) = (input.bytes.unwrap_or(200), input.items.unwrap_or(10));
                if bytes < 200 {
                    return Err("an order that is made has 200 bytes at least".to_owned());
                }
                if bytes > 262_144 || items > 40_000 {
                    return Err("an input has at most 262,144 bytes, which is what AWS takes".to_owned());
                }
                workload.source = format!("made inputs, seed {seed}");
                Inputs::made(shape, seed, bytes, items)
            }
        };
    }
    Ok(workload)
}

fn load_built_in(name: &str, seed: u64) -> Result<Workload, String> {
    let Some(built_in) = BUILT_IN.iter().find(|it| it.name.eq_ignore_ascii_case(name)) else {
        let names: Vec<&str> = BUILT_IN.iter().map(|it| it.name).collect();
        return Err(format!("there is no workload '{name}'; there are {}", names.join(", ")));
    };
    if let Some(workload) = load_shared(built_in.name) {
        return Ok(workload);
    }
    let definition = match built_in.definition {
        Definition::Text(text) => text.to_owned(),
        Definition::Large => large_definition(),
    };
    let inputs = Inputs::made(built_in.shape, seed, built_in.bytes, built_in.items);
    let source = format!("built in, made inputs, seed {seed}");
    Ok(Workload { name: built_in.name.to_owned(), definition, inputs, source })
}

/// The texts of the project's own comparisons, beside the repository or in `EXPRESSWAY_PERF`: a definition and one
/// input.
fn load_shared(name: &str) -> Option<Workload> {
    let root = std::env::var_os("EXPRESSWAY_PERF").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/perf"));
    let read =
        |kind: &str| std::fs::read_to_string(root.join("workloads").join(format!("{name}.{kind}.json")));
    let (definition, input) = (read("asl").ok()?, read("input").ok()?);
    let inputs = Inputs::one(input.trim().as_bytes().to_vec());
    let source = format!("{name}.asl.json and {name}.input.json of the shared workloads");
    Some(Workload { name: name.to_owned(), definition, inputs, source })
}

/// A definition of nearly 1 MiB, the most AWS takes: a Choice with a rule for each article, and a state for each rule.
fn large_definition() -> String {
    const ARTICLES: usize = 4_096;
    let rules: Vec<String> = (0..ARTICLES)
        .map(|n| format!(r#"{{"Variable":"$.order.sku","StringEquals":"sku-{n}","Next":"Shape {n}"}}"#))
        .collect();
    let states: Vec<String> = (0..ARTICLES)
        .map(|n| {
            let filler = "x".repeat(46);
            format!(
                r#""Shape {n}":{{"Type":"Pass","Parameters":{{"id.$":"$.order.id","article":{n},"filler":"{filler}"}},"Next":"Done"}}"#
            )
        })
        .collect();
    format!(
        r#"{{"StartAt":"Route","States":{{"Route":{{"Type":"Choice","Default":"Done","Choices":[{}]}},{},"Done":{{"Type":"Succeed"}}}}}}"#,
        rules.join(","),
        states.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use expressway::runtime::inline::Driver;
    use expressway::{asl, compile};

    #[test]
    fn every_built_in_workload_compiles_and_the_pure_ones_succeed() {
        for built_in in BUILT_IN {
            let workload = load_built_in(built_in.name, 1).unwrap();
            let (definition, problems) = asl::read(workload.definition.as_bytes(), &asl::Options::default());
            let definition = definition.unwrap_or_else(|| panic!("{}: {problems:?}", built_in.name));
            let program = compile::compile(&definition).unwrap();
            if ["tasks", "retries", "waits"].contains(&built_in.name) {
                continue;
            }
            let mut driver = Driver::new(program.into());
            for n in 0..workload.inputs.count() as u64 {
                assert!(driver.run(workload.inputs.get(n)).unwrap().succeeded(), "{} {n}", built_in.name);
            }
        }
    }

    #[test]
    fn the_large_definition_is_as_large_as_one_may_be() {
        let bytes = large_definition().len();
        assert!((900_000..=1_048_576).contains(&bytes), "{bytes}");
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_there_are() {
        let error = load(Some("w9"), None, None, 1).unwrap_err();
        assert!(error.contains("w9") && error.contains("w2"), "{error}");
        assert!(load(None, Some(Path::new("no/such/file")), None, 1).unwrap_err().contains("no/such/file"));
    }
}
