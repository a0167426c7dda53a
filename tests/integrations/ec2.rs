//! `aws-sdk:ec2`: what is sent, what comes of answers and errors, and `moto_server`.

use expressway::task::aws::{Credentials, Integrations};
use serde_json::{Value, json};

use crate::server::{Server, answer};
use crate::{failure, moto, output, run};

/// The form that is sent, in lines, and the task's result.
fn call(action: &str, parameters: &Value, says: &str) -> (String, Value) {
    let says = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <requestId>r-1</requestId>{says}</Response>"
    );
    let server = Server::saying(answer(200, &[("Content-Type", "text/xml;charset=UTF-8")], says));
    let integrations = Integrations::new().endpoint_url(&server.url()).expect("a URL");
    let outcome = run(integrations, &format!("arn:aws:states:::aws-sdk:ec2:{action}"), parameters);
    let asked = server.asked.recv().expect("a request");
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/"));
    assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded; charset=utf-8");
    (asked.text().replace('&', "\n"), output(&outcome))
}

/// Lists are flat and have the names of EC2's queries, which differ from those of its model and of its answers.
#[test]
fn parameters_are_sent_as_ec2_reads_them() {
    let parameters = json!({
        "ImageId": "ami-1",
        "MinCount": 1,
        "MaxCount": "2",
        "UserData": "IyEvYmluL3NoCg==",
        "EbsOptimized": true,
        "SecurityGroupIds": ["sg-1", "sg-2"],
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 8, "DeleteOnTermination": false}}],
        // One of the two names that do not follow from the model's.
        "NetworkInterfaces": [{"DeviceIndex": 0, "Ipv6Addresses": [{"Ipv6Address": "2001:db8::1"}]}],
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a b", "Value": "é&"}]}],
        "LicenseSpecifications": [],
        "KeyName": null,
        "ClientToken": "c",
    });
    let (sent, result) = call("runInstances", &parameters, "<reservationId>r-9</reservationId>");
    let expected = "\
Action=RunInstances
Version=2016-11-15
ImageId=ami-1
MinCount=1
MaxCount=2
UserData=IyEvYmluL3NoCg%3D%3D
EbsOptimized=true
SecurityGroupId.1=sg-1
SecurityGroupId.2=sg-2
BlockDeviceMapping.1.DeviceName=%2Fdev%2Fsda1
BlockDeviceMapping.1.Ebs.VolumeSize=8
BlockDeviceMapping.1.Ebs.DeleteOnTermination=false
NetworkInterface.1.DeviceIndex=0
NetworkInterface.1.Ipv6Addresses.1.Ipv6Address=2001%3Adb8%3A%3A1
TagSpecification.1.ResourceType=instance
TagSpecification.1.Tag.1.Key=a%20b
TagSpecification.1.Tag.1.Value=%C3%A9%26
LicenseSpecification=
ClientToken=c";
    assert_eq!(sent, expected);
    assert_eq!(result, json!({"ReservationId": "r-9"}));

    let filters = json!({"Filters": [{"Name": "tag:a", "Values": ["1", "2"]}], "InstanceIds": ["i-1"], "MaxResults": 5});
    let (sent, _) = call("describeInstances", &filters, "");
    let expected = "\
Action=DescribeInstances
Version=2016-11-15
Filter.1.Name=tag%3Aa
Filter.1.Value.1=1
Filter.1.Value.2=2
InstanceId.1=i-1
MaxResults=5";
    assert_eq!(sent, expected);

    // Bytes are Base64 on the wire.
    let (sent, _) = call("importKeyPair", &json!({"KeyName": "k", "PublicKeyMaterial": "ssh-rsa A"}), "");
    assert!(sent.ends_with("KeyName=k\nPublicKeyMaterial=c3NoLXJzYSBB"), "{sent}");
}

