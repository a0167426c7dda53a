//! What the tasks of a pipeline's state machine may call.

use expressway::pipe::all_without_credentials;
use expressway::runtime::Builder;
use expressway::task::aws::Integrations;
use expressway::task::functions::Functions;
use expressway::task::nats;

use super::config::Tasks;
use super::errors::refused;
use super::waits::Waits;
use super::{ends, status};
use crate::cli::{Stop, files, services};

/// An engine with these tasks.
pub(super) async fn given(
    mut builder: Builder,
    tasks: &Tasks,
    functions: Option<&Functions>,
    waits: &Waits,
) -> Result<Builder, Stop> {
    if tasks.services {
        let mut settings = services::Settings::default();
        settings.http_allow.clone_from(&tasks.http_allow);
        settings.connections.clone_from(&tasks.connections);
        builder = builder.aws(settings.integrations(functions)?);
    } else if tasks.connections.is_some() || !tasks.http_allow.is_empty() {
        return Err(Stop::failed("tasks.connections and tasks.http_allow need tasks.services = true"));
    } else if let Some(functions) = functions {
        builder = builder.aws(Integrations::new().only_functions(functions.clone()));
    }
    if let Some(folder) = &tasks.files {
        builder = builder.files(files::below(folder)?).express_maps(true);
    }
    if let Some(server) = &tasks.nats {
        let what = format!("The tasks' NATS connection {}", all_without_credentials(&server.url));
        let connect = async || ends::nats(&server.url, server.credentials.clone()).await;
        let connected = waits.until(&what, connect).await.map_err(Stop::failed)?;
        status::keep_watching(what, connected.connection());
        builder = builder
            .async_handler(nats::PUBLISH, nats::publish(connected.client().clone()))
            .async_handler(nats::REQUEST, nats::request(connected.client().clone()));
    }
    match &tasks.kafka {
        None => Ok(builder),
        #[cfg(not(feature = "kafka"))]
        Some(_) => Err(refused(ends::absent("kafka"))),
        #[cfg(feature = "kafka")]
        Some(cluster) => {
            use expressway::task::kafka;
            let producer = ends::kafka(&cluster.servers, &cluster.properties).producer();
            Ok(builder.async_handler(kafka::PRODUCE, kafka::produce(producer.map_err(refused)?)))
        }
    }
}
