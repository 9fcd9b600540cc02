//! Answering questions, within bounds.
//!
//! Queries compute on threads of their own, so that whatever they do, those who take records in are not kept waiting.
//! An answer comes in pieces, two of them under way at most; dropping it stops the query. A query also ends when its
//! time is up, when memory is, and when its answer has more rows than an answer may have.

use super::segments::{self, Footers};
use super::{bind, guard, session, trouble};
use crate::question::SQL_MAX_BYTES;
use crate::write::{self, Writer};
use crate::{Kind, Limits, QueryError, Question, Records};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use futures_util::StreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Pieces of an answer that wait for whoever takes them.
const PIECES_UNDER_WAY_MAX: usize = 2;
/// Most rows written into one piece, and most bytes of them, unless one row has more.
const PIECE_ROWS: usize = 256;
const PIECE_BYTES: usize = 4 << 20;
/// Stack of a thread that plans: a chain of operators is as deep as it is long. Reserved, not taken.
const STACK_BYTES: usize = 128 << 20;
/// Words and signs of a query, but for commas and values: a list of values is long, and not deep.
const TOKENS_MAX: usize = 2_000;
/// Threads that read segments and the log, at most.
const READERS_MAX: usize = 16;
/// How much longer than its time a query may need to notice that it is up.
const GRACE: Duration = Duration::from_secs(2);

/// Answers questions.
pub struct Engine {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    env: Arc<RuntimeEnv>,
    footers: Arc<Footers>,
    limits: Limits,
    at_once: Arc<Semaphore>,
}

/// An answer on its way. Dropping it stops the query.
pub struct Answer {
    pieces: mpsc::Receiver<Piece>,
    task: JoinHandle<()>,
    deadline: Instant,
    limits: Limits,
    rows: u64,
    cut: bool,
    ended: bool,
}

enum Piece {
    Rows(Bytes, u64),
    End(Bytes, bool),
    Failed(QueryError),
}

