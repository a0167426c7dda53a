//! The data of an `ItemReader`: one object, the objects of a list (`LOAD_AND_FLATTEN`), or those in a manifest, one
//! after the other (developer guide, "ItemReader").

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use serde_json::{Value as Json, json};

use super::holding::Bounds;
use super::reader::Items;
use crate::fault::{self, Fault};
use crate::json::{Arena, Value};
use crate::program::{Dataset, Format, ItemReader};
use crate::task::Handlers;
use crate::task::data::DataStore;

/// Bytes of the name of an object.
const PLACE_BYTES_MAX: usize = 4 << 10;
/// Work of opening an object.
const OBJECT_WORK: u64 = 5_000;
/// Bytes of an entry of a list of objects.
const ENTRY_BYTES_MAX: usize = 64 << 10;
/// Files of a manifest of S3 Inventory; members of one, and of a file in it.
const FILES_MAX: usize = 1 << 20;
const MEMBERS_MAX: usize = 100;
/// Bytes of the names of columns in one.
const SCHEMA_BYTES_MAX: usize = 10 << 10;

/// Reads items.
pub(super) struct Reader {
    resource: Box<str>,
    format: Format,
    pointer: Option<Box<str>>,
    dataset: Dataset,
    arguments: Json,
    items_max: i64,
    stores: Arc<Handlers<dyn DataStore>>,
    bounds: Bounds,
    stage: Stage,
}

enum Stage {
    /// Opened with the first item.
    Closed,
    One(Box<Items>),
    Several(Box<Several>),
}

/// Several objects.
struct Several {
    names: Names,
    /// The format of their data.
    format: Format,
    resource: String,
    /// Those of reading an object, beside the names that are held.
    bounds: Bounds,
    /// The object that is being read, and its name.
    now: Option<(Items, String)>,
    /// How many items may still be read.
    left: u64,
}

/// The source of objects' names.
enum Names {
    /// Objects of a list, and the text of one.
    Listed(Items, Vec<u8>),
    /// A manifest of S3 Inventory, and its files when it was read.
    Inventory(Items, Option<Files>),
    /// Lines of a manifest of Athena.
    Lines(Items, Vec<u8>),
}

/// The files of a manifest of S3 Inventory.
struct Files {
    list: Value,
    next: usize,
    bucket: Option<Box<str>>,
}

fn failed(cause: impl Into<String>) -> Fault {
    Fault::new(fault::ITEM_READER_FAILED, cause)
}

impl Reader {
    pub(super) fn new(
        reader: &ItemReader,
        arguments: Json,
        items_max: i64,
        stores: Arc<Handlers<dyn DataStore>>,
        bounds: Bounds,
    ) -> Reader {
        Reader {
            resource: reader.resource.clone(),
            format: reader.format.clone(),
            pointer: reader.pointer.clone(),
            dataset: reader.dataset,
            arguments,
            items_max,
            stores,
            bounds,
            stage: Stage::Closed,
        }
    }

