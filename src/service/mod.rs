//! The AWS API in process. A stub, until the service stands here.

/// What answers operations of the API; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Service;

/// Sets a [`Service`] up.
#[derive(Clone, Debug, Default)]
pub struct Builder;

impl Service {
    /// Sets a service up.
    pub fn builder() -> Builder {
        Builder
    }
}

impl Builder {
    /// The service.
    pub fn build(self) -> Service {
        Service
    }
}
