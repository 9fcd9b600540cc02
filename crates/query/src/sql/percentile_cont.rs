//! `percentile_cont`, exact, in the memory of the different values where there are few of them.
//!
//! DataFusion's keeps every row's value, eight bytes each and more while they are handed on from one thread to another. What is
//! asked about here mostly repeats itself: milliseconds, tokens. So values are kept as they come until there are many, and
//! those that repeat themselves become runs: a value and how often it is there, in order.
//!
//! Between two values the answer is interpolated, as in PostgreSQL: at `share · (n − 1)`, from 0, of n values in the order asked
//! for. Windows, and numbers of other types than `DOUBLE`, are the original's.

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, ListArray, UInt64Array, new_null_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema, UInt64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Documentation, EmitTo, GroupsAccumulator,
    Signature,
};
use datafusion::scalar::ScalarValue;
use std::cmp::Ordering;
use std::sync::Arc;

/// Kept values of one group are looked at for the first time when there are so many, or as many as there are runs, and then
/// whenever there are so many times more.
const LOOK_FIRST: usize = 1 << 14;
const LOOK_AGAIN: usize = 8;
/// They become runs if each is there so many times, on average: a run is twice as long as a value.
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

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.original.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if !is_ours(args.input_fields) {
            return self.original.state_fields(args);
        }
        let field = |name: &str, of: DataType| {
            Arc::new(Field::new(format!("{}[{name}]", args.name), DataType::List(item(of)), true))
        };
        Ok(vec![field("values", DataType::Float64), field("counts", DataType::UInt64)])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if !is_ours(args.expr_fields) {
            return self.original.accumulator(args);
        }
        Ok(Box::new(Whole { of: Wanted::new(&args)?, values: Values::default() }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.original.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        is_ours(args.expr_fields) || self.original.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        if !is_ours(args.expr_fields) {
            return self.original.create_groups_accumulator(args);
        }
        Ok(Box::new(Groups { of: Wanted::new(&args)?, groups: Vec::new() }))
    }
}

fn is_ours(inputs: &[FieldRef]) -> bool {
    inputs.first().is_some_and(|field| field.data_type() == &DataType::Float64)
}

/// What is asked of the values.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    share: f64,
    descends: bool,
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
        Ok(Self { share, descends, distinct: args.is_distinct })
    }

    /// Where it lies among so many values: before which, and after that by how much towards its neighbour.
    fn place(self, count: u64) -> Option<Place> {
        let last = count.checked_sub(1)?;
        let at = self.share * last as f64;
        let first = (at.floor() as u64).min(last);
        Some(match self.descends {
            false => Place { first, next: (first + 1).min(last), further: at.fract() },
            true => {
                Place { first: last - first, next: (last - first).saturating_sub(1), further: at.fract() }
            }
        })
    }
}

/// Ranks of two neighbours in ascending order, and how far it is from one to the other.
struct Place {
    first: u64,
    next: u64,
    further: f64,
}

impl Place {
    fn between(&self, first: f64, next: f64) -> f64 {
        if self.further == 0.0 || first == next { first } else { first + (next - first) * self.further }
    }
}

/// A value, and how often it is there.
type Run = (f64, u64);

/// The values of one group. Their order is that of all numbers of IEEE 754: no zero is the other zero.
#[derive(Debug)]
struct Values {
    /// In any order.
    kept: Vec<f64>,
    /// How many are kept when they are looked at next.
    look_at: usize,
    /// In order, each value once.
    runs: Vec<Run>,
}

impl Default for Values {
    fn default() -> Self {
        Self { kept: Vec::new(), look_at: LOOK_FIRST, runs: Vec::new() }
    }
}

impl Values {
    fn keep(&mut self, value: f64) {
        self.kept.push(value);
        if self.kept.len() >= self.look_at {
            self.look();
        }
    }

