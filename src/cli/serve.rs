//! `serve`: the AWS API on a port.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use expressway::server::{Config, PORT, Server};
use expressway::service::Service;
use tokio::signal::unix::{SignalKind, signal};

use super::{Stop, Went, counted, say};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port to listen on; 0 takes any that is free
    #[arg(long, short, value_name = "PORT", default_value_t = PORT)]
    port: u16,
    /// Threads that serve connections; by default one for each processor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    threads: Option<u16>,
    /// Seconds that requests under way have to finish after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_timeout: u32,
}

pub(super) fn serve(arguments: &Arguments) -> Result<Went, Stop> {
    let began = Instant::now();
    let mut config = Config::default();
    config.listen = SocketAddr::new(arguments.host, arguments.port);
    if let Some(threads) = arguments.threads {
        config.threads = threads.into();
    }
    let service = Service::builder()
        .build()
        .map_err(|error| Stop::failed(format!("cannot start the service: {error}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(format!("cannot wait for signals: {error}")))?;
    let server = Server::start(&config, &service).map_err(|error| Stop::failed(error.to_string()))?;
    server.ready(true);
    let took = began.elapsed();
    say(&format!(
        "expressway: ready on http://{} in {:.1} ms; STANDARD executions are kept in memory and are not durable",
        server.address(),
        took.as_secs_f64() * 1e3,
    ));
    runtime.block_on(stopped())?;
    say("expressway: draining; a second signal ends at once");
    runtime.spawn(async {
        if stopped().await.is_ok() {
            say("expressway: ended at once");
            std::process::exit(130);
        }
    });
    let within = Duration::from_secs(u64::from(arguments.drain_timeout));
    let counts = server.counts();
    let drain = runtime.spawn_blocking(move || server.drain(within));
    let drained = runtime.block_on(drain).map_err(|error| Stop::failed(format!("cannot drain: {error}")))?;
    say(&format!(
        "expressway: {} answered, {} finished, {} cut",
        counted(usize::try_from(counts.requests).unwrap_or(usize::MAX), "request"),
        counted(drained.closed, "connection"),
        drained.cut,
    ));
    Ok(if drained.cut == 0 { Went::Well } else { Went::PartlyWrong })
}

/// Until someone wants us to stop.
async fn stopped() -> Result<(), Stop> {
    let cannot = |error| Stop::failed(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    std::future::poll_fn(|context| match terminate.poll_recv(context) {
        std::task::Poll::Ready(_) => std::task::Poll::Ready(()),
        std::task::Poll::Pending => interrupt.poll_recv(context).map(|_| ()),
    })
    .await;
    Ok(())
}
