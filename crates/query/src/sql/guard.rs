//! What SQL may say, and what keeps one query from taking the memory of all.
//!
//! One query, or the explanation or description of one. Everything else (tables, inserts, copies, settings) is refused
//! by name before it is planned, and once more by DataFusion's own check of the plan.
//!
//! The memory pool counts what joins, sorts and groups hold, but not what one call of a function makes. So functions
//! that make much out of little are not there, those that put texts or lists together look at the size of what would
//! come out first, and lists are gathered by groups only, not anew for every row of a window.

use super::functions::text_of;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::concat_elements::concat_elements_utf8;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable as _, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Statement as Sql};
use std::any::Any;
use std::sync::{Arc, LazyLock};

/// Most that one call of a function may make out of one batch of rows.
const MADE_MAX_BYTES: usize = 64 << 20;

/// Functions whose result may be any size, whatever they are given.
const LEFT_OUT: [&str; 9] = [
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
                let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else {
                    return Ok(Transformed::no(expr));
                };
                if LEFT_OUT.contains(&func.name()) {
                    return Err(DataFusionError::Plan(format!(
                        "{}() is not there: it makes much of little",
                        func.name()
                    )));
                }
                let replaces = REPLACING.contains(&func.name());
                let is_bounded = (func.inner().as_ref() as &dyn Any).is::<Bounded>();
                if is_bounded || !(replaces || JOINING.contains(&func.name())) {
                    return Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })));
                }
                let func = Arc::new(ScalarUDF::from(Bounded { function: func, replaces }));
                Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })))
            })
        })
    })?;
    Ok(bounded.data)
}

/// A function that looks at the size of what it would make first.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    function: Arc<ScalarUDF>,
    replaces: bool,
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
        let all = |value: fn(&ColumnarValue, usize) -> usize| {
            args.args.iter().map(move |arg| value(arg, args.number_rows))
        };
        let mut makes: usize = all(size).fold(0, usize::saturating_add);
        if self.replaces {
            // Each byte may be replaced by the longest that is given, or have it before and after it.
            let longest = all(longest).max().unwrap_or(0);
            makes = makes.saturating_mul(longest.max(1));
        }
        check_size(self.name(), makes)?;
        self.function.invoke_with_args(args)
    }
}

fn check_size(name: &str, makes: usize) -> Result<()> {
    if makes > MADE_MAX_BYTES {
        let what = format!("{name}() could make more than {MADE_MAX_BYTES} bytes of one batch of rows");
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

fn array_size(array: &ArrayRef) -> usize {
    match array.as_string_view_opt() {
        // Views share their text with others: it is what they show that counts.
        Some(views) => views.lengths().map(|len| len as usize).fold(views.len() * 16, usize::saturating_add),
        None => array.to_data().get_slice_memory_size().unwrap_or(usize::MAX),
    }
}

/// The longest text of an argument; 1 where there is no telling.
fn longest(arg: &ColumnarValue, _: usize) -> usize {
    let array = match arg {
        ColumnarValue::Array(array) => array.clone(),
        ColumnarValue::Scalar(value) => match value.to_array() {
            Ok(array) => array,
            Err(_) => return 1,
        },
    };
    if !array.data_type().is_string() {
        return 1;
    }
    cast(&array, &DataType::Utf8View)
        .ok()
        .and_then(|text| text.as_string_view_opt().map(|views| views.lengths().max().unwrap_or(0) as usize))
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
        Ok(ColumnarValue::Array(Arc::new(concat_elements_utf8(
            left.as_string::<i32>(),
            right.as_string::<i32>(),
        )?)))
    }
}