    fn look(&mut self) {
        self.kept.sort_unstable_by(f64::total_cmp);
        let different = self.kept.chunk_by(|a, b| a.to_bits() == b.to_bits()).count();
        if different > self.kept.len() / REPEATED {
            self.look_at = self.kept.len().saturating_mul(LOOK_AGAIN);
            return;
        }
        let kept = std::mem::take(&mut self.kept);
        let runs = kept.chunk_by(|a, b| a.to_bits() == b.to_bits());
        self.merge(runs.map(|run| (run[0], run.len() as u64)), different);
        self.look_at = LOOK_FIRST.max(self.runs.len());
    }

    /// Adds runs, which are in order, so many of them.
    fn merge(&mut self, more: impl Iterator<Item = Run>, count: usize) {
        let mut merged = Vec::with_capacity(self.runs.len() + count);
        merged.extend(in_order(self.runs.iter().copied(), more));
        merged.shrink_to_fit();
        self.runs = merged;
    }

    /// The value at a share of them; `None`: there are none.
    fn at(&mut self, of: Wanted) -> Option<f64> {
        if self.runs.is_empty() && !of.distinct {
            let place = of.place(self.kept.len() as u64)?;
            let (below, first, above) =
                self.kept.select_nth_unstable_by(place.first as usize, f64::total_cmp);
            let next = match place.next.cmp(&place.first) {
                Ordering::Less => below.iter().copied().max_by(f64::total_cmp),
                Ordering::Equal => None,
                Ordering::Greater => above.iter().copied().min_by(f64::total_cmp),
            };
            return Some(place.between(*first, next.unwrap_or(*first)));
        }
        self.kept.sort_unstable_by(f64::total_cmp);
        let all = || {
            let kept = self.kept.chunk_by(|a, b| a.to_bits() == b.to_bits());
            let kept = kept.map(|run| (run[0], run.len() as u64));
            let all = in_order(self.runs.iter().copied(), kept);
            all.map(|(value, count)| (value, if of.distinct { 1 } else { count }))
        };
        let place = of.place(all().map(|(_, count)| count).sum())?;
        let value_at = |rank: u64| {
            let mut before = 0;
            let mut reaches = |count: u64| {
                before += count;
                before > rank
            };
            all().find(|(_, count)| reaches(*count)).map(|(value, _)| value)
        };
        Some(place.between(value_at(place.first)?, value_at(place.next)?))
    }

    fn len(&self) -> usize {
        self.kept.len() + self.runs.len()
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.kept.capacity() * size_of::<f64>() + self.runs.capacity() * size_of::<Run>()
    }
}

/// Two lists of runs as one; the same value in both is one run.
fn in_order(one: impl Iterator<Item = Run>, other: impl Iterator<Item = Run>) -> impl Iterator<Item = Run> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || {
        let which = match (one.peek(), other.peek()) {
            (Some((a, _)), Some((b, _))) => a.total_cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        match which {
            Ordering::Less => one.next(),
            Ordering::Greater => other.next(),
            Ordering::Equal => one.next().zip(other.next()).map(|((value, a), (_, b))| (value, a + b)),
        }
    })
}

fn item(of: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(of, true))
}

/// Groups as columns: values, runs first, and how often each is there; no counts where each is there once.
fn as_state(groups: Vec<Values>) -> Result<Vec<ArrayRef>> {
    let with_counts: Vec<bool> = groups.iter().map(|group| !group.runs.is_empty()).collect();
    let values_of = OffsetBuffer::from_lengths(groups.iter().map(Values::len));
    let counted = |group: &Values| if group.runs.is_empty() { 0 } else { group.len() };
    let counts_of = OffsetBuffer::from_lengths(groups.iter().map(counted));
    let mut counts = Vec::with_capacity(groups.iter().map(counted).sum());
    for group in groups.iter().filter(|group| !group.runs.is_empty()) {
        counts.extend(group.runs.iter().map(|(_, count)| *count));
        counts.extend(std::iter::repeat_n(1, group.kept.len()));
    }
    let total = groups.iter().map(Values::len).sum();
    let mut values = Vec::new();
    for group in groups {
        if values.is_empty() && group.runs.is_empty() && group.kept.len() == total {
            // All that there is: not copied.
            values = group.kept;
            continue;
        }
        values.reserve_exact(if values.is_empty() { total } else { 0 });
        values.extend(group.runs.iter().map(|(value, _)| *value));
        values.extend(group.kept);
    }
    let (values, counts) = (Arc::new(Float64Array::from(values)), Arc::new(UInt64Array::from(counts)));
    let with_counts = Some(NullBuffer::from(with_counts));
    Ok(vec![
        Arc::new(ListArray::try_new(item(DataType::Float64), values_of, values, None)?),
        Arc::new(ListArray::try_new(item(DataType::UInt64), counts_of, counts, with_counts)?),
    ])
}

