//! Wire format of state machines, their versions and aliases, and tags.

use super::read::{Fields, page};
use super::write::{EMPTY, Object, object};
use crate::asl::MachineType;
use crate::service::{
    CreateStateMachine, Encryption, Error, LogLevel, Logging, Qualified, Route, Service,
    StateMachineDescription, Tag, UpdateStateMachine,
};

type Answer = Result<Vec<u8>, Error>;

// ---- state machines ----

pub(super) fn create(service: &Service, fields: Fields<'_>) -> Answer {
    let created = service.create_state_machine(CreateStateMachine {
        name: fields.need("name").to_owned(),
        definition: fields.need("definition").to_owned(),
        role_arn: fields.need("roleArn").to_owned(),
        express: fields.text("type") == Some("EXPRESS"),
        logging: logging(fields),
        tracing: tracing(fields),
        encryption: encryption(fields),
        tags: tags(fields),
        publish: fields.flag("publish").unwrap_or(false),
        version_description: fields.text("versionDescription").map(str::to_owned),
    })?;
    Ok(object(|reply| {
        reply
            .text("stateMachineArn", &created.arn)
            .time("creationDate", created.created_ms)
            .maybe_text("stateMachineVersionArn", created.version_arn.as_deref());
    }))
}

pub(super) fn describe(service: &Service, fields: Fields<'_>) -> Answer {
    let described = service.describe_state_machine(fields.need("stateMachineArn"))?;
    let whole = fields.wants_all_data();
    Ok(object(|reply| {
        reply
            .text("stateMachineArn", &described.arn)
            .text("name", &described.name)
            .text("status", if described.is_deleting { "DELETING" } else { "ACTIVE" })
            .text("definition", if whole { &described.definition } else { "{}" })
            .text("roleArn", &described.role_arn)
            .text("type", type_name(described.machine_type))
            .time("creationDate", described.created_ms);
        configuration(reply, &described);
        reply
            .maybe_text("revisionId", described.revision_id.as_deref())
            .maybe_text("description", described.description.as_deref().filter(|_| whole));
        write_encryption(reply, &described.encryption);
        if whole {
            variables(reply, &described.variable_references);
        }
    }))
}

pub(super) async fn describe_for_execution(service: &Service, fields: Fields<'_>) -> Answer {
    let arn = fields.need("executionArn");
    let described = service.describe_state_machine_for_execution(arn)?;
    service.until_recorded([arn]).await;
    let whole = fields.wants_all_data();
    Ok(object(|reply| {
        reply
            .text("stateMachineArn", &described.arn)
            .text("name", &described.name)
            .text("definition", if whole { &described.definition } else { "{}" })
            .text("roleArn", &described.role_arn)
            .time("updateDate", described.updated_ms);
        configuration(reply, &described);
        reply.maybe_text("revisionId", described.revision_id.as_deref());
        write_encryption(reply, &described.encryption);
        if whole {
            variables(reply, &described.variable_references);
        }
    }))
}

pub(super) fn update(service: &Service, fields: Fields<'_>) -> Answer {
    let updated = service.update_state_machine(UpdateStateMachine {
        arn: fields.need("stateMachineArn").to_owned(),
        definition: fields.text("definition").map(str::to_owned),
        role_arn: fields.text("roleArn").map(str::to_owned),
        logging: logging(fields),
        tracing: tracing(fields),
        encryption: encryption(fields),
        publish: fields.flag("publish").unwrap_or(false),
        version_description: fields.text("versionDescription").map(str::to_owned),
    })?;
    Ok(object(|reply| {
        reply
            .time("updateDate", updated.updated_ms)
            .maybe_text("revisionId", updated.revision_id.as_deref())
            .maybe_text("stateMachineVersionArn", updated.version_arn.as_deref());
    }))
}

pub(super) fn delete(service: &Service, fields: Fields<'_>) -> Answer {
    service.delete_state_machine(fields.need("stateMachineArn"))?;
    Ok(EMPTY.to_vec())
}

