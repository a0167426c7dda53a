//! How AWS names things: services in resources, members of parameters, exceptions. Step Functions calls services
//! through AWS's SDK for Java, so it is that SDK's way of writing names.

use std::sync::LazyLock;

use regex::Regex;

/// A service's name in a resource, by its identifier: `Secrets Manager` is `secretsmanager`.
pub(in super::super) fn package(id: &str) -> String {
    id.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// An operation's name, by that in a resource: `putItem` is `PutItem`.
pub(super) fn operation(action: &str) -> String {
    capitalize(action)
}

/// As resources name an operation: `PutItem` is `putItem`.
pub(super) fn action(operation: &str) -> String {
    let mut chars = operation.chars();
    chars.next().into_iter().flat_map(char::to_lowercase).chain(chars).collect()
}

/// With a capital at the beginning.
pub(super) fn capitalize(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}

/// A name as the SDK writes it, with a capital at the beginning: `DBInstanceArn` is `DbInstanceArn`.
pub(in super::super) fn java(name: &str) -> String {
    let text = apart(name);
    let words = text.split(' ').filter(|word| !word.is_empty());
    words.map(|word| capitalize(&word.to_ascii_lowercase())).collect()
}

/// A member of a service's shapes as the SDK calls it, where that does not follow from its name: the renames
/// (`emitPropertyName`) of the SDK's customization files, as Step Functions shows them.
pub(super) fn member(service: &str, name: &str) -> String {
    let renamed = match (service, name) {
        // The streams' shapes are the tables'.
        ("DynamoDB" | "DynamoDB Streams", "NULL") => "Nul",
        ("CloudFormation", "StackStatusFilter") => "StackStatusFilters",
        ("SNS", "AWSAccountId") => "AwsAccountIds",
        ("SNS", "ActionName") => "ActionNames",
        _ => return java(name),
    };
    renamed.to_owned()
}

/// A service's name in the names of its errors.
pub(in super::super) fn of_errors(service: &str) -> String {
    match service {
        "DynamoDB Streams" => "DynamoDb".to_owned(),
        _ => java(service),
    }
}

/// The name of an error's class: always some `…Exception`.
pub(in super::super) fn exception(shape: &str) -> String {
    let name = java(shape);
    match name.strip_suffix("Fault") {
        _ if name.ends_with("Exception") => name,
        Some(bare) => format!("{bare}Exception"),
        None => format!("{name}Exception"),
    }
}

/// A name with blanks between its words, by the SDK's rules.
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
    fn renamed_members_are_the_sdks() {
        assert_eq!(member("DynamoDB", "NULL"), "Nul");
        assert_eq!(member("DynamoDB Streams", "NULL"), "Nul");
        assert_eq!(member("SNS", "AWSAccountId"), "AwsAccountIds");
        assert_eq!(member("CloudFormation", "StackStatusFilter"), "StackStatusFilters");
        assert_eq!(member("DynamoDB", "BOOL"), java("BOOL"));
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
        for (shape, expected) in [
            ("NoSuchKey", "NoSuchKeyException"),
            ("DBInstanceAlreadyExistsFault", "DbInstanceAlreadyExistsException"),
            ("ResourceNotFoundException", "ResourceNotFoundException"),
        ] {
            assert_eq!(exception(shape), expected);
        }
    }
}