/// Adds what rows of a state have to the values that `into` has for each row.
fn add_state<'a>(
    state: &[ArrayRef],
    mut into: impl FnMut(usize, &mut dyn FnMut(&mut Values)) + 'a,
) -> Result<()> {
    let [values, counts] = state else { return Err(internal("its state has other columns")) };
    let (values, counts) = (values.as_list::<i32>(), counts.as_list::<i32>());
    for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
        let of_row = values.value(row);
        let of_row = of_row.as_primitive::<Float64Type>().values();
        if !counts.is_valid(row) {
            into(row, &mut |group| of_row.iter().for_each(|value| group.keep(*value)));
            continue;
        }
        let counts = counts.value(row);
        let counts = counts.as_primitive::<UInt64Type>().values();
        let all = || of_row.iter().copied().zip(counts.iter().copied());
        into(row, &mut |group| {
            group.merge(all().filter(|(_, count)| *count > 1), of_row.len());
            all().filter(|(_, count)| *count == 1).for_each(|(value, _)| group.keep(value));
        });
    }
    Ok(())
}

/// The first argument.
fn numbers(values: &[ArrayRef]) -> Result<&Float64Array> {
    let first = values.first().and_then(|values| values.as_primitive_opt::<Float64Type>());
    first.ok_or_else(|| internal("its argument is of another type"))
}

fn internal(what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("percentile_cont: {what}"))
}

/// Of all rows.
#[derive(Debug)]
struct Whole {
    of: Wanted,
    values: Values,
}