    /// Reads the next item into `item`, JSON text that may be invalid. Returns false at the end.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        item: &mut Vec<u8>,
    ) -> Poll<Result<bool, Fault>> {
        if matches!(self.stage, Stage::Closed) {
            self.stage = self.open()?;
        }
        match &mut self.stage {
            Stage::Closed => Poll::Ready(Ok(false)),
            Stage::One(items) => items.poll_next(context, item),
            Stage::Several(_) => self.poll_several(context, item),
        }
    }

    /// The version of the data, when some of it was read.
    pub(super) fn version(&self) -> Option<String> {
        match &self.stage {
            Stage::Closed => None,
            Stage::One(items) => items.version(),
            Stage::Several(several) => match &several.names {
                Names::Listed(items, _) | Names::Inventory(items, _) | Names::Lines(items, _) => {
                    items.version()
                }
            },
        }
    }

    /// The object of the last item, if it is not the one in the arguments.
    pub(super) fn place(&self) -> Option<&str> {
        match &self.stage {
            Stage::Several(several) if self.dataset == Dataset::Flattened => {
                several.now.as_ref().map(|(_, place)| &**place)
            }
            _ => None,
        }
    }

    fn open(&self) -> Result<Stage, Fault> {
        // Recorded.
        let positive = || failed("field MaxItems must be positive");
        let items_max = u64::try_from(self.items_max).map_err(|_| positive())?;
        let (format, pointer) = match self.dataset {
            Dataset::One => {
                let (format, pointer) = (&self.format, self.pointer.as_deref());
                let items = self.items(&self.resource, &self.arguments, format, pointer, &self.bounds);
                return Ok(Stage::One(Box::new(items?.at_most(items_max))));
            }
            Dataset::Flattened => (Format::List, None),
            // As a whole: it is an object, whose members are its items.
            Dataset::Inventory => (Format::Json, Some("")),
            Dataset::Athena => (Format::JsonLines, None),
        };
        let items = self.items(&self.resource, &self.arguments, &format, pointer, &self.bounds)?;
        let names = match self.dataset {
            Dataset::Inventory => Names::Inventory(items, None),
            Dataset::Athena => Names::Lines(items, Vec::new()),
            Dataset::One | Dataset::Flattened => Names::Listed(items, Vec::new()),
        };
        let resource = self.resource.replace(":s3:listObjectsV2", ":s3:getObject");
        let left = if items_max == 0 { u64::MAX } else { items_max };
        Ok(Stage::Several(Box::new(Several {
            names,
            format: self.format.clone(),
            resource,
            bounds: self.bounds.clone(),
            now: None,
            left,
        })))
    }

    /// The items of the data in these arguments.
    fn items(
        &self,
        resource: &str,
        arguments: &Json,
        format: &Format,
        pointer: Option<&str>,
        bounds: &Bounds,
    ) -> Result<Items, Fault> {
        if *format == Format::Parquet && arguments.get("VersionId").is_some_and(|version| !version.is_null())
        {
            // Measured.
            return Err(failed("S3 Version ID selection is not currently supported for PARQUET files"));
        }
        let store = self.stores.find(resource);
        let nobody = || failed(format!("Nothing reads items of the resource {resource} here"));
        let data = store.ok_or_else(nobody)?.read(arguments).map_err(failed)?;
        Items::new(data, format, pointer, bounds.clone())
    }

    fn poll_several(&mut self, context: &mut Context<'_>, item: &mut Vec<u8>) -> Poll<Result<bool, Fault>> {
        loop {
            let Stage::Several(several) = &mut self.stage else { return Poll::Ready(Ok(false)) };
            if several.left == 0 {
                return Poll::Ready(Ok(false));
            }
            if let Some((items, place)) = &mut several.now {
                if self.bounds.allowance.is_spent() {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let read = ready!(items.poll_next(context, item)).map_err(|fault| within(place, fault))?;
                if read {
                    several.left -= 1;
                    return Poll::Ready(Ok(true));
                }
                several.now = None;
            }
            let Some(name) = ready!(several.poll_name(context, &self.arguments))? else {
                return Poll::Ready(Ok(false));
            };
            self.bounds.allowance.charge(OBJECT_WORK);
            let (resource, format) = (several.resource.clone(), several.format.clone());
            let place = place_of(&name);
            let bounds = several.bounds.clone();
            let items = self.items(&resource, &name, &format, self.pointer.as_deref(), &bounds);
            let items = items.map_err(|fault| within(&place, fault))?;
            let Stage::Several(several) = &mut self.stage else { return Poll::Ready(Ok(false)) };
            several.now = Some((items, place));
        }
    }
}

/// Adds the object to a fault.
fn within(place: &str, fault: Fault) -> Fault {
    let cause = format!("{place}: {}", fault.cause.as_deref().unwrap_or(""));
    Fault { cause: Some(cause), ..fault }
}

/// An object's name, as in `Map.Item.Source`.
fn place_of(name: &Json) -> String {
    let text = |member: &str| name.get(member).and_then(Json::as_str).unwrap_or("");
    match name.get("Path") {
        Some(_) => text("Path").to_owned(),
        None => format!("s3://{}/{}", text("Bucket"), text("Key")),
    }
}

impl Several {
    /// The arguments for reading the next object.
    fn poll_name(&mut self, context: &mut Context<'_>, of: &Json) -> Poll<Result<Option<Json>, Fault>> {
        loop {
            match &mut self.names {
                Names::Listed(items, text) => {
                    if !ready!(items.poll_next(context, text))? {
                        return Poll::Ready(Ok(None));
                    }
                    if text.len() > ENTRY_BYTES_MAX {
                        return Poll::Ready(Err(failed("An entry of the list is larger than 64 KiB")));
                    }
                    let listed: Json = serde_json::from_slice(text)
                        .map_err(|error| failed(format!("The list cannot be read: {error}")))?;
                    // An entry for a folder has no items.
                    match listed.get("Key").and_then(Json::as_str) {
                        Some(key) if !key.ends_with('/') => {
                            return Poll::Ready(Ok(Some(named(of, None, key))));
                        }
                        _ => {}
                    }
                }
                Names::Lines(items, text) => {
                    if !ready!(items.poll_next(context, text))? {
                        return Poll::Ready(Ok(None));
                    }
                    return Poll::Ready(line(text, of).map(Some));
                }
                Names::Inventory(items, files) => {
                    let (manifest, whole) = ready!(items.poll_whole(context))?;
                    if let Some(files) = files {
                        return Poll::Ready(files.next(manifest, of));
                    }
                    let (found, format) = inventory(manifest, whole)?;
                    *files = Some(found);
                    self.bounds = self.bounds.beside(manifest.capacity_bytes());
                    if self.format == Format::Manifest {
                        self.format = format;
                    }
                }
            }
        }
    }
}

