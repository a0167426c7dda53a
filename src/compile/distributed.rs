//! Distributed Maps: a child execution runs a separate program, and the Map Run is a task of the Map's state.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Lower, Place};
use crate::asl::model::{self as asl, MapMode};
use crate::asl::not_here;
use crate::json::source::Node;
use crate::program::{
    Dataset, Distributed, Format, ItemBatcher, ItemReader, Resource, ResourceKind, ResultWriter, Task,
    TemplateId, Transformation,
};
use crate::query::jsonata::Allowed;

impl Lower {
    /// The distributed part of a Map, if it has one.
    pub(super) fn distributed(&mut self, place: &Place<'_, '_>, map: &asl::Map) -> Option<Box<Distributed>> {
        let is_express = match map.mode {
            MapMode::Inline => return None,
            MapMode::DistributedExpress => true,
            MapMode::DistributedStandard => false,
        };
        self.refuse_unreadable(place, map);
        let child = match super::workflow(&map.processor, None, self.checks_parameters) {
            Ok(child) => child,
            Err(errors) => {
                self.errors.extend(errors);
                return None;
            }
        };
        let label = map.label.as_ref().map_or_else(|| label(place), |label| label.value.as_str().into());
        let task = self.program.tasks.push(Task {
            resource: Resource {
                arn: format!("mapRun/{label}").into(),
                kind: ResourceKind::MapRun,
                waits_for_token: false,
                has_token: false,
            },
            timeout: None,
            heartbeat: None,
            credentials: None,
            parameters: None,
        });
        let reader = map.item_reader.as_ref().map(|reader| ItemReader {
            resource: reader.resource.value.as_str().into(),
            arguments: self.arguments(place, "ItemReader", reader.arguments.as_ref()),
            format: format(reader),
            pointer: word(reader.config.as_ref(), "ItemsPointer").map(Into::into),
            dataset: dataset(reader),
            items_max: (reader.max_items.as_ref())
                .map(|setting| self.seconds(place, "ItemReader/ReaderConfig/MaxItems", setting)),
        });
        let batcher = map.item_batcher.as_ref().map(|batcher| ItemBatcher {
            batch_input: (batcher.batch_input.as_ref())
                .and_then(|node| self.template(place, "ItemBatcher/BatchInput", node, Allowed::default())),
            items_max: (batcher.items_max.as_ref())
                .map(|setting| self.seconds(place, "ItemBatcher/MaxItemsPerBatch", setting)),
            input_bytes_max: (batcher.input_bytes_max.as_ref())
                .map(|setting| self.seconds(place, "ItemBatcher/MaxInputBytesPerBatch", setting)),
        });
        let writer = map.result_writer.as_ref().map(|writer| ResultWriter {
            resource: writer.resource.as_ref().map(|resource| resource.value.as_str().into()),
            arguments: self.arguments(place, "ResultWriter", writer.arguments.as_ref()),
            lines: word(writer.config.as_ref(), "OutputType") == Some("JSONL"),
            transformation: match word(writer.config.as_ref(), "Transformation") {
                Some("COMPACT") => Transformation::Compact,
                Some("FLATTEN") => Transformation::Flatten,
                _ => Transformation::None,
            },
        });
        let child = Arc::new(child);
        Some(Box::new(Distributed { child, is_express, label, task, reader, batcher, writer }))
    }

    /// Refuses what this engine cannot read.
    fn refuse_unreadable(&mut self, place: &Place<'_, '_>, map: &asl::Map) {
        if let Some(reader) = &map.item_reader {
            self.refuse_members(place, "ItemReader", &reader.resource.value, reader.arguments.as_ref());
            for (field, message) in unreadable(reader) {
                self.refuse(place, &format!("ItemReader/ReaderConfig{field}"), &message);
            }
        }
        if let Some((writer, resource)) =
            map.result_writer.as_ref().and_then(|writer| Some((writer, writer.resource.as_ref()?)))
        {
            self.refuse_members(place, "ResultWriter", &resource.value, writer.arguments.as_ref());
        }
    }

    /// Members that AWS accepts, and this engine does not.
    fn refuse_members(&mut self, place: &Place<'_, '_>, of: &str, arn: &str, arguments: Option<&Node>) {
        let is_jsonata = place.state.query_language == asl::QueryLanguage::Jsonata;
        let name = arguments_of(place);
        for member in arguments.into_iter().flat_map(|node| not_here(arn, node, is_jsonata)) {
            let message = format!("The field '{member}' of {arn} is not supported");
            self.refuse(place, &format!("{of}/{name}"), message);
        }
    }

    fn arguments(&mut self, place: &Place<'_, '_>, of: &str, node: Option<&Node>) -> Option<TemplateId> {
        let name = arguments_of(place);
        self.template(place, &format!("{of}/{name}"), node?, Allowed::default())
    }
}