pub(super) fn list(service: &Service, fields: Fields<'_>) -> Answer {
    let part = service.list_state_machines(&page(fields))?;
    Ok(object(|reply| {
        reply
            .objects("stateMachines", &part.items, |item, machine| {
                item.text("stateMachineArn", &machine.arn)
                    .text("name", &machine.name)
                    .text("type", type_name(machine.machine_type))
                    .time("creationDate", machine.created_ms);
            })
            .maybe_text("nextToken", part.next_token.as_deref());
    }))
}

// ---- versions ----

pub(super) fn publish(service: &Service, fields: Fields<'_>) -> Answer {
    let description = fields.text("description").map(str::to_owned);
    let arn = fields.need("stateMachineArn");
    let version = service.publish_state_machine_version(arn, fields.text("revisionId"), description)?;
    Ok(qualified("stateMachineVersionArn", &version))
}

pub(super) fn list_versions(service: &Service, fields: Fields<'_>) -> Answer {
    let part = service.list_state_machine_versions(fields.need("stateMachineArn"), &page(fields))?;
    Ok(object(|reply| {
        reply
            .objects("stateMachineVersions", &part.items, |item, version| {
                item.text("stateMachineVersionArn", &version.arn).time("creationDate", version.created_ms);
            })
            .maybe_text("nextToken", part.next_token.as_deref());
    }))
}

pub(super) fn delete_version(service: &Service, fields: Fields<'_>) -> Answer {
    service.delete_state_machine_version(fields.need("stateMachineVersionArn"))?;
    Ok(EMPTY.to_vec())
}

// ---- aliases ----

pub(super) fn create_alias(service: &Service, fields: Fields<'_>) -> Answer {
    let routes = routes(fields).unwrap_or_default();
    let description = fields.text("description").map(str::to_owned);
    let alias = service.create_state_machine_alias(fields.need("name"), description, &routes)?;
    Ok(qualified("stateMachineAliasArn", &alias))
}

pub(super) fn describe_alias(service: &Service, fields: Fields<'_>) -> Answer {
    let alias = service.describe_state_machine_alias(fields.need("stateMachineAliasArn"))?;
    Ok(object(|reply| {
        reply
            .text("stateMachineAliasArn", &alias.arn)
            .text("name", &alias.name)
            .maybe_text("description", alias.description.as_deref())
            .objects("routingConfiguration", &alias.routes, |item, route| {
                item.text("stateMachineVersionArn", &route.version_arn)
                    .number("weight", u64::from(route.weight));
            })
            .time("creationDate", alias.created_ms)
            .time("updateDate", alias.updated_ms);
    }))
}

pub(super) fn update_alias(service: &Service, fields: Fields<'_>) -> Answer {
    let routes = routes(fields);
    let description = fields.text("description").map(str::to_owned);
    let arn = fields.need("stateMachineAliasArn");
    let updated_ms = service.update_state_machine_alias(arn, description, routes.as_deref())?;
    Ok(object(|reply| {
        reply.time("updateDate", updated_ms);
    }))
}

pub(super) fn delete_alias(service: &Service, fields: Fields<'_>) -> Answer {
    service.delete_state_machine_alias(fields.need("stateMachineAliasArn"))?;
    Ok(EMPTY.to_vec())
}

pub(super) fn list_aliases(service: &Service, fields: Fields<'_>) -> Answer {
    let part = service.list_state_machine_aliases(fields.need("stateMachineArn"), &page(fields))?;
    Ok(object(|reply| {
        reply
            .objects("stateMachineAliases", &part.items, |item, alias| {
                item.text("stateMachineAliasArn", &alias.arn).time("creationDate", alias.created_ms);
            })
            .maybe_text("nextToken", part.next_token.as_deref());
    }))
}

// ---- tags ----

pub(super) fn tag(service: &Service, fields: Fields<'_>) -> Answer {
    service.tag_resource(fields.need("resourceArn"), &tags(fields))?;
    Ok(EMPTY.to_vec())
}

pub(super) fn untag(service: &Service, fields: Fields<'_>) -> Answer {
    let keys: Vec<&str> = fields.texts("tagKeys").collect();
    service.untag_resource(fields.need("resourceArn"), &keys)?;
    Ok(EMPTY.to_vec())
}

