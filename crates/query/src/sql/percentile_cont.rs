//! `percentile_cont`, exact, in the memory of the different values where there are few of them.
//!
//! DataFusion's keeps every row's value, eight bytes each and more while they are handed on from one thread to another. What is
//! asked about here mostly repeats itself: milliseconds, tokens. So values are kept as they come until there are many, and
//! counted from then on if few of them are different.
//!
//! Between two values the answer is interpolated, as in PostgreSQL: at `share · (n − 1)`, from 0, of n values in order.

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Float64Builder, ListBuilder, UInt64Builder,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema, UInt64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::hash_utils::RandomState;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Documentation, EmitTo, GroupsAccumulator,
    Signature,
};
use datafusion::scalar::ScalarValue;
use std::collections::HashMap;
use std::sync::Arc;

/// Values of one group are looked at for the first time when there are so many, and then whenever there are so many times more.
const LOOK_FIRST: usize = 1 << 14;
const LOOK_AGAIN: usize = 8;
/// They are counted if each is there so many times, on average: a counted one takes up to five times as much as one that is kept.
const REPEATED: usize = 4;

/// In place of the function of that name.
pub(super) fn function() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(PercentileCont { original: percentile_cont_udaf() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PercentileCont {
    original: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for PercentileCont {
    fn name(&self) -> &str {
        self.original.name()
    }

    fn aliases(&self) -> &[String] {
        self.original.aliases()
    }

    fn signature(&self) -> &Signature {
        self.original.signature()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original.documentation()
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    /// Values, and how often each is there; no counts where each is there once.
    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let list = |name: &str, of: DataType| {
            let list = DataType::List(Arc::new(Field::new_list_field(of, true)));
            Arc::new(Field::new(format!("{}[{name}]", args.name), list, true))
        };
        Ok(vec![list("values", DataType::Float64), list("counts", DataType::UInt64)])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Whole { of: Wanted::new(&args)?, values: Values::default() }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Whole { of: Wanted::new(&args)?, values: Values::counted() }))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups { of: Wanted::new(&args)?, groups: Vec::new() }))
    }
}

/// What is asked of the values.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    share: f64,
    distinct: bool,
}

impl Wanted {
    fn new(args: &AccumulatorArgs<'_>) -> Result<Self> {
        let no_rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let share = match args.exprs.get(1).map(|share| share.evaluate(&no_rows)) {
            Some(Ok(ColumnarValue::Scalar(ScalarValue::Float64(Some(share))))) => share,
            _ => f64::NAN,
        };
        if !(0.0..=1.0).contains(&share) {
            let what = "percentile_cont takes its share as a number from 0 to 1, the same for all rows";
            return Err(DataFusionError::Plan(what.to_owned()));
        }
        let descends = args.order_bys.first().is_some_and(|order| order.options.descending);
        Ok(Self { share: if descends { 1.0 - share } else { share }, distinct: args.is_distinct })
    }
}

/// The values of one group, in any order.
#[derive(Debug)]
struct Values {
    /// Each of them, unless they are counted.
    kept: Vec<f64>,
    /// How many there are when they are looked at next.
    look_at: usize,
    /// By their bits. No zero is the other zero here, as in the order of all numbers of IEEE 754.
    counts: Option<HashMap<u64, u64, RandomState>>,
}

impl Default for Values {
    fn default() -> Self {
        Self { kept: Vec::new(), look_at: LOOK_FIRST, counts: None }
    }
}

impl Values {
    /// Values that are counted from the first on: of those, one can be taken away.
    fn counted() -> Self {
        Self { counts: Some(HashMap::default()), ..Self::default() }
    }

    fn add(&mut self, value: f64, times: u64) {
        if times > 1 {
            self.count();
        }
        match &mut self.counts {
            Some(counts) => *counts.entry(value.to_bits()).or_default() += times,
            None => {
                self.kept.push(value);
                if self.kept.len() >= self.look_at {
                    self.look();
                }
            }
        }
    }

    fn take_away(&mut self, value: f64) -> Option<()> {
        let counts = self.counts.as_mut()?;
        let count = counts.get_mut(&value.to_bits())?;
        *count -= 1;
        if *count == 0 {
            counts.remove(&value.to_bits());
        }
        Some(())
    }

    fn look(&mut self) {
        self.kept.sort_unstable_by(f64::total_cmp);
        let different = 1 + self.kept.windows(2).filter(|two| two[0].to_bits() != two[1].to_bits()).count();
        if different <= self.kept.len() / REPEATED {
            self.count();
        } else {
            self.look_at = self.kept.len().saturating_mul(LOOK_AGAIN);
        }
    }

    fn count(&mut self) {
        let counts = self.counts.get_or_insert_default();
        for value in std::mem::take(&mut self.kept) {
            *counts.entry(value.to_bits()).or_default() += 1;
        }
    }

