//! The shapes of machines that people have deployed (`tests/data/deployed.json`), for real, where `moto_server` has their
//! services: ECS, Batch, Glue, CodeBuild, S3, Athena, and Distributed Maps over S3. `tests/command/shapes.rs` runs all of
//! them with mocks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use expressway::asl::MachineType;
use expressway::runtime::{Engine, MachineSpec, Status};
use expressway::task::aws::{Credentials, Integrations};
use serde_json::{Value, json};

use crate::{moto, output, run};

fn integrations(url: &str) -> Integrations {
    let credentials = Credentials::new("testing", "testing", None);
    let integrations = Integrations::new().endpoint_url(url).expect("a URL").credentials(credentials);
    integrations.job_pauses(Duration::from_millis(1), Duration::from_millis(50))
}

/// What the machines name. Returns a subnet with a security group, and an application of EMR Serverless.
fn prepare(url: &str) -> (Value, Value, Value) {
    let call = |resource: &str, parameters: Value| {
        output(&run(integrations(url), &format!("arn:aws:states:::aws-sdk:{resource}"), &parameters))
    };
    let role = |name: &str| {
        let role = call("iam:createRole", json!({"RoleName": name, "AssumeRolePolicyDocument": {}}));
        role["Role"]["Arn"].clone()
    };
    let (service, instance) = (role("shapes-service"), role("shapes-instance"));
    call("s3:createBucket", json!({"Bucket": "shapes"}));
    for (key, body) in
        [("in/a", "a"), ("in/b", "b"), ("lines.jsonl", "1\n2\n3\n"), ("settings.json", "{\"mode\":\"fast\"}")]
    {
        call("s3:putObject", json!({"Bucket": "shapes", "Key": key, "Body": body}));
    }
    let vpc = call("ec2:createVpc", json!({"CidrBlock": "10.9.0.0/16"}))["Vpc"]["VpcId"].clone();
    // Interfaces of tasks have names of their own then, which moto asks for.
    call("ec2:modifyVpcAttribute", json!({"VpcId": vpc, "EnableDnsHostnames": {"Value": true}}));
    let subnet = call("ec2:createSubnet", json!({"VpcId": vpc, "CidrBlock": "10.9.1.0/24"}));
    let subnet = subnet["Subnet"]["SubnetId"].clone();
    let group = json!({"GroupName": "shapes", "Description": "d", "VpcId": vpc});
    let group = call("ec2:createSecurityGroup", group)["GroupId"].clone();
    call("ecs:createCluster", json!({"ClusterName": "shapes"}));
    let container = json!({"Name": "c", "Image": "i", "Cpu": 256, "Memory": 512, "Essential": true});
    call(
        "ecs:registerTaskDefinition",
        json!({"Family": "shapes", "NetworkMode": "awsvpc", "RequiresCompatibilities": ["FARGATE"], "Cpu": "256",
            "Memory": "512", "ContainerDefinitions": [container]}),
    );
    call(
        "glue:createJob",
        json!({"Name": "shapes", "Role": service, "Command": {"Name": "glueetl"},
            "ExecutionProperty": {"MaxConcurrentRuns": 9}}),
    );
    call("glue:createDatabase", json!({"DatabaseInput": {"Name": "shapes"}}));
    call(
        "codebuild:createProject",
        json!({"Name": "shapes", "ServiceRole": service, "Artifacts": {"Type": "NO_ARTIFACTS"},
            "Source": {"Type": "S3", "Location": "b/o", "Buildspec": "x"},
            "Environment": {"Type": "LINUX_CONTAINER", "Image": "i", "ComputeType": "BUILD_GENERAL1_SMALL"}}),
    );
    call("sns:createTopic", json!({"Name": "shapes"}));
    call("cloudwatchlogs:createLogGroup", json!({"LogGroupName": "shapes"}));
    call("cloudwatchlogs:createLogStream", json!({"LogGroupName": "shapes", "LogStreamName": "shapes"}));
    let environment = call(
        "batch:createComputeEnvironment",
        json!({"ComputeEnvironmentName": "shapes", "Type": "UNMANAGED", "State": "ENABLED", "ServiceRole": instance}),
    );
    call(
        "batch:createJobQueue",
        json!({"JobQueueName": "shapes", "State": "ENABLED", "Priority": 1, "ComputeEnvironmentOrder": [
            {"Order": 1, "ComputeEnvironment": environment["ComputeEnvironmentArn"]}]}),
    );
    call(
        "batch:registerJobDefinition",
        json!({"JobDefinitionName": "shapes", "Type": "container",
            "ContainerProperties": {"Image": "i", "Vcpus": 1, "Memory": 128, "Command": ["x"]}}),
    );
    let application =
        json!({"Name": "shapes", "ReleaseLabel": "emr-6.6.0", "Type": "SPARK", "ClientToken": "t"});
    let application = call("emrserverless:createApplication", application)["ApplicationId"].clone();
    call("emrserverless:startApplication", json!({"ApplicationId": application}));
    (subnet, group, application)
}

/// Sets settings of moto.
fn configure(url: &str, settings: &Value) {
    let (body, host) = (settings.to_string(), url.trim_start_matches("http://"));
    let mut stream = TcpStream::connect(host).expect("moto");
    write!(
        stream,
        "POST /moto-api/config HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("a request");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("an answer");
    assert!(reply.starts_with("HTTP/1.1 20"), "{reply}");
}

#[test]
fn deployed_machines_run_on_moto() {
    let Some(moto) = moto::moto() else { return };
    // Its jobs of Batch end without containers.
    configure(moto.url(), &json!({"batch": {"use_docker": false}}));
    let (subnet, group, application) = prepare(moto.url());
    let engine = Engine::builder().shards(1).aws(integrations(moto.url())).build().expect("an engine");
    let rows: Vec<Value> = serde_json::from_str(include_str!("../data/deployed.json")).expect("JSON");
    let mut handles = Vec::new();
    for row in rows.iter().filter(|row| row.get("moto").is_some()) {
        let name = row["name"].as_str().expect("a name");
        let definition = row["definition"].to_string();
        let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new(name, &definition) };
        let machine = engine.create(&spec).unwrap_or_else(|why| panic!("{name}: {why}"));
        let mut input = row["input"].clone();
        if row["moto"]["subnets"] == true {
            input["subnets"] = json!([subnet]);
            input["groups"] = json!([group]);
        }
        if row["moto"]["application"] == true {
            input["application"] = application.clone();
        }
        handles.push((name, row, engine.start(&machine, input.to_string()).expect("it starts")));
    }
    assert!(handles.len() >= 25, "{} machines", handles.len());
    for (name, row, handle) in handles {
        let outcome = handle.wait();
        assert_eq!(outcome.status, Status::Succeeded, "{name}: {outcome:?}");
        let result = output(&outcome);
        let expected = row["moto"].get("or").filter(|or| **or == result).unwrap_or(&row["output"]);
        assert_eq!(result, *expected, "{name}");
    }
}
