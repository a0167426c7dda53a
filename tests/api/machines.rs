//! State machines, versions, aliases and tags.

use expressway::service::Builder;
use serde_json::{Value as Json, json};

use super::client::{Client, ROLE};

const PASS: &str = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": 1, "End": true}}}"#;
const PASS_2: &str = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": 2, "End": true}}}"#;
const PREFIX: &str = "arn:aws:states:us-east-1:111111111111:stateMachine";

fn create(name: &str) -> Json {
    json!({"name": name, "definition": PASS, "roleArn": ROLE, "type": "EXPRESS"})
}

fn with(mut request: Json, members: Json) -> Json {
    let members = members.as_object().expect("members").clone();
    request.as_object_mut().expect("an object").extend(members);
    request
}

#[test]
fn creating_again_says_the_same_or_is_refused() {
    let mut client = Client::new();
    let created = client.ok("CreateStateMachine", &create("m"));
    assert_eq!(created["stateMachineArn"], format!("{PREFIX}:m"));
    client.time.advance(5_000);
    assert_eq!(client.ok("CreateStateMachine", &create("m")), created);
    // The role and tags do not count.
    let other_role = json!({"roleArn": format!("{ROLE}2"), "tags": [{"key": "a", "value": "b"}]});
    assert_eq!(client.ok("CreateStateMachine", &with(create("m"), other_role)), created);
    let own_key = json!({"encryptionConfiguration": {"type": "AWS_OWNED_KEY"}});
    assert_eq!(client.ok("CreateStateMachine", &with(create("m"), own_key)), created);
    for difference in [
        json!({"definition": PASS_2}),
        json!({"type": "STANDARD"}),
        json!({"tracingConfiguration": {"enabled": true}}),
        json!({"publish": true}),
        json!({"encryptionConfiguration": {"type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": "k"}}),
    ] {
        let (code, message) = client.refused("CreateStateMachine", &with(create("m"), difference));
        assert_eq!(code, "StateMachineAlreadyExists");
        assert_eq!(message, format!("State Machine Already Exists: '{PREFIX}:m'"));
    }
}

#[test]
fn what_a_machine_must_not_be_is_refused() {
    let mut client = Client::new();
    for (difference, code, message) in [
        (json!({"name": "a b"}), "InvalidName", "Invalid Name: 'a b'"),
        (json!({"roleArn": "nobody"}), "InvalidArn", "Invalid Role Arn: 'nobody'"),
        (
            json!({"versionDescription": "d"}),
            "ValidationException",
            "Version description can only be set when publish is true",
        ),
        (
            json!({"loggingConfiguration": {"level": "ALL"}}),
            "InvalidLoggingConfiguration",
            "Invalid Logging Configuration: Must specify exactly one Log Destination.",
        ),
        (
            json!({"loggingConfiguration": {"level": "ALL", "destinations": [{"cloudWatchLogsLogGroup":
                {"logGroupArn": "arn:aws:logs:us-east-1:111111111111:log-group:g"}}]}}),
            "InvalidLoggingConfiguration",
            "Invalid Logging Configuration: Log Group ARN must be provided with '*' qualifier.",
        ),
        (
            json!({"loggingConfiguration": {"level": "ALL", "destinations": [{"cloudWatchLogsLogGroup":
                {"logGroupArn": "arn:aws:s3:::log-group:*"}}]}}),
            "InvalidLoggingConfiguration",
            "Invalid Logging Configuration: Provided ARN is not CloudWatch Logs Log Group ARN.",
        ),
        (
            json!({"loggingConfiguration": {"level": "ALL", "destinations": [{}]}}),
            "InvalidLoggingConfiguration",
            "Invalid Logging Configuration: Must set valid CloudWatch Log Group ARN.",
        ),
        (
            json!({"encryptionConfiguration": {"type": "CUSTOMER_MANAGED_KMS_KEY"}}),
            "InvalidEncryptionConfiguration",
            "Invalid Encryption Configuration: Must set a valid kmsKeyId.",
        ),
        (
            json!({"encryptionConfiguration": {"type": "AWS_OWNED_KEY", "kmsKeyId": "k"}}),
            "InvalidEncryptionConfiguration",
            "Invalid Encryption Configuration: Custom kmsKeyId is not allowed when selecting AWS_OWNED_KEY.",
        ),
        (
            json!({"encryptionConfiguration": {"type": "AWS_OWNED_KEY", "kmsDataKeyReusePeriodSeconds": 60}}),
            "InvalidEncryptionConfiguration",
            "Invalid Encryption Configuration: Custom kmsDataKeyReusePeriodSeconds is not allowed when selecting \
             AWS_OWNED_KEY.",
        ),
        (
            json!({"definition": "{}"}),
            "InvalidDefinition",
            "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: These fields are required: [States, \
             StartAt] at /'",
        ),
    ] {
        let refused = client.refused("CreateStateMachine", &with(create("m"), difference));
        assert_eq!(refused, (code.to_owned(), message.to_owned()));
    }
    let tags: Vec<Json> = (0..51).map(|n| json!({"key": n.to_string(), "value": ""})).collect();
    assert_eq!(
        client.refused("CreateStateMachine", &with(create("m"), json!({"tags": tags}))).0,
        "TooManyTags"
    );
    let key = json!({"encryptionConfiguration": {"type": "CUSTOMER_MANAGED_KMS_KEY"}});
    let refused = client.refused("CreateStateMachine", &with(create("m"), key));
    assert_eq!(refused.0, "InvalidEncryptionConfiguration");
    assert_eq!(client.ok("ListStateMachines", &json!({}))["stateMachines"], json!([]));
}