    /// The value at a share of them; `None`: there are none.
    fn at(&mut self, of: Wanted) -> Option<f64> {
        if let Some(counts) = &self.counts {
            let mut sorted: Vec<(f64, u64)> = counts
                .iter()
                .map(|(bits, count)| (f64::from_bits(*bits), if of.distinct { 1 } else { *count }))
                .collect();
            sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            let place = Place::new(of.share, sorted.iter().map(|(_, count)| count).sum())?;
            let value_at = |rank: u64| {
                let mut before = 0;
                let reaches = |(_, count): &&(f64, u64)| {
                    before += count;
                    before > rank
                };
                sorted.iter().find(reaches).map(|(value, _)| *value)
            };
            return Some(place.between(value_at(place.lower)?, value_at(place.lower + 1)));
        }
        if of.distinct {
            self.kept.sort_unstable_by(f64::total_cmp);
            self.kept.dedup_by_key(|value| value.to_bits());
        }
        let place = Place::new(of.share, self.kept.len() as u64)?;
        let (_, lower, above) = self.kept.select_nth_unstable_by(place.lower as usize, f64::total_cmp);
        Some(place.between(*lower, above.iter().copied().min_by(f64::total_cmp)))
    }

    fn bytes(&self) -> usize {
        // A byte of the table beside each, and an eighth of it empty.
        let counted = self.counts.as_ref().map_or(0, |counts| counts.capacity() * (2 * size_of::<u64>() + 1));
        size_of::<Self>() + self.kept.capacity() * size_of::<f64>() + counted * 8 / 7
    }
}

/// Where a share of values lies.
struct Place {
    lower: u64,
    /// How far it is from there to the next value.
    further: f64,
}

impl Place {
    fn new(share: f64, count: u64) -> Option<Self> {
        let at = share * count.checked_sub(1)? as f64;
        Some(Self { lower: at.floor() as u64, further: at.fract() })
    }

    fn between(&self, lower: f64, next: Option<f64>) -> f64 {
        match next {
            Some(next) if self.further > 0.0 && next != lower => lower + (next - lower) * self.further,
            _ => lower,
        }
    }
}

/// Values of an argument as numbers.
fn numbers(values: &[ArrayRef]) -> Result<Float64Array> {
    let first = values.first().ok_or_else(|| internal("it has no argument"))?;
    Ok(cast(first, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}

/// Groups as columns of what [`PercentileCont::state_fields`] says.
fn as_state(groups: Vec<Values>) -> Vec<ArrayRef> {
    let len = |values: &Values| values.counts.as_ref().map_or(values.kept.len(), HashMap::len);
    let total = groups.iter().map(len).sum();
    let mut values = ListBuilder::new(Float64Builder::with_capacity(total));
    let mut counts = ListBuilder::new(UInt64Builder::new());
    for group in groups {
        values.values().append_slice(&group.kept);
        for (bits, count) in group.counts.iter().flatten() {
            values.values().append_value(f64::from_bits(*bits));
            counts.values().append_value(*count);
        }
        values.append(true);
        counts.append(group.counts.is_some());
    }
    vec![Arc::new(values.finish()), Arc::new(counts.finish())]
}

/// Hands on what a row of a state has, in order.
fn from_state(state: &[ArrayRef], mut add: impl FnMut(usize, f64, u64)) -> Result<()> {
    let [values, counts] = state else { return Err(internal("its state has other columns")) };
    let (values, counts) = (values.as_list::<i32>(), counts.as_list::<i32>());
    for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
        let of_row = values.value(row);
        let of_row = of_row.as_primitive::<Float64Type>().values();
        if counts.is_valid(row) {
            let counts = counts.value(row);
            let counts = counts.as_primitive::<UInt64Type>().values();
            of_row.iter().zip(counts).for_each(|(value, count)| add(row, *value, *count));
        } else {
            of_row.iter().for_each(|value| add(row, *value, 1));
        }
    }
    Ok(())
}

fn internal(what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("percentile_cont: {what}"))
}

/// Of all rows, or of a window.
#[derive(Debug)]
struct Whole {
    of: Wanted,
    values: Values,
}

impl Accumulator for Whole {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        numbers(values)?.iter().flatten().for_each(|value| self.values.add(value, 1));
        Ok(())
    }

    fn merge_batch(&mut self, state: &[ArrayRef]) -> Result<()> {
        from_state(state, |_, value, times| self.values.add(value, times))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let gone = numbers(values)?.iter().flatten().try_for_each(|value| self.values.take_away(value));
        gone.ok_or_else(|| internal("a window loses a value that it did not have"))
    }

    fn supports_retract_batch(&self) -> bool {
        self.values.counts.is_some()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.values.at(self.of)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = as_state(vec![std::mem::take(&mut self.values)]);
        Ok(columns
            .iter()
            .map(|column| ScalarValue::List(Arc::new(column.as_list::<i32>().clone())))
            .collect())
    }

    fn size(&self) -> usize {
        size_of::<Wanted>() + self.values.bytes()
    }
}

