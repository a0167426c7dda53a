//! Services with REST and XML besides S3: Route 53, CloudFront and S3 Control.

use expressway::task::aws::{Credentials, Integrations};
use serde_json::{Value, json};

use crate::server::{Asked, Says, Server, answer};
use crate::{failure, moto, output, run};

/// What is sent, and what comes of the answer.
fn call(resource: &str, parameters: &Value, says: Says) -> (Asked, Result<Value, (String, String)>) {
    let server = Server::saying(says);
    let integrations = Integrations::new().endpoint_url(&server.url()).expect("a URL");
    let outcome = run(integrations, &format!("arn:aws:states:::aws-sdk:{resource}"), parameters);
    let asked = server.asked.try_recv().unwrap_or_else(|_| panic!("nothing was asked: {outcome:?}"));
    (asked, if outcome.fault.is_some() { Err(failure(&outcome)) } else { Ok(output(&outcome)) })
}

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

/// Members that have no place of their own are in one element, in the order of the model.
#[test]
fn members_of_the_body_are_in_one_element() {
    let parameters = json!({"HostedZoneId": "Z1/2", "ChangeBatch": {"Changes": [
        {"ResourceRecordSet": {"Name": "a.example", "Type": "A", "Ttl": "60", "ResourceRecords": [{"Value": "10.0.0.1"}]},
         "Action": "UPSERT"}], "Comment": "<&>"}});
    let says = format!(
        "{XML}<ChangeResourceRecordSetsResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeInfo>\
         <Id>/change/C1</Id><Status>PENDING</Status><SubmittedAt>2026-01-02T03:04:05.678Z</SubmittedAt></ChangeInfo>\
         </ChangeResourceRecordSetsResponse>"
    );
    let (asked, result) = call("route53:changeResourceRecordSets", &parameters, answer(200, &[], says));
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("POST", "/2013-04-01/hostedzone/Z1%2F2/rrset/")
    );
    assert_eq!(asked.headers["content-type"], "application/xml");
    let expected = format!(
        "{XML}<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch>\
         <Comment>&lt;&amp;&gt;</Comment><Changes><Change><Action>UPSERT</Action><ResourceRecordSet><Name>a.example</Name>\
         <Type>A</Type><TTL>60</TTL><ResourceRecords><ResourceRecord><Value>10.0.0.1</Value></ResourceRecord>\
         </ResourceRecords></ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
    );
    assert_eq!(asked.text(), expected);
    let change = json!({"Id": "C1", "Status": "PENDING", "SubmittedAt": "2026-01-02T03:04:05.678Z"});
    assert_eq!(result, Ok(json!({"ChangeInfo": change})), "of the path the SDK leaves the identifier");

    let parameters = json!({"DistributionId": "E1", "InvalidationBatch": {"CallerReference": "r", "Paths": {"Quantity": 1, "Items": ["/*"]}}});
    let says = format!("{XML}<Invalidation><Id>I1</Id><Status>InProgress</Status></Invalidation>");
    let says = answer(201, &[("Location", "https://l")], says);
    let (asked, result) = call("cloudfront:createInvalidation", &parameters, says);
    assert_eq!(asked.target, "/2020-05-31/distribution/E1/invalidation");
    let expected = format!(
        "{XML}<InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths><Quantity>1</Quantity>\
         <Items><Path>/*</Path></Items></Paths><CallerReference>r</CallerReference></InvalidationBatch>"
    );
    assert_eq!(asked.text(), expected);
    let invalidation = json!({"Id": "I1", "Status": "InProgress"});
    assert_eq!(result, Ok(json!({"Location": "https://l", "Invalidation": invalidation})));
}

/// Cut are the members that the SDK cuts, in the answers in which it does.
#[test]
fn identifiers_of_route_53_have_no_path() {
    let says = "<R><ResourceRecordSets><ResourceRecordSet><Name>a/b</Name><SetIdentifier>x/y</SetIdentifier>\
        <HealthCheckId>/healthcheck/h</HealthCheckId><AliasTarget><HostedZoneId>/hostedzone/Z2</HostedZoneId>\
        <DNSName>d/e</DNSName></AliasTarget></ResourceRecordSet></ResourceRecordSets></R>";
    let parameters = json!({"HostedZoneId": "Z"});
    let (_, result) = call("route53:listResourceRecordSets", &parameters, answer(200, &[], says));
    let set = json!({"Name": "a/b", "SetIdentifier": "y", "HealthCheckId": "h",
        "AliasTarget": {"HostedZoneId": "Z2", "DnsName": "d/e"}});
    assert_eq!(result, Ok(json!({"ResourceRecordSets": [set]})));

    let zone = |id: &str| format!("<R><HostedZones><HostedZone><Id>{id}</Id></HostedZone></HostedZones></R>");
    for (action, parameters, id, expected) in [
        ("listHostedZones", json!({}), "/hostedzone/Z1", "Z1"),
        ("listHostedZones", json!({}), "/Z1", "/Z1"),
        ("listHostedZones", json!({}), "Z1", "Z1"),
        ("listHostedZonesByName", json!({}), "/hostedzone/Z1", "/hostedzone/Z1"),
    ] {
        let (_, result) = call(&format!("route53:{action}"), &parameters, answer(200, &[], zone(id)));
        assert_eq!(result, Ok(json!({"HostedZones": [{"Id": expected}]})), "{action} {id}");
    }
}

