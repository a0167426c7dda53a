//! Map states.

use super::{integer_setting, number, setting, text, workflow};
use crate::asl::model::{ItemBatcher, ItemReader, Map, MapMode, QueryLanguage, ResultWriter};
use crate::asl::place::Place;
use crate::json::source::Node;

pub(super) fn map(node: &Node, place: Place<'_>, machine: QueryLanguage) -> Option<Map> {
    let name = if node.get("ItemProcessor").is_some() { "ItemProcessor" } else { "Iterator" };
    let processor = node.get(name)?;
    let percentage = "ToleratedFailurePercentage";
    Some(Map {
        processor: workflow(processor, place.field(name), machine)?,
        mode: mode(processor),
        items: node.get("Items").cloned(),
        items_path: text(node, "ItemsPath"),
        item_selector: node.get("ItemSelector").or(node.get("Parameters")).cloned(),
        max_concurrency: integer_setting(node, "MaxConcurrency", "MaxConcurrencyPath"),
        tolerated_failure_count: integer_setting(node, "ToleratedFailureCount", "ToleratedFailureCountPath"),
        tolerated_failure_percentage: setting(node, percentage, "ToleratedFailurePercentagePath", |field| {
            number(Some(field))
        }),
        label: text(node, "Label"),
        item_reader: node.get("ItemReader").and_then(item_reader),
        item_batcher: node.get("ItemBatcher").map(item_batcher),
        result_writer: node.get("ResultWriter").map(result_writer),
    })
}

fn mode(processor: &Node) -> MapMode {
    let config = processor.get("ProcessorConfig");
    let field = |name| config.and_then(|it| it.get(name)).and_then(Node::as_str);
    match (field("Mode"), field("ExecutionType")) {
        (Some("DISTRIBUTED"), Some("EXPRESS")) => MapMode::DistributedExpress,
        (Some("DISTRIBUTED"), _) => MapMode::DistributedStandard,
        _ => MapMode::Inline,
    }
}

fn arguments(node: &Node) -> Option<Node> {
    node.get("Parameters").or(node.get("Arguments")).cloned()
}

fn item_reader(node: &Node) -> Option<ItemReader> {
    let config = node.get("ReaderConfig");
    Some(ItemReader {
        resource: text(node, "Resource")?,
        arguments: arguments(node),
        config: config.cloned(),
        max_items: config.and_then(|config| integer_setting(config, "MaxItems", "MaxItemsPath")),
    })
}

fn item_batcher(node: &Node) -> ItemBatcher {
    ItemBatcher {
        batch_input: node.get("BatchInput").cloned(),
        items_max: integer_setting(node, "MaxItemsPerBatch", "MaxItemsPerBatchPath"),
        input_bytes_max: integer_setting(node, "MaxInputBytesPerBatch", "MaxInputBytesPerBatchPath"),
    }
}

fn result_writer(node: &Node) -> ResultWriter {
    ResultWriter {
        resource: text(node, "Resource"),
        arguments: arguments(node),
        config: node.get("WriterConfig").cloned(),
    }
}