/// Of each group.
struct Groups {
    of: Wanted,
    groups: Vec<Values>,
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize_with(total_num_groups, Values::default);
        let values = numbers(values)?;
        for (row, (value, group)) in values.iter().zip(group_indices).enumerate() {
            if let Some(value) = value.filter(|_| passes(filter, row)) {
                self.groups[*group].add(value, 1);
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        state: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize_with(total_num_groups, Values::default);
        from_state(state, |row, value, times| self.groups[group_indices[row]].add(value, times))
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emit_to.take_needed(&mut self.groups);
        let found = groups.into_iter().map(|mut values| values.at(self.of));
        Ok(Arc::new(found.collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(as_state(emit_to.take_needed(&mut self.groups)))
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = numbers(values)?;
        let rows = values.iter().enumerate().map(|(row, value)| {
            let kept = value.filter(|_| passes(filter, row)).into_iter().collect();
            Values { kept, ..Values::default() }
        });
        Ok(as_state(rows.collect()))
    }

    fn size(&self) -> usize {
        let spare = self.groups.capacity() - self.groups.len();
        self.groups.iter().map(Values::bytes).sum::<usize>() + spare * size_of::<Values>()
    }
}

fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition, from all values in order.
    fn expected(values: &[f64], of: Wanted) -> Option<f64> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        if of.distinct {
            sorted.dedup();
        }
        let at = of.share * sorted.len().checked_sub(1)? as f64;
        let (lower, upper) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
        Some(if lower == upper { lower } else { lower + (upper - lower) * at.fract() })
    }

    /// Numbers of which so many are different.
    fn drawn(count: u64, different: u64) -> Vec<f64> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..count).map(|_| (next() % different) as f64 / 8.0 - 3.0).collect()
    }

    #[test]
    fn kept_or_counted_in_one_piece_or_several_it_is_the_same() {
        let cases = [(0, 1), (1, 1), (2, 2), (100, 7), (50_000, 900), (50_000, 1 << 40), (200_000, 30_000)];
        for (count, different) in cases {
            let values = drawn(count, different);
            for of in [0.0, 0.1, 0.5, 0.95, 1.0].map(|share| Wanted { share, distinct: false }) {
                for of in [of, Wanted { distinct: true, ..of }] {
                    let mut whole = Values::default();
                    values.iter().for_each(|value| whole.add(*value, 1));
                    let wanted = expected(&values, of);
                    assert_eq!(whole.at(of), wanted, "{count} of {different}, {of:?}");
                    assert_eq!(whole.at(of), wanted, "asked again");
                    let (left, right) = values.split_at(values.len() / 3);
                    let pieces = [left, right].map(|piece| {
                        let mut values = Values::default();
                        piece.iter().for_each(|value| values.add(*value, 1));
                        values
                    });
                    let mut merged = Values::default();
                    from_state(&as_state(pieces.into()), |_, value, times| merged.add(value, times)).unwrap();
                    assert_eq!(merged.at(of), wanted, "{count} of {different} in two pieces, {of:?}");
                }
            }
        }
    }

    #[test]
    fn values_that_repeat_themselves_take_little() {
        let bytes = |different: u64| {
            let mut values = Values::default();
            drawn(1 << 20, different).iter().for_each(|value| values.add(*value, 1));
            values.bytes()
        };
        // A table of eight bytes twice, and one more, is seven sixteenths full at least.
        for different in [1000, 30_000] {
            let bytes = bytes(different);
            assert!(bytes < different as usize * 17 * 16 / 7 + 1024, "{bytes} for {different}");
        }
        let (all, plain) = (bytes(u64::MAX), 8 << 20);
        assert!((plain..=plain + 1024).contains(&all), "{all}: each is kept as it is");
    }

    #[test]
    fn a_window_loses_values_again() {
        let mut values = Values::counted();
        [3.0, 1.0, 1.0, 2.0].iter().for_each(|value| values.add(*value, 1));
        let of = Wanted { share: 0.5, distinct: false };
        assert_eq!(values.at(of), Some(1.5));
        assert_eq!(values.take_away(1.0), Some(()));
        assert_eq!(values.at(of), Some(2.0));
        assert_eq!(values.take_away(1.0), Some(()));
        assert_eq!(values.take_away(1.0), None, "there is no more of it");
        assert_eq!(values.at(of), Some(2.5));
    }

    #[test]
    fn zeros_and_what_is_no_number_have_their_places() {
        let of = |share: f64| Wanted { share, distinct: false };
        for counted in [false, true] {
            let mut values = if counted { Values::counted() } else { Values::default() };
            [f64::NAN, f64::INFINITY, 0.0, -0.0, f64::NEG_INFINITY]
                .iter()
                .for_each(|value| values.add(*value, 1));
            assert_eq!(values.at(of(0.0)), Some(f64::NEG_INFINITY));
            assert_eq!(values.at(of(0.5)), Some(0.0));
            assert_eq!(values.at(of(0.75)), Some(f64::INFINITY));
            assert!(values.at(of(1.0)).unwrap().is_nan());
        }
    }
}
