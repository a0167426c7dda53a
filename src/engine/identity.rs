//! The identity of an execution, and of a visit of a state in it: names, ARNs and tokens, which follow from its seed.

use sha2::{Digest, Sha256};

/// Identifies a visit of a state by a frame: the answer to a task or timer refers to it. It is stale once the frame has
/// moved on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    pub(super) frame: u32,
    pub(super) visit: u32,
}

impl Token {
    /// As one number.
    pub const fn to_bits(self) -> u64 {
        (self.visit as u64) << 32 | self.frame as u64
    }

    /// The execution's frame it belongs to; small numbers, reused.
    pub const fn frame(self) -> u32 {
        self.frame
    }

    /// The visit of a state it belongs to; later visits of an execution have higher numbers.
    pub const fn visit(self) -> u32 {
        self.visit
    }

    /// From [`to_bits`](Token::to_bits).
    pub const fn from_bits(bits: u64) -> Token {
        Token { frame: bits as u32, visit: (bits >> 32) as u32 }
    }
}

/// The identity of an execution; the context object shows it.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// ARN of the execution. If empty, it is derived on demand from the machine's ARN, the name and the seed.
    pub execution_arn: Box<str>,
    /// Name of the execution. If empty, it is a UUID derived from the seed.
    pub execution_name: Box<str>,
    /// ARN of the state machine.
    pub state_machine_arn: Box<str>,
    /// Name of the state machine.
    pub state_machine_name: Box<str>,
    /// ARN of the role it runs under.
    pub role_arn: Box<str>,
    /// Whether the context object shows `Execution.RedriveCount`: recorded in Standard and asynchronous Express
    /// executions, not in synchronous ones.
    pub shows_redrive_count: bool,
    /// Whether it is an execution of a Standard machine, whose ARN has another form.
    pub is_standard: bool,
    /// Whether it may be [redriven](super::Execution::redrive): its state is kept when it ends without success.
    pub is_redrivable: bool,
}

impl Identity {
    /// Appends the name of an execution with this seed.
    pub fn write_execution_name(&self, seed: u64, out: &mut Vec<u8>) {
        match &*self.execution_name {
            "" => out.extend_from_slice(&uuid_text(seed)),
            name => out.extend_from_slice(name.as_bytes()),
        }
    }

    /// Appends the ARN of an execution with this seed: its own; else the machine's with its resource type changed, the
    /// name, and for Express a unique suffix.
    pub fn write_execution_arn(&self, seed: u64, out: &mut Vec<u8>) {
        if !self.execution_arn.is_empty() {
            return out.extend_from_slice(self.execution_arn.as_bytes());
        }
        let machine = &*self.state_machine_arn;
        let kind = if self.is_standard { ":execution:" } else { ":express:" };
        const MACHINE: &str = ":stateMachine:";
        // Usually it ends with the name; if not, the part behind `arn:<partition>:states:<region>:<account>` is known.
        let name = &*self.state_machine_name;
        let parts = match machine.strip_suffix(name).and_then(|before| before.strip_suffix(MACHINE)) {
            Some(before) => Some((before, name)),
            None => {
                let at = memchr::memchr_iter(b':', machine.as_bytes()).nth(4).unwrap_or_default();
                machine[at..].strip_prefix(MACHINE).map(|after| (&machine[..at], after))
            }
        };
        match parts {
            Some((before, after)) => {
                [before, kind, after].iter().for_each(|part| out.extend_from_slice(part.as_bytes()))
            }
            None => out.extend_from_slice(machine.as_bytes()),
        }
        out.push(b':');
        self.write_execution_name(seed, out);
        if !self.is_standard {
            out.push(b':');
            out.extend_from_slice(&uuid_text(!seed));
        }
    }

    /// The ARN of an execution with this seed.
    pub fn execution_arn_with(&self, seed: u64) -> String {
        let mut arn = Vec::new();
        self.write_execution_arn(seed, &mut arn);
        String::from_utf8(arn).expect("it is made of texts")
    }
}

/// The token of a visit: a hash, because one token, or the execution's ARN, must not give away another.
pub(super) fn task_token(secret: u128, seed: u64, token: Token) -> u128 {
    let mut hash = Sha256::new();
    hash.update(b"task token");
    hash.update(secret.to_le_bytes());
    hash.update(seed.to_le_bytes());
    hash.update(token.visit.to_le_bytes());
    let hash = hash.finalize();
    hash.iter().take(16).fold(0, |number, &byte| number << 8 | u128::from(byte))
}

/// A UUID (version 4 in form) derived from a number.
pub(crate) fn uuid(seed: u64) -> String {
    String::from_utf8(uuid_text(seed).to_vec()).expect("it is ASCII")
}

/// The text of [`uuid`].
fn uuid_text(seed: u64) -> [u8; 36] {
    let mix = |n: u64| {
        let mut z = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    crate::uuid::text(mix(1), mix(2))
}