impl Engine {
    /// Starts its threads.
    pub fn start(limits: Limits) -> Result<Self, QueryError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(limits.threads.max(1))
            .max_blocking_threads(READERS_MAX)
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_time()
            .build()
            .map_err(|error| trouble::broke(&error.to_string()))?;
        let env = session::environment(&limits).map_err(|error| trouble::explain(&error, &limits))?;
        let at_once = Arc::new(Semaphore::new(limits.at_once.max(1)));
        Ok(Self { runtime: Some(runtime), env, footers: Arc::default(), limits, at_once })
    }

    /// Begins to answer a question. Must be called within a Tokio runtime with a clock.
    pub async fn ask(&self, records: Arc<dyn Records>, question: Question) -> Result<Answer, QueryError> {
        let limits = Limits {
            time: question.time.map_or(self.limits.time, |time| time.min(self.limits.time)),
            ..self.limits
        };
        let deadline = Instant::now() + limits.time;
        check_length(&question.sql)?;
        let waited = timeout_at(deadline, self.at_once.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = waited else {
            let what = format!("{} other queries were running all the time", self.limits.at_once);
            return Err(QueryError::new(Kind::Busy, what, "try again"));
        };
        let Some(runtime) = &self.runtime else {
            return Err(QueryError::new(Kind::Busy, "the engine is stopping", "try again"));
        };
        let (sender, pieces) = mpsc::channel(PIECES_UNDER_WAY_MAX);
        let job = Job { env: self.env.clone(), footers: self.footers.clone(), records, question, limits };
        let task = runtime.spawn(job.run(sender, deadline, permit));
        Ok(Answer { pieces, task, deadline, limits, rows: 0, cut: false, ended: false })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Waiting for it to stop is not allowed within another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A query nested deeper than the parser allows is refused there; a long one without nesting still makes a plan that
/// is deep, and takes stack.
fn check_length(sql: &str) -> Result<(), QueryError> {
    let too_long = |what: String| {
        Err(QueryError::new(Kind::Limit, what, "ask several questions; x IN (…) takes long lists"))
    };
    if sql.len() > SQL_MAX_BYTES {
        return too_long(format!("the query is longer than {SQL_MAX_BYTES} bytes"));
    }
    let counts = |token: &Token| {
        !matches!(
            token,
            Token::Comma | Token::Whitespace(_) | Token::Number(..) | Token::SingleQuotedString(_)
        )
    };
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().unwrap_or_default();
    if tokens.iter().filter(|token| counts(token)).count() > TOKENS_MAX {
        return too_long(format!("the query has more than {TOKENS_MAX} words and signs besides values"));
    }
    Ok(())
}

struct Job {
    env: Arc<RuntimeEnv>,
    footers: Arc<Footers>,
    records: Arc<dyn Records>,
    question: Question,
    limits: Limits,
}

impl Job {
    async fn run(self, pieces: mpsc::Sender<Piece>, deadline: Instant, _permit: OwnedSemaphorePermit) {
        let records = self.records.clone();
        let limits = self.limits;
        let answered = tokio::select! {
            () = pieces.closed() => return,
            answered = timeout_at(deadline, self.answer(&pieces)) => answered,
        };
        let error = match answered {
            Ok(Ok(())) => return,
            Ok(Err(error)) => name_segment(error, records, deadline).await,
            Err(_) => trouble::too_slow(&limits),
        };
        // Nobody waits for it if this fails.
        let _ = pieces.send(Piece::Failed(error)).await;
    }

    async fn answer(self, pieces: &mpsc::Sender<Piece>) -> Result<(), QueryError> {
        let limits = self.limits;
        let failed = |error: DataFusionError| trouble::explain(&error, &limits);
        let frame = self.plan().await?;
        // One row more than is wanted tells whether there are more.
        let wanted = self.question.rows.unwrap_or(u64::MAX);
        let fetch = wanted.min(limits.rows).saturating_add(1);
        let is_query = !matches!(
            frame.logical_plan(),
            datafusion::logical_expr::LogicalPlan::Explain(_)
                | datafusion::logical_expr::LogicalPlan::Analyze(_)
                | datafusion::logical_expr::LogicalPlan::DescribeTable(_)
        );
        let frame = match usize::try_from(fetch) {
            Ok(fetch) if is_query => frame.limit(0, Some(fetch)).map_err(failed)?,
            _ => frame,
        };
        let mut batches = frame.execute_stream().await.map_err(failed)?;
        let mut writer = write::writer(self.question.format, &batches.schema(), self.question.width)?;
        let mut left = wanted;
        let mut rows: u64 = 0;
        let mut cut = false;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(failed)?;
            let take = left.min(batch.num_rows() as u64);
            cut |= take < batch.num_rows() as u64;
            rows += take;
            left -= take;
            if rows > limits.rows {
                return Err(trouble::too_many_rows(&limits));
            }
            // At most the rows of the batch.
            send(&mut *writer, &batch.slice(0, take as usize), pieces).await?;
            if cut {
                break;
            }
        }
        let mut rest = Vec::new();
        writer.end(&mut rest)?;
        let _ = pieces.send(Piece::End(rest.into(), cut)).await;
        Ok(())
    }

    async fn plan(&self) -> Result<DataFrame, QueryError> {
        let failed = |error: DataFusionError| trouble::explain(&error, &self.limits);
        let session =
            session::open(self.env.clone(), self.footers.clone(), self.records.clone(), &self.limits).await;
        let session = session.map_err(failed)?;
        let state = session.state();
        let dialect = state.config_options().sql_parser.dialect;
        let mut statement = state.sql_to_statement(&self.question.sql, &dialect).map_err(failed)?;
        guard::check_statement(&statement).map_err(|what| {
            QueryError::new(
                Kind::Question,
                what,
                "records cannot be changed, and nothing else can be reached",
            )
        })?;
        bind::bind(&mut statement, &self.question.parameters)?;
        let plan = state.statement_to_plan(statement).await.map_err(failed)?;
        guard::check_plan(&plan).map_err(failed)?;
        let plan = guard::with_bounds(plan).map_err(failed)?;
        Ok(DataFrame::new(state, plan))
    }
}

async fn send(
    writer: &mut dyn Writer,
    batch: &RecordBatch,
    pieces: &mpsc::Sender<Piece>,
) -> Result<(), QueryError> {
    let mut start = 0;
    while start < batch.num_rows() {
        let mut part = batch.slice(start, PIECE_ROWS.min(batch.num_rows() - start));
        while part.num_rows() > 1 && guard::batch_size(&part) > PIECE_BYTES {
            part = part.slice(0, part.num_rows() / 2);
        }
        start += part.num_rows();
        let mut bytes = Vec::new();
        writer.batch(&part, &mut bytes)?;
        // Once nobody takes pieces any more, the query is stopped from outside.
        let _ = pieces.send(Piece::Rows(bytes.into(), part.num_rows() as u64)).await;
    }
    Ok(())
}

/// What cannot be decoded does not say where it came from: look for it, in the time that is left.
async fn name_segment(error: QueryError, records: Arc<dyn Records>, deadline: Instant) -> QueryError {
    let named = error.detail.as_deref().is_some_and(|detail| detail.contains("segment "));
    if error.kind != Kind::Records || named {
        return error;
    }
    let search = tokio::task::spawn_blocking(move || segments::first_damaged(&records.segments()));
    match timeout_at(deadline, search).await {
        Ok(Ok(Some(what))) => trouble::unreadable(&what),
        _ => error,
    }
}

impl Answer {
    /// The next bytes of the answer; `None` once it is whole. What came before an error is no answer.
    pub async fn next(&mut self) -> Option<Result<Bytes, QueryError>> {
        while !self.ended {
            let (bytes, last) = match timeout_at(self.deadline + GRACE, self.pieces.recv()).await {
                Ok(Some(Piece::Rows(bytes, rows))) => {
                    self.rows += rows;
                    (bytes, false)
                }
                Ok(Some(Piece::End(bytes, cut))) => {
                    self.cut = cut;
                    (bytes, true)
                }
                Ok(Some(Piece::Failed(error))) => return self.fail(error),
                Ok(None) => return self.fail(trouble::broke("it gave up in the middle of the answer")),
                Err(_) => return self.fail(trouble::too_slow(&self.limits)),
            };
            self.ended = last;
            if !bytes.is_empty() {
                return Some(Ok(bytes));
            }
        }
        None
    }

    fn fail(&mut self, error: QueryError) -> Option<Result<Bytes, QueryError>> {
        self.ended = true;
        Some(Err(error))
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether it stopped at the number of rows that was asked for, with more to come.
    pub fn cut(&self) -> bool {
        self.cut
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
