//! AWS's naming rules: services in resources, members of parameters, exceptions. Step Functions calls services through
//! AWS's SDK for Java, so these are that SDK's rules.

use std::sync::LazyLock;

use regex::Regex;

/// A service's name in a resource, by its identifier: `Secrets Manager` is `secretsmanager`, `Config Service` is `config`.
pub(crate) fn package(id: &str) -> String {
    let mut name: String =
        id.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    if name.ends_with("service") {
        name.truncate(name.len() - "service".len());
    }
    name
}

/// An operation's name in resources: `PutItem` is `putItem`.
pub(super) fn action(operation: &str) -> String {
    let mut chars = operation.chars();
    chars.next().into_iter().flat_map(char::to_lowercase).chain(chars).collect()
}

/// Capitalizes a name.
pub(super) fn capitalize(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}

/// A name in the SDK's spelling, capitalized: `DBInstanceArn` is `DbInstanceArn`.
pub(crate) fn java(name: &str) -> String {
    let text = apart(name);
    let words = text.split(' ').filter(|word| !word.is_empty());
    words.map(|word| capitalize(&word.to_ascii_lowercase())).collect()
}

/// A member's name in the SDK for Java, capitalized: its first word, even an acronym, is capitalized and continues in
/// lower case; the rest is unchanged. Names reserved by Java or the SDK get the suffix `Value` (`DefaultNamingStrategy`
/// of the SDK's code generator).
pub(super) fn member(name: &str, in_union: bool) -> String {
    const KEYWORDS: &str = " abstract assert boolean break byte case catch char class const continue default do double \
        else enum extends false final finally float for goto if implements import instanceof int interface long native \
        new null package private protected public return short static strictfp super switch synchronized this throw \
        throws transient true try void volatile while ";
    const METHODS: &str = " equals finalize getClass hashCode notify notifyAll toString wait builder sdkFields toBuilder \
        overrideConfiguration sdkHttpResponse ";
    let has = |words: &str, word: &str| words.contains(&format!(" {word} "));
    let small = uncapitalize(name);
    let is_taken =
        has(KEYWORDS, &small.to_ascii_lowercase()) || has(METHODS, &small) || (in_union && small == "type");
    capitalize(&if is_taken { small + "Value" } else { small })
}

/// The first word in lower case: `DBInstanceArn` is `dbInstanceArn`, `ARN` is `arn`, `StreamARN` is `streamARN`.
fn uncapitalize(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let is_upper = |at: usize| chars.get(at).is_some_and(|char| char.is_uppercase());
    let is_lower = |at: usize| chars.get(at).is_some_and(|char| char.is_lowercase());
    let mut words = 1;
    while is_upper(words) && !is_lower(words + 1) {
        words += 1;
    }
    let small = chars.iter().take(words).flat_map(|char| char.to_lowercase());
    small.chain(chars.iter().skip(words).copied()).collect()
}

/// The prefix of a service's error names, by its identifier: `Config Service` is `Config`.
pub(crate) fn of_errors(id: &str) -> String {
    let mut name = java(id);
    if name.ends_with("Service") {
        name.truncate(name.len() - "Service".len());
    }
    name
}

/// The class of a service's errors that its model does not name. The streams of DynamoDB share that of the tables.
pub(crate) fn base_exception(id: &str) -> String {
    match id {
        "DynamoDB Streams" => "DynamoDbException".to_owned(),
        _ => of_errors(id) + "Exception",
    }
}

/// The name of an error's class: always `…Exception`.
pub(crate) fn exception(shape: &str) -> String {
    let name = java(shape);
    match name.strip_suffix("Fault") {
        _ if name.ends_with("Exception") => name,
        Some(bare) => format!("{bare}Exception"),
        None => format!("{name}Exception"),
    }
}

