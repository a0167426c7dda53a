//! State machines, on the wire.

use super::read::Fields;
use super::write::{Object, object};
use crate::asl::MachineType;
use crate::service::{
    CreateStateMachine, Encryption, Error, LogLevel, Logging, Service, StateMachineDescription, Tag,
};

pub(super) fn create(service: &Service, fields: Fields<'_>) -> Result<Vec<u8>, Error> {
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

pub(super) fn describe(service: &Service, fields: Fields<'_>) -> Result<Vec<u8>, Error> {
    let described = service.describe_state_machine(fields.need("stateMachineArn"))?;
    let whole = fields.text("includedData") != Some("METADATA_ONLY");
    Ok(object(|reply| {
        reply
            .text("stateMachineArn", &described.arn)
            .text("name", &described.name)
            .text("status", "ACTIVE")
            .text("definition", if whole { &described.definition } else { "" })
            .text("roleArn", &described.role_arn)
            .text("type", type_name(described.machine_type))
            .time("creationDate", described.created_ms);
        configuration(reply, &described);
        reply
            .maybe_text("revisionId", described.revision_id.as_deref())
            .maybe_text("description", described.description.as_deref().filter(|_| whole));
        write_encryption(reply, described.encryption.as_ref());
        if whole {
            write_variables(reply, &described.variable_references);
        }
    }))
}

pub(super) fn delete(service: &Service, fields: Fields<'_>) -> Result<Vec<u8>, Error> {
    service.delete_state_machine(fields.need("stateMachineArn"))?;
    Ok(b"{}".to_vec())
}

// ---- parts ----

pub(super) const fn type_name(machine_type: MachineType) -> &'static str {
    match machine_type {
        MachineType::Express => "EXPRESS",
        MachineType::Standard => "STANDARD",
    }
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
    Some(Encryption {
        customer_managed: encryption.text("type") == Some("CUSTOMER_MANAGED_KMS_KEY"),
        key_id: encryption.text("kmsKeyId").map(str::to_owned),
        reuse_seconds: encryption.number("kmsDataKeyReusePeriodSeconds").map(|seconds| seconds as u32),
    })
}

pub(super) fn tags(fields: Fields<'_>) -> Vec<Tag> {
    let tag = |tag: Fields<'_>| Tag { key: tag.need("key").to_owned(), value: tag.need("value").to_owned() };
    fields.objects("tags").into_iter().flatten().map(tag).collect()
}

pub(super) fn configuration(reply: &mut Object<'_>, described: &StateMachineDescription) {
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

pub(super) fn write_encryption(reply: &mut Object<'_>, encryption: Option<&Encryption>) {
    let Some(encryption) = encryption else { return };
    reply.object("encryptionConfiguration", |reply| {
        reply.maybe_text("kmsKeyId", encryption.key_id.as_deref());
        if let Some(seconds) = encryption.reuse_seconds {
            reply.number("kmsDataKeyReusePeriodSeconds", u64::from(seconds));
        }
        let name = if encryption.customer_managed { "CUSTOMER_MANAGED_KMS_KEY" } else { "AWS_OWNED_KEY" };
        reply.text("type", name);
    });
}

pub(super) fn write_variables(reply: &mut Object<'_>, references: &[(String, Vec<String>)]) {
    if references.is_empty() {
        return;
    }
    reply.object("variableReferences", |reply| {
        for (state, variables) in references {
            reply.texts(state, variables.iter().map(String::as_str));
        }
    });
}
