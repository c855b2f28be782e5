//! One transaction: a lane's writes, in one round trip and with one commit.

use tokio_postgres::{Row, Statement};
use uuid::Uuid;

use super::super::{NewMessage, StoreLimits};
use super::append::{APPEND, Appends};
use super::connect::{Connector, Link};
use super::error::{PostgresError, PostgresOpenError, ReadError};
use super::import;
use super::members::{self, CREATE, JOIN, LEAVE, MARK};
use super::pipeline::{self, Step};
use super::plan::Phase;
use super::rows;
use super::write::{Outcome, Write};
use crate::protocol::{ConversationId, Seq, UserId};

/// Takes the locks of all the conversations that a transaction writes to, before it looks at anything: a statement sees what was
/// committed when it began, and those after this one begin when nobody else can change these rows any more.
pub(super) const LOCK_CONVERSATIONS: &str = "SELECT FROM conversations WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
/// Takes the locks of the users' rows, in their order, and adds those that are missing: a row that is there is locked before the
/// condition is looked at, which then leaves it as it is. In one pass, since whoever stores names does the same: adding first and
/// then locking would be two orders.
pub(super) const LOCK_USERS: &str = "INSERT INTO users (id) SELECT unnest($1::text[])
    ON CONFLICT (id) DO UPDATE SET conversations = users.conversations WHERE false";

/// A connection of a lane with its statements.
pub(super) struct WriterLink {
    pub(super) link: Link,
    statements: Statements,
}

struct Statements {
    lock_conversations: Statement,
    lock_users: Statement,
    append: Statement,
    mark: Statement,
    create: Statement,
    join: Statement,
    leave: Statement,
}

/// Why a transaction brought no outcomes.
pub(super) enum BatchError {
    /// A statement or the connection failed.
    Postgres(PostgresError),
    /// It was committed, and a row of the answer holds what it cannot.
    Unreadable(ReadError),
}

impl WriterLink {
    /// Connects and prepares every statement.
    pub(super) async fn open(connector: &Connector) -> Result<Self, PostgresOpenError> {
        let link = connector.connect().await?;
        let all = [LOCK_CONVERSATIONS, LOCK_USERS, APPEND, MARK, CREATE, JOIN, LEAVE];
        let prepare = async {
            import::keep_out(&link.client, connector.schema()).await?;
            let prepared = pipeline::all(all.iter().map(|sql| link.client.prepare(sql))).await;
            let prepared: Result<Vec<Statement>, _> = prepared.into_iter().collect();
            prepared.map_err(|error| PostgresOpenError::Schema(error.into()))
        };
        let prepared = connector.within("preparing statements", prepare).await?;
        let Ok([lock_conversations, lock_users, append, mark, create, join, leave]) = <[Statement; 7]>::try_from(prepared) else {
            unreachable!("as many as were asked for")
        };
        let statements = Statements { lock_conversations, lock_users, append, mark, create, join, leave };
        Ok(Self { link, statements })
    }

    /// Carries out all of `writes` in the order of `phases`, or nothing. `asked_before`: an earlier attempt may have been
    /// committed; what it left is then found and answered as if it were new.
    pub(super) async fn run(
        &self,
        writes: &[Write],
        phases: &[Phase],
        limits: StoreLimits,
        asked_before: bool,
    ) -> Result<Vec<(usize, Outcome)>, BatchError> {
        let requests: Vec<Request<'_>> = phases.iter().map(|phase| Request::new(phase, writes)).collect();
        let mut steps = Vec::with_capacity(requests.len() + 4);
        // Messages are appended by one statement, which takes the locks itself and alone is a transaction.
        let is_one_statement = matches!(requests[..], [Request::Appends(..)]);
        if !is_one_statement {
            steps.push(Step::Plain("BEGIN"));
            self.add_locks(writes, phases, &mut steps);
        }
        let first = steps.len();
        steps.extend(requests.iter().map(|request| request.step(&self.statements, limits, asked_before)));
        if !is_one_statement {
            steps.push(Step::Plain("COMMIT"));
        }
        let answers = pipeline::run(&self.link.client, steps).await.map_err(BatchError::Postgres)?;
        let mut outcomes = Vec::with_capacity(writes.len());
        for (request, rows) in requests.iter().zip(&answers[first..]) {
            request.outcomes(rows, &mut outcomes).map_err(BatchError::Unreadable)?;
        }
        Ok(outcomes)
    }

