//! Modelled services: the optimised integrations that are one operation, and the SDK integrations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value as Json, json};

use super::answer;
use super::caller::Caller;
use super::credentials::Credentials;
use super::endpoint;
use super::endpoint::Endpoint;
use super::failure::{self, Optimised, ServiceError};
use super::http1::Reply;
use super::idempotency;
use super::model;
use super::parameters::refuse;
use super::percent;
use super::pool::ANSWER_BYTES_MAX;
use super::query_protocol::{self, Element};
use super::request::{CallError, Draft};
use super::rest;
use super::rest_xml;
use super::route53;
use super::s3;
use super::settings::Settings;
use super::sign::{self, Scope};
use super::wire;
use crate::fault;
use crate::json::{self, Arena, Value};
use crate::models::{self, Member, Naming, Operation, Protocol, Type, names};
use crate::task::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};

/// An optimised integration.
pub(super) struct Integration {
    /// Its name in resources.
    service: &'static str,
    /// The same service in SDK integrations.
    package: &'static str,
    /// Actions that are the operation of the same name.
    actions: &'static [&'static str],
    names: Optimised,
}

impl Integration {
    /// AWS's identifier of its service.
    fn service_id(&self) -> Result<String, String> {
        let known = models::identifier(self.package).map(str::to_owned);
        known.ok_or_else(|| format!("The service '{}' is not supported", self.service))
    }

    /// One operation of its service, by an action's name.
    pub(super) fn operation(&self, settings: &Settings, action: &str) -> Result<Modelled, String> {
        modelled(settings, self.package, action, Some(self.names))
    }
}

const fn integration(
    service: &'static str,
    package: &'static str,
    actions: &'static [&'static str],
    prefix: &'static str,
    client: &'static str,
    unknown: &'static str,
) -> Integration {
    let names = Optimised { prefix, service: client, unknown, resource_type: service };
    Integration { service, package, actions, names }
}

/// The prefixes of an optimised integration's error names.
macro_rules! integrations {
    ($($service:literal, $package:literal, $prefix:literal, $client:literal, $unknown:literal: $($action:literal)*;)*) => {
        [$(integration($service, $package, &[$($action),*], $prefix, $client, $unknown)),*]
    };
}

const INTEGRATIONS: [Integration; 19] = integrations! {
    "sqs", "sqs", "SQS", "AmazonSQS", "AmazonSQSException": "sendMessage";
    "sns", "sns", "SNS", "AmazonSNS", "AmazonSNSException": "publish";
    "dynamodb", "dynamodb", "DynamoDB", "AmazonDynamoDBv2", "AmazonDynamoDBException": "getItem" "putItem" "updateItem" "deleteItem";
    "events", "eventbridge", "EventBridge", "AmazonEventBridge", "AmazonEventBridgeException": "putEvents";
    "states", "sfn", "StepFunctions", "AWSStepFunctions", "AWSStepFunctionsException": "startExecution";
    "ecs", "ecs", "ECS", "AmazonECS", "AmazonECSException": "runTask";
    "batch", "batch", "Batch", "AWSBatch", "AWSBatchException": "submitJob";
    "glue", "glue", "Glue", "AWSGlue", "AWSGlueException": "startJobRun";
    "databrew", "databrew", "DataBrew", "AWSGlueDataBrew", "AWSGlueDataBrewException": "startJobRun";
    "athena", "athena", "Athena", "AmazonAthena", "AmazonAthenaException":
        "startQueryExecution" "stopQueryExecution" "getQueryExecution" "getQueryResults";
    "elasticmapreduce", "emr", "ElasticMapReduce", "AmazonElasticMapReduce", "AmazonElasticMapReduceException":;
    "emr-containers", "emrcontainers", "EMRContainers", "AmazonEMRContainers", "AmazonEMRContainersException":
        "createVirtualCluster" "deleteVirtualCluster" "startJobRun";
    "emr-serverless", "emrserverless", "EMRServerless", "AWSEMRServerless", "AWSEMRServerlessException":
        "createApplication" "startApplication" "stopApplication" "deleteApplication" "startJobRun" "cancelJobRun";
    "eks", "eks", "EKS", "AmazonEKS", "AmazonEKSException":
        "createCluster" "deleteCluster" "createNodegroup" "deleteNodegroup" "createFargateProfile" "deleteFargateProfile";
    "sagemaker", "sagemaker", "SageMaker", "AmazonSageMaker", "AmazonSageMakerException":
        "createTrainingJob" "createTransformJob" "createHyperParameterTuningJob" "createLabelingJob"
        "createProcessingJob" "createAutoMLJob" "createAutoMLJobV2" "createModel" "createEndpoint"
        "createEndpointConfig" "updateEndpoint";
    "codebuild", "codebuild", "CodeBuild", "AWSCodeBuild", "AWSCodeBuildException":
        "startBuild" "stopBuild" "batchDeleteBuilds" "batchGetReports" "startBuildBatch" "stopBuildBatch"
        "retryBuildBatch" "deleteBuildBatch";
    "mediaconvert", "mediaconvert", "MediaConvert", "AWSMediaConvert", "AWSMediaConvertException": "createJob";
    "bedrock", "bedrock", "Bedrock", "AmazonBedrock", "AmazonBedrockException": "createModelCustomizationJob";
    "bedrockagentcore", "bedrockagentcore", "BedrockAgentCore", "AmazonBedrockAgentCore", "AmazonBedrockAgentCoreException":;
};