/// As AWS's SDK does, where the task does not give it. RDS wants none for a copy within a region.
#[test]
fn a_copy_from_another_region_names_a_request_to_it() {
    let copied = |resource: &str, parameters: Value| {
        let server = Server::saying(answer(200, &[], "<R><requestId>r-1</requestId></R>".to_owned()));
        let at = Integrations::new().endpoint_url(&server.url()).expect("a URL").region("eu-west-1");
        let credentials = Credentials::new("AKID", "secret", None);
        let resource = format!("arn:aws:states:::aws-sdk:{resource}");
        // What becomes of the answer is not of interest here.
        run(at.credentials(credentials), &resource, &parameters);
        server.asked.try_recv().expect("a request").text().to_owned()
    };
    let snapshot = |region: &str| json!({"SourceRegion": region, "SourceSnapshotId": "snap-1"});
    let sent = copied("ec2:copySnapshot", snapshot("us-east-1"));
    assert!(
        sent.contains(
            "&DestinationRegion=eu-west-1&PresignedUrl=https%3A%2F%2Fec2.us-east-1.amazonaws.com%2F%3F"
        ),
        "{sent}"
    );
    let given = json!({"SourceRegion": "us-east-1", "SourceSnapshotId": "snap-1", "PresignedUrl": "mine"});
    let sent = copied("ec2:copySnapshot", given);
    assert!(sent.ends_with("&PresignedUrl=mine"), "{sent}");
    let database = |region: &str| json!({"SourceRegion": region, "SourceDBSnapshotIdentifier": "s", "TargetDBSnapshotIdentifier": "t"});
    let sent = copied("rds:copyDBSnapshot", database("us-east-1"));
    assert!(sent.contains("&PreSignedUrl=https%3A%2F%2Frds.us-east-1.amazonaws.com%2F%3F"), "{sent}");
    for parameters in
        [database("eu-west-1"), json!({"SourceDBSnapshotIdentifier": "s", "TargetDBSnapshotIdentifier": "t"})]
    {
        let sent = copied("rds:copyDBSnapshot", parameters);
        assert!(!sent.contains("PreSignedUrl"), "{sent}");
    }
}

/// Without an element around the result; names are the SDK's, with its renames.
#[test]
fn answers_are_read_by_the_names_of_the_sdk() {
    let says = "<nextToken>t</nextToken><reservationSet><item><reservationId>r-1</reservationId><groupSet/>\
        <instancesSet><item><instanceId>i-1</instanceId><instanceState><code>16</code><name>running</name></instanceState>\
        <launchTime>2026-01-02T03:04:05.000Z</launchTime><ebsOptimized>false</ebsOptimized>\
        <tagSet><item><key>a</key><value/></item></tagSet><unheardOf>x</unheardOf></item></instancesSet></item></reservationSet>";
    let (_, result) = call("describeInstances", &json!({}), says);
    let expected = json!({"NextToken": "t", "Reservations": [{"ReservationId": "r-1", "Groups": [], "Instances": [
        {"InstanceId": "i-1", "State": {"Code": 16, "Name": "running"}, "LaunchTime": "2026-01-02T03:04:05Z",
         "EbsOptimized": false, "Tags": [{"Key": "a", "Value": ""}]}]}]});
    assert_eq!(result, expected);

    let says = "<imagesSet><item><imageId>ami-1</imageId><isPublic>true</isPublic><imageState>available</imageState></item></imagesSet>";
    let (_, result) = call("describeImages", &json!({}), says);
    let image = json!({"ImageId": "ami-1", "PublicLaunchPermissions": true, "State": "available"});
    assert_eq!(result, json!({"Images": [image]}));

    let (_, result) = call("createRoute", &json!({"RouteTableId": "rtb-1"}), "<return>true</return>");
    assert_eq!(result, json!({"ReturnValue": true}));

    // It has no result.
    let parameters = json!({"Resources": ["i-1"], "Tags": [{"Key": "a", "Value": "1"}]});
    let (sent, result) = call("createTags", &parameters, "<return>true</return>");
    assert_eq!(sent, "Action=CreateTags\nVersion=2016-11-15\nResourceId.1=i-1\nTag.1.Key=a\nTag.1.Value=1");
    assert_eq!(result, json!({}));
}