#[test]
fn a_server_for_express_only_refuses_standard() {
    let mut client = Client::with(|builder: Builder| builder.express_only(true));
    let refused = client.refused("CreateStateMachine", &with(create("m"), json!({"type": null})));
    assert_eq!(refused.0, "StateMachineTypeNotSupported");
    client.ok("CreateStateMachine", &create("m"));
}

#[test]
fn an_update_makes_a_revision_and_leaves_what_is_not_named() {
    let mut client = Client::new();
    let arn = client.ok("CreateStateMachine", &create("m"))["stateMachineArn"].clone();
    let described = client.ok("DescribeStateMachine", &json!({"stateMachineArn": arn}));
    assert_eq!(described["revisionId"], json!(null));
    assert_eq!(described["encryptionConfiguration"], json!({"type": "AWS_OWNED_KEY"}));
    let update =
        json!({"stateMachineArn": arn, "definition": PASS_2, "publish": true, "versionDescription": "two"});
    let updated = client.ok("UpdateStateMachine", &update);
    assert_eq!(updated["stateMachineVersionArn"], format!("{PREFIX}:m:1"));
    let described = client.ok("DescribeStateMachine", &json!({"stateMachineArn": arn}));
    assert_eq!(described["revisionId"], updated["revisionId"]);
    assert_eq!((&described["definition"], &described["roleArn"]), (&json!(PASS_2), &json!(ROLE)));
    let bare = json!({"stateMachineArn": arn, "includedData": "METADATA_ONLY"});
    assert_eq!(client.ok("DescribeStateMachine", &bare)["definition"], "{}");
    let version = client.ok("DescribeStateMachine", &json!({"stateMachineArn": format!("{PREFIX}:m:1")}));
    assert_eq!(version["description"], "two");
    let broken = json!({"stateMachineArn": arn, "definition": "{}"});
    assert_eq!(client.refused("UpdateStateMachine", &broken).0, "InvalidDefinition");
    let key = json!({"type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": "k"});
    let alone = json!({"stateMachineArn": arn, "encryptionConfiguration": key});
    assert_eq!(
        client.refused("UpdateStateMachine", &alone),
        (
            "MissingRequiredParameter".to_owned(),
            "The definition must be specified when updating the EncryptionConfiguration".to_owned()
        )
    );
    let missing = json!({"stateMachineArn": format!("{PREFIX}:n"), "roleArn": ROLE});
    let refused = client.refused("UpdateStateMachine", &missing);
    assert_eq!(refused.1, format!("State Machine Does Not Exist: '{PREFIX}:n'"));
    let labelled = json!({"stateMachineArn": format!("{PREFIX}:m/label"), "roleArn": ROLE});
    assert_eq!(client.refused("UpdateStateMachine", &labelled).0, "ValidationException");
}