/// The optimised integration of a service.
pub(super) fn integration_of(service: &str) -> Result<&'static Integration, String> {
    let found = INTEGRATIONS.iter().find(|it| it.service == service);
    found.ok_or_else(|| format!("The service '{service}' is not supported"))
}

/// Does one operation of one service.
#[derive(Clone, Debug)]
pub(super) struct Modelled {
    caller: Arc<Caller>,
    operation: Operation,
    protocol: Protocol,
    /// `None` for an SDK integration.
    optimised: Option<Optimised>,
    /// Whether the service has a member for an idempotency key.
    has_key: bool,
}

/// The handler of an optimised integration, if it is one of these.
pub(super) fn optimised(
    settings: &Settings,
    service: &str,
    action: &str,
) -> Option<Result<Modelled, String>> {
    let found = INTEGRATIONS.iter().find(|it| it.service == service && it.actions.contains(&action))?;
    Some(modelled(settings, found.package, action, Some(found.names)))
}

/// AWS's identifier of a resource's service.
pub(super) fn identifier(service: &str, action: &str) -> Result<String, String> {
    let action = action.strip_suffix(".waitForTaskToken").unwrap_or(action);
    let found = match service.strip_prefix("aws-sdk:") {
        Some(package) => model::find(package, action, Naming::Java),
        None => return integration_of(service)?.service_id(),
    };
    found.map(|(operation, _)| operation.service.id.clone())
}

/// The handler of an SDK integration.
pub(super) fn sdk(settings: &Settings, service: &str, action: &str) -> Result<Modelled, String> {
    modelled(settings, service, action, None)
}

fn modelled(
    settings: &Settings,
    package: &str,
    action: &str,
    optimised: Option<Optimised>,
) -> Result<Modelled, String> {
    let naming = if optimised.is_some() { Naming::Service } else { Naming::Java };
    let (operation, protocol) = model::find(package, action, naming)?;
    let service = operation.service;
    let region = endpoint::region_of_all(service.host, settings.region());
    let caller = Arc::new(Caller::new(settings, &service.id, service.host, service.signing, region)?);
    let has_key = idempotency::has_member(&operation);
    Ok(Modelled { caller, operation, protocol, optimised, has_key })
}

/// A request that is not sent yet.
#[derive(Debug)]
pub(super) struct Asked {
    method: &'static str,
    draft: Draft,
    /// What the host begins with, if it is not the service's own.
    host: Option<String>,
    copy: Option<RegionCopy>,
}

#[cfg(test)]
impl Asked {
    pub(super) fn draft(&self) -> &Draft {
        &self.draft
    }
}

/// What a service answered.
#[derive(Debug)]
pub(super) struct Answered {
    /// For workflows.
    pub(super) output: Json,
    pub(super) reply: Reply,
    pub(super) request_id: String,
}

