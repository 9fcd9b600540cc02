//! Percentiles of values in whatever order they come.
//!
//! `percentile_cont(0.95) WITHIN GROUP (ORDER BY x)` names what the percentile is of, and not an order in which its rows have to be read; but the
//! planner takes every `ORDER BY` of an aggregate for that, and sorts all rows first: it holds all of them, where the function holds
//! the values. So the order is taken out while the query is planned: ascending is what there is without one, and descending is
//! the percentile counted from the other end.

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions_aggregate::approx_percentile_cont::approx_percentile_cont_udaf;
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Signature, lit,
};
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

/// DataFusion's percentiles, under their own names.
pub(super) fn functions() -> [Arc<AggregateUDF>; 2] {
    [percentile_cont_udaf(), approx_percentile_cont_udaf()]
        .map(|inner| Arc::new(AggregateUDF::from(Unordered { inner })))
}

/// A percentile, replaced by the one of that name without its order while the query is planned.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Unordered {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for Unordered {
    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        let inner = self.inner.clone();
        Some(Box::new(move |mut call, _| {
            let descends = call.params.order_by.first().is_some_and(|sort| !sort.asc);
            let of_what = call.params.args.get_mut(1);
            match of_what {
                Some(Expr::Literal(ScalarValue::Float64(Some(share)), _)) if descends => {
                    let share = 1.0 - *share;
                    call.params.args[1] = lit(share);
                    call.params.order_by.clear();
                }
                _ if descends => {}
                _ => call.params.order_by.clear(),
            }
            Ok(Expr::AggregateFunction(AggregateFunction { func: inner.clone(), params: call.params }))
        }))
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
