//! Regions and accounts that share a service: resources are created and listed in one of them.

use std::sync::Arc;

use super::Service;
use super::settings::{Scope, partition_of};

impl Service {
    /// The same service, used in this region and account: what is created there has ARNs of it, and lists show only
    /// resources of it. Lookups by ARN work from every scope.
    ///
    /// ```
    /// use expressway::service::{Page, Scope, Service};
    ///
    /// let service = Service::builder().build()?;
    /// let frankfurt = Scope { region: "eu-central-1".to_owned(), account: "000000000000".to_owned() };
    /// let there = service.in_scope(frankfurt);
    /// let activity = there.create_activity("packing", None, Vec::new())?;
    /// assert_eq!(activity.arn, "arn:aws:states:eu-central-1:000000000000:activity:packing");
    /// assert_eq!(there.list_activities(&Page::default())?.items.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn in_scope(&self, scope: Scope) -> Service {
        Service { scope: Some(Arc::new(scope)), ..self.clone() }
    }

    /// The ARN of a resource of this name here.
    pub(crate) fn arn(&self, resource_type: &str, resource: &str) -> String {
        format!("{}{resource_type}:{resource}", self.here())
    }

    /// Where a list begins: after the last item shown, or before all that is here.
    pub(super) fn list_after(&self, after: Option<String>) -> Option<String> {
        after.or_else(|| self.scope.is_some().then(|| self.here()))
    }

    /// Whether a resource is listed here.
    pub(super) fn is_here(&self, arn: &str) -> bool {
        self.scope.is_none() || arn.starts_with(&self.here())
    }

    /// The prefix of ARNs of this region and account.
    fn here(&self) -> String {
        let settings = &self.inner.settings;
        match self.scope.as_deref() {
            Some(Scope { region, account }) => {
                format!("arn:{}:states:{region}:{account}:", partition_of(region))
            }
            None => format!("arn:{}:states:{}:{}:", settings.partition, settings.region, settings.account),
        }
    }

    /// The region it is used in.
    pub(super) fn region(&self) -> &str {
        self.scope.as_deref().map_or(&self.inner.settings.region, |scope| &scope.region)
    }

    /// The account it is used in.
    pub(super) fn account(&self) -> &str {
        self.scope.as_deref().map_or(&self.inner.settings.account, |scope| &scope.account)
    }
}