#[test]
fn lists_come_in_pages_whose_tokens_are_their_own() {
    let mut client = Client::new();
    for n in 0..5 {
        client.ok("CreateStateMachine", &create(&format!("m{n}")));
        client.ok("CreateActivity", &json!({"name": format!("a{n}")}));
    }
    let first = client.ok("ListStateMachines", &json!({"maxResults": 3}));
    assert_eq!(first["stateMachines"].as_array().map(Vec::len), Some(3));
    // What goes between two pages does no harm.
    client.ok("DeleteStateMachine", &json!({"stateMachineArn": format!("{PREFIX}:m2")}));
    let rest = client.ok("ListStateMachines", &json!({"nextToken": first["nextToken"]}));
    let names: Vec<&Json> =
        rest["stateMachines"].as_array().expect("a list").iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["m3", "m4"]);
    assert_eq!(rest.get("nextToken"), None);
    for (action, token) in
        [("ListStateMachines", json!("tok")), ("ListActivities", first["nextToken"].clone())]
    {
        let refused = client.refused(action, &json!({"nextToken": token}));
        assert_eq!(refused, ("InvalidToken".to_owned(), "Invalid Token: 'Invalid token'".to_owned()));
    }
    client.time.advance(25 * 3_600_000);
    let stale = json!({"nextToken": first["nextToken"]});
    assert_eq!(client.refused("ListStateMachines", &stale).0, "InvalidToken");
    let activities = client.ok("ListActivities", &json!({"maxResults": 2}));
    let rest = client.ok("ListActivities", &json!({"nextToken": activities["nextToken"]}));
    assert_eq!(rest["activities"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_deleted_machine_is_gone_with_all_that_belongs_to_it() {
    let mut client = Client::new();
    let created = client.ok("CreateStateMachine", &with(create("m"), json!({"publish": true})));
    let routes = json!([{"stateMachineVersionArn": created["stateMachineVersionArn"], "weight": 100}]);
    client.ok("CreateStateMachineAlias", &json!({"name": "live", "routingConfiguration": routes}));
    for _ in 0..2 {
        client.ok("DeleteStateMachine", &json!({"stateMachineArn": created["stateMachineArn"]}));
    }
    for arn in [format!("{PREFIX}:m"), format!("{PREFIX}:m:1"), format!("{PREFIX}:m:live")] {
        let refused = client.refused("StartExecution", &json!({"stateMachineArn": arn}));
        assert_eq!(refused.1, format!("State Machine Does Not Exist: '{arn}'"));
    }
    let alias = json!({"stateMachineAliasArn": format!("{PREFIX}:m:live")});
    assert_eq!(client.refused("DescribeStateMachineAlias", &alias).0, "ResourceNotFound");
    let labelled = json!({"stateMachineArn": format!("{PREFIX}:m/label")});
    assert_eq!(client.refused("DeleteStateMachine", &labelled).0, "ValidationException");
}

#[test]
fn an_alias_deals_executions_out_by_weight() {
    let mut client = Client::new();
    let arn =
        client.ok("CreateStateMachine", &with(create("m"), json!({"publish": true})))["stateMachineArn"]
            .clone();
    client.ok("UpdateStateMachine", &json!({"stateMachineArn": arn, "definition": PASS_2, "publish": true}));
    let route = |version: u32, weight: u32| json!({"stateMachineVersionArn": format!("{PREFIX}:m:{version}"), "weight": weight});
    let request = json!({"name": "live", "routingConfiguration": [route(1, 80), route(2, 20)]});
    let alias = client.ok("CreateStateMachineAlias", &request)["stateMachineAliasArn"].clone();
    let described = with(request.clone(), json!({"description": "another"}));
    assert_eq!(
        client.refused("CreateStateMachineAlias", &described).1,
        "Failed to create alias because an alias with the same name and a different routing configuration already \
         exists."
    );
    let mut second = 0;
    for _ in 0..1_000 {
        let ended = client.ok("StartSyncExecution", &json!({"stateMachineArn": alias}));
        second += u32::from(ended["output"] == "2");
    }
    assert!((150..250).contains(&second), "{second} of 1,000 ran the second version");
    let update = json!({"stateMachineAliasArn": alias, "routingConfiguration": [route(2, 100)]});
    client.ok("UpdateStateMachineAlias", &update);
    assert_eq!(client.ok("StartSyncExecution", &json!({"stateMachineArn": alias}))["output"], "2");
    assert_eq!(
        client.refused("UpdateStateMachineAlias", &json!({"stateMachineAliasArn": alias})).0,
        "ValidationException"
    );
    // Those that lead to a version.
    let of_first = json!({"stateMachineArn": format!("{PREFIX}:m:1")});
    assert_eq!(client.ok("ListStateMachineAliases", &of_first)["stateMachineAliases"], json!([]));
    let conflict = json!({"name": "live", "routingConfiguration": [route(1, 100)]});
    assert_eq!(client.refused("CreateStateMachineAlias", &conflict).0, "ConflictException");
    let none = json!({"name": "other", "routingConfiguration": [route(9, 100)]});
    assert_eq!(client.refused("CreateStateMachineAlias", &none).0, "ResourceNotFound");
    client.ok("DeleteStateMachineAlias", &json!({"stateMachineAliasArn": alias}));
    assert_eq!(
        client.refused("DescribeStateMachineAlias", &json!({"stateMachineAliasArn": alias})).0,
        "ResourceNotFound"
    );
}

#[test]
fn versions_are_numbered_once_and_for_all() {
    let mut client = Client::new();
    let arn = client.ok("CreateStateMachine", &create("m"))["stateMachineArn"].clone();
    let publish = json!({"stateMachineArn": arn});
    for _ in 0..2 {
        let version = client.ok("PublishStateMachineVersion", &publish);
        assert_eq!(version["stateMachineVersionArn"], format!("{PREFIX}:m:1"));
    }
    client.ok("DeleteStateMachineVersion", &json!({"stateMachineVersionArn": format!("{PREFIX}:m:1")}));
    let version = client.ok("PublishStateMachineVersion", &publish);
    assert_eq!(version["stateMachineVersionArn"], format!("{PREFIX}:m:2"));
    let stale = json!({"stateMachineArn": arn, "revisionId": "of-old"});
    assert_eq!(client.refused("PublishStateMachineVersion", &stale).0, "ConflictException");
    let listed = client.ok("ListStateMachineVersions", &publish);
    assert_eq!(listed["stateMachineVersions"][0]["stateMachineVersionArn"], format!("{PREFIX}:m:2"));
    let unqualified = json!({"stateMachineVersionArn": arn});
    assert_eq!(client.refused("DeleteStateMachineVersion", &unqualified).0, "ValidationException");
    let nobody = json!({"stateMachineArn": format!("{PREFIX}:n")});
    for action in ["PublishStateMachineVersion", "ListStateMachineAliases"] {
        assert_eq!(client.refused(action, &nobody).0, "StateMachineDoesNotExist", "{action}");
    }
    assert_eq!(client.ok("ListStateMachineVersions", &nobody)["stateMachineVersions"], json!([]));
}

#[test]
fn tags_belong_to_machines_and_activities() {
    let mut client = Client::new();
    let machine = client.ok("CreateStateMachine", &create("m"))["stateMachineArn"].clone();
    let activity = client.ok("CreateActivity", &json!({"name": "a"}))["activityArn"].clone();
    for arn in [machine, activity] {
        let tags = json!([{"key": "k", "value": "1"}, {"key": "l", "value": "2"}]);
        client.ok("TagResource", &json!({"resourceArn": arn, "tags": tags}));
        client.ok("TagResource", &json!({"resourceArn": arn, "tags": [{"key": "k", "value": "3"}]}));
        client.ok("UntagResource", &json!({"resourceArn": arn, "tagKeys": ["l", "m"]}));
        let listed = client.ok("ListTagsForResource", &json!({"resourceArn": arn}));
        assert_eq!(listed["tags"], json!([{"key": "k", "value": "3"}]));
        let odd = json!({"resourceArn": arn, "tags": [{"key": "a<b", "value": ""}]});
        assert_eq!(client.refused("TagResource", &odd).0, "ValidationException");
        let many: Vec<Json> = (0..50).map(|n| json!({"key": n.to_string(), "value": ""})).collect();
        assert_eq!(
            client.refused("TagResource", &json!({"resourceArn": arn, "tags": many})).0,
            "TooManyTags"
        );
    }
    for action in ["ListTagsForResource", "UntagResource"] {
        let nobody = json!({"resourceArn": format!("{PREFIX}:n"), "tagKeys": []});
        assert_eq!(client.refused(action, &nobody).0, "ResourceNotFound");
        let express = "arn:aws:states:us-east-1:111111111111:express:m:n:u";
        assert_eq!(client.refused(action, &json!({"resourceArn": express, "tagKeys": []})).0, "InvalidArn");
    }
}

#[test]
fn what_was_created_survives_a_restart() {
    let folder = std::env::temp_dir().join(format!("expressway-state-{}", std::process::id()));
    let open = || Client::with(|builder| builder.state(&folder));
    let mut client = open();
    let arn =
        client.ok("CreateStateMachine", &with(create("m"), json!({"publish": true})))["stateMachineArn"]
            .clone();
    client.ok("UpdateStateMachine", &json!({"stateMachineArn": arn, "definition": PASS_2, "publish": true}));
    client.ok("TagResource", &json!({"resourceArn": arn, "tags": [{"key": "k", "value": "v"}]}));
    let routes = json!([{"stateMachineVersionArn": format!("{PREFIX}:m:1"), "weight": 100}]);
    client.ok("CreateStateMachineAlias", &json!({"name": "live", "routingConfiguration": routes}));
    client.ok("CreateActivity", &json!({"name": "a"}));
    client.ok("CreateActivity", &json!({"name": "gone"}));
    let gone = "arn:aws:states:us-east-1:111111111111:activity:gone";
    client.ok("DeleteActivity", &json!({"activityArn": gone}));
    client.ok("CreateStateMachine", &create("gone"));
    client.ok("DeleteStateMachine", &json!({"stateMachineArn": format!("{PREFIX}:gone")}));
    let ask = [
        ("DescribeStateMachine", json!({"stateMachineArn": arn})),
        ("DescribeStateMachine", json!({"stateMachineArn": format!("{PREFIX}:m:1")})),
        ("ListStateMachineVersions", json!({"stateMachineArn": arn})),
        ("DescribeStateMachineAlias", json!({"stateMachineAliasArn": format!("{PREFIX}:m:live")})),
        ("ListTagsForResource", json!({"resourceArn": arn})),
        ("ListStateMachines", json!({})),
        ("ListActivities", json!({})),
    ];
    let before: Vec<Json> = ask.iter().map(|(action, request)| client.ok(action, request)).collect();
    drop(client);
    let mut client = open();
    let after: Vec<Json> = ask.iter().map(|(action, request)| client.ok(action, request)).collect();
    assert_eq!(after, before);
    let ended = client.ok("StartSyncExecution", &json!({"stateMachineArn": format!("{PREFIX}:m:live")}));
    assert_eq!(ended["output"], "1");
    drop(client);
    std::fs::remove_dir_all(&folder).expect("the folder");
}

#[test]
fn what_is_described_otherwise_is_published_anew() {
    let mut client = Client::new();
    let definition = r#"{"StartAt": "P", "States": {"P": {"Type": "Succeed"}}}"#;
    let created = json!({"name": "m", "definition": definition, "roleArn": ROLE, "publish": true,
        "versionDescription": "first"});
    let machine = client.ok("CreateStateMachine", &created)["stateMachineArn"].clone();
    for (description, number) in [(json!("first"), 1), (json!("second"), 2), (json!(null), 2)] {
        let mut update = json!({"stateMachineArn": machine, "definition": definition, "publish": true});
        if !description.is_null() {
            update["versionDescription"] = description.clone();
        }
        let version = client.ok("UpdateStateMachine", &update)["stateMachineVersionArn"].clone();
        assert_eq!(version, json!(format!("{}:{number}", machine.as_str().expect("an ARN"))));
        if !description.is_null() {
            let described = client.ok("DescribeStateMachine", &json!({"stateMachineArn": version}));
            assert_eq!(described["description"], description);
        }
    }
}

#[test]
fn a_role_belongs_to_an_account() {
    let mut client = Client::new();
    let definition = r#"{"StartAt": "P", "States": {"P": {"Type": "Succeed"}}}"#;
    for role in [
        "arn:aws:iam::1234:role/r",
        "arn:aws:iam::111111111111:role/",
        "arn:aws:iam::111111111111:user/u",
        "r",
    ] {
        let request = json!({"name": "m", "definition": definition, "roleArn": role});
        let (code, message) = client.refused("CreateStateMachine", &request);
        assert_eq!((&*code, message), ("InvalidArn", format!("Invalid Role Arn: '{role}'")));
    }
}

#[test]
fn a_token_is_good_for_the_same_question_only() {
    let mut client = Client::new();
    let machine = client.machine("m", "STANDARD", json!({"P": {"Type": "Succeed"}}));
    for _ in 0..3 {
        client.start(&machine, "{}");
    }
    let mut list = json!({"stateMachineArn": machine, "maxResults": 2});
    list["nextToken"] = client.ok("ListExecutions", &list)["nextToken"].clone();
    assert_eq!(client.ok("ListExecutions", &list)["executions"].as_array().map(Vec::len), Some(1));
    list["statusFilter"] = json!("SUCCEEDED");
    assert_eq!(client.refused("ListExecutions", &list).0, "InvalidToken");
}

/// A name may have other letters than CloudWatch Logs takes, while nothing is logged.
#[test]
fn a_machine_that_logs_has_a_name_that_logs_can_have() {
    let mut client = Client::new();
    let group = json!({"cloudWatchLogsLogGroup": {"logGroupArn": "arn:aws:logs:us-east-1:111111111111:log-group:g:*"}});
    let logs = |level: &str| json!({"loggingConfiguration": {"level": level, "destinations": [group]}});
    for name in ["é", "a+b"] {
        let refusal = (
            "InvalidLoggingConfiguration".to_owned(),
            format!(
                "Invalid Logging Configuration: 1 validation error detected: Value '{PREFIX}:{name}' at 'resourceId' \
                 failed to satisfy constraint: Member must satisfy regular expression pattern: ^[0-9A-Za-z.\\/\\-_:]+$"
            ),
        );
        assert_eq!(client.refused("CreateStateMachine", &with(create(name), logs("ERROR"))), refusal);
        client.ok("CreateStateMachine", &with(create(name), logs("OFF")));
        let update = json!({"stateMachineArn": format!("{PREFIX}:{name}")});
        assert_eq!(client.refused("UpdateStateMachine", &with(update.clone(), logs("ALL"))), refusal);
        client.ok("UpdateStateMachine", &with(update, json!({"definition": PASS_2})));
    }
    client.ok("CreateStateMachine", &with(create("a.b-c_1"), logs("ALL")));
}

/// Measured of a definition in JSONata.
#[test]
fn a_long_integer_of_a_definition_keeps_its_digits() {
    for (language, field) in [("JSONata", "Output"), ("JSONPath", "Result"), ("JSONPath", "Parameters")] {
        let mut client = Client::new();
        let definition = format!(
            r#"{{"StartAt": "P", "QueryLanguage": "{language}", "States": {{"P": {{"Type": "Pass",
                "{field}": {{"n": 10000000000000000000000000}}, "End": true}}}}}}"#
        );
        let request = json!({"name": "m", "definition": definition, "roleArn": ROLE});
        let machine = client.ok("CreateStateMachine", &request)["stateMachineArn"].clone();
        let arn = client.start(machine.as_str().expect("an ARN"), "{}");
        client.settle();
        let described = client.ok("DescribeExecution", &json!({"executionArn": arn}));
        assert_eq!(described["output"], r#"{"n":10000000000000000000000000}"#, "{field}");
    }
}