/// A name split into words, by the SDK's rules.
fn apart(name: &str) -> String {
    type Rule = (LazyLock<Regex>, &'static str);
    // The patterns are constants; the tests below compile each.
    macro_rules! rule {
        ($pattern:literal, $with:literal) => {
            (LazyLock::new(|| Regex::new($pattern).expect("a pattern")), $with)
        };
    }
    static BEFORE: [Rule; 3] = [
        rule!("[^A-Za-z0-9]+", " "),
        rule!("([^a-z]{2,})v([0-9]+)", "$1 v$2 "),
        rule!("([^A-Z]{2,})V([0-9]+)", "$1 V$2 "),
    ];
    static AFTER: [Rule; 2] = [rule!("([A-Z]+)([A-Z][a-z])", "$1 $2"), rule!("([0-9])([a-zA-Z])", "$1 $2")];
    let apply = |text: String, rules: &[Rule]| {
        rules.iter().fold(text, |text, (pattern, with)| pattern.replace_all(&text, *with).into_owned())
    };
    let text = apply(name.to_owned(), &BEFORE);
    let bytes = text.as_bytes();
    let mut split = String::with_capacity(text.len() + 4);
    for (at, char) in text.char_indices() {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        let after = bytes.get(at + 1);
        if char.is_ascii_uppercase()
            && before.is_some_and(u8::is_ascii_lowercase)
            && after.is_some_and(u8::is_ascii_alphanumeric)
        {
            split.push(' ');
        }
        split.push(char);
    }
    apply(split, &AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_the_sdks() {
        for (name, expected) in [
            ("NUL", "Nul"),
            ("BOOL", "Bool"),
            ("SS", "Ss"),
            ("DBInstanceIdentifier", "DbInstanceIdentifier"),
            ("AWSAccountIds", "AwsAccountIds"),
            ("ETag", "ETag"),
            ("SSEKMSKeyId", "SsekmsKeyId"),
            ("MD5OfMessageBody", "Md5OfMessageBody"),
            ("VPCZoneIdentifier", "VpcZoneIdentifier"),
            ("stateMachineArn", "StateMachineArn"),
            ("ARN", "Arn"),
            ("StreamARN", "StreamARN"),
            ("PerformAutoML", "PerformAutoML"),
            ("SendNotification", "SendNotification"),
            ("Return", "ReturnValue"),
            ("default", "DefaultValue"),
            ("Public", "PublicValue"),
            ("notify", "NotifyValue"),
            ("type", "Type"),
        ] {
            assert_eq!(member(name, false), expected);
        }
        assert_eq!(member("type", true), "TypeValue");
    }

    #[test]
    fn names_are_the_sdks() {
        for (name, expected) in [
            ("DBInstanceIdentifier", "DbInstanceIdentifier"),
            ("DBInstances", "DbInstances"),
            ("ETag", "ETag"),
            ("SSEKMSKeyId", "SsekmsKeyId"),
            ("MD5OfMessageBody", "Md5OfMessageBody"),
            ("stateMachineArn", "StateMachineArn"),
            ("DynamoDB", "DynamoDb"),
            ("SFN", "Sfn"),
            ("Secrets Manager", "SecretsManager"),
            ("ARN", "Arn"),
            ("Elastic Load Balancing v2", "ElasticLoadBalancingV2"),
        ] {
            assert_eq!(java(name), expected);
        }
        for (id, package_name, prefix) in [
            ("SageMaker A2I Runtime", "sagemakera2iruntime", "SageMakerA2IRuntime"),
            ("AmplifyUIBuilder", "amplifyuibuilder", "AmplifyUiBuilder"),
            ("Application Discovery Service", "applicationdiscovery", "ApplicationDiscovery"),
            ("b2bi", "b2bi", "B2Bi"),
            ("codeartifact", "codeartifact", "Codeartifact"),
            ("Config Service", "config", "Config"),
            ("Cost and Usage Report Service", "costandusagereport", "CostAndUsageReport"),
            ("Database Migration Service", "databasemigration", "DatabaseMigration"),
            ("Directory Service Data", "directoryservicedata", "DirectoryServiceData"),
            ("DynamoDB Streams", "dynamodbstreams", "DynamoDbStreams"),
            ("Elasticsearch Service", "elasticsearch", "Elasticsearch"),
            ("FSx", "fsx", "FSx"),
            ("Inspector2", "inspector2", "Inspector2"),
            ("IoT", "iot", "Iot"),
            ("IoTSiteWise", "iotsitewise", "IoTSiteWise"),
            ("Kinesis Video WebRTC Storage", "kinesisvideowebrtcstorage", "KinesisVideoWebRtcStorage"),
            ("Lex Runtime Service", "lexruntime", "LexRuntime"),
            ("Lex Runtime V2", "lexruntimev2", "LexRuntimeV2"),
            ("MTurk", "mturk", "MTurk"),
            ("Pinpoint SMS Voice V2", "pinpointsmsvoicev2", "PinpointSmsVoiceV2"),
            ("Service Quotas", "servicequotas", "ServiceQuotas"),
            ("SESv2", "sesv2", "SesV2"),
            ("Timestream InfluxDB", "timestreaminfluxdb", "TimestreamInfluxDb"),
            ("WAFV2", "wafv2", "Wafv2"),
            ("XRay", "xray", "XRay"),
        ] {
            assert_eq!((package(id), of_errors(id)), (package_name.to_owned(), prefix.to_owned()));
        }
        assert_eq!(base_exception("DynamoDB Streams"), "DynamoDbException");
        assert_eq!(base_exception("Elasticsearch Service"), "ElasticsearchException");
        for (shape, expected) in [
            ("NoSuchKey", "NoSuchKeyException"),
            ("DBInstanceAlreadyExistsFault", "DbInstanceAlreadyExistsException"),
            ("ResourceNotFoundException", "ResourceNotFoundException"),
        ] {
            assert_eq!(exception(shape), expected);
        }
    }
}
