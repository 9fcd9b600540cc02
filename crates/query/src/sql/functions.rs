//! Functions that the engine has besides DataFusion's: what people ask of a ledger.
//!
//! | function | gives |
//! |---|---|
//! | `subject('user')` | the pseudonym of a user, NULL where nobody of that name was recorded |
//! | `shown('text')` | a string that a client chose, as entries show it |
//! | `p50(x)` … `p99(x)` | percentiles, approximate (t-digest) |
//! | `error_rate(status)` | the share of requests that failed, of those that have a status |
//! | `json_get(text, key, …)` | a member of JSON text, as text |
//! | `json_list(text, key, …)` | a list of strings in JSON text |

use super::{date_trunc, percentile_cont};
use crate::Records;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringBuilder, StringViewBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::approx_percentile_cont::approx_percentile_cont_udaf;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, lit, when,
};
use datafusion::scalar::ScalarValue;
use serde_json::Value;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::{Arc, LazyLock};

/// Statuses of requests that failed: not those that the client gave up or that the gateway refused.
pub(super) const FAILED: [&str; 3] = ["upstream_error", "timeout", "interrupted"];

/// Functions of rows.
pub(super) fn scalar(records: &Arc<dyn Records>) -> Vec<Arc<ScalarUDF>> {
    let subject = Lookup::function("subject", records, |records, user| records.subject(user));
    let shown = Lookup::function("shown", records, |records, text| records.shown(text).map(Some));
    [subject, shown, date_trunc::function()].into_iter().chain(JSON.iter().cloned()).collect()
}

/// Functions of groups.
pub(super) fn aggregate() -> Vec<Arc<AggregateUDF>> {
    AGGREGATES.iter().cloned().chain([percentile_cont::function()]).collect()
}

static JSON: LazyLock<[Arc<ScalarUDF>; 2]> = LazyLock::new(|| {
    let signature = Signature::variadic_any(Volatility::Immutable);
    let get = ScalarUDF::from(JsonGet { signature: signature.clone() });
    [Arc::new(get), Arc::new(ScalarUDF::from(JsonList { signature }))]
});

static AGGREGATES: LazyLock<Vec<Arc<AggregateUDF>>> = LazyLock::new(|| {
    let percentiles = [("p50", 50), ("p75", 75), ("p90", 90), ("p95", 95), ("p99", 99)];
    let percentiles = percentiles.map(|(name, percent)| {
        let signature = Signature::uniform(1, vec![DataType::Float64], Volatility::Immutable);
        Arc::new(AggregateUDF::from(Percentile { name, percent, signature }))
    });
    let signature = Signature::uniform(1, vec![DataType::Utf8View], Volatility::Immutable);
    percentiles.into_iter().chain([Arc::new(AggregateUDF::from(ErrorRate { signature }))]).collect()
});

/// A function that asks the ledger. It is replaced by its answer, a literal, while the query is planned: what it
/// gives is an id to look for like any other.
struct Lookup {
    name: &'static str,
    find: Find,
    records: Arc<dyn Records>,
    signature: Signature,
}

type Find = fn(&dyn Records, &str) -> io::Result<Option<String>>;

impl Lookup {
    fn function(name: &'static str, records: &Arc<dyn Records>, find: Find) -> Arc<ScalarUDF> {
        let signature = Signature::any(1, Volatility::Stable);
        Arc::new(ScalarUDF::from(Self { name, find, records: records.clone(), signature }))
    }

    fn not_a_literal(&self) -> DataFusionError {
        DataFusionError::Plan(format!("{}() takes a text literal or a parameter", self.name))
    }
}

