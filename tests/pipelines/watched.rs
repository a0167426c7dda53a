//! What a pipeline reports of its ends while no events flow, with ends that answer when the test wants.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use super::lines::{Told, engine, paused};
use expressway::pipe::{
    Backlog, Batch, Connection, End, Later, Outputs, Pipe, PipeError, Room, Sink, Source,
};
use tokio::time::sleep;

const PASS: &str = r#"{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}"#;

/// A server whose answer to each check takes two seconds. It has no events.
#[derive(Clone, Default)]
struct Slow(Connection);

impl Slow {
    async fn answer<T>(&self, answer: T) -> Result<T, PipeError> {
        sleep(Duration::from_secs(2)).await;
        Ok(answer)
    }
}

impl Source for Slow {
    fn receive(&mut self, _room: Room) -> Later<'_, Result<Option<Batch>, PipeError>> {
        Box::pin(pending())
    }

    fn connection(&self) -> Option<Connection> {
        Some(self.0.clone())
    }

    fn backlog(&self) -> Option<Arc<dyn Backlog>> {
        Some(Arc::new(self.clone()))
    }
}

impl Backlog for Slow {
    fn events(&self) -> Later<'_, Result<Option<u64>, PipeError>> {
        Box::pin(self.answer(Some(0)))
    }
}

impl Sink for Slow {
    fn publish<'a>(&'a self, _outputs: &'a Outputs<'_>) -> Later<'a, Result<(), PipeError>> {
        unreachable!("there are no events")
    }

    fn connection(&self) -> Option<Connection> {
        Some(self.0.clone())
    }

    fn check(&self) -> Later<'_, Result<(), PipeError>> {
        Box::pin(self.answer(()))
    }
}

#[test]
fn an_answer_from_before_the_loss_of_a_connection_does_not_hide_the_loss() {
    paused(async {
        let (server, told, (engine, machine)) = (Slow::default(), Told::default(), engine(PASS));
        let pipe = Pipe::new(engine, machine, server.clone()).sink(server.clone());
        let pipe = told.by(pipe.dead_letters(server.clone()));
        let (stats, stopper) = (pipe.stats(), pipe.stopper());
        let running = tokio::spawn(pipe.run());
        // The first checks began at once, the next begin after 7 s.
        sleep(Duration::from_secs(1)).await;
        server.0.lost("the server is gone");
        sleep(Duration::from_secs(3)).await;
        let ends: Vec<End> = stats.failing().iter().map(|failing| failing.end).collect();
        assert_eq!(ends, [End::Source, End::Sink, End::DeadLetters]);
        assert_eq!(told.all().len(), 3, "{:?}", told.all());
        // One that began after it says that the server answers.
        sleep(Duration::from_secs(6)).await;
        assert_eq!(stats.failing().len(), 0);
        assert_eq!(told.all().iter().filter(|told| told.why.is_none()).count(), 3);
        stopper.stop();
        running.await.expect("it does not panic").expect("it ends well");
    });
}
