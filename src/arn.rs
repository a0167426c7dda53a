//! ARNs of AWS Step Functions: their parts, and parsing (API reference; the forms are those in AWS's own answers).
//!
//! ```text
//! arn:<partition>:states:<region>:<account>:stateMachine:<name>[:<version or alias>]
//! arn:<partition>:states:<region>:<account>:stateMachine:<name>/<label>
//! arn:<partition>:states:<region>:<account>:execution:<machine>:<name>
//! arn:<partition>:states:<region>:<account>:express:<machine>:<name>:<uuid>
//! arn:<partition>:states:<region>:<account>:activity:<name>
//! arn:<partition>:states:<region>:<account>:mapRun:<machine>/<label>:<uuid>
//! ```

/// A parsed ARN of the service. Its parts are not checked any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    /// Everything up to the resource type, with its colon: `arn:aws:states:us-east-1:123456789012:`.
    pub prefix: &'a str,
    /// The resource type: `stateMachine`, `execution`, …
    pub resource_type: &'a str,
    /// What follows the resource type.
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Parses an ARN. `None` if it does not begin as ARNs of this service do.
    ///
    /// ```
    /// use expressway::arn::Arn;
    /// let arn = Arn::parse("arn:aws:states:us-east-1:123456789012:stateMachine:orders:3").unwrap();
    /// assert_eq!((arn.resource_type, arn.name(), arn.qualifier()), ("stateMachine", "orders", Some("3")));
    /// assert!(Arn::parse("orders").is_none());
    /// ```
    pub fn parse(text: &'a str) -> Option<Arn<'a>> {
        let mut parts = text.splitn(7, ':');
        let fixed = [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let (resource_type, resource) = (parts.next()?, parts.next()?);
        let is_ours = fixed[0] == "arn" && !fixed[1].is_empty() && fixed[2] == "states";
        if !is_ours || resource_type.is_empty() || resource.is_empty() {
            return None;
        }
        let prefix = &text[..text.len() - resource_type.len() - 1 - resource.len()];
        Some(Arn { prefix, resource_type, resource })
    }

    /// The first part of the resource: the name of the state machine or activity.
    pub fn name(&self) -> &'a str {
        self.resource.split_once(':').map_or(self.resource, |(name, _)| name)
    }

    /// What follows the name: a version or an alias of a state machine, the name of an execution.
    pub fn qualifier(&self) -> Option<&'a str> {
        self.resource.split_once(':').map(|(_, rest)| rest)
    }

    /// Whether the name has the label of a Map state: `machine/label`.
    pub fn is_labelled(&self) -> bool {
        self.name().contains('/')
    }

    /// The ARN of a state machine, without what follows its name.
    pub fn unqualified(&self) -> String {
        format!("{}{}:{}", self.prefix, self.resource_type, self.name())
    }
}

/// Whether `name` is valid for state machines, executions and activities on AWS: 1 to 80 characters, none of them white
/// space, a bracket, a wildcard, one of `"#%\^|~` `` ` `` `$&,;:/`, or a control character.
pub fn is_name(name: &str) -> bool {
    let allowed = |c: char| {
        !c.is_whitespace()
            && !matches!(c, '<' | '>' | '{' | '}' | '[' | ']' | '?' | '*')
            && !matches!(
                c,
                '"' | '#' | '%' | '\\' | '^' | '|' | '~' | '`' | '$' | '&' | ',' | ';' | ':' | '/'
            )
            && !matches!(u32::from(c), 0..=0x1F | 0x7F..=0x9F | 0xFFFE | 0xFFFF | 0x10FFFF)
    };
    (1..=crate::limits::NAME_CHARS_MAX).contains(&name.chars().count()) && name.chars().all(allowed)
}
