//! What SQL may say, and what keeps one query from taking the memory of all.
//!
//! One query, or the explanation or description of one. Everything else (tables, inserts, copies, settings) is refused
//! by name before it is planned, and once more by DataFusion's own check of the plan.
//!
//! The memory pool counts what joins, sorts and groups hold, but not what one call of a function makes. So functions
//! that make much out of little are not there, those that put texts or lists together, or give each row a text of its
//! own, look at the size of what would come out first, and lists are gathered by groups only, not anew for every row of a
//! window. A type that says how long each value is has room taken for all of them, and so has a sketch of so many
//! centroids: both have bounds.

use super::functions::text_of;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::concat_elements::concat_elements_utf8;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable as _, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Statement as Sql};
use std::any::Any;
use std::sync::{Arc, LazyLock};

/// Most that one call of a function may make out of one batch of rows.
const MADE_MAX_BYTES: usize = 64 << 20;

/// Most bytes of one value that a function makes: rows may share it, and whoever writes them out does not.
const VALUE_MAX_BYTES: usize = 256 << 10;

/// Most elements, or bytes, of a type that says how many each value has: room for all of them is taken at once.
const FIXED_SIZE_MAX: usize = 1 << 10;

/// Most centroids of a sketch (t-digest): room for them is taken at once, for each group.
const CENTROIDS_MAX: i64 = 10_000;

/// Functions whose result may be any size, whatever they are given, or that may take any time.
const LEFT_OUT: [&str; 10] = [
    "levenshtein",
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "array_resize",
    "range",
    "generate_series",
    "space",
    "arrays_zip",
];

/// Functions whose result is as large as all that they are given.
const JOINING: [&str; 10] = [
    "map",
    "struct",
    "concat",
    "make_array",
    "array_concat",
    "array_append",
    "array_prepend",
    "array_union",
    "overlay",
    "named_struct",
];

/// Functions that a type is given to, by its name.
const CASTING: [&str; 2] = ["arrow_cast", "arrow_try_cast"];

/// Functions that write a text or list anew for each row, also where rows shared one, and how many times as large that may be.
const REWRITING: [(&str, usize); 11] = [
    ("decode", 1),
    ("encode", 2),
    ("initcap", 3),
    ("json_get", 1),
    ("json_list", 2),
    ("lower", 3),
    ("regexp_match", 1),
    ("reverse", 1),
    ("string_to_array", 20),
    ("translate", 4),
    ("upper", 3),
];

/// Functions that may put one argument in between or in place of each part of another.
const REPLACING: [&str; 8] = [
    "concat_ws",
    "replace",
    "regexp_replace",
    "array_to_string",
    "array_replace",
    "array_replace_n",
    "array_replace_all",
    "to_char",
];

/// Aggregates that make a sketch, and how many arguments come before that of its size.
const SKETCHING: [(&str, usize); 2] =
    [("approx_percentile_cont", 2), ("approx_percentile_cont_with_weight", 3)];

/// Aggregates that keep all values.
const GATHERING: [&str; 2] = ["array_agg", "string_agg"];

/// Whether a statement is a question.
pub(super) fn check_statement(statement: &Statement) -> Result<(), String> {
    let refused = |what: &str| Err(format!("SQL only reads here: {what} is not a query"));
    match statement {
        Statement::Explain(explained) => check_statement(&explained.statement),
        Statement::Statement(sql) => match &**sql {
            Sql::Query(_) | Sql::ExplainTable { .. } => Ok(()),
            other => refused(&first_words(&other.to_string())),
        },
        Statement::CreateExternalTable(_) => refused("CREATE EXTERNAL TABLE"),
        Statement::CopyTo(_) => refused("COPY"),
        Statement::Reset(_) => refused("RESET"),
    }
}

fn first_words(sql: &str) -> String {
    sql.split_whitespace().take(2).collect::<Vec<_>>().join(" ").chars().take(60).collect()
}

