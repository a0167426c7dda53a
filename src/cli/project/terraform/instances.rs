//! `count` and `for_each`: what a block makes, one by one.

use std::collections::BTreeMap;

use hcl::{Block, Expression};
use serde_json::{Value as Json, json};

use super::super::{Place, Stop};
use super::evaluate::{Variables, number_of, written};
use super::{Module, attribute, functions};

/// Instances of one block.
const INSTANCES_MAX: usize = 1_000;

/// One of what a block makes.
pub(super) struct Instance {
    /// What is behind the name in its address: `["eu"]`, `[0]`, or nothing where the block makes one.
    pub(super) key: String,
    /// `each` or `count`.
    pub(super) known: Variables,
}

impl Module<'_> {
    /// All that a block at this place makes.
    pub(super) fn instances(&self, block: &Block, place: &Place) -> Result<Vec<Instance>, Stop> {
        self.unresolved.borrow_mut().clear();
        self.broken.borrow_mut().take();
        let unknown = |argument: &str, expression: &Expression, form: &str| {
            let written = written(expression);
            // What is unknown in it is a shorter name to give a value for, and one that others use, too.
            let what = match &self.unresolved.take()[..] {
                [only] => only.clone(),
                _ => written.clone(),
            };
            let why = format!(
                "nothing is known of its {argument}, `{written}`; say --substitute {what}=VALUE, {form}"
            );
            Stop::at(place.clone(), why)
        };
        let too_many = |count: usize| {
            Stop::at(place.clone(), format!("it makes {count}; at most {INSTANCES_MAX} are read"))
        };
        let instances = if let Some(expression) = attribute(block, "for_each") {
            let collection = self.keyed(&self.value(expression));
            let collection = collection
                .filter(|it| !it.keys().any(|key| key.contains("${")))
                .ok_or_else(|| unknown("for_each", expression, "a list or an object as in JSON"))?;
            let instance = |(key, value): (String, Json)| Instance {
                known: each(&key, value),
                key: format!("[{}]", Json::from(key)),
            };
            collection.into_iter().map(instance).collect()
        } else if let Some(expression) = attribute(block, "count") {
            let count = number_of(&self.value(expression)).filter(|count| *count >= 0.0);
            let count = count.ok_or_else(|| unknown("count", expression, "a number"))? as usize;
            if count > INSTANCES_MAX {
                return Err(too_many(count));
            }
            (0..count).map(|n| Instance { key: format!("[{n}]"), known: counted(n) }).collect()
        } else {
            vec![Instance { key: String::new(), known: Variables::new() }]
        };
        if instances.len() > INSTANCES_MAX {
            return Err(too_many(instances.len()));
        }
        Ok(instances)
    }

    /// The keys of the instances of a block that makes several, if they are known.
    pub(super) fn keys(&self, block: &Block, depth: usize) -> Option<Vec<String>> {
        let value =
            |argument| attribute(block, argument).map(|it| self.evaluate(it, &Variables::new(), depth));
        let keys: Vec<String> = match value("for_each") {
            Some(collection) => self.keyed(&collection)?.into_keys().collect(),
            None => {
                let count = number_of(&value("count")?).filter(|count| *count >= 0.0)? as usize;
                (0..count.min(INSTANCES_MAX)).map(|n| n.to_string()).collect()
            }
        };
        Some(keys).filter(|keys| keys.len() <= INSTANCES_MAX && !keys.iter().any(|key| key.contains("${")))
    }

    /// `each` or `count` in a block, for the instance with this key.
    pub(super) fn known_of(&self, block: &Block, key: Option<&str>, depth: usize) -> Variables {
        let Some(key) = key else { return Variables::new() };
        if let Some(expression) = attribute(block, "for_each") {
            let collection = self.keyed(&self.evaluate(expression, &Variables::new(), depth));
            let value = collection.and_then(|it| it.get(key).cloned());
            return each(key, value.unwrap_or(Json::Null));
        }
        key.parse().map_or_else(|_| Variables::new(), counted)
    }

    /// Whether a block makes several, which have keys.
    pub(super) fn has_keys(block: &Block) -> bool {
        attribute(block, "for_each").or(attribute(block, "count")).is_some()
    }

    /// The elements of a collection by their keys; those of a set are their own.
    fn keyed(&self, collection: &Json) -> Option<BTreeMap<String, Json>> {
        match collection {
            Json::Array(items) => {
                Some(items.iter().map(|item| (functions::text(item), item.clone())).collect())
            }
            Json::Object(members) => {
                Some(members.iter().map(|(key, item)| (key.clone(), item.clone())).collect())
            }
            _ => None,
        }
    }
}

fn each(key: &str, value: Json) -> Variables {
    Variables::from([("each".to_owned(), json!({ "key": key, "value": value }))])
}

fn counted(index: usize) -> Variables {
    Variables::from([("count".to_owned(), json!({ "index": index }))])
}