/// EC2's model names no errors: measured, all are of one class.
#[test]
fn errors_are_of_one_class() {
    let says = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>InvalidInstanceID.NotFound</Code>\
        <Message>The instance ID 'i-1' does not exist</Message></Error></Errors><RequestID>r-7</RequestID></Response>";
    let server = Server::saying(answer(400, &[], says));
    let integrations = Integrations::new().endpoint_url(&server.url()).expect("a URL");
    let parameters = json!({"InstanceIds": ["i-1"]});
    let outcome = run(integrations, "arn:aws:states:::aws-sdk:ec2:startInstances", &parameters);
    let cause = "The instance ID 'i-1' does not exist (Service: Ec2, Status Code: 400, Request ID: r-7) \
                 (SDK Attempt Count: 1)";
    assert_eq!(failure(&outcome), ("Ec2.Ec2Exception".to_owned(), cause.to_owned()));
}

#[test]
fn instances_run_and_stop() {
    let Some(moto) = moto::moto() else { return };
    let call =
        |action: &str, parameters: Value| moto::call(&moto, &format!("aws-sdk:ec2:{action}"), parameters);
    let images = call("describeImages", json!({"ImageIds": ["ami-12c6146b"]}));
    let image = &images["Images"][0]["ImageId"];
    let tags = json!([{"Key": "use", "Value": "nightly"}]);
    let ran = call(
        "runInstances",
        json!({"ImageId": image, "MinCount": 2, "MaxCount": 2, "InstanceType": "t3.micro",
            "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}]}),
    );
    let ids: Vec<&Value> =
        ran["Instances"].as_array().expect("instances").iter().map(|it| &it["InstanceId"]).collect();
    assert_eq!(ids.len(), 2, "{ran}");
    let by_tag = json!({"Filters": [{"Name": "tag:use", "Values": ["nightly"]}]});
    let states = |reservations: &Value| -> Vec<Value> {
        let instances = reservations["Reservations"].as_array().expect("a list").iter();
        let instances = instances.flat_map(|it| it["Instances"].as_array().expect("a list"));
        instances.map(|it| it["State"].clone()).collect()
    };
    let described = call("describeInstances", by_tag.clone());
    let running = json!({"Code": 16, "Name": "running"});
    assert_eq!(states(&described), [running.clone(), running.clone()], "{described}");
    assert_eq!(described["Reservations"][0]["Instances"][0]["Tags"], tags);

    let stopped = call("stopInstances", json!({"InstanceIds": ids}));
    assert_eq!(stopped["StoppingInstances"][0]["PreviousState"], running, "{stopped}");
    assert_eq!(states(&call("describeInstances", by_tag.clone()))[0]["Name"], "stopped");
    let started = call("startInstances", json!({"InstanceIds": [ids[0]]}));
    assert_eq!(started["StartingInstances"][0]["InstanceId"], *ids[0], "{started}");

    let volume = &described["Reservations"][0]["Instances"][0]["BlockDeviceMappings"][0]["Ebs"]["VolumeId"];
    let snapshot = call("createSnapshot", json!({"VolumeId": volume, "Description": "<before> & after"}));
    assert_eq!(snapshot["Description"], "<before> & after", "{snapshot}");
    let id = &snapshot["SnapshotId"];
    call("createTags", json!({"Resources": [id], "Tags": [{"Key": "keep", "Value": "7"}]}));
    let found = call("describeSnapshots", json!({"SnapshotIds": [id]}));
    assert_eq!(found["Snapshots"][0]["Tags"], json!([{"Key": "keep", "Value": "7"}]), "{found}");
    assert_eq!(found["Snapshots"][0]["VolumeId"], *volume);
    call("deleteSnapshot", json!({"SnapshotId": id}));

    let missing = json!({"InstanceIds": ["i-0123456789abcdef0"]});
    let (error, cause) = moto::refused(&moto, "aws-sdk:ec2:startInstances", missing);
    assert_eq!(error, "Ec2.Ec2Exception");
    assert!(
        cause.contains("i-0123456789abcdef0") && cause.contains("(Service: Ec2, Status Code: 400,"),
        "{cause}"
    );
    call("terminateInstances", json!({"InstanceIds": ids}));
    assert_eq!(states(&call("describeInstances", by_tag))[0]["Name"], "terminated");
}