/// Whether a plan only reads, and gathers nothing in windows.
pub(super) fn check_plan(plan: &LogicalPlan) -> Result<()> {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(plan)?;
    plan.apply_with_subqueries(|node| {
        if repeats_itself(node) {
            let what = "a SELECT computes the same under the same names as the SELECT that it reads from; \
                        give the inner one other names";
            return Err(DataFusionError::Plan(what.to_owned()));
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| match expr {
                Expr::WindowFunction(call) if GATHERING.contains(&call.fun.name()) => {
                    let what = format!("{}() is for groups, and not for windows", call.fun.name());
                    Err(DataFusionError::Plan(what))
                }
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    })?;
    Ok(())
}

/// Whether a projection has the expressions of the projection that it reads from. DataFusion 55 takes the two for one,
/// which is wrong unless all of them are plain columns: `SELECT s*s AS s FROM (SELECT s*s AS s …)`.
fn repeats_itself(node: &LogicalPlan) -> bool {
    let LogicalPlan::Projection(outer) = node else { return false };
    if outer.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) {
        return false;
    }
    let mut below = &*outer.input;
    loop {
        below = match below {
            // The optimiser may move these from between the two.
            LogicalPlan::Filter(node) => &node.input,
            LogicalPlan::Sort(node) => &node.input,
            LogicalPlan::Limit(node) => &node.input,
            LogicalPlan::SubqueryAlias(node) => &node.input,
            LogicalPlan::Projection(inner) => {
                let bare = |exprs: &[Expr]| unnormalize_cols(exprs.iter().cloned());
                return inner.expr.len() == outer.expr.len() && bare(&inner.expr) == bare(&outer.expr);
            }
            _ => return false,
        };
    }
}

/// The functions that SQL may call by name, out of all that there are.
pub(super) fn allowed(mut functions: Vec<Arc<ScalarUDF>>) -> Vec<Arc<ScalarUDF>> {
    functions.retain(|function| !LEFT_OUT.contains(&function.name()));
    functions
}

/// The plan with bounds to what its calls make. Operators and literals call functions, too (`[a, b]`, `a || b` of lists),
/// and not by name: so it is the plan that is looked through, and not the list of functions.
pub(super) fn with_bounds(plan: LogicalPlan) -> Result<LogicalPlan> {
    let bounded = plan.transform_down_with_subqueries(|node| {
        node.map_expressions(|expr| {
            expr.transform_down(|expr| {
                check_size_of_values(&expr)?;
                let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else {
                    return Ok(Transformed::no(expr));
                };
                if LEFT_OUT.contains(&func.name()) {
                    let what =
                        format!("{}() is not there: one call may take all memory or time", func.name());
                    return Err(DataFusionError::Plan(what));
                }
                let is_bounded = (func.inner().as_ref() as &dyn Any).is::<Bounded>();
                let Some(makes) = Makes::of(func.name()).filter(|_| !is_bounded) else {
                    return Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })));
                };
                let func = Arc::new(ScalarUDF::from(Bounded { function: func, makes }));
                Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })))
            })
        })
    })?;
    Ok(bounded.data)
}

/// Whether what an expression takes room for at once is within bounds.
fn check_size_of_values(expr: &Expr) -> Result<()> {
    let too_many = |name: &str, args: &[Expr]| {
        let before = SKETCHING.iter().find(|(sketch, _)| *sketch == name).map(|(_, before)| *before)?;
        let fits = args.iter().skip(before).all(is_number_of_centroids);
        (!fits).then(|| format!("{name}() takes a literal of 1 to {CENTROIDS_MAX} centroids"))
    };
    let too_wide = |kind: &DataType| {
        is_wide(kind)
            .then(|| format!("a type has more than {FIXED_SIZE_MAX} elements or bytes in each value"))
    };
    let what = match expr {
        Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) => too_wide(field.data_type()),
        Expr::ScalarFunction(call) if CASTING.contains(&call.func.name()) => match call.args.get(1) {
            Some(Expr::Literal(name, _)) => {
                let kind = name.try_as_str().flatten().and_then(|name| name.parse::<DataType>().ok());
                kind.and_then(|kind| too_wide(&kind))
            }
            _ => Some(format!("{}() takes a literal type", call.func.name())),
        },
        Expr::AggregateFunction(call) => too_many(call.func.name(), &call.params.args),
        Expr::WindowFunction(call) => too_many(call.fun.name(), &call.params.args),
        _ => None,
    };
    what.map_or(Ok(()), |what| Err(DataFusionError::Plan(what)))
}

fn is_number_of_centroids(arg: &Expr) -> bool {
    let Expr::Literal(size, _) = arg else { return false };
    matches!(size.cast_to(&DataType::Int64), Ok(ScalarValue::Int64(Some(1..=CENTROIDS_MAX))))
}

/// Whether a type says that each value has a great many parts.
fn is_wide(kind: &DataType) -> bool {
    parts(kind) > FIXED_SIZE_MAX
}

/// How many elements, or bytes, a value has because its type says so, NULL or not.
fn parts(kind: &DataType) -> usize {
    let times = |count: i32, each: usize| usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(each);
    match kind {
        DataType::FixedSizeBinary(size) => times(*size, 1),
        DataType::FixedSizeList(item, size) => times(*size, parts(item.data_type())),
        // What they hold is as long as it is, but each of it may be wide.
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => parts(item.data_type()),
        DataType::Struct(fields) => {
            fields.iter().map(|field| parts(field.data_type())).fold(0, usize::saturating_add)
        }
        DataType::Dictionary(_, kind) => parts(kind),
        // Nobody needs them here.
        DataType::RunEndEncoded(..) | DataType::Union(..) => usize::MAX,
        _ => 1,
    }
}

/// How large what a function makes may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Makes {
    /// So many times as large as all arguments.
    Times(usize),
    /// All arguments, with the longest of them in place of each byte.
    Replaced,
}