/// Why an operation failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A retry may succeed.
    Passing(TaskError),
    /// The resource does not exist.
    Missing(TaskError),
    Lasting(TaskError),
}

impl Trouble {
    pub(super) fn into_error(self) -> TaskError {
        match self {
            Trouble::Passing(error) | Trouble::Missing(error) | Trouble::Lasting(error) => error,
        }
    }
}

/// Codes of temporary refusals, with any status.
const PASSING: [&str; 5] =
    ["Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown", "ServiceUnavailable"];

impl AsyncHandler for Modelled {
    fn begin(&self, call: &Call<'_>, attempt: Attempt) -> Result<TaskFuture, TaskError> {
        let (arena, input) = (&*call.arena, call.input);
        let key = attempt.idempotency_key();
        let mut asked = self.asked(arena, input, key.as_deref()).map_err(|why| refuse(arena, input, &why))?;
        if self.operation.name == "PutEvents" && self.optimised.is_some() {
            add_resources(&mut asked.draft.body, attempt.execution_arn());
        }
        let this = self.clone();
        Ok(Box::pin(async move {
            let Answered { output, reply, request_id } =
                this.ask(asked).await.map_err(Trouble::into_error)?;
            match this.optimised {
                None => serde_json::to_vec(&output).map_err(unreadable),
                Some(names) if this.operation.name == "PutEvents" => entries(names, &output),
                Some(_) => with_metadata(&output, &reply, &request_id),
            }
        }))
    }

    fn wants_attempt(&self) -> bool {
        // Events have the execution they come from.
        self.operation.name == "PutEvents" && self.optimised.is_some()
    }

    fn calls_out(&self) -> bool {
        !self.caller.own_endpoint
    }

    fn wants_key(&self) -> bool {
        self.has_key
    }
}

impl Modelled {
    #[cfg(test)]
    pub(super) fn operation(&self) -> &Operation {
        &self.operation
    }

