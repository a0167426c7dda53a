//! Calls of a service whose executions are spread over several nodes: each is done by the node that has what it is
//! about, or by all of them.
//!
//! Nodes call each other as clients call them, and by operations of their own, whose targets begin with `Expressway.`:
//! only nodes may use these.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use super::act::act;
use super::call::{Call, Reply, TARGET_PREFIX, members, refusal, whole};
use super::read::Fields;
use super::request::Action;
use super::write::{EMPTY, object};
use super::{activities, executions};
use crate::journal::partition_of;
use crate::limits::{JOURNAL_PARTITIONS, STANDBY_OWNER_WAIT_MS};
use crate::service::spread::{
    NOT_OWNED, Node, PAUSE_MS, Pass, PeerCall, PeerReply, Spread, Way, unavailable,
};
use crate::service::{Error, Exception, ExecutionItem, Service};

/// Targets of the operations that only nodes use.
pub(super) const OWN_PREFIX: &str = "Expressway.";
/// How long a node lets another one wait for an execution's end, or an activity's task, before it is asked again.
const WAIT: Duration = Duration::from_secs(2);

/// Where a call is done.
enum Place {
    Here,
    /// By the node that has this partition; whether it may be repeated.
    Partition(u16, bool),
    /// By the node that changes what is registered.
    Registry,
    /// By the node that issued a task's token, or has a Map Run. Neither shows which one that is: all are asked. The others
    /// answer with this exception.
    Somewhere(Exception),
    /// By all: a list.
    List,
    Activity,
}

fn place(service: &Service, action: Action, fields: Fields<'_>) -> Place {
    use Action::*;
    let of_execution = |repeats| match fields.text("executionArn") {
        Some(arn) if arn.contains(":execution:") => Place::Partition(partition_of(arn), repeats),
        _ => Place::Here,
    };
    match action {
        CreateActivity
        | CreateStateMachine
        | CreateStateMachineAlias
        | DeleteActivity
        | DeleteStateMachine
        | DeleteStateMachineAlias
        | DeleteStateMachineVersion
        | PublishStateMachineVersion
        | TagResource
        | UntagResource
        | UpdateStateMachine
        | UpdateStateMachineAlias => Place::Registry,
        DescribeExecution
        | DescribeStateMachineForExecution
        | GetExecutionHistory
        | ListMapRuns
        | StopExecution => of_execution(true),
        RedriveExecution => of_execution(false),
        StartExecution => {
            let named = service.standard_execution_arn(fields.need("stateMachineArn"), fields.need("name"));
            named.map_or(Place::Here, |arn| Place::Partition(partition_of(&arn), false))
        }
        SendTaskFailure | SendTaskHeartbeat | SendTaskSuccess => Place::Somewhere(Exception::TaskTimedOut),
        DescribeMapRun | UpdateMapRun => Place::Somewhere(Exception::ResourceNotFound),
        ListExecutions if fields.text("mapRunArn").is_some() => Place::Somewhere(Exception::ResourceNotFound),
        ListExecutions if fields.text("stateMachineArn").is_some() => Place::List,
        GetActivityTask => Place::Activity,
        _ => Place::Here,
    }
}

