//! Several statements in one round trip: all are sent before the first answer is waited for.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::error::PostgresError;

/// The values of a statement, borrowed from the writes they belong to.
pub(super) type Values<'a> = Vec<Box<dyn ToSql + Sync + Send + 'a>>;

/// One statement to send.
pub(super) enum Step<'a> {
    /// Without values or rows: `BEGIN` and the like.
    Plain(&'static str),
    /// Prepared on this connection.
    Prepared(&'a Statement, Values<'a>),
}

impl Step<'_> {
    async fn run(self, client: &Client) -> Result<Vec<Row>, tokio_postgres::Error> {
        match self {
            Self::Plain(sql) => client.batch_execute(sql).await.map(|()| Vec::new()),
            Self::Prepared(statement, values) => {
                let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
                client.query(statement, &values).await
            }
        }
    }
}

/// Runs the steps in their order, each whether or not those before it succeeded. The rows of each, or the first failure that is
/// not another's consequence.
pub(super) async fn run(client: &Client, steps: Vec<Step<'_>>) -> Result<Vec<Vec<Row>>, PostgresError> {
    let mut answers = Vec::with_capacity(steps.len());
    let mut failure: Option<PostgresError> = None;
    for answer in all(steps.into_iter().map(|step| step.run(client))).await {
        match answer.map_err(PostgresError::from) {
            Ok(rows) => answers.push(rows),
            Err(error) if failure.as_ref().is_none_or(PostgresError::is_aftermath) => failure = Some(error),
            Err(_) => {}
        }
    }
    failure.map_or(Ok(answers), Err)
}

/// Polls all futures, in their order, until each is ready. A statement is sent when its future is first polled, so that they
/// arrive in this order.
pub(super) async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut waits = false;
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(ready) => *output = Some(ready),
                    Poll::Pending => waits = true,
                }
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