    fn add_locks<'a>(&'a self, writes: &'a [Write], phases: &[Phase], steps: &mut Vec<Step<'a>>) {
        let mut conversations: Vec<ConversationId> = Vec::new();
        let mut users: Vec<&UserId> = Vec::new();
        for place in phases.iter().flat_map(Phase::places) {
            let write = &writes[*place];
            match write {
                Write::Append(..) | Write::MarkRead(..) => {}
                Write::Create(new, _) => users.extend(&new.members),
                Write::Join(_, joining) => users.push(&joining.user),
                Write::Leave(_, user, ..) => users.push(user),
            }
            conversations.push(write.conversation());
        }
        conversations.sort_unstable();
        conversations.dedup();
        let ids: Vec<Uuid> = conversations.iter().map(|id| rows::uuid(id.as_bytes())).collect();
        steps.push(Step::Prepared(&self.statements.lock_conversations, vec![Box::new(ids)]));
        if !users.is_empty() {
            users.sort_unstable();
            users.dedup();
            let users: Vec<&str> = users.iter().map(|user| user.as_str()).collect();
            steps.push(Step::Prepared(&self.statements.lock_users, vec![Box::new(users)]));
        }
    }
}

impl Phase {
    /// The places of its writes in the batch.
    fn places(&self) -> &[usize] {
        match self {
            Self::Appends(places) | Self::Marks(places) => places,
            Self::Alone(place) => std::slice::from_ref(place),
        }
    }
}

/// A phase with what its statement needs.
enum Request<'a> {
    Appends(&'a [usize], Appends<'a>),
    Marks(&'a [usize], Vec<(ConversationId, &'a UserId, Seq)>),
    Alone(usize, &'a Write),
}

impl<'a> Request<'a> {
    fn new(phase: &'a Phase, writes: &'a [Write]) -> Self {
        match phase {
            Phase::Appends(places) => {
                let message = |place: &usize| -> Option<&'a NewMessage> {
                    match &writes[*place] {
                        Write::Append(new, _) => Some(new),
                        Write::MarkRead(..) | Write::Create(..) | Write::Join(..) | Write::Leave(..) => None,
                    }
                };
                Self::Appends(places, Appends::new(places.iter().filter_map(message).collect()))
            }
            Phase::Marks(places) => {
                let mark = |place: &usize| match &writes[*place] {
                    Write::MarkRead(id, user, seq, _) => Some((*id, user, *seq)),
                    Write::Append(..) | Write::Create(..) | Write::Join(..) | Write::Leave(..) => None,
                };
                Self::Marks(places, places.iter().filter_map(mark).collect())
            }
            Phase::Alone(place) => Self::Alone(*place, &writes[*place]),
        }
    }

    fn step<'s>(&'s self, statements: &'s Statements, limits: StoreLimits, asked_before: bool) -> Step<'s> {
        match self {
            Self::Appends(_, appends) => Step::Prepared(&statements.append, appends.values()),
            Self::Marks(_, marks) => Step::Prepared(&statements.mark, members::mark_values(marks, asked_before)),
            Self::Alone(_, Write::Create(new, _)) => Step::Prepared(&statements.create, members::create_values(new, limits)),
            Self::Alone(_, Write::Join(id, joining)) => {
                Step::Prepared(&statements.join, members::join_values(*id, joining, limits, asked_before))
            }
            Self::Alone(_, Write::Leave(id, user, at, _)) => {
                Step::Prepared(&statements.leave, members::leave_values(*id, user, *at, asked_before))
            }
            Self::Alone(_, Write::Append(..) | Write::MarkRead(..)) => unreachable!("these have phases of their own"),
        }
    }

    fn outcomes(&self, rows: &[Row], outcomes: &mut Vec<(usize, Outcome)>) -> Result<(), ReadError> {
        match self {
            Self::Appends(places, appends) => {
                outcomes.extend(places.iter().copied().zip(appends.outcomes(rows)?.into_iter().map(Outcome::Append)));
            }
            Self::Marks(places, marks) => {
                let found = members::mark_outcomes(rows, marks.len())?;
                outcomes.extend(places.iter().copied().zip(found.into_iter().map(Outcome::MarkRead)));
            }
            Self::Alone(place, write) => {
                let outcome = match write {
                    Write::Create(..) => Outcome::Create(members::create_outcome(rows)?),
                    Write::Join(id, joining) => Outcome::Join(members::join_outcome(rows, *id, joining)?),
                    Write::Leave(id, user, at, _) => Outcome::Leave(members::leave_outcome(rows, (*id, user, *at))?),
                    Write::Append(..) | Write::MarkRead(..) => unreachable!("these have phases of their own"),
                };
                outcomes.push((*place, outcome));
            }
        }
        Ok(())
    }
}