/// Does a call.
pub(super) async fn answer(
    service: &Service,
    spread: &Arc<Spread>,
    (action, call): (Action, Call<'_>),
    mut members: Map<String, Json>,
) -> Result<Reply, Error> {
    let mut body = None;
    if matches!(action, Action::StartExecution) && Fields(&members).text("name").is_none() {
        // So that it is known which node starts it.
        let machine = Fields(&members).need("stateMachineArn").to_owned();
        if service.standard_execution_arn(&machine, "").is_some() {
            members.insert("name".to_owned(), service.new_execution_name(spread, &machine).into());
            body = Some(Json::from(members.clone()).to_string().into_bytes());
        }
    }
    let fields = Fields(&members);
    let here = || act(service, action, call, fields);
    let peer = || service.peer_call(call.target, call.trace_header, body.as_deref().unwrap_or(call.body));
    match place(service, action, fields) {
        Place::Here => here().await.map(whole),
        Place::Partition(partition, _) if service.is_forwarded() => match spread.enter(partition) {
            Some(_pass) => here().await.map(whole),
            None => Err(unavailable(NOT_OWNED)),
        },
        Place::Partition(partition, repeats) => match spread.go(partition, &peer(), repeats).await? {
            Way::Here(_pass) => here().await.map(whole),
            Way::Answered(reply) => Ok(reply.into()),
        },
        Place::Registry if service.is_forwarded() => match spread.enter(0) {
            Some(_pass) => change(spread, here().await).await,
            None => Err(unavailable(NOT_OWNED)),
        },
        Place::Registry => match spread.go(0, &peer(), false).await? {
            Way::Here(_pass) => change(spread, here().await).await,
            Way::Answered(reply) => Ok(reply.into()),
        },
        Place::Somewhere(unknown) if !service.is_forwarded() => {
            somewhere(service, spread, (action, call, unknown), fields).await
        }
        Place::List if !service.is_forwarded() => list(service, spread, call, fields).await,
        Place::Activity if !service.is_forwarded() => task(service, spread, fields).await,
        Place::Somewhere(_) | Place::List | Place::Activity => here().await.map(whole),
    }
}

/// Another node's answer, for the client.
impl From<PeerReply> for Reply {
    fn from(reply: PeerReply) -> Reply {
        let PeerReply { status, error, retry_after_ms, body } = reply;
        Reply { status, body, error: error.map(Into::into), retry_after_ms }
    }
}

/// After a change of what is registered: all nodes know it before the client does. One that cannot be reached follows
/// by itself within a second.
async fn change(spread: &Arc<Spread>, done: Result<Vec<u8>, Error>) -> Result<Reply, Error> {
    let done = done?;
    let call =
        PeerCall { target: "Expressway.Follow".to_owned(), body: b"{}".to_vec(), ..PeerCall::default() };
    // Without peers it is the only one.
    let _ = spread.ask_others(&call).await;
    Ok(whole(done))
}

// ---- what all nodes are asked for ----

/// Asks all other nodes. Each answer has the partitions that its node had meanwhile, which are added to those that this
/// node had; returns whether that makes all.
async fn ask_others(
    spread: &Arc<Spread>,
    call: &PeerCall,
    mut covered: Vec<u16>,
    mut visit: impl FnMut(Json),
) -> Result<bool, Error> {
    if covered.len() < usize::from(JOURNAL_PARTITIONS) {
        for (_, answered) in spread.ask_others(call).await? {
            let Some(reply) = answered.filter(|reply| reply.status == 200) else { continue };
            let mut body: Json = serde_json::from_slice(&reply.body).unwrap_or(Json::Null);
            let partitions = body["partitions"].as_array().into_iter().flatten();
            covered.extend(partitions.filter_map(|it| u16::try_from(it.as_u64()?).ok()));
            visit(body["answer"].take());
        }
        covered.sort_unstable();
        covered.dedup();
    }
    Ok(covered.len() == usize::from(JOURNAL_PARTITIONS))
}

/// Waits before all nodes are asked again, because partitions are moving.
async fn again(spread: &Arc<Spread>, until: Instant) -> Result<(), Error> {
    if Instant::now() >= until {
        return Err(unavailable("Not all partitions have a node at present; ask again"));
    }
    spread.peers()?.pause(PAUSE_MS).await;
    Ok(())
}

fn patience() -> Instant {
    Instant::now() + Duration::from_millis(STANDBY_OWNER_WAIT_MS)
}

/// A call about what one of the nodes has. All are asked, if this one does not know it.
async fn somewhere(
    service: &Service,
    spread: &Arc<Spread>,
    (action, call, unknown): (Action, Call<'_>, Exception),
    fields: Fields<'_>,
) -> Result<Reply, Error> {
    let is_unknown = |error: &Error| error.exception == unknown;
    let (until, body) = (patience(), json!({"target": call.target, "members": fields.0}));
    let ask = service.peer_call("Expressway.Ask", None, body.to_string().as_bytes());
    loop {
        // No partition leaves meanwhile.
        let passes = spread.enter_all();
        let done = act(service, action, call, fields).await;
        let covered = passes.iter().map(Pass::partition).collect();
        drop(passes);
        let Some(error) = done.as_ref().err().filter(|error| is_unknown(error)) else {
            return done.map(whole);
        };
        let mut known = None;
        let are_all = ask_others(spread, &ask, covered, |answer| {
            let reply = reply_of(&answer);
            let is_known = |reply: &Reply| reply.error.as_deref() != Some(unknown.name());
            known = known.take().or(reply.filter(is_known));
        })
        .await?;
        match known {
            Some(known) => return Ok(known),
            None if are_all => return Ok(refusal(error)),
            None => again(spread, until).await?,
        }
    }
}

fn reply_of(answer: &Json) -> Option<Reply> {
    Some(Reply {
        status: u16::try_from(answer["status"].as_u64()?).ok()?,
        body: answer["body"].as_str()?.as_bytes().to_vec(),
        error: answer["error"].as_str().map(|error| error.to_owned().into()),
        retry_after_ms: answer["retryAfterMs"].as_u64(),
    })
}

/// A page of a list of executions.
async fn list(
    service: &Service,
    spread: &Arc<Spread>,
    call: Call<'_>,
    fields: Fields<'_>,
) -> Result<Reply, Error> {
    let (until, request) = (patience(), executions::listed(fields));
    let ask = service.peer_call("Expressway.ListExecutions", None, call.body);
    let part = loop {
        let passes = spread.enter_all();
        let page = service.listed(&request)?;
        service.until_recorded(page.found.iter().map(|(_, it)| &*it.arn)).await;
        let covered = passes.iter().map(Pass::partition).collect();
        drop(passes);
        let mut found: Vec<((u64, u64), Json)> =
            page.found.iter().map(|(rank, it)| (*rank, item(it))).collect();
        let are_all = ask_others(spread, &ask, covered, |answer| {
            let at = |it: &Json| Some(((it["at"][0].as_u64()?, it["at"][1].as_u64()?), it["item"].clone()));
            found.extend(answer.as_array().into_iter().flatten().filter_map(at));
        })
        .await?;
        if are_all {
            break service.merged(&page, found);
        }
        again(spread, until).await?;
    };
    let body = match part.next_token {
        Some(token) => json!({"executions": part.items, "nextToken": token}),
        None => json!({"executions": part.items}),
    };
    Ok(whole(body.to_string().into_bytes()))
}

/// An item of a list, as clients see it.
fn item(listed: &ExecutionItem) -> Json {
    let bytes = object(|item| executions::write_item(item, listed));
    match serde_json::from_slice(&bytes) {
        Ok(item) => item,
        Err(error) => unreachable!("an item is written as JSON: {error}"),
    }
}

/// A task for a worker: of this node, or of another one where there is one.
async fn task(service: &Service, spread: &Arc<Spread>, fields: Fields<'_>) -> Result<Reply, Error> {
    let (arn, worker) = (fields.need("activityArn"), fields.text("workerName"));
    let (until, body) = (Instant::now() + service.activity_poll(), Json::from(fields.0.clone()).to_string());
    let ask = |target: &str| service.peer_call(target, None, body.as_bytes());
    let mut here = std::pin::pin!(service.get_activity_task(arn, worker));
    loop {
        let others = spread.view().others.clone();
        let peers = spread.peers().ok().filter(|_| !others.is_empty());
        let mut waits: Vec<_> = match peers {
            Some(peers) => others
                .iter()
                .map(|it| Some(peers.call(&it.address, ask("Expressway.AwaitActivityTask"))))
                .collect(),
            None => Vec::new(),
        };
        let mut again = peers.map(|peers| peers.pause(WAIT.as_millis() as u64));
        let next = poll_fn(|context| {
            if let Poll::Ready(task) = here.as_mut().poll(context) {
                return Poll::Ready(Next::Here(task));
            }
            for (other, wait) in others.iter().zip(&mut waits) {
                let Some(Poll::Ready(answered)) = wait.as_mut().map(|wait| wait.as_mut().poll(context))
                else {
                    continue;
                };
                *wait = None;
                let is_there = |reply: &PeerReply| reply.status == 200 && reply.body == READY;
                if answered.as_ref().is_ok_and(is_there) {
                    return Poll::Ready(Next::At(other.clone()));
                }
            }
            match again.as_mut().map(|again| again.as_mut().poll(context)) {
                Some(Poll::Ready(())) => Poll::Ready(Next::Again),
                _ => Poll::Pending,
            }
        })
        .await;
        match (next, peers) {
            (Next::Here(task), _) => return task.map(|task| whole(activities::write_task(task.as_ref()))),
            (Next::At(other), Some(peers)) => {
                match peers.call(&other.address, ask("Expressway.TakeActivityTask")).await {
                    Ok(reply) if reply.status == 200 && reply.body != EMPTY => return Ok(reply.into()),
                    // Another worker was faster.
                    _ => {}
                }
            }
            _ => {}
        }
        if Instant::now() >= until {
            return Ok(whole(EMPTY.to_vec()));
        }
    }
}

enum Next {
    Here(Result<Option<crate::service::ActivityTask>, Error>),
    At(Node),
    Again,
}

/// That a task is there.
const READY: &[u8] = br#"{"ready":true}"#;

// ---- what other nodes ask for ----

/// Answers another node.
pub(super) async fn own(service: &Service, spread: &Arc<Spread>, call: Call<'_>) -> Result<Reply, Error> {
    let members = members(call.body)?;
    let fields = Fields(&members);
    let covering = |passes: &[Pass], answer: Json| {
        let partitions: Vec<u16> = passes.iter().map(Pass::partition).collect();
        Ok(whole(json!({"partitions": partitions, "answer": answer}).to_string().into_bytes()))
    };
    match call.target.strip_prefix(OWN_PREFIX).unwrap_or(call.target) {
        "Follow" => follow(service).map(|()| whole(EMPTY.to_vec())),
        "Ask" => {
            let passes = spread.enter_all();
            let target = fields.need("target");
            let action = target.strip_prefix(TARGET_PREFIX).and_then(Action::of);
            let action = action.ok_or_else(|| Error::new(Exception::UnknownOperationException, ""))?;
            let members = fields.object("members").ok_or_else(|| unavailable(NOT_OWNED))?;
            let reply = match act(service, action, Call { target, ..call }, members).await {
                Ok(body) => whole(body),
                Err(error) => refusal(&error),
            };
            let answer = json!({
                "status": reply.status, "body": String::from_utf8_lossy(&reply.body), "error": reply.error,
                "retryAfterMs": reply.retry_after_ms,
            });
            covering(&passes, answer)
        }
        "ListExecutions" => {
            let passes = spread.enter_all();
            let listed = service.listed(&executions::listed(fields))?;
            service.until_recorded(listed.found.iter().map(|(_, it)| &*it.arn)).await;
            let items = listed
                .found
                .iter()
                .map(|((time, number), it)| json!({"at": [time, number], "item": item(it)}));
            covering(&passes, items.collect())
        }
        "StartNested" => {
            let request = executions::request(fields, None);
            let name = fields.need("name");
            let arn = service.standard_execution_arn(&request.machine_arn, name);
            let arn = arn.ok_or_else(|| unavailable(NOT_OWNED))?;
            let _pass = spread.enter(partition_of(&arn)).ok_or_else(|| unavailable(NOT_OWNED))?;
            let parent = fields.text("parent").map(str::to_owned);
            let started = service.start_recorded(request, parent).await?;
            Ok(whole(object(|reply| {
                reply.text("executionArn", &started.arn).time("startDate", started.started_ms);
            })))
        }
        "StopNested" => {
            let arn = fields.need("executionArn");
            let _pass = spread.enter(partition_of(arn)).ok_or_else(|| unavailable(NOT_OWNED))?;
            service.stop_nested(arn, fields.text("parent"), fields.need("cause"))?;
            Ok(whole(EMPTY.to_vec()))
        }
        "AwaitExecution" => {
            let arn = fields.need("executionArn");
            let enter = || spread.enter(partition_of(arn)).ok_or_else(|| unavailable(NOT_OWNED));
            enter()?;
            let is_here = service.await_execution(arn, WAIT).await?;
            let _pass = enter()?;
            if is_here {
                executions::describe(service, fields).await.map(whole)
            } else {
                Err(unavailable(NOT_OWNED))
            }
        }
        "AwaitActivityTask" => {
            let is_ready = service.await_activity_task(fields.need("activityArn"), 2 * WAIT).await?;
            Ok(whole(if is_ready { READY.to_vec() } else { EMPTY.to_vec() }))
        }
        "TakeActivityTask" => {
            let task = service.take_activity_task(fields.need("activityArn"), fields.text("workerName"))?;
            Ok(whole(activities::write_task(task.as_ref())))
        }
        _ => Err(Error::new(Exception::UnknownOperationException, "")),
    }
}

#[cfg(feature = "clustered")]
fn follow(service: &Service) -> Result<(), Error> {
    service.follow_changes()
}

#[cfg(not(feature = "clustered"))]
fn follow(_service: &Service) -> Result<(), Error> {
    Ok(())
}
