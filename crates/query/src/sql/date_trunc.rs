//! `date_trunc` of columns in UTC, without a calendar for each row.
//!
//! The function of DataFusion turns every row of a column that has a time zone into a date of that zone and back, which is
//! most of the time of a question by day or hour. All times of a ledger are in UTC, where its fast ways for times
//! without a zone give the same; days outside of the years 1677 to 2262, too, which it otherwise refuses.

use datafusion::arrow::array::{Array, ArrayRef, make_array};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::datetime::date_trunc as original;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use std::sync::Arc;

/// In place of the function of that name.
pub(super) fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(DateTrunc { original: original() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    original: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.original.name()
    }

    fn aliases(&self) -> &[String] {
        self.original.aliases()
    }

    fn signature(&self) -> &Signature {
        self.original.signature()
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.original.return_type(args)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.original.return_field_from_args(args)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.original.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original.documentation()
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(ColumnarValue::Array(times)) = args.args.get_mut(1) else {
            return self.original.invoke_with_args(args);
        };
        let kind = times.data_type().clone();
        match &kind {
            DataType::Timestamp(unit, Some(zone)) if &**zone == "UTC" => {
                *times = as_type(times, DataType::Timestamp(*unit, None))?;
            }
            _ => return self.original.invoke_with_args(args),
        }
        match self.original.inner().invoke_with_args(args)? {
            ColumnarValue::Array(truncated) => Ok(ColumnarValue::Array(as_type(&truncated, kind)?)),
            ColumnarValue::Scalar(_) => {
                Err(DataFusionError::Internal("date_trunc of a column is no column".to_owned()))
            }
        }
    }
}

/// The same numbers under another type of the same width.
fn as_type(array: &ArrayRef, kind: DataType) -> Result<ArrayRef> {
    Ok(make_array(array.to_data().into_builder().data_type(kind).build()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::TimestampMicrosecondArray;
    use datafusion::arrow::datatypes::{Field, TimeUnit};
    use datafusion::config::ConfigOptions;
    use datafusion::scalar::ScalarValue;

    fn truncated(function: &ScalarUDF, granularity: &str, times: &TimestampMicrosecondArray) -> ArrayRef {
        let kind = times.data_type().clone();
        let text = ScalarValue::Utf8(Some(granularity.to_owned()));
        let args = ScalarFunctionArgs {
            arg_fields: vec![
                Arc::new(Field::new("granularity", DataType::Utf8, false)),
                Arc::new(Field::new("time", kind.clone(), true)),
            ],
            args: vec![ColumnarValue::Scalar(text), ColumnarValue::Array(Arc::new(times.clone()))],
            number_rows: times.len(),
            return_field: Arc::new(Field::new("truncated", kind, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        function.invoke_with_args(args).unwrap().into_array(times.len()).unwrap()
    }

    #[test]
    fn it_gives_what_the_original_gives() {
        // Some 57 years before and after 1970, a bit more than a week and a half apart.
        let mut times: Vec<Option<i64>> =
            (-1800..1800).map(|n: i64| Some(n * 1_000_000_007_000 + n * n * 77_777)).collect();
        times.extend([Some(0), None, Some(-1), Some(1_709_164_800_000_000 - 1), Some(1_709_164_800_000_000)]);
        let times = TimestampMicrosecondArray::from(times);
        for zone in [Some("UTC"), None, Some("+05:30"), Some("Europe/Vienna")] {
            let times = times.clone().with_timezone_opt(zone);
            for granularity in [
                "microsecond",
                "millisecond",
                "second",
                "minute",
                "hour",
                "DAY",
                "week",
                "month",
                "quarter",
                "year",
            ] {
                let ours = truncated(&function(), granularity, &times);
                assert_eq!(
                    ours.data_type(),
                    &DataType::Timestamp(TimeUnit::Microsecond, zone.map(Arc::from))
                );
                assert_eq!(&ours, &truncated(&original(), granularity, &times), "{granularity} in {zone:?}");
            }
        }
    }
}