/// The name of the arguments of readers and writers.
fn arguments_of(place: &Place<'_, '_>) -> &'static str {
    match place.state.query_language {
        asl::QueryLanguage::JsonPath => "Parameters",
        asl::QueryLanguage::Jsonata => "Arguments",
    }
}

/// The label of a Map without one. AWS generates a UUID; here it is derived from the state's place, so that the same
/// definition has the same labels.
fn label(place: &Place<'_, '_>) -> Box<str> {
    let digest = Sha256::digest(place.state.location.as_bytes());
    let (high, low) = digest.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().take(8).fold(0, |sum: u64, &byte| sum << 8 | u64::from(byte));
    String::from_utf8_lossy(&crate::uuid::text(number(high), number(low))).into()
}

fn word<'n>(config: Option<&'n Node>, name: &str) -> Option<&'n str> {
    config?.get(name)?.as_str()
}

/// A reader of anything but a list of objects has an `InputType`: the definition was checked.
fn format(reader: &asl::ItemReader) -> Format {
    let config = reader.config.as_ref();
    match word(config, "InputType") {
        Some("JSON") => Format::Json,
        Some("JSONL") => Format::JsonLines,
        Some("CSV") => Format::Csv {
            delimiter: match word(config, "CSVDelimiter") {
                Some("PIPE") => b'|',
                Some("SEMICOLON") => b';',
                Some("SPACE") => b' ',
                Some("TAB") => b'\t',
                _ => b',',
            },
            headers: (config.and_then(|config| config.get("CSVHeaders")).and_then(Node::items))
                .map(|names| names.iter().filter_map(Node::as_str).map(Into::into).collect()),
        },
        Some("PARQUET") => Format::Parquet,
        Some("MANIFEST") => Format::Manifest,
        _ if word(config, "ManifestType").is_some() => Format::Manifest,
        _ => Format::List,
    }
}

fn dataset(reader: &asl::ItemReader) -> Dataset {
    let config = reader.config.as_ref();
    let is_list = reader.resource.value.ends_with(":s3:listObjectsV2");
    match (word(config, "ManifestType"), word(config, "InputType")) {
        (Some("ATHENA_DATA"), _) => Dataset::Athena,
        (Some(_), _) | (None, Some("MANIFEST")) => Dataset::Inventory,
        _ if is_list && word(config, "Transformation") == Some("LOAD_AND_FLATTEN") => Dataset::Flattened,
        _ => Dataset::One,
    }
}

/// Fields of `ReaderConfig` that this engine does not read, and why.
fn unreadable(reader: &asl::ItemReader) -> Vec<(&'static str, String)> {
    let config = reader.config.as_ref();
    let is_list = reader.resource.value.ends_with(":s3:listObjectsV2");
    let flattens = word(config, "Transformation") == Some("LOAD_AND_FLATTEN");
    let manifest = word(config, "ManifestType");
    let mut refused = Vec::new();
    let mut refuse = |field, message: String| refused.push((field, message));
    match (word(config, "InputType"), manifest) {
        (Some("PARQUET"), _) if cfg!(not(feature = "parquet")) => {
            let message = "The InputType PARQUET is not supported by this program, which was built without the \
                           feature parquet: use JSON, JSONL or CSV";
            refuse("/InputType", message.to_owned());
        }
        (None, Some("S3_INVENTORY")) if !is_list => {}
        (None, _) if !is_list => {
            let message = "Data without an InputType is not supported: name JSON, JSONL, CSV or MANIFEST";
            refuse("", message.to_owned());
        }
        // Listed objects would be read as if they were in this format.
        (Some(kind), _) if is_list && !flattens => {
            let message =
                format!("The InputType {kind} is not supported for a list of objects: leave it out");
            refuse("/InputType", message);
        }
        (Some("MANIFEST"), _) if is_list => {
            let message =
                "The InputType MANIFEST is not supported for the objects of a list: read the manifest";
            refuse("/InputType", message.to_owned());
        }
        (Some("MANIFEST"), Some("ATHENA_DATA")) => {
            let message =
                "The InputType MANIFEST is not supported for one of Athena: name the format of its files";
            refuse("/InputType", message.to_owned());
        }
        (Some("JSONL"), Some("S3_INVENTORY")) => {
            let message =
                "The InputType JSONL is not supported for S3 Inventory, whose files are CSV: leave it out";
            refuse("/InputType", message.to_owned());
        }
        _ => {}
    }
    if let Some(kind) = manifest.filter(|_| is_list) {
        refuse("/ManifestType", format!("The ManifestType {kind} is not supported for a list of objects"));
    }
    if flattens && !is_list {
        let message =
            "The Transformation LOAD_AND_FLATTEN is not supported but for lists of objects: leave it out";
        refuse("/Transformation", message.to_owned());
    }
    refused
}
