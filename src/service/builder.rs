//! How a service is set up.

use std::sync::{Arc, Mutex};

use super::chance::Chance;
use super::driving::Driving;
use super::executions::Executions;
use super::page::Tokens;
use super::registry::Registry;
use super::{Inner, Service};
use crate::runtime::{self, Engine, RealClock, Simulation, Time};

/// Sets a service up.
pub struct Builder {
    engine: runtime::Builder,
    time: Arc<dyn Time>,
    seed: Option<u64>,
    settings: Settings,
}

/// What holds for the whole service.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) partition: String,
    pub(super) region: String,
    pub(super) account: String,
    pub(super) express_only: bool,
    /// Bytes of closed executions that are kept.
    pub(super) executions_bytes_max: usize,
}

/// Why a service could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Its engine could not.
    #[error(transparent)]
    Engine(#[from] runtime::BuildError),
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            engine: Engine::builder(),
            time: Arc::new(RealClock),
            seed: None,
            settings: Settings {
                partition: "aws".to_owned(),
                region: "us-east-1".to_owned(),
                account: "123456789012".to_owned(),
                express_only: false,
                executions_bytes_max: 256 << 20,
            },
        }
    }
}

impl Builder {
    /// Sets up the engine that runs the executions.
    ///
    /// ```
    /// use expressway::service::Service;
    /// let builder = Service::builder().engine(|engine| engine.shards(2));
    /// ```
    #[must_use]
    pub fn engine(mut self, set: impl FnOnce(runtime::Builder) -> runtime::Builder) -> Builder {
        self.engine = set(self.engine);
        self
    }

    /// Where the time comes from, for the engine too.
    #[must_use]
    pub fn time(mut self, time: impl Time + Clone + 'static) -> Builder {
        self.time = Arc::new(time.clone());
        self.engine = self.engine.time(time);
        self
    }

    /// Makes everything random follow from `seed`, in the engine too.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = Some(seed);
        self.engine = self.engine.seed(seed);
        self
    }

    /// The account in ARNs, 12 digits.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Builder {
        self.settings.account = account.into();
        self
    }

    /// The region in ARNs. Those of China and of GovCloud bring their partition with them.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Builder {
        self.settings.region = region.into();
        self.settings.partition = match &*self.settings.region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
        .to_owned();
        self
    }

    /// Refuses Standard state machines.
    #[must_use]
    pub fn express_only(mut self, express_only: bool) -> Builder {
        self.settings.express_only = express_only;
        self
    }

    /// Bytes that closed Standard executions may take, histories included; the oldest are forgotten first.
    #[must_use]
    pub fn executions_bytes_max(mut self, bytes: usize) -> Builder {
        self.settings.executions_bytes_max = bytes;
        self
    }

    /// Starts the engine's threads.
    ///
    /// # Errors
    /// When the engine cannot be built.
    pub fn build(mut self) -> Result<Service, BuildError> {
        let engine = std::mem::take(&mut self.engine).build()?;
        self.with(engine)
    }

    /// No threads: a service whose engine takes its turns when told so; see [`runtime::Builder::simulate`].
    ///
    /// # Errors
    /// When the engine cannot be built.
    pub fn simulate(mut self) -> Result<(Service, Simulation), BuildError> {
        let (engine, simulation) = std::mem::take(&mut self.engine).simulate()?;
        Ok((self.with(engine)?, simulation))
    }

    fn with(self, engine: Engine) -> Result<Service, BuildError> {
        let seed = match self.seed {
            Some(seed) => seed,
            None => {
                let mut seed = [0; 8];
                getrandom::fill(&mut seed).map_err(|error| runtime::BuildError::Random(error.to_string()))?;
                u64::from_le_bytes(seed)
            }
        };
        let inner = Inner {
            engine: Driving { engine },
            time: self.time,
            settings: self.settings,
            chance: Chance::new(seed),
            tokens: Tokens::default(),
            machines: Registry::default(),
            executions: Executions::default(),
            writing: Mutex::default(),
        };
        Ok(Service { inner: Arc::new(inner) })
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("engine", &self.engine)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
