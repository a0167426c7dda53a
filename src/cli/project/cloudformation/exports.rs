//! What the stacks of a project export to each other, as the CDK lets them when one uses a resource of another.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::super::Substitutions;
use super::{STACKS_DEPTH_MAX, Template, plain};

impl Substitutions {
    /// These, and what the templates export, as far as that is known.
    pub(in super::super) fn with_exports_of(&self, templates: &[(PathBuf, Json)]) -> Substitutions {
        let mut given = self.clone();
        // An export may be made of another one.
        for _ in 0..STACKS_DEPTH_MAX {
            let found = exports(templates, &given);
            if found == *given.exports() {
                break;
            }
            given = given.with_exports(found);
        }
        given
    }
}

fn exports(templates: &[(PathBuf, Json)], given: &Substitutions) -> BTreeMap<String, String> {
    // `None` where templates disagree, as those of two stages can: which one is meant is not known.
    let mut found: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (path, root) in templates {
        let template = Template::new(path, root, given);
        for (output, member) in root["Outputs"].as_object().into_iter().flatten() {
            let at = format!("Outputs/{output}");
            let is_made = |condition| template.holds(&json!({ "Condition": condition }), &at, 0);
            let export = &member["Export"]["Name"];
            if export.is_null() || !member["Condition"].as_str().is_none_or(is_made) {
                continue;
            }
            template.begin();
            let name = plain(&template.resolve(export, &at, 0));
            let value = plain(&template.resolve(&member["Value"], &at, 0));
            if template.unresolved.borrow().is_empty() {
                let kept = found.entry(name).or_insert_with(|| Some(value.clone()));
                if kept.as_ref() != Some(&value) {
                    *kept = None;
                }
            }
        }
    }
    found.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
