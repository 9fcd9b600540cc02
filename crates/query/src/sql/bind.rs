//! Values in place of `$name`.
//!
//! They are put into the parsed query, as literals of their type, before it is planned: the planner knows their types
//! from the start, and no value is ever read as SQL.

use crate::{Kind, Parameter, QueryError};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Value, VisitMut as _, VisitorMut};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use indelible_os::clock::Utc;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Replaces every parameter by its value.
pub(super) fn bind(
    statement: &mut Statement,
    values: &BTreeMap<String, Parameter>,
) -> Result<(), QueryError> {
    let unknown = |name: String| {
        let what = format!("the query has a parameter {name}, and no value was given for it");
        Err(QueryError::new(Kind::Question, what, "give it a value"))
    };
    match statement {
        Statement::Explain(explained) => bind(&mut explained.statement, values),
        Statement::Statement(sql) => match sql.visit(&mut Binder(values)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(name) => unknown(name),
        },
        _ => Ok(()),
    }
}

struct Binder<'a>(&'a BTreeMap<String, Parameter>);

impl VisitorMut for Binder<'_> {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let Expr::Value(value) = expr else { return ControlFlow::Continue(()) };
        let Value::Placeholder(name) = &value.value else { return ControlFlow::Continue(()) };
        let bound = self.0.get(name.trim_start_matches('$')).and_then(literal);
        match bound {
            Some(bound) => *expr = bound,
            None => return ControlFlow::Break(name.clone()),
        }
        ControlFlow::Continue(())
    }
}

fn literal(value: &Parameter) -> Option<Expr> {
    // Fixed texts, and numbers and times that this program wrote: nothing of a caller's is parsed.
    let fixed = |sql: &str| Parser::new(&GenericDialect {}).try_with_sql(sql).ok()?.parse_expr().ok();
    match value {
        Parameter::Text(Some(text)) => Some(Expr::value(Value::SingleQuotedString(text.clone()))),
        Parameter::Text(None) => fixed("CAST(NULL AS TEXT)"),
        Parameter::Int(Some(number)) => fixed(&number.to_string()),
        Parameter::Int(None) => fixed("CAST(NULL AS BIGINT)"),
        Parameter::Time(Some(at)) => {
            fixed(&format!("arrow_cast('{}', 'Timestamp(Microsecond, Some(\"UTC\"))')", Utc(*at)))
        }
        Parameter::Time(None) => fixed("arrow_cast(NULL, 'Timestamp(Microsecond, Some(\"UTC\"))')"),
        Parameter::Flag(Some(flag)) => Some(Expr::value(Value::Boolean(*flag))),
        Parameter::Flag(None) => fixed("CAST(NULL AS BOOLEAN)"),
    }
}