/// The arguments for an object of a bucket, by default that of these arguments; or for a file.
fn named(of: &Json, bucket: Option<&str>, key: &str) -> Json {
    if of.get("Path").is_some() {
        return json!({"Path": key});
    }
    let mut name = json!({"Bucket": bucket.map_or_else(|| of["Bucket"].clone(), Json::from), "Key": key});
    if let Some(owner) = of.get("ExpectedBucketOwner") {
        name["ExpectedBucketOwner"] = owner.clone();
    }
    name
}

/// A line of a manifest of Athena: `s3://bucket/key`.
fn line(text: &[u8], of: &Json) -> Result<Json, Fault> {
    let shown = String::from_utf8_lossy(&text[..text.len().min(PLACE_BYTES_MAX)]);
    let place = shown.trim().trim_matches('"');
    let split = place.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    match split {
        Some((bucket, key)) if text.len() <= PLACE_BYTES_MAX && !key.is_empty() => {
            Ok(named(of, Some(bucket), key))
        }
        None if of.get("Path").is_some() => Ok(named(of, None, place)),
        _ => Err(failed(format!("The manifest names no object of S3 in '{place}'"))),
    }
}

fn not_inventory(why: impl std::fmt::Display) -> Fault {
    failed(format!("The data is no manifest of S3 Inventory: {why}"))
}

/// The files in a manifest of S3 Inventory, and the format of rows in them (S3 user guide, "Inventory manifest").
fn inventory(manifest: &Arena, whole: Value) -> Result<(Files, Format), Fault> {
    let text =
        |name: &str| Ok::<_, Fault>(member(manifest, whole, name)?.and_then(|value| manifest.as_str(value)));
    match text("fileFormat")? {
        Some("CSV") => {}
        Some(other) => {
            let other: String = other.chars().take(64).collect();
            return Err(failed(format!(
                "The files of the inventory are {other}: Step Functions reads CSV only"
            )));
        }
        None => return Err(not_inventory("it has no fileFormat")),
    }
    let schema = text("fileSchema")?.ok_or_else(|| not_inventory("it has no fileSchema"))?;
    if schema.len() > SCHEMA_BYTES_MAX {
        return Err(not_inventory("its fileSchema is larger than 10 KiB"));
    }
    let headers = schema.split(',').map(|name| name.trim().into()).collect();
    let bucket = text("destinationBucket")?.map(|bucket| bucket.rsplit(':').next().unwrap_or(bucket));
    if bucket.is_some_and(|bucket| bucket.len() > PLACE_BYTES_MAX) {
        return Err(not_inventory("its destinationBucket is too long"));
    }
    let list = member(manifest, whole, "files")?.filter(|list| list.is_array());
    let list = list.ok_or_else(|| not_inventory("it has no files"))?;
    if list.len() > FILES_MAX {
        return Err(failed(format!("The manifest names more than {FILES_MAX} files")));
    }
    let files = Files { list, next: 0, bucket: bucket.map(Into::into) };
    Ok((files, Format::Csv { delimiter: b',', headers: Some(headers) }))
}

/// A member of an object that has few.
fn member(manifest: &Arena, of: Value, name: &str) -> Result<Option<Value>, Fault> {
    if of.is_object() && of.len() > MEMBERS_MAX {
        return Err(not_inventory(format!("an object in it has more than {MEMBERS_MAX} members")));
    }
    Ok(manifest.get_str(of, name))
}

impl Files {
    /// The arguments for reading the next one.
    fn next(&mut self, manifest: &Arena, of: &Json) -> Result<Option<Json>, Fault> {
        let Some(file) = manifest.item(self.list, self.next) else { return Ok(None) };
        self.next += 1;
        let key = member(manifest, file, "key")?.and_then(|key| manifest.as_str(key));
        let key = key.ok_or_else(|| not_inventory("a file has no key"))?;
        if key.len() > PLACE_BYTES_MAX {
            return Err(not_inventory("the key of a file is too long"));
        }
        Ok(Some(named(of, self.bucket.as_deref(), key)))
    }
}