pub(super) fn list_tags(service: &Service, fields: Fields<'_>) -> Answer {
    let tags = service.list_tags_for_resource(fields.need("resourceArn"))?;
    Ok(object(|reply| {
        reply.objects("tags", &tags, |item, tag| {
            item.text("key", &tag.key).text("value", &tag.value);
        });
    }))
}

// ---- parts ----

pub(crate) const fn type_name(machine_type: MachineType) -> &'static str {
    match machine_type {
        MachineType::Express => "EXPRESS",
        MachineType::Standard => "STANDARD",
    }
}

fn qualified(name: &str, thing: &Qualified) -> Vec<u8> {
    object(|reply| {
        reply.text(name, &thing.arn).time("creationDate", thing.created_ms);
    })
}

fn routes(fields: Fields<'_>) -> Option<Vec<Route>> {
    let route = |route: Fields<'_>| Route {
        version_arn: route.need("stateMachineVersionArn").to_owned(),
        weight: route.number("weight").and_then(|weight| u32::try_from(weight).ok()).unwrap_or(0),
    };
    Some(fields.objects("routingConfiguration")?.map(route).collect())
}

fn logging(fields: Fields<'_>) -> Option<Logging> {
    let logging = fields.object("loggingConfiguration")?;
    let destinations = logging.objects("destinations").map(|destinations| {
        let group = |destination: Fields<'_>| {
            let group = destination.object("cloudWatchLogsLogGroup");
            group.and_then(|group| group.text("logGroupArn")).unwrap_or_default().to_owned()
        };
        destinations.map(group).collect()
    });
    Some(Logging {
        level: logging.text("level").and_then(LogLevel::of).unwrap_or_default(),
        include_execution_data: logging.flag("includeExecutionData").unwrap_or(false),
        destinations,
    })
}

fn tracing(fields: Fields<'_>) -> Option<bool> {
    fields.object("tracingConfiguration").map(|tracing| tracing.flag("enabled").unwrap_or(false))
}

pub(super) fn encryption(fields: Fields<'_>) -> Option<Encryption> {
    let encryption = fields.object("encryptionConfiguration")?;
    let seconds = encryption.number("kmsDataKeyReusePeriodSeconds");
    Some(Encryption {
        customer_managed: encryption.text("type") == Some("CUSTOMER_MANAGED_KMS_KEY"),
        key_id: encryption.text("kmsKeyId").map(str::to_owned),
        reuse_seconds: seconds.and_then(|seconds| u32::try_from(seconds).ok()),
    })
}

pub(super) fn tags(fields: Fields<'_>) -> Vec<Tag> {
    let tag = |tag: Fields<'_>| Tag { key: tag.need("key").to_owned(), value: tag.need("value").to_owned() };
    fields.objects("tags").into_iter().flatten().map(tag).collect()
}

fn configuration(reply: &mut Object<'_>, described: &StateMachineDescription) {
    reply.object("loggingConfiguration", |logging| {
        logging
            .text("level", described.logging.level.name())
            .flag("includeExecutionData", described.logging.include_execution_data);
        if let Some(destinations) = &described.logging.destinations {
            logging.objects("destinations", destinations, |destination, arn| {
                destination.object("cloudWatchLogsLogGroup", |group| {
                    group.text("logGroupArn", arn);
                });
            });
        }
    });
    reply.object("tracingConfiguration", |tracing| {
        tracing.flag("enabled", described.tracing);
    });
}

pub(super) fn write_encryption(reply: &mut Object<'_>, encryption: &Encryption) {
    reply.object("encryptionConfiguration", |reply| {
        reply.maybe_text("kmsKeyId", encryption.key_id.as_deref());
        if let Some(seconds) = encryption.reuse_seconds {
            reply.number("kmsDataKeyReusePeriodSeconds", u64::from(seconds));
        }
        let name = if encryption.customer_managed { "CUSTOMER_MANAGED_KMS_KEY" } else { "AWS_OWNED_KEY" };
        reply.text("type", name);
    });
}

fn variables(reply: &mut Object<'_>, references: &[(String, Vec<String>)]) {
    if references.is_empty() {
        return;
    }
    reply.object("variableReferences", |reply| {
        for (state, variables) in references {
            reply.texts(state, variables.iter().map(String::as_str));
        }
    });
}
