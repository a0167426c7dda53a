//! REST services with JSON: bodies that are one member, and members in headers and queries; and many services of
//! `moto_server`.

use expressway::task::aws::{Credentials, Integrations};
use serde_json::{Value, json};

use crate::server::{Server, answer};
use crate::{moto, output, run};

struct Case {
    resource: &'static str,
    parameters: Value,
    /// Method and target.
    asked: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    says: (&'static [(&'static str, &'static str)], &'static str),
    result: Value,
}

fn cases() -> Vec<Case> {
    const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
    vec![
        // Bytes that are JSON, both ways.
        Case {
            resource: "bedrockruntime:invokeModel",
            parameters: json!({"ModelId": "m:0", "Body": {"prompt": "p"}, "ContentType": "application/json"}),
            asked: "POST /model/m%3A0/invoke",
            headers: JSON,
            body: r#"{"prompt":"p"}"#,
            says: (JSON, r#"{"completion":"c"}"#),
            result: json!({"Body": "{\"completion\":\"c\"}", "ContentType": "application/json"}),
        },
        Case {
            resource: "bedrockruntime:converse",
            parameters: json!({"ModelId": "m", "Messages": [{"Role": "user", "Content": [{"Text": "hi"}]}],
                "InferenceConfig": {"MaxTokens": 5}, "AdditionalModelRequestFields": {"top_k": 1}}),
            asked: "POST /model/m/converse",
            headers: JSON,
            body: r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"maxTokens":5},"additionalModelRequestFields":{"top_k":1}}"#,
            says: (
                JSON,
                r#"{"output":{"message":{"role":"assistant","content":[{"text":"ho"}]}},"stopReason":"end_turn","usage":{"inputTokens":1}}"#,
            ),
            result: json!({"Output": {"Message": {"Role": "assistant", "Content": [{"Text": "ho"}]}},
                "StopReason": "end_turn", "Usage": {"InputTokens": 1}}),
        },
        // Bytes that are text; members in the path, which is left as it is, and in the query.
        Case {
            resource: "iotdataplane:publish",
            parameters: json!({"Topic": "a/b", "Qos": 1, "Retain": true, "Payload": "on"}),
            asked: "POST /topics/a%2Fb?qos=1&retain=true",
            headers: &[("content-type", "application/octet-stream")],
            body: "on",
            says: (&[], ""),
            result: json!({}),
        },
        // Numbers in headers, beside bytes.
        Case {
            resource: "appconfigdata:getLatestConfiguration",
            parameters: json!({"ConfigurationToken": "t"}),
            asked: "GET /configuration?configuration_token=t",
            headers: &[],
            body: "",
            says: (
                &[
                    ("Next-Poll-Configuration-Token", "u"),
                    ("Next-Poll-Interval-In-Seconds", "60"),
                    ("Content-Type", "text/plain"),
                ],
                "a = 1",
            ),
            result: json!({"Configuration": "a = 1", "ContentType": "text/plain", "NextPollConfigurationToken": "u",
                "NextPollIntervalInSeconds": 60}),
        },
        // A query that the path has already.
        Case {
            resource: "apigateway:importApiKeys",
            parameters: json!({"Body": "name,key\n", "Format": "csv", "FailOnWarnings": false}),
            asked: "POST /apikeys?failonwarnings=false&format=csv&mode=import",
            headers: &[("accept", "application/json"), ("content-type", "application/octet-stream")],
            body: "name,key\n",
            says: (JSON, r#"{"ids":["k"],"warnings":[]}"#),
            result: json!({"Ids": ["k"], "Warnings": []}),
        },
        // A map in the query.
        Case {
            resource: "apigateway:getExport",
            parameters: json!({"RestApiId": "r", "StageName": "s", "ExportType": "oas30", "Accepts": "application/json",
                "Parameters": {"extensions": "integrations"}}),
            asked: "GET /restapis/r/stages/s/exports/oas30?extensions=integrations",
            headers: &[("accept", "application/json")],
            body: "",
            says: (&[("Content-Type", "application/json"), ("Content-Disposition", "attachment")], "{}"),
            result: json!({"Body": "{}", "ContentDisposition": "attachment", "ContentType": "application/json"}),
        },
        // A body that is a structure, and the status of the answer.
        Case {
            resource: "bedrockagentcore:invokeAgentRuntime",
            parameters: json!({"AgentRuntimeArn": "a", "Payload": {"prompt": "p"}, "RuntimeSessionId": "s"}),
            asked: "POST /runtimes/a/invocations",
            headers: &[
                ("content-type", "application/json"),
                ("x-amzn-bedrock-agentcore-runtime-session-id", "s"),
            ],
            body: r#"{"prompt":"p"}"#,
            says: (&[("Content-Type", "application/json")], r#"{"a":1}"#),
            result: json!({"ContentType": "application/json", "Response": "{\"a\":1}", "StatusCode": 200}),
        },
        Case {
            resource: "quicksight:listUsers",
            parameters: json!({"AwsAccountId": "123456789012", "Namespace": "default"}),
            asked: "GET /accounts/123456789012/namespaces/default/users",
            headers: &[],
            body: "",
            says: (JSON, r#"{"UserList":[{"UserName":"u"}],"RequestId":"r","Status":200}"#),
            result: json!({"RequestId": "r", "Status": 200, "UserList": [{"UserName": "u"}]}),
        },
        // Its host on AWS begins with a member, which is part of the path, too.
        Case {
            resource: "neptunegraph:cancelQuery",
            parameters: json!({"GraphIdentifier": "g-1", "QueryId": "q"}),
            asked: "DELETE /queries/q",
            headers: &[("graphidentifier", "g-1")],
            body: "",
            says: (&[], ""),
            result: json!({}),
        },
    ]
}

#[test]
fn members_are_where_services_look_for_them() {
    for case in cases() {
        let server = Server::saying(answer(200, case.says.0, case.says.1));
        let integrations = Integrations::new().endpoint_url(&server.url()).expect("a URL");
        let resource = format!("arn:aws:states:::aws-sdk:{}", case.resource);
        assert_eq!(output(&run(integrations, &resource, &case.parameters)), case.result, "{resource}");
        let asked = server.asked.recv().expect("a request");
        assert_eq!(format!("{} {}", asked.method, asked.target), case.asked, "{resource}");
        assert_eq!(asked.text(), case.body, "{resource}");
        for (name, value) in case.headers {
            assert_eq!(asked.headers.get(*name).map(String::as_str), Some(*value), "{resource}: {name}");
        }
        if case.body.is_empty() {
            assert_eq!(asked.headers.get("content-type"), None, "{resource}");
        }
    }
}

/// Services that were unpacked from the table for the first time here, each by something that moto has.
#[test]
fn services_of_all_kinds_are_called_on_moto() {
    let Some(moto) = moto::moto() else { return };
    let call = |resource: &str, parameters: Value| {
        let credentials = Credentials::new("testing", "testing", None);
        let integrations =
            Integrations::new().endpoint_url(moto.url()).expect("a URL").credentials(credentials);
        output(&run(integrations, &format!("arn:aws:states:::aws-sdk:{resource}"), &parameters))
    };
    let api = call("apigateway:createRestApi", json!({"Name": "shop", "Tags": {"a": "b"}}));
    let apis = call("apigateway:getRestApis", json!({}));
    assert_eq!(apis["Items"][0]["Id"], api["Id"], "{apis}");
    call("organizations:createOrganization", json!({"FeatureSet": "ALL"}));
    call("ecr:createRepository", json!({"RepositoryName": "r"}));
    call("iot:createThing", json!({"ThingName": "lamp"}));
    for (resource, parameters, pointer, expected) in [
        ("organizations:listAccounts", json!({}), "/Accounts/0/Status", json!("ACTIVE")),
        ("iot:listThings", json!({}), "/Things/0/ThingName", json!("lamp")),
        ("acm:listCertificates", json!({}), "/CertificateSummaryList", json!([])),
        ("elasticache:describeCacheClusters", json!({}), "/CacheClusters", json!([])),
        ("redshift:describeClusters", json!({}), "/Clusters", json!([])),
        ("config:describeConfigurationRecorders", json!({}), "/ConfigurationRecorders", json!([])),
        ("apigatewayv2:getApis", json!({}), "/Items", json!([])),
        ("opensearch:listDomainNames", json!({}), "/DomainNames", json!([])),
        ("efs:describeFileSystems", json!({}), "/FileSystems", json!([])),
        ("kafka:listClustersV2", json!({}), "/ClusterInfoList", json!([])),
        ("mq:listBrokers", json!({}), "/BrokerSummaries", json!([])),
        ("backup:listBackupVaults", json!({}), "/BackupVaultList", json!([])),
        ("appsync:listGraphqlApis", json!({}), "/GraphqlApis", json!([])),
        ("sagemaker:listModels", json!({}), "/Models", json!([])),
        (
            "redshiftdata:executeStatement",
            json!({"ClusterIdentifier": "c", "Database": "d", "DbUser": "u", "Sql": "SELECT 1"}),
            "/Database",
            json!("d"),
        ),
    ] {
        let result = call(resource, parameters);
        assert_eq!(result.pointer(pointer), Some(&expected), "{resource}: {result}");
    }
}