impl ScalarUDFImpl for Lookup {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let text = match args.as_slice() {
            [Expr::Literal(value, _)] if value.data_type().is_string() => value.try_as_str().flatten(),
            [Expr::Literal(ScalarValue::Null, _)] => None,
            _ => return Err(self.not_a_literal()),
        };
        let found = text.map(|text| (self.find)(&*self.records, text)).transpose();
        let found = found.map_err(DataFusionError::IoError)?.flatten();
        Ok(ExprSimplifyResult::Simplified(lit(ScalarValue::Utf8View(found))))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(self.not_a_literal())
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A session has one of each name.
impl PartialEq for Lookup {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Lookup {}

impl Hash for Lookup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// `json_get(detail, 'a', 'b')`: strings as they are, anything else as JSON; NULL where there is no such member.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonGet {
    signature: Signature,
}

impl ScalarUDFImpl for JsonGet {
    fn name(&self) -> &str {
        "json_get"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        with_a_key(args).map(|()| DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut out = StringViewBuilder::with_capacity(args.number_rows);
        for_each_member(args, |found| match found {
            None => out.append_null(),
            Some(Value::String(text)) => out.append_value(text),
            Some(other) => out.append_value(other.to_string()),
        })?;
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

/// `json_list(detail, 'tool_calls')`: the strings of a list in JSON text; NULL where there is no such list.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonList {
    signature: Signature,
}

impl ScalarUDFImpl for JsonList {
    fn name(&self) -> &str {
        "json_list"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        with_a_key(args).map(|()| DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut out = ListBuilder::new(StringBuilder::new());
        for_each_member(args, |found| {
            let Some(Value::Array(items)) = found else { return out.append_null() };
            items.iter().filter_map(Value::as_str).for_each(|text| out.values().append_value(text));
            out.append(true);
        })?;
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

fn with_a_key(args: &[DataType]) -> Result<()> {
    if args.len() < 2 {
        return Err(DataFusionError::Plan("it takes JSON text and at least one key".to_owned()));
    }
    Ok(())
}

/// The member that the keys lead to, for every row. JSON's null counts as absent.
fn for_each_member(args: ScalarFunctionArgs, mut found: impl FnMut(Option<Value>)) -> Result<()> {
    let rows = args.number_rows;
    let columns = args.args.into_iter().map(|arg| text_of(arg, rows)).collect::<Result<Vec<_>>>()?;
    let columns: Vec<_> = columns.iter().map(|column| column.as_string_view()).collect();
    for row in 0..rows {
        let mut path = columns.iter().map(|column| column.is_valid(row).then(|| column.value(row)));
        let text = path.next().flatten();
        let value = text.and_then(|text| serde_json::from_str(text).ok());
        let value = path.try_fold(value, |value, key| Some(Some(member(value?, key?)?))).flatten();
        found(value.filter(|value| !value.is_null()));
    }
    Ok(())
}

fn member(value: Value, key: &str) -> Option<Value> {
    match value {
        Value::Object(mut members) => members.remove(key),
        Value::Array(mut items) => {
            let index = key.parse().ok().filter(|index| *index < items.len())?;
            Some(items.swap_remove(index))
        }
        _ => None,
    }
}

/// An argument as a column of text.
pub(super) fn text_of(arg: ColumnarValue, rows: usize) -> Result<ArrayRef> {
    let array = match arg {
        ColumnarValue::Array(array) => array,
        // Cast first: a literal is cast once, and not for every row.
        ColumnarValue::Scalar(value) => value.cast_to(&DataType::Utf8View)?.to_array_of_size(rows)?,
    };
    Ok(if array.data_type() == &DataType::Utf8View { array } else { cast(&array, &DataType::Utf8View)? })
}

/// Short for `approx_percentile_cont(x, 0.NN)`, and replaced by it while the query is planned.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Percentile {
    name: &'static str,
    percent: u8,
    signature: Signature,
}

impl AggregateUDFImpl for Percentile {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Err(only_of_groups(self.name))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        let share = f64::from(self.percent) / 100.0;
        Some(Box::new(move |mut call, _| {
            call.params.args.push(lit(share));
            Ok(Expr::AggregateFunction(AggregateFunction {
                func: approx_percentile_cont_udaf(),
                params: call.params,
            }))
        }))
    }
}

/// Short for the average of 1 and 0, and replaced by it while the query is planned.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ErrorRate {
    signature: Signature,
}

impl AggregateUDFImpl for ErrorRate {
    fn name(&self) -> &str {
        "error_rate"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Err(only_of_groups(self.name()))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        Some(Box::new(|call, _| {
            let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment } = call.params;
            let status = args.into_iter().next().ok_or_else(|| only_of_groups("error_rate"))?;
            let failed = status.clone().in_list(FAILED.into_iter().map(text).collect(), false);
            // A row without a status is none that could have failed: it has no share in the average.
            let share = when(failed, lit(1.0f64)).when(status.is_not_null(), lit(0.0f64)).end()?;
            let params =
                AggregateFunctionParams { args: vec![share], distinct, filter, order_by, null_treatment };
            Ok(Expr::AggregateFunction(AggregateFunction { func: avg_udaf(), params }))
        }))
    }
}

/// A literal of the type that the column has by then: nothing casts it any more.
fn text(text: &str) -> Expr {
    lit(ScalarValue::Utf8View(Some(text.to_owned())))
}

fn only_of_groups(name: &str) -> DataFusionError {
    DataFusionError::Plan(format!("{name}() is for groups, and not for windows"))
}
