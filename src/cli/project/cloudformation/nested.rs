//! Nested stacks whose templates are files here: their state machines, and their outputs.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use expressway::asl::did_you_mean;
use serde_json::{Value as Json, json};

use super::super::{Part, Project, Stop};
use super::{Inputs, Parameters, STACKS_DEPTH_MAX, Template, data, is_no_value, is_stack, stack};

impl Template<'_> {
    /// The template of a nested stack, if it is a file here.
    fn nested_file(&self, resource: &Json, property: &str, place: &str, depth: usize) -> Option<PathBuf> {
        // The CDK says where the file is that a deployment puts into S3.
        let here = resource["Metadata"].get("aws:asset:path").filter(|path| path.is_string());
        let location = &resource["Properties"][property];
        let location = here.cloned().unwrap_or_else(|| self.resolve(location, place, depth));
        let name = location.as_str().filter(|name| !name.contains("://") && !name.contains("${"))?;
        Some(self.beside(name))
    }

    /// Adds the state machines of a nested template, if that is a file here.
    pub(super) fn nested(
        &self,
        id: &str,
        resource: &Json,
        property: &str,
        at: &str,
        depth: usize,
        project: &mut Project,
    ) {
        let place = format!("{at}/{property}");
        let properties = &resource["Properties"];
        let read = |path: PathBuf| {
            if depth < STACKS_DEPTH_MAX {
                data(&path).map(|root| (path, root))
            } else {
                Err(Stop::failed("stacks are nested too deeply"))
            }
        };
        match self.nested_file(resource, property, &place, 0).map(read) {
            None => {}
            Some(Ok((path, root))) => {
                let parameters = self.parameters(&properties["Parameters"], at, 0);
                let inputs = Inputs { parameters, prefix: format!("{id}.") };
                stack(&path, &root, self.given, inputs, depth + 1, project);
            }
            Some(Err(stop)) => project.failed(Part::Module(id.to_owned()), self.failed(&place, stop)),
        }
    }

    /// The value of `Fn::GetAtt: [Stack, Outputs.Name]`.
    pub(super) fn output(
        &self,
        stack: &str,
        resource: &Json,
        output: &str,
        place: &str,
        depth: usize,
    ) -> Json {
        let whole = format!("{stack}.Outputs.{output}");
        let kind = resource["Type"].as_str().filter(|kind| is_stack(kind));
        let Some(kind) = kind else {
            return self.open(place, &whole, &format!("{stack} is no nested stack, so it has no outputs"));
        };
        let at = format!("Resources/{stack}/Properties");
        let property = if kind == "AWS::Serverless::Application" { "Location" } else { "TemplateURL" };
        let Some(path) = self.nested_file(resource, property, &format!("{at}/{property}"), depth + 1) else {
            let why = format!("{stack} is a stack whose template is not a file here");
            return self.open(place, &whole, &why);
        };
        let Some(root) = self.nested_root(&path) else {
            let why = format!("the template of {stack}, {}, cannot be read", path.display());
            return self.open(place, &whole, &why);
        };
        let Some(found) = root["Outputs"].get(output).filter(|found| found.get("Value").is_some()) else {
            let names = root["Outputs"].as_object().into_iter().flatten().map(|(name, _)| &**name);
            let advice = did_you_mean(output, names).map_or_else(String::new, |advice| format!(": {advice}"));
            let why = format!("{} has no output {output}{advice}", path.display());
            return self.open(place, &whole, &why);
        };
        let asked = (path.clone(), whole.clone());
        if self.under_way.borrow().contains(&asked) {
            return self.open(place, &whole, "outputs of stacks refer to each other without an end");
        }
        self.under_way.borrow_mut().push(asked);
        let nested = Template {
            inputs: self.parameters(&resource["Properties"]["Parameters"], &at, depth + 1),
            values: Rc::clone(&self.values),
            under_way: Rc::clone(&self.under_way),
            ..Template::new(&path, &root, self.given)
        };
        let at = format!("Outputs/{output}/Value");
        let is_left_out = found["Condition"]
            .as_str()
            .filter(|name| !nested.holds(&json!({ "Condition": name }), &at, depth + 1));
        let value = match is_left_out {
            Some(condition) => {
                let file = path.display();
                let why = format!("{file} has no output {output} where {condition} does not hold");
                self.open(place, &whole, &why)
            }
            None => nested.resolve(&found["Value"], &at, depth + 1),
        };
        self.under_way.borrow_mut().pop();
        self.tell(nested.unresolved.take());
        value
    }

    /// The values of a nested stack's parameters. An invalid value is reported where the parameter is used.
    pub(super) fn parameters(&self, given: &Json, at: &str, depth: usize) -> Parameters {
        let told = self.unresolved.take();
        let value = |(name, value): (&String, &Json)| {
            let value = self.resolve(value, &format!("{at}/Parameters/{name}"), depth);
            (name.clone(), (value, self.unresolved.take()))
        };
        let values = given.as_object().into_iter().flatten().map(value);
        let parameters = values.filter(|(_, (value, _))| !is_no_value(value)).collect();
        self.unresolved.replace(told);
        parameters
    }

    fn nested_root(&self, path: &Path) -> Option<Rc<Json>> {
        if let Some(root) = self.nested.borrow().get(path) {
            return Some(Rc::clone(root));
        }
        let root = Rc::new(data(path).ok()?);
        self.nested.borrow_mut().insert(path.to_owned(), Rc::clone(&root));
        Some(root)
    }
}