impl Makes {
    /// `None`: no larger than what the pool counts, or what rows share.
    fn of(function: &str) -> Option<Self> {
        let rewriting = REWRITING.iter().find(|(name, _)| *name == function);
        match rewriting {
            Some((_, times)) => Some(Self::Times(*times)),
            None if REPLACING.contains(&function) => Some(Self::Replaced),
            None => JOINING.contains(&function).then_some(Self::Times(1)),
        }
    }
}

/// A function that looks at the size of what it would make first.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    function: Arc<ScalarUDF>,
    makes: Makes,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.function.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let given = args.args.iter().map(|arg| size(arg, args.number_rows)).fold(0, usize::saturating_add);
        let makes = match self.makes {
            Makes::Times(times) => given.saturating_mul(times),
            // Each byte may be replaced by the longest that is given, or have it before and after it.
            Makes::Replaced => given.saturating_mul(args.args.iter().map(longest).max().unwrap_or(0).max(1)),
        };
        check_size(self.name(), makes)?;
        let made = self.function.invoke_with_args(args)?;
        check_value(self.name(), &made)?;
        Ok(made)
    }
}

fn check_size(name: &str, makes: usize) -> Result<()> {
    if makes > MADE_MAX_BYTES {
        let what = format!("{name}() could make more than {MADE_MAX_BYTES} bytes of one batch of rows");
        return Err(DataFusionError::ResourcesExhausted(what));
    }
    Ok(())
}

fn check_value(name: &str, made: &ColumnarValue) -> Result<()> {
    if longest(made) > VALUE_MAX_BYTES {
        let what = format!("{name}() made more than {VALUE_MAX_BYTES} bytes in one row");
        return Err(DataFusionError::ResourcesExhausted(what));
    }
    Ok(())
}

/// What an argument amounts to over all rows, in bytes.
fn size(arg: &ColumnarValue, rows: usize) -> usize {
    match arg {
        ColumnarValue::Array(array) => array_size(array),
        ColumnarValue::Scalar(value) => value.size().saturating_mul(rows),
    }
}

/// What rows amount to, in bytes, each with what it shows.
pub(super) fn batch_size(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(array_size).fold(0, usize::saturating_add)
}

fn array_size(array: &ArrayRef) -> usize {
    // Views share their bytes with others: it is what they show that counts.
    let shown = |lengths: &mut dyn Iterator<Item = u32>| {
        lengths.map(|len| len as usize).fold(array.len() * size_of::<u128>(), usize::saturating_add)
    };
    match (array.as_string_view_opt(), array.as_binary_view_opt()) {
        (Some(views), _) => shown(&mut views.lengths()),
        (_, Some(views)) => shown(&mut views.lengths()),
        _ => array.to_data().get_slice_memory_size().unwrap_or(usize::MAX),
    }
}

/// The longest text of an argument, or bytes; 1 where there is no telling.
fn longest(arg: &ColumnarValue) -> usize {
    let array = match arg {
        ColumnarValue::Array(array) => array.clone(),
        ColumnarValue::Scalar(value) => match value.to_array() {
            Ok(array) => array,
            Err(_) => return 1,
        },
    };
    if !(array.data_type().is_string() || array.data_type().is_binary()) {
        return 1;
    }
    cast(&array, &DataType::BinaryView)
        .ok()
        .and_then(|bytes| bytes.as_binary_view_opt().map(|views| views.lengths().max().unwrap_or(0) as usize))
        .unwrap_or(1)
}

/// Plans `a || b` of texts as a call of [`Joined`], which is bounded as `concat()` is.
#[derive(Debug)]
pub(super) struct JoinTexts;

impl ExprPlanner for JoinTexts {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_list = |side: &Expr| side.get_type(schema).is_ok_and(|of| of.is_list());
        if expr.op != BinaryOperator::StringConcat || is_list(&expr.left) || is_list(&expr.right) {
            return Ok(PlannerResult::Original(expr));
        }
        let call = ScalarFunction { func: JOINED.clone(), args: vec![expr.left, expr.right] };
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

static JOINED: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Arc::new(ScalarUDF::from(Joined { signature: Signature::any(2, Volatility::Immutable) }))
});

/// `a || b`: NULL if one of them is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Joined {
    signature: Signature,
}

impl ScalarUDFImpl for Joined {
    fn name(&self) -> &str {
        "joined"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        check_size("||", args.args.iter().map(|arg| size(arg, rows)).fold(0, usize::saturating_add))?;
        let texts =
            args.args.into_iter().map(|arg| cast(&text_of(arg, rows)?, &DataType::Utf8).map_err(Into::into));
        let texts = texts.collect::<Result<Vec<ArrayRef>>>()?;
        let [left, right] = texts.as_slice() else {
            return Err(DataFusionError::Internal("|| of other than two".to_owned()));
        };
        let joined = concat_elements_utf8(left.as_string::<i32>(), right.as_string::<i32>())?;
        let joined = ColumnarValue::Array(Arc::new(joined));
        check_value("||", &joined)?;
        Ok(joined)
    }
}