    /// A request with these parameters, and with `key`, if the service has a member for it.
    ///
    /// # Errors
    /// What is wrong with the parameters, in AWS's words.
    pub(super) fn asked(&self, arena: &Arena, input: Value, key: Option<&str>) -> Result<Asked, String> {
        let (method, draft, host) = self.draft(arena, input, key)?;
        let region = self.caller.region();
        let copy = copy(&self.operation, self.protocol, arena, input, region);
        Ok(Asked { method, draft, host, copy })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When there is no answer, or the service refuses.
    pub(super) async fn ask(&self, asked: Asked) -> Result<Answered, Trouble> {
        let reply = self.reply(asked, ANSWER_BYTES_MAX).await?;
        let (output, request_id) =
            result(&self.operation, self.protocol, &reply).map_err(Trouble::Lasting)?;
        Ok(Answered { output, reply, request_id })
    }

    /// Sends a request, and returns an answer with success.
    ///
    /// # Errors
    /// When there is no answer, or the service refuses.
    pub(super) async fn reply(&self, asked: Asked, bytes_max: usize) -> Result<Reply, Trouble> {
        let Modelled { caller, operation, protocol, optimised, .. } = self;
        let Asked { method, mut draft, host, copy } = asked;
        let at_host = host.map(|host| caller.at_host(&host)).transpose();
        let at_host =
            at_host.map_err(|why| Trouble::Lasting(unanswered(operation, CallError::Client(why))))?;
        let caller = at_host.as_ref().unwrap_or(caller);
        if let Some(copy) = copy {
            let failed = |why| Trouble::Lasting(unanswered(operation, CallError::Client(why)));
            if let Some(credentials) = caller.credentials().await.map_err(failed)? {
                let now = SystemTime::now();
                copy.add(&credentials, operation, caller.region(), now, &mut draft.body).map_err(failed)?;
            }
        }
        let reply = caller.send(method, &draft, bytes_max).await.map_err(|error| {
            let passes = matches!(error, CallError::Client(_));
            let error = match optimised {
                Some(names) => names.unanswered(error),
                None => unanswered(operation, error),
            };
            if passes { Trouble::Passing(error) } else { Trouble::Lasting(error) }
        })?;
        let is_success = reply.status.is_success();
        let error = match protocol {
            Protocol::RestXml if operation.service.id == "S3" => rest_xml::error_of_s3(operation, &reply),
            Protocol::RestXml => (!is_success).then(|| failure::xml_error(&reply)),
            Protocol::Json | Protocol::Rest => (!is_success).then(|| failure::json_error(&reply)),
            Protocol::Query | Protocol::Ec2 => (!is_success).then(|| failure::xml_error(&reply)),
        };
        if let Some(error) = error {
            let is_slow = reply.status.as_u16() == 429 || reply.status.is_server_error();
            let is_passing = is_slow || PASSING.iter().any(|code| error.kind.contains(code));
            let is_missing = reply.status.as_u16() == 404 || error.kind.contains("NotFound");
            let refused = refused(operation, *optimised, &reply, &error);
            return Err(match (is_passing, is_missing) {
                (true, _) => Trouble::Passing(refused),
                (false, true) => Trouble::Missing(refused),
                (false, false) => Trouble::Lasting(refused),
            });
        }
        Ok(reply)
    }

    /// An exception in a stream of events that began with success.
    pub(super) fn refused(&self, reply: &Reply, error: &ServiceError) -> TaskError {
        refused(&self.operation, self.optimised, reply, error)
    }

    /// Sends a request with parameters that are known to be valid.
    ///
    /// # Errors
    /// When there is no answer, or the service refuses.
    pub(super) async fn ask_json(&self, parameters: &Json) -> Result<Answered, Trouble> {
        let mut arena = Arena::default();
        let text = parameters.to_string();
        let asked = match json::read(&mut arena, text.as_bytes()) {
            Ok(value) => self.asked(&arena, value, None),
            Err(error) => Err(error.to_string()),
        };
        drop(arena);
        let asked = asked.map_err(|why| Trouble::Lasting(TaskError::new(fault::RUNTIME, why)))?;
        self.ask(asked).await
    }

    /// The method, the request, and what the host begins with.
    fn draft(
        &self,
        arena: &Arena,
        input: Value,
        key: Option<&str>,
    ) -> Result<(&'static str, Draft, Option<String>), String> {
        let operation = &self.operation;
        let service = operation.service;
        let kind = operation.input.map(Type::Shape);
        if !input.is_object() || (kind.is_none() && !input.is_empty()) {
            return Err("The value must be an object".to_owned());
        }
        let key = idempotency::added(operation, arena, input, key);
        let (mut body, mut headers) = (Vec::new(), Vec::with_capacity(2));
        match self.protocol {
            Protocol::Rest => {
                let (method, draft) = rest::draft(operation, arena, input, key.as_ref())?;
                return Ok((method, draft, self.host(arena, input)?));
            }
            Protocol::RestXml => {
                return rest_xml::draft(operation, arena, input, key.as_ref(), !self.caller.own_endpoint);
            }
            Protocol::Json => {
                headers.push(("content-type", format!("application/x-amz-json-{}", service.version).into()));
                headers.push(("x-amz-target", format!("{}.{}", service.target, operation.name).into()));
                match kind {
                    Some(kind) => wire::write_json(operation, arena, kind, input, "", &mut body)?,
                    None => body.extend_from_slice(b"{}"),
                }
            }
            Protocol::Query | Protocol::Ec2 => {
                let form = "application/x-www-form-urlencoded; charset=utf-8";
                headers.push(("content-type", form.into()));
                let mut text = String::new();
                percent::pair("Action", operation.name, &mut text);
                percent::pair("Version", service.version, &mut text);
                if let Some(kind) = kind {
                    query_protocol::write(operation, arena, kind, input, "", &mut text)?;
                }
                body = text.into_bytes();
            }
        }
        if let Some(key) = &key {
            idempotency::write(self.protocol, key, &mut body);
        }
        let draft = Draft { path: "/".to_owned(), headers, body, ..Draft::default() };
        Ok(("POST", draft, self.host(arena, input)?))
    }

    /// What AWS's host begins with, of an operation that has one of its own: `sync-states`.
    ///
    /// # Errors
    /// When a member that belongs there cannot be part of a host.
    fn host(&self, arena: &Arena, input: Value) -> Result<Option<String>, String> {
        let Operation { service, host, .. } = self.operation;
        let Some(prefix) = host.filter(|_| !self.caller.own_endpoint) else { return Ok(None) };
        let Some((before, rest)) = prefix.split_once('{') else {
            return Ok(Some(format!("{prefix}{}", service.host)));
        };
        let (name, after) = match rest.split_once('}') {
            Some(parts) => parts,
            None => unreachable!("the model has names in braces: {prefix}"),
        };
        let members = self.operation.input.map(|shape| self.operation.members(shape)).unwrap_or(&[]);
        let member = members.iter().find(|member| member.name(Naming::Service).eq_ignore_ascii_case(name));
        let member = member.map_or(name, |member| member.name(self.operation.naming));
        let given = arena.get_str(input, member).and_then(|value| arena.as_str(value));
        let given = given.ok_or_else(|| format!("The field '{member}' is required but was missing"))?;
        let is_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if given.is_empty() || !given.bytes().all(is_label) {
            return Err(wire::invalid(member));
        }
        Ok(Some(format!("{before}{given}{after}{}", service.host)))
    }
}

/// How long the service may take to make the request to the other region.
const COPY_SECONDS: u32 = 3_600;

/// A copy from another region, whose signed request to that region is not given: `PresignedUrl` of EC2's CopySnapshot, and
/// `PreSignedUrl` of what RDS copies. AWS's SDK makes it.
#[derive(Clone, Debug)]
struct RegionCopy {
    source_region: String,
    /// The member for the URL.
    member: &'static Member,
}

/// The copy that these parameters ask for, if its URL is to be made.
fn copy(
    operation: &Operation,
    protocol: Protocol,
    arena: &Arena,
    input: Value,
    region: &str,
) -> Option<RegionCopy> {
    let members = operation.members(operation.input?);
    let member = members.iter().find(|member| member.wire.eq_ignore_ascii_case("PresignedUrl"))?;
    let given = |name: &str| arena.get_str(input, name).and_then(|value| arena.as_str(value));
    if !matches!(protocol, Protocol::Query | Protocol::Ec2) || given(member.name(operation.naming)).is_some()
    {
        return None;
    }
    let source_region = given("SourceRegion").filter(|region| !region.is_empty())?;
    // RDS wants none for a copy within a region.
    (protocol == Protocol::Ec2 || source_region != region)
        .then(|| RegionCopy { source_region: source_region.to_owned(), member })
}

impl RegionCopy {
    /// Adds the URL to a form that is to be sent to `region`, and what EC2 wants beside it.
    ///
    /// # Errors
    /// The error for a source region that is not the name of a region.
    fn add(
        &self,
        credentials: &Credentials,
        operation: &Operation,
        region: &str,
        now: SystemTime,
        body: &mut Vec<u8>,
    ) -> Result<(), String> {
        let service = operation.service;
        let endpoint = Endpoint::of_aws(service.host, &self.source_region)?;
        let mut form = String::from_utf8_lossy(body).into_owned();
        let (mut destination, in_copy) = (String::new(), form.contains("&DestinationRegion="));
        if !in_copy {
            percent::pair("DestinationRegion", region, &mut destination);
        }
        let pairs = [form.as_str(), &destination].into_iter().filter(|part| !part.is_empty());
        let pairs = pairs.collect::<Vec<_>>().join("&");
        let scope = Scope { region: &self.source_region, service: service.signing };
        let host = endpoint.origin.authority();
        let url = sign::url(credentials, scope, &[("host", &host)], &pairs, COPY_SECONDS, now);
        if service.id == "EC2" && !in_copy {
            percent::pair("DestinationRegion", region, &mut form);
        }
        percent::pair(self.member.wire, &url, &mut form);
        *body = form.into_bytes();
        Ok(())
    }
}

/// A service's answer, and the identifier it gave the request.
fn result(operation: &Operation, protocol: Protocol, reply: &Reply) -> Result<(Json, String), TaskError> {
    let header = answer::request_id(&reply.fields).to_owned();
    let Some(shape) = operation.output else { return Ok((json!({}), header)) };
    let output = Type::Shape(shape);
    match protocol {
        Protocol::RestXml => {
            let output = rest_xml::read(operation, shape, reply);
            let mut output = output.ok_or_else(|| unreadable("it is not what its model says"))?;
            if operation.service.id == "Route 53" {
                route53::cut_paths(operation.name, &mut output);
            }
            Ok((output, header))
        }
        Protocol::Json => {
            let body: Json = if reply.body.is_empty() {
                json!({})
            } else {
                serde_json::from_slice(&reply.body).map_err(unreadable)?
            };
            Ok((wire::read_json(operation, output, body), header))
        }
        Protocol::Rest => Ok((rest::read(operation, shape, reply).map_err(unreadable)?, header)),
        Protocol::Query | Protocol::Ec2 => {
            let root = Element::parse(&reply.body).ok_or_else(|| unreadable("it is not XML"))?;
            let id = match protocol {
                Protocol::Ec2 => root.child("requestId"),
                _ => root.child("ResponseMetadata").and_then(|metadata| metadata.child("RequestId")),
            };
            let id = id.map(|id| id.text.clone());
            let inner = match operation.wrapper {
                Some(wrapper) => root.child(wrapper).ok_or_else(|| unreadable("it has no result"))?,
                None => &root,
            };
            let output = query_protocol::read(operation, output, inner);
            let output = output.ok_or_else(|| unreadable("a value has another type than it should have"))?;
            Ok((output, id.unwrap_or(header)))
        }
    }
}

/// The service's answer does not match its model.
fn unreadable(why: impl std::fmt::Display) -> TaskError {
    TaskError::new(fault::RUNTIME, format!("The service's answer cannot be read: {why}"))
}

/// The result of an optimised integration: the answer, with metadata.
pub(super) fn with_metadata(output: &Json, reply: &Reply, request_id: &str) -> Result<Vec<u8>, TaskError> {
    let none = Map::new();
    let mut members: Vec<(&String, &Json)> = output.as_object().unwrap_or(&none).iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    let split = members.partition_point(|(name, _)| name.as_str() < "SdkHttpMetadata");
    let mut out = vec![b'{'];
    let write = |out: &mut Vec<u8>, members: &[(&String, &Json)]| {
        members.iter().try_for_each(|(name, value)| {
            answer::separate(out.len() - 1, out);
            crate::json::write_string(name, out);
            out.push(b':');
            serde_json::to_writer(&mut *out, value).map_err(unreadable)
        })
    };
    write(&mut out, &members[..split])?;
    answer::separate(out.len() - 1, &mut out);
    answer::write_metadata(reply, request_id, &mut out);
    write(&mut out, &members[split..])?;
    out.push(b'}');
    Ok(out)
}

/// EventBridge's answer: it may accept only some of the events, and any refused one is the task's failure.
fn entries(names: Optimised, output: &Json) -> Result<Vec<u8>, TaskError> {
    // By name, as recorded.
    let sorted: BTreeMap<&String, &Json> = output.as_object().into_iter().flatten().collect();
    let text = serde_json::to_vec(&sorted).map_err(unreadable)?;
    match output.get("FailedEntryCount").and_then(Json::as_u64) {
        Some(1..) => {
            Err(TaskError::new(format!("{}.FailedEntry", names.prefix), String::from_utf8_lossy(&text)))
        }
        _ => Ok(text),
    }
}

/// Events have their origin: execution and state machine are added to their resources (developer guide, "Add
/// EventBridge events with Step Functions").
fn add_resources(body: &mut Vec<u8>, execution_arn: &str) {
    let Ok(mut request) = serde_json::from_slice::<Json>(body) else { return };
    let Some(entries) = request.get_mut("Entries").and_then(Json::as_array_mut) else { return };
    let mut parts: Vec<&str> = execution_arn.split(':').take(7).collect();
    if let Some(kind) = parts.get_mut(5) {
        *kind = "stateMachine";
    }
    let machine_arn = parts.join(":");
    for entry in entries.iter_mut().filter_map(Json::as_object_mut) {
        let resources = entry.entry("Resources").or_insert_with(|| json!([]));
        if let Some(resources) = resources.as_array_mut() {
            resources.extend([json!(execution_arn), json!(machine_arn)]);
        }
    }
    *body = request.to_string().into_bytes();
}

/// The service refused.
fn refused(
    operation: &Operation,
    optimised: Option<Optimised>,
    reply: &Reply,
    error: &ServiceError,
) -> TaskError {
    let known =
        operation.service.errors.iter().find(|(class, code)| *code == error.kind || *class == error.kind);
    let class = known.map(|(class, _)| *class);
    if let Some(names) = optimised {
        return names.refused(reply, error, class);
    }
    let service = names::of_errors(&operation.service.id);
    let class = class.map_or_else(|| names::base_exception(&operation.service.id), names::exception);
    let ServiceError { message, request_id, .. } = error;
    let status = reply.status.as_u16();
    let details = format!("(Service: {service}, Status Code: {status}, Request ID: {request_id})");
    // Measured: without a message of the service, its details are in its place.
    let cause = if operation.service.id == "S3" {
        s3::refusal(reply)
    } else if message.is_empty() {
        format!("{details} (SDK Attempt Count: 1) {details}")
    } else {
        format!("{message} {details} (SDK Attempt Count: 1)")
    };
    TaskError::new(format!("{service}.{class}"), cause)
}

/// There is no answer.
fn unanswered(operation: &Operation, error: CallError) -> TaskError {
    match error {
        CallError::TooLarge => {
            failure::too_large(&format!("aws-sdk:{}", names::package(&operation.service.id)))
        }
        CallError::Client(text) => {
            let service = names::of_errors(&operation.service.id);
            TaskError::new(format!("{service}.SdkClientException"), text)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// Compares with signatures of botocore.
    #[test]
    fn copies_are_signed_for_the_region_of_their_source() {
        let ec2 = (
            "ec2",
            "copySnapshot",
            "Action=CopySnapshot&Version=2016-11-15&SourceRegion=us-east-1&\
            SourceSnapshotId=snap-1&Description=a%20b&Encrypted=true",
        );
        let rds = (
            "rds",
            "copyDBSnapshot",
            "Action=CopyDBSnapshot&Version=2014-10-31&SourceDBSnapshotIdentifier=\
            arn%3Aaws%3Ards%3Aus-east-1%3A123456789012%3Asnapshot%3As&TargetDBSnapshotIdentifier=t",
        );
        let now = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        for ((package, action, form), session, signature) in [
            (ec2, None, "ccf8f44e42073373516b1bf9d20df56ef8e6dc8b0abf879d5e32c68fd11f5853"),
            (ec2, Some("tok/en"), "e3b7100a859d973d6baabaecbaeece0af2a15867b849a6f523888171f6c11038"),
            (rds, None, "2bbe4e37c7276247cb270229988f1fcac6d5c15769a40699eeff4dad2031b27c"),
            (rds, Some("tok/en"), "be5a8c79f5957493daa32ff4d56a048b565583c34912ed9398e67c0c8e54a19e"),
        ] {
            let operation = models::find(package, action, Naming::Java).expect("an operation");
            let members = operation.members(operation.input.expect("members"));
            let member = members.iter().find(|member| member.wire.eq_ignore_ascii_case("PresignedUrl"));
            let copy =
                RegionCopy { source_region: "us-east-1".to_owned(), member: member.expect("a member") };
            let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
            let credentials = Credentials::new("AKIDEXAMPLE", secret, session.map(str::to_owned));
            let mut body = form.as_bytes().to_vec();
            copy.add(&credentials, &operation, "eu-west-1", now, &mut body).expect("a region");
            let body = String::from_utf8(body).expect("text");
            let destination = if package == "ec2" { "&DestinationRegion=eu-west-1" } else { "" };
            let wire = copy.member.wire;
            let begin = format!(
                "{form}{destination}&{wire}=https%3A%2F%2F{package}.us-east-1.amazonaws.com%2F%3FAction"
            );
            assert!(body.starts_with(&begin), "{body}");
            assert!(body.ends_with(&format!("Signature%3D{signature}")), "{package} {session:?}: {body}");
        }
    }
}
