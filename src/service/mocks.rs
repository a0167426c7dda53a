//! Test cases of a mock configuration file, chosen with `#Case` behind a state machine's ARN.

use crate::os;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::task::mock::MockConfig;

/// Mocks: those set while the service runs, or else those of a file, which is read when it is first needed and again
/// when it has changed.
#[derive(Debug, Default)]
pub(super) struct Mocks {
    path: Option<PathBuf>,
    read: Mutex<Option<Read>>,
    set: Mutex<Option<Arc<MockConfig>>>,
}

#[derive(Debug)]
struct Read {
    stamp: (SystemTime, u64),
    config: Arc<MockConfig>,
}

impl Mocks {
    pub(super) fn new(path: Option<PathBuf>) -> Mocks {
        Mocks { path, ..Mocks::default() }
    }

    /// The mocks to use from now on.
    pub(super) fn set(&self, config: Arc<MockConfig>) {
        // No code panics while it holds the lock.
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }

    /// Forgets the mocks that were set: those of the file are used again.
    pub(super) fn unset(&self) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The mocks that apply.
    pub(super) fn config(&self) -> Result<Arc<MockConfig>, String> {
        if let Some(set) = &*self.set.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(set));
        }
        let path = self.path.as_deref().ok_or("there is no mock configuration")?;
        let unreadable = |error: std::io::Error| {
            format!("the mock configuration {} cannot be read: {}", path.display(), os::words(&error))
        };
        let stamp = stamp(path).map_err(unreadable)?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = read.as_ref().filter(|read| read.stamp == stamp) {
            return Ok(Arc::clone(&read.config));
        }
        let text = std::fs::read(path).map_err(unreadable)?;
        let config = Arc::new(MockConfig::parse(&text).map_err(|error| error.to_string())?);
        *read = Some(Read { stamp, config: Arc::clone(&config) });
        Ok(config)
    }
}

fn stamp(path: &Path) -> std::io::Result<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.modified()?, metadata.len()))
}

/// The ARN of a state machine, and the test case behind it.
pub(super) fn split(arn: &str) -> (&str, Option<&str>) {
    arn.split_once('#').map_or((arn, None), |(arn, case)| (arn, Some(case)))
}
