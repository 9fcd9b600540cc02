//! A session: what one query sees. It is made for it and gone with it.

use super::segments::{Footers, NoStores};
use super::table::Events;
use super::views::VIEWS;
use super::{functions, guard};
use crate::{Limits, Records};
use datafusion::catalog::TableProvider;
use datafusion::datasource::view::ViewTable;
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Those who hold most memory, named when there is none left.
const NAMED_IN_ERRORS: NonZeroUsize = NonZeroUsize::new(3).expect("it is not zero");
/// Rows that are computed together. A text literal is as long as the SQL text at most, and as often in memory.
const BATCH_ROWS: usize = 8192;

/// What all sessions share: memory up to a bound, and nothing on disk.
pub(super) fn environment(limits: &Limits) -> Result<Arc<RuntimeEnv>> {
    let pool = TrackConsumersPool::new(GreedyMemoryPool::new(limits.memory_bytes), NAMED_IN_ERRORS);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .with_object_store_registry(Arc::new(NoStores))
        .build_arc()
}

/// A session over one tenant's records.
pub(super) async fn open(
    env: Arc<RuntimeEnv>,
    footers: Arc<Footers>,
    records: Arc<dyn Records>,
    limits: &Limits,
) -> Result<SessionContext> {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema("indelible", "ledger")
        .with_target_partitions(limits.threads)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(true);
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".to_owned());
    // For each scan it is decided anew whether filters are evaluated while rows are decoded.
    options.execution.parquet.pushdown_filters = false;
    options.execution.parquet.reorder_filters = true;
    let mut planners = SessionStateDefaults::default_expr_planners();
    planners.insert(0, Arc::new(guard::JoinTexts));
    let mut scalar = guard::allowed(SessionStateDefaults::default_scalar_functions());
    scalar.extend(functions::scalar(&records));
    let mut aggregate = SessionStateDefaults::default_aggregate_functions();
    aggregate.extend(functions::aggregate());
    // No file formats, no table factories and no table functions: there is nothing to make tables of.
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(env)
        .with_expr_planners(planners)
        .with_scalar_functions(scalar)
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(aggregate)
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .build();
    let session = SessionContext::new_with_state(state);
    session.register_table("events", Arc::new(Events::new(records, footers)))?;
    for (name, sql) in VIEWS {
        let plan = session.state().create_logical_plan(sql).await?;
        let view: Arc<dyn TableProvider> = Arc::new(ViewTable::new(plan, Some(sql.to_owned())));
        session.register_table(name, view)?;
    }
    Ok(session)
}