impl Accumulator for Whole {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        numbers(values)?.iter().flatten().for_each(|value| self.values.keep(value));
        Ok(())
    }

    fn merge_batch(&mut self, state: &[ArrayRef]) -> Result<()> {
        add_state(state, |_, add| add(&mut self.values))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.values.at(self.of)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = as_state(vec![std::mem::take(&mut self.values)])?;
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
        for (row, (value, group)) in numbers(values)?.iter().zip(group_indices).enumerate() {
            if let Some(value) = value.filter(|_| passes(filter, row)) {
                self.groups[*group].keep(value);
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
        add_state(state, |row, add| add(&mut self.groups[group_indices[row]]))
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emit_to.take_needed(&mut self.groups);
        let found = groups.into_iter().map(|mut values| values.at(self.of));
        Ok(Arc::new(found.collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        as_state(emit_to.take_needed(&mut self.groups))
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = numbers(values)?;
        let rows = values.len();
        let there: Vec<bool> = (0..rows).map(|row| values.is_valid(row) && passes(filter, row)).collect();
        let one_each = OffsetBuffer::from_lengths(std::iter::repeat_n(1, rows));
        let of = Arc::new(Float64Array::new(values.values().clone(), None));
        let values =
            ListArray::try_new(item(DataType::Float64), one_each, of, Some(NullBuffer::from(there)))?;
        Ok(vec![Arc::new(values), new_null_array(&DataType::List(item(DataType::UInt64)), rows)])
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
        if of.descends {
            sorted.reverse();
        }
        let at = of.share * sorted.len().checked_sub(1)? as f64;
        let (first, next) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
        Some(if first == next { first } else { first + (next - first) * at.fract() })
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

    fn of(values: &[f64]) -> Values {
        let mut group = Values::default();
        values.iter().for_each(|value| group.keep(*value));
        group
    }

    fn all_wanted() -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for share in [0.0, 0.1, 0.5, 0.95, 0.99, 1.0] {
            for descends in [false, true] {
                wanted.extend([false, true].map(|distinct| Wanted { share, descends, distinct }));
            }
        }
        wanted
    }

    #[test]
    fn kept_or_in_runs_in_one_piece_or_several_it_is_the_same() {
        let cases = [(0, 1), (1, 1), (2, 2), (101, 7), (50_000, 900), (50_000, 1 << 40), (200_000, 30_000)];
        for (count, different) in cases {
            let mut values = drawn(count, different);
            // What repeats itself first, and then no more.
            values.extend(drawn(count / 4, 1 << 50));
            let (left, right) = values.split_at(values.len() / 3);
            let mut whole = of(&values);
            let mut merged = Values::default();
            let state = as_state(vec![of(left), Values::default(), of(right)]).unwrap();
            add_state(&state, |_, add| add(&mut merged)).unwrap();
            for wanted in all_wanted() {
                let answer = expected(&values, wanted);
                assert_eq!(whole.at(wanted), answer, "{count} of {different}, {wanted:?}");
                assert_eq!(merged.at(wanted), answer, "{count} of {different} in pieces, {wanted:?}");
            }
        }
    }

    #[test]
    fn values_that_repeat_themselves_take_little_and_others_what_they_are() {
        let count = 1 << 20;
        let bytes = |different: u64| of(&drawn(count, different)).bytes();
        assert!(bytes(1000) < 1 << 18, "{}", bytes(1000));
        assert!(bytes(30_000) < 3 << 20, "{}", bytes(30_000));
        let (all, plain) = (bytes(u64::MAX), 8 * count as usize);
        assert!((plain..=plain + 1024).contains(&all), "{all}: each is kept as it is");
        // Nor do others become dearer after some that do.
        let mut mixed = vec![0.0; LOOK_FIRST];
        mixed.extend(drawn(count, u64::MAX));
        assert!(of(&mixed).bytes() <= plain + 1024);
    }

    #[test]
    fn a_row_as_a_state_is_that_row_where_it_counts() {
        let values = Float64Array::from(vec![Some(3.0), None, Some(1.0), Some(2.0)]);
        let filter = BooleanArray::from(vec![Some(true), Some(true), None, Some(true)]);
        let wanted = Wanted { share: 0.5, descends: false, distinct: false };
        let groups = Groups { of: wanted, groups: Vec::new() };
        let state = groups.convert_to_state(&[Arc::new(values)], Some(&filter)).unwrap();
        let mut merged = Values::default();
        let mut rows = Vec::new();
        add_state(&state, |row, add| {
            rows.push(row);
            add(&mut merged);
        })
        .unwrap();
        assert_eq!((rows, merged.at(wanted)), (vec![0, 3], Some(2.5)));
    }

    #[test]
    fn zeros_and_what_is_no_number_have_their_places() {
        let wanted = |share: f64, descends: bool| Wanted { share, descends, distinct: false };
        let values = [f64::NAN, f64::INFINITY, 0.0, -0.0, f64::NEG_INFINITY];
        let mut in_runs = of(&values);
        let runs = of(&values).kept;
        in_runs.kept.clear();
        let mut sorted = runs;
        sorted.sort_by(f64::total_cmp);
        in_runs.merge(sorted.into_iter().map(|value| (value, 1)), values.len());
        for mut group in [of(&values), in_runs] {
            assert_eq!(group.at(wanted(0.0, false)), Some(f64::NEG_INFINITY));
            assert_eq!(group.at(wanted(0.5, false)), Some(0.0));
            assert_eq!(group.at(wanted(0.75, false)), Some(f64::INFINITY));
            assert_eq!(group.at(wanted(0.25, true)), Some(f64::INFINITY));
            assert!(group.at(wanted(1.0, false)).unwrap().is_nan());
        }
    }
}
