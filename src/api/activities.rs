//! Wire format of activities and of answers to tasks.

use super::machines::{encryption, tags, write_encryption};
use super::read::{Fields, page};
use super::write::{EMPTY, object};
use crate::service::{ActivityTask, Error, Service};

type Answer = Result<Vec<u8>, Error>;

pub(super) fn create(service: &Service, fields: Fields<'_>) -> Answer {
    let created = service.create_activity(fields.need("name"), encryption(fields), tags(fields))?;
    Ok(object(|reply| {
        reply.text("activityArn", &created.arn).time("creationDate", created.created_ms);
    }))
}

pub(super) fn describe(service: &Service, fields: Fields<'_>) -> Answer {
    let activity = service.describe_activity(fields.need("activityArn"))?;
    Ok(object(|reply| {
        reply
            .text("activityArn", &activity.arn)
            .text("name", &activity.name)
            .time("creationDate", activity.created_ms);
        write_encryption(reply, &activity.encryption);
    }))
}

pub(super) fn delete(service: &Service, fields: Fields<'_>) -> Answer {
    service.delete_activity(fields.need("activityArn"))?;
    Ok(EMPTY.to_vec())
}

pub(super) fn list(service: &Service, fields: Fields<'_>) -> Answer {
    let part = service.list_activities(&page(fields))?;
    Ok(object(|reply| {
        reply
            .objects("activities", &part.items, |item, activity| {
                item.text("activityArn", &activity.arn)
                    .text("name", &activity.name)
                    .time("creationDate", activity.created_ms);
            })
            .maybe_text("nextToken", part.next_token.as_deref());
    }))
}

pub(super) async fn task(service: &Service, fields: Fields<'_>) -> Answer {
    let task = service.get_activity_task(fields.need("activityArn"), fields.text("workerName")).await?;
    Ok(write_task(task.as_ref()))
}

pub(super) fn write_task(task: Option<&ActivityTask>) -> Vec<u8> {
    match task {
        None => EMPTY.to_vec(),
        Some(task) => object(|reply| {
            reply.text("taskToken", &task.token).text("input", &task.input);
        }),
    }
}

pub(super) async fn success(service: &Service, fields: Fields<'_>) -> Answer {
    service.succeed_task(fields.need("taskToken"), fields.need("output"))?.recorded().await;
    Ok(EMPTY.to_vec())
}

pub(super) async fn failure(service: &Service, fields: Fields<'_>) -> Answer {
    let (error, cause) = (fields.text("error"), fields.text("cause"));
    service.fail_task(fields.need("taskToken"), error, cause)?.recorded().await;
    Ok(EMPTY.to_vec())
}

pub(super) fn heartbeat(service: &Service, fields: Fields<'_>) -> Answer {
    service.send_task_heartbeat(fields.need("taskToken"))?;
    Ok(EMPTY.to_vec())
}
