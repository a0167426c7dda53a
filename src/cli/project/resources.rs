//! Names and ARNs of a template's resources: stable ones of a local account.

/// The account and the region of everything.
pub(super) const ACCOUNT: &str = "123456789012";
pub(super) const REGION: &str = "us-east-1";

/// A type of resource.
pub(super) struct Kind {
    /// As in the template, behind `AWS::` or without.
    name: &'static str,
    /// The property with its name.
    pub(super) named_by: &'static str,
    /// Its ARN, with `{}` for the name.
    arn: &'static str,
    /// The value of `Ref`.
    reference: Reference,
}

#[derive(Clone, Copy)]
enum Reference {
    Name,
    Arn,
    /// The URL of a queue.
    Url,
}

const fn kind(name: &'static str, named_by: &'static str, arn: &'static str, reference: Reference) -> Kind {
    Kind { name, named_by, arn, reference }
}

const KINDS: [Kind; 17] = [
    kind("AWS::Lambda::Function", "FunctionName", "lambda:R:A:function:{}", Reference::Name),
    kind("AWS::Serverless::Function", "FunctionName", "lambda:R:A:function:{}", Reference::Name),
    kind("AWS::Lambda::Alias", "Name", "lambda:R:A:function:{}", Reference::Arn),
    kind("AWS::Lambda::Version", "Name", "lambda:R:A:function:{}", Reference::Arn),
    kind("AWS::SQS::Queue", "QueueName", "sqs:R:A:{}", Reference::Url),
    kind("AWS::SNS::Topic", "TopicName", "sns:R:A:{}", Reference::Arn),
    kind("AWS::DynamoDB::Table", "TableName", "dynamodb:R:A:table/{}", Reference::Name),
    kind("AWS::Serverless::SimpleTable", "TableName", "dynamodb:R:A:table/{}", Reference::Name),
    kind("AWS::S3::Bucket", "BucketName", "s3:::{}", Reference::Name),
    kind("AWS::Events::EventBus", "Name", "events:R:A:event-bus/{}", Reference::Name),
    kind("AWS::Events::Connection", "Name", "events:R:A:connection/{}", Reference::Name),
    kind(
        "AWS::StepFunctions::StateMachine",
        "StateMachineName",
        "states:R:A:stateMachine:{}",
        Reference::Arn,
    ),
    kind("AWS::Serverless::StateMachine", "Name", "states:R:A:stateMachine:{}", Reference::Arn),
    kind("AWS::StepFunctions::Activity", "Name", "states:R:A:activity:{}", Reference::Arn),
    kind("AWS::IAM::Role", "RoleName", "iam::A:role/{}", Reference::Name),
    kind("AWS::ECS::Cluster", "ClusterName", "ecs:R:A:cluster/{}", Reference::Name),
    kind("AWS::ECS::TaskDefinition", "Family", "ecs:R:A:task-definition/{}:1", Reference::Arn),
];

impl Kind {
    pub(super) fn of(name: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    pub(super) fn arn(&self, name: &str) -> String {
        let arn = self.arn.replace(":R:", &format!(":{REGION}:")).replace(":A:", &format!(":{ACCOUNT}:"));
        format!("arn:aws:{}", arn.replace("{}", name))
    }

    /// The value of `Ref`.
    pub(super) fn reference(&self, name: &str) -> String {
        match self.reference {
            Reference::Name => name.to_owned(),
            Reference::Arn => self.arn(name),
            Reference::Url => format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"),
        }
    }
}

/// The ARN of a resource of any other type: `AWS::Glue::Job` is `arn:aws:glue:…:job/NAME`.
pub(super) fn other_arn(kind: &str, name: &str) -> String {
    let mut parts = kind.split("::").skip(1);
    let service = parts.next().unwrap_or("custom").to_ascii_lowercase();
    let what = parts.next().unwrap_or("resource").to_ascii_lowercase();
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{what}/{name}")
}

/// A pseudo parameter of templates.
pub(super) fn pseudo(name: &str) -> Option<&'static str> {
    Some(match name {
        "AWS::AccountId" => ACCOUNT,
        "AWS::Region" => REGION,
        "AWS::Partition" => "aws",
        "AWS::URLSuffix" => "amazonaws.com",
        "AWS::StackName" => "local",
        "AWS::StackId" => "arn:aws:cloudformation:us-east-1:123456789012:stack/local/0",
        "AWS::NoValue" => "",
        _ => return None,
    })
}
