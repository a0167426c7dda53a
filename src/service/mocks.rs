//! Test cases of a mock configuration file, chosen with `#Case` behind a state machine's ARN.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::{Error, Inner, Target};
use crate::task::Tasks;
use crate::task::mock::MockConfig;

/// A mock configuration file, read when it is first needed, and again when it has changed.
#[derive(Debug)]
pub(super) struct Mocks {
    path: PathBuf,
    read: Mutex<Option<Read>>,
}

#[derive(Debug)]
struct Read {
    stamp: (SystemTime, u64),
    config: Arc<MockConfig>,
}

impl Mocks {
    pub(super) fn new(path: PathBuf) -> Mocks {
        Mocks { path, read: Mutex::default() }
    }

    fn config(&self) -> Result<Arc<MockConfig>, String> {
        let stamp = stamp(&self.path).map_err(|error| self.unreadable(&error))?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = read.as_ref().filter(|read| read.stamp == stamp) {
            return Ok(Arc::clone(&read.config));
        }
        let text = std::fs::read(&self.path).map_err(|error| self.unreadable(&error))?;
        let config = Arc::new(MockConfig::parse(&text).map_err(|error| error.to_string())?);
        *read = Some(Read { stamp, config: Arc::clone(&config) });
        Ok(config)
    }

    fn unreadable(&self, error: &std::io::Error) -> String {
        format!("the mock configuration {} cannot be read: {error}", self.path.display())
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

impl Inner {
    /// Who does the tasks of an execution of this test case.
    pub(super) fn mocks(
        &self,
        target: &Target,
        case: Option<&str>,
    ) -> Result<Option<Box<dyn Tasks + Send>>, Error> {
        let Some(case) = case else { return Ok(None) };
        let refuse = |why: String| Error::validation(format!("Test case '{case}' cannot be used: {why}"));
        let Some(mocks) = &self.mocks else {
            return Err(refuse("there is no mock configuration".to_owned()));
        };
        let config = mocks.config().map_err(refuse)?;
        let case = config.test_case(&target.machine.name, case).map_err(|error| refuse(error.to_string()))?;
        // Whoever forgets a mock does not call AWS instead.
        Ok(Some(Box::new(case.to_mock(target.revision.runnable()?.states_that_call_out()))))
    }
}