#[test]
fn errors_have_the_names_of_the_sdk() {
    for (resource, parameters, code, error, service) in [
        (
            "route53:getHostedZone",
            json!({"Id": "Z"}),
            "NoSuchHostedZone",
            "Route53.NoSuchHostedZoneException",
            "Route53",
        ),
        ("route53:getHostedZone", json!({"Id": "Z"}), "Odd", "Route53.Route53Exception", "Route53"),
        (
            "cloudfront:getDistribution",
            json!({"Id": "E"}),
            "NoSuchDistribution",
            "CloudFront.NoSuchDistributionException",
            "CloudFront",
        ),
        (
            "s3control:getPublicAccessBlock",
            json!({"AccountId": "123456789012"}),
            "NoSuchPublicAccessBlockConfiguration",
            "S3Control.NoSuchPublicAccessBlockConfigurationException",
            "S3Control",
        ),
    ] {
        let says = format!(
            "{XML}<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error>\
             <RequestId>r-1</RequestId></ErrorResponse>"
        );
        let (_, result) = call(resource, &parameters, answer(404, &[], says));
        let cause =
            format!("no (Service: {service}, Status Code: 404, Request ID: r-1) (SDK Attempt Count: 1)");
        assert_eq!(result, Err((error.to_owned(), cause)), "{resource} {code}");
    }
}

/// Bodies have a checksum where the model wants one; what leads to another service is refused, not sent to this one.
#[test]
fn accounts_of_s3_are_controlled() {
    let block =
        json!({"AccountId": "123456789012", "PublicAccessBlockConfiguration": {"BlockPublicAcls": true}});
    let (asked, result) = call("s3control:putPublicAccessBlock", &block, answer(200, &[], ""));
    assert_eq!(asked.target, "/v20180820/configuration/publicAccessBlock");
    assert_eq!(asked.headers["x-amz-account-id"], "123456789012");
    assert_eq!(asked.headers.get("x-amz-sdk-checksum-algorithm"), None);
    assert!(asked.headers.contains_key("x-amz-content-sha256"));
    assert!(
        asked.text().ends_with("<BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>")
    );
    assert_eq!(result, Ok(json!({})));

    let tags = json!({"AccountId": "123456789012", "Tags": [{"Key": "a", "Value": "1"}]});
    let (asked, _) = call("s3control:createAccessGrantsInstance", &tags, answer(200, &[], ""));
    assert_eq!(asked.headers["x-amz-sdk-checksum-algorithm"], "SHA256");
    assert!(asked.headers.contains_key("x-amz-checksum-sha256"));

    let at_aws = || Integrations::new().credentials(Credentials::new("a", "s", None));
    for (action, parameters) in [
        (
            "getBucket",
            json!({"AccountId": "1", "Bucket": "arn:aws:s3-outposts:eu-west-1:1:outpost/op-1/bucket/b"}),
        ),
        ("createBucket", json!({"Bucket": "b", "OutpostId": "op-1"})),
        ("getAccessPoint", json!({"AccountId": "1", "Name": "p--use1-az4--xa-s3"})),
    ] {
        let outcome = run(at_aws(), &format!("arn:aws:states:::aws-sdk:s3control:{action}"), &parameters);
        let (error, cause) = failure(&outcome);
        assert!(
            error == "States.Runtime" && cause.contains("are not called here"),
            "{action}: {error} {cause}"
        );
    }
}

#[test]
fn zones_and_distributions_are_called() {
    let Some(moto) = moto::moto() else { return };
    let call =
        |resource: &str, parameters: Value| moto::call(&moto, &format!("aws-sdk:{resource}"), parameters);
    let created = call("route53:createHostedZone", json!({"Name": "example.test.", "CallerReference": "c"}));
    let id = created["HostedZone"]["Id"].as_str().expect("an identifier").to_owned();
    assert!(!id.contains('/'), "{created}");
    let record = json!({"Name": "a.example.test.", "Type": "A", "Ttl": 60, "ResourceRecords": [{"Value": "10.0.0.1"}]});
    let batch = json!({"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]});
    call("route53:changeResourceRecordSets", json!({"HostedZoneId": id, "ChangeBatch": batch}));
    let listed = call("route53:listResourceRecordSets", json!({"HostedZoneId": id}));
    let sets = listed["ResourceRecordSets"].as_array().expect("a list");
    assert!(sets.contains(&record), "{listed}");
    let (error, cause) = moto::refused(&moto, "aws-sdk:route53:getHostedZone", json!({"Id": "ZNONE"}));
    assert_eq!(error, "Route53.NoSuchHostedZoneException", "{cause}");

    let (error, cause) = moto::refused(&moto, "aws-sdk:cloudfront:getDistribution", json!({"Id": "ENONE"}));
    assert_eq!(error, "CloudFront.NoSuchDistributionException", "{cause}");
    let control = json!({"Name": "o", "SigningProtocol": "sigv4", "SigningBehavior": "always", "OriginAccessControlOriginType": "s3"});
    let created = call("cloudfront:createOriginAccessControl", json!({"OriginAccessControlConfig": control}));
    let id = &created["OriginAccessControl"]["Id"];
    let got = call("cloudfront:getOriginAccessControl", json!({"Id": id}));
    assert_eq!(got["OriginAccessControl"]["OriginAccessControlConfig"], control, "{got}");

    let block = json!({"BlockPublicAcls": true, "IgnorePublicAcls": false, "BlockPublicPolicy": true, "RestrictPublicBuckets": false});
    let account = "123456789012";
    let put = json!({"AccountId": account, "PublicAccessBlockConfiguration": block});
    call("s3control:putPublicAccessBlock", put);
    let got = call("s3control:getPublicAccessBlock", json!({"AccountId": account}));
    assert_eq!(got["PublicAccessBlockConfiguration"], block, "{got}");
}
