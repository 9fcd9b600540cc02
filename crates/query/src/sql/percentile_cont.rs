//! `percentile_cont` in the memory of the values that differ.
//!
//! The function of DataFusion keeps every value of a group until it answers. Durations and counts of tokens repeat: here,
//! values that do are kept once each, with how often they came. The answer is the same, but for the place between two
//! values, which the original rounds to millionths.
//!
//! `DISTINCT`, and windows that move, are left to the original.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, ListArray};
use datafusion::arrow::array::{RecordBatch, UInt64Array, new_null_array};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema, UInt64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf as original;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Documentation, EmitTo, GroupsAccumulator,
    Signature,
};
use datafusion::scalar::ScalarValue;
use std::mem::{size_of, size_of_val, take};
use std::sync::Arc;

/// Values of a group are looked at for repetitions when there are this many.
const LOOK_FIRST: usize = 1 << 10;
/// If there are too few of those, it is looked again when there are this many times as many.
const LOOK_AGAIN: usize = 4;
/// A run takes the room of two values: it pays where each value came this often on average.
const TIMES_MIN: usize = 2;

/// In place of the function of that name.
pub(super) fn function() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(PercentileCont { original: original() }))
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

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.original.return_type(args)
    }

    fn supports_within_group_clause(&self) -> bool {
        self.original.supports_within_group_clause()
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.original.simplify()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original.documentation()
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if !is_ours(args.input_fields, args.is_distinct) {
            return self.original.state_fields(args);
        }
        let field = |part: &str, item: DataType| {
            let kind = DataType::List(Arc::new(Field::new_list_field(item, true)));
            Arc::new(Field::new(format_state_name(args.name, part), kind, true))
        };
        Ok(vec![field("values", DataType::Float64), field("counts", DataType::UInt64)])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match is_ours(args.expr_fields, args.is_distinct) {
            true => {
                Ok(Box::new(Whole { place: Place::of(&args)?, values: Values::default(), kind: kind(&args) }))
            }
            false => self.original.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.original.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.original.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match is_ours(args.expr_fields, args.is_distinct) {
            true => Ok(Box::new(Groups { place: Place::of(&args)?, groups: Vec::new(), kind: kind(&args) })),
            false => self.original.create_groups_accumulator(args),
        }
    }
}

fn is_ours(fields: &[FieldRef], distinct: bool) -> bool {
    !distinct && fields.first().is_some_and(|field| field.data_type().is_floating())
}

/// Of the answer: that of the column.
fn kind(args: &AccumulatorArgs<'_>) -> DataType {
    args.return_field.data_type().clone()
}

/// Which value of a group is asked for.
#[derive(Clone, Copy, Debug)]
struct Place {
    share: f64,
    descending: bool,
}

impl Place {
    fn of(args: &AccumulatorArgs<'_>) -> Result<Self> {
        let wrong =
            || DataFusionError::Plan("percentile_cont() takes a literal number from 0.0 to 1.0".to_owned());
        let share = args.exprs.get(1).ok_or_else(wrong)?;
        let share =
            share.evaluate(&RecordBatch::new_empty(Arc::new(Schema::empty()))).map_err(|_| wrong())?;
        let share = match share {
            ColumnarValue::Scalar(ScalarValue::Float64(Some(share))) => share,
            ColumnarValue::Scalar(ScalarValue::Float32(Some(share))) => f64::from(share),
            _ => return Err(wrong()),
        };
        if !(0.0..=1.0).contains(&share) {
            return Err(wrong());
        }
        let descending = args.order_bys.first().is_some_and(|order| order.options.descending);
        Ok(Self { share, descending })
    }
}

/// The values of a group.
struct Values {
    /// One by one, as they came.
    kept: Vec<f64>,
    /// They are looked at when there are this many.
    look_at: usize,
    /// Those that came often.
    runs: Option<Box<Runs>>,
}

impl Default for Values {
    fn default() -> Self {
        Self { kept: Vec::new(), look_at: LOOK_FIRST, runs: None }
    }
}

impl Values {
    fn push(&mut self, value: f64) {
        self.kept.push(value);
        if self.kept.len() >= self.look_at {
            self.look();
        }
    }

    /// Makes runs of what is kept, if they take no more room.
    fn look(&mut self) {
        self.kept.sort_unstable_by(f64::total_cmp);
        let kept = &self.kept;
        let sorted = || {
            let chunks = kept.chunk_by(same);
            chunks.filter_map(|some| Some(Run::of(*some.first()?, some.len() as u64)))
        };
        let runs = self.runs.get_or_insert_default();
        runs.unite();
        let fresh = runs.fresh(sorted());
        if fresh * TIMES_MIN > kept.len() {
            self.look_at = kept.len() * LOOK_AGAIN;
            return;
        }
        runs.add(sorted(), fresh);
        self.kept.clear();
        // To add costs as much as there are runs.
        self.look_at = runs.united.len().max(LOOK_FIRST);
    }

    /// Takes the state of another: of the values, those that have a count come as often, the rest once.
    fn merge(&mut self, values: &[f64], counts: &[u64]) {
        if !counts.is_empty() {
            let runs = self.runs.get_or_insert_default();
            runs.loose.extend(values.iter().zip(counts).map(|(value, count)| Run::of(*value, *count)));
            if runs.loose.len() >= runs.united.len().max(LOOK_FIRST) {
                runs.unite();
            }
        }
        values.iter().skip(counts.len()).for_each(|value| self.push(*value));
    }

    /// The value at a share of the way from the first to the last of them in order, between two of them if need be.
    fn at(&mut self, place: Place) -> Option<f64> {
        self.unite();
        let counted = self.united().iter().map(|run| run.count).sum::<u64>();
        if !self.united().is_empty() {
            self.kept.sort_unstable_by(f64::total_cmp);
        }
        let last = (counted + self.kept.len() as u64).checked_sub(1)?;
        let rank = place.share * last as f64;
        let [below, above] = [rank.floor() as u64, rank.ceil() as u64].map(|rank| match place.descending {
            true => last.saturating_sub(rank),
            false => rank.min(last),
        });
        let (below, above) = (self.nth(below)?, self.nth(above)?);
        Some(if same(&below, &above) { below } else { below + (above - below) * rank.fract() })
    }

    /// The value that has this many before it in order. With runs, what is kept is in order.
    fn nth(&mut self, mut rank: u64) -> Option<f64> {
        if self.united().is_empty() {
            let rank = usize::try_from(rank).ok().filter(|rank| *rank < self.kept.len())?;
            return Some(*self.kept.select_nth_unstable_by(rank, f64::total_cmp).1);
        }
        let mut kept = &self.kept[..];
        for run in self.united() {
            let smaller = kept.partition_point(|value| value.total_cmp(&run.value).is_lt());
            let (before, rest) = kept.split_at(smaller);
            if rank < before.len() as u64 {
                return before.get(rank as usize).copied();
            }
            rank -= before.len() as u64;
            if rank < run.count {
                return Some(run.value);
            }
            (rank, kept) = (rank - run.count, rest);
        }
        kept.get(usize::try_from(rank).ok()?).copied()
    }

    fn unite(&mut self) {
        if let Some(runs) = &mut self.runs {
            runs.unite();
        }
    }

    fn united(&self) -> &[Run] {
        self.runs.as_ref().map_or(&[], |runs| &runs.united)
    }

    fn bytes(&self) -> usize {
        let runs = self.runs.as_ref().map_or(0, |runs| size_of::<Runs>() + runs.bytes());
        self.kept.capacity() * size_of::<f64>() + runs
    }
}

/// A value and how often it came.
#[derive(Clone, Copy)]
struct Run {
    value: f64,
    count: u64,
}

impl Run {
    fn of(value: f64, count: u64) -> Self {
        Self { value, count }
    }
}

#[derive(Default)]
struct Runs {
    /// Each value once, in order.
    united: Vec<Run>,
    /// What came from other partitions since.
    loose: Vec<Run>,
}

impl Runs {
    fn unite(&mut self) {
        let mut loose = take(&mut self.loose);
        loose.sort_unstable_by(|a, b| a.value.total_cmp(&b.value));
        loose.dedup_by(|later, first| {
            let united = same(&later.value, &first.value);
            first.count += if united { later.count } else { 0 };
            united
        });
        self.add(loose.iter().copied(), self.fresh(loose.iter().copied()));
    }

    /// How many of these values in order are none of ours.
    fn fresh(&self, sorted: impl Iterator<Item = Run>) -> usize {
        let mut own = self.united.iter().peekable();
        sorted
            .filter(|run| {
                while own.next_if(|own| own.value.total_cmp(&run.value).is_lt()).is_some() {}
                own.peek().is_none_or(|own| !same(&own.value, &run.value))
            })
            .count()
    }

    /// Adds values in order, of which so many are none of ours: from the last to the first, each to its place.
    fn add(&mut self, sorted: impl DoubleEndedIterator<Item = Run>, fresh: usize) {
        let mut own = self.united.len();
        let mut to = own + fresh;
        self.united.reserve_exact(fresh);
        self.united.resize(to, Run::of(0.0, 0));
        for run in sorted.rev() {
            while own > 0 && self.united[own - 1].value.total_cmp(&run.value).is_gt() {
                (own, to) = (own - 1, to - 1);
                self.united[to] = self.united[own];
            }
            if own > 0 && same(&self.united[own - 1].value, &run.value) {
                self.united[own - 1].count += run.count;
            } else {
                to -= 1;
                self.united[to] = run;
            }
        }
    }

    /// As much again is needed while a state is made of them.
    fn bytes(&self) -> usize {
        (2 * self.united.capacity() + self.loose.capacity()) * size_of::<Run>()
    }
}

/// As the order has it: zeros of either sign differ, and so do the many that are not a number.
fn same(a: &f64, b: &f64) -> bool {
    a.total_cmp(b).is_eq()
}

/// The states of groups: a list of values each, and one of how often the first of these came.
fn states(mut groups: Vec<Values>) -> Result<Vec<ArrayRef>> {
    groups.iter_mut().for_each(Values::unite);
    let counts = groups.iter().flat_map(|group| group.united().iter().map(|run| run.count));
    let counts = ScalarBuffer::from_iter(counts);
    let count_ends = ends(groups.iter().map(|group| group.united().len()))?;
    let value_ends = ends(groups.iter().map(|group| group.united().len() + group.kept.len()))?;
    let values = match &mut groups[..] {
        // All values of a question without groups: they are not copied.
        [only] if only.united().is_empty() => take(&mut only.kept),
        _ => {
            let mut values = Vec::with_capacity(value_ends.last().map_or(0, |end| *end as usize));
            for group in groups {
                values.extend(group.united().iter().map(|run| run.value));
                values.extend(group.kept);
            }
            values
        }
    };
    let values: ArrayRef = Arc::new(Float64Array::new(values.into(), None));
    let counts: ArrayRef = Arc::new(UInt64Array::new(counts, None));
    Ok([(values, value_ends), (counts, count_ends)].map(|(items, ends)| lists(items, ends, None)).into())
}

fn ends(lengths: impl Iterator<Item = usize>) -> Result<OffsetBuffer<i32>> {
    let lengths: Vec<usize> = lengths.collect();
    let fits = lengths.iter().sum::<usize>() <= i32::MAX as usize;
    fits.then(|| OffsetBuffer::from_lengths(lengths)).ok_or_else(|| {
        DataFusionError::ResourcesExhausted("percentile_cont() of more than 2^31 values".to_owned())
    })
}

fn lists(items: ArrayRef, ends: OffsetBuffer<i32>, nulls: Option<NullBuffer>) -> ArrayRef {
    let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    Arc::new(ListArray::new(item, ends, items, nulls))
}

/// Calls `merge` with each row's values and counts.
fn for_each_state(states: &[ArrayRef], mut merge: impl FnMut(usize, &[f64], &[u64])) -> Result<()> {
    let [values, counts] = states else {
        return Err(internal("a state of percentile_cont has two lists"));
    };
    let (values, counts) = (values.as_list::<i32>(), counts.as_list::<i32>());
    let (items, item_counts) =
        (values.values().as_primitive::<Float64Type>(), counts.values().as_primitive::<UInt64Type>());
    let range = |list: &ListArray, row: usize| {
        let ends = list.value_offsets();
        ends[row] as usize..ends[row + 1] as usize
    };
    for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
        merge(row, &items.values()[range(values, row)], &item_counts.values()[range(counts, row)]);
    }
    Ok(())
}

/// What to count: not what is NULL, and not what a filter leaves out.
fn counted(values: &Float64Array, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let filter = filter.map(|filter| match filter.nulls() {
        Some(nulls) => NullBuffer::new(filter.values() & nulls.inner()),
        None => NullBuffer::new(filter.values().clone()),
    });
    NullBuffer::union(values.nulls(), filter.as_ref())
}

/// The column that it is of; the others have the share, and the order once more.
fn first(args: &[ArrayRef]) -> Result<Float64Array> {
    let column = args.first().ok_or_else(|| internal("percentile_cont is of a column"))?;
    Ok(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}

fn internal(what: &str) -> DataFusionError {
    DataFusionError::Internal(what.to_owned())
}

/// Of each group.
struct Groups {
    place: Place,
    groups: Vec<Values>,
    kind: DataType,
}

impl Groups {
    fn grow(&mut self, count: usize) {
        self.groups.resize_with(count.max(self.groups.len()), Values::default);
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        args: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> Result<()> {
        self.grow(count);
        let values = first(args)?;
        let rows = groups.iter().zip(values.values());
        match counted(&values, filter) {
            None => rows.for_each(|(&group, &value)| self.groups[group].push(value)),
            Some(counted) => {
                let rows = rows.zip(counted.iter()).filter(|(_, counted)| *counted);
                rows.for_each(|((&group, &value), _)| self.groups[group].push(value));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        self.grow(count);
        for_each_state(states, |row, values, counts| self.groups[groups[row]].merge(values, counts))
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emit_to.take_needed(&mut self.groups);
        let answers = groups.into_iter().map(|mut group| group.at(self.place));
        Ok(cast(&Float64Array::from_iter(answers), &self.kind)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        states(emit_to.take_needed(&mut self.groups))
    }

    fn convert_to_state(&self, args: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = first(args)?;
        let items = Arc::new(Float64Array::new(values.values().clone(), None));
        let one_each = OffsetBuffer::from_lengths(std::iter::repeat_n(1, values.len()));
        let counts = DataType::List(Arc::new(Field::new_list_field(DataType::UInt64, true)));
        Ok(vec![lists(items, one_each, counted(&values, filter)), new_null_array(&counts, values.len())])
    }

    fn size(&self) -> usize {
        let groups = self.groups.iter().map(Values::bytes).sum::<usize>();
        groups + self.groups.capacity() * size_of::<Values>()
    }
}

/// Of all rows.
struct Whole {
    place: Place,
    values: Values,
    kind: DataType,
}

impl std::fmt::Debug for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Whole").field("share", &self.place.share).finish_non_exhaustive()
    }
}

impl Accumulator for Whole {
    fn update_batch(&mut self, args: &[ArrayRef]) -> Result<()> {
        let values = first(args)?;
        match values.nulls() {
            None => values.values().iter().for_each(|&value| self.values.push(value)),
            Some(_) => values.iter().flatten().for_each(|value| self.values.push(value)),
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for_each_state(states, |_, values, counts| self.values.merge(values, counts))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::Float64(self.values.at(self.place)).cast_to(&self.kind)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let lists = states(vec![take(&mut self.values)])?;
        Ok(lists.iter().map(|list| ScalarValue::List(Arc::new(list.as_list::<i32>().clone()))).collect())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::compute::concat;

    /// Of a seed, uniform.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    fn of(values: &[f64]) -> Values {
        let mut all = Values::default();
        values.iter().for_each(|value| all.push(*value));
        all
    }

    fn runs(values: &mut Values) -> usize {
        values.unite();
        values.united().len()
    }

    /// What the definition says: sorted, at share × (n − 1), and in between in proportion.
    fn wanted(values: &[f64], place: Place) -> Option<f64> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        if place.descending {
            sorted.reverse();
        }
        let rank = place.share * sorted.len().checked_sub(1)? as f64;
        let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
        Some(if same(&below, &above) { below } else { below + (above - below) * rank.fract() })
    }

    fn check(values: &[f64], got: &mut Values) {
        for share in [0.0, 0.01, 0.1, 1.0 / 3.0, 0.5, 0.75, 0.95, 0.99, 0.999_999, 1.0] {
            for descending in [false, true] {
                let place = Place { share, descending };
                let (got, wanted) = (got.at(place), wanted(values, place));
                assert_eq!(got.map(f64::to_bits), wanted.map(f64::to_bits), "{place:?}");
            }
        }
        let counted = got.united().iter().map(|run| run.count as usize).sum::<usize>();
        assert_eq!(counted + got.kept.len(), values.len());
        assert!(got.united().is_sorted_by(|a, b| a.value.total_cmp(&b.value).is_lt()));
    }

    #[test]
    fn runs_and_kept_values_answer_as_all_values_sorted_would() {
        let mut seed = 7;
        for (count, different) in [(0, 1), (1, 1), (2, 2), (1_000, 50), (20_000, 3), (50_000, 9_000)] {
            let values: Vec<f64> =
                (0..count).map(|_| (random(&mut seed) % different) as f64 - 20.0).collect();
            let mut all = of(&values);
            assert_eq!(runs(&mut all) == 0, count < LOOK_FIRST, "{count} values");
            check(&values, &mut all);
            // Partitions, few and many, merged through their states.
            for partitions in [3, 40] {
                let mut merged = Values::default();
                for some in values.chunks(count / partitions + 1) {
                    let state = states(vec![Values::default(), of(some), Values::default()]).unwrap();
                    for_each_state(&state, |_, values, counts| merged.merge(values, counts)).unwrap();
                }
                check(&values, &mut merged);
            }
        }
    }

    #[test]
    fn values_that_do_not_repeat_take_no_more_than_themselves() {
        let mut seed = 11;
        let values: Vec<f64> = (0..200_000).map(|_| random(&mut seed) as f64).collect();
        let mut all = of(&values);
        assert_eq!((all.kept.len(), runs(&mut all)), (values.len(), 0));
        check(&values, &mut all);
    }

    #[test]
    fn values_that_repeat_take_what_differs_takes() {
        let mut seed = 13;
        let mut all = Whole {
            place: Place { share: 0.5, descending: false },
            values: Values::default(),
            kind: DataType::Float64,
        };
        // What the engine takes for it without groups: it never gives back.
        let mut taken = all.size();
        for _ in 0..500 {
            let values =
                Float64Array::from_iter_values((0..8192).map(|_| (random(&mut seed) % 30_000) as f64));
            let before = all.size();
            all.update_batch(&[Arc::new(values)]).unwrap();
            taken += all.size().saturating_sub(before);
        }
        // Four million values of 30,000: those as runs, twice, and as many as they are one by one.
        assert_eq!(runs(&mut all.values), 30_000);
        assert!(taken < 30_000 * (2 * 16 + 8 * 2 * TIMES_MIN), "{taken} bytes");
    }

    #[test]
    fn zeros_infinities_and_what_is_no_number_have_their_order() {
        let some = [f64::NEG_INFINITY, -0.0, 0.0, 1.5, f64::INFINITY, f64::NAN];
        let values: Vec<f64> = some.iter().cycle().take(6 * 4_000).copied().collect();
        let mut all = of(&values);
        assert_eq!(runs(&mut all), some.len());
        check(&values, &mut all);
    }

    /// As many groups as rows: states are made of rows, without groups.
    #[test]
    fn rows_become_states_that_groups_take() {
        let place = Place { share: 0.5, descending: false };
        let groups = || Groups { place, groups: Vec::new(), kind: DataType::Float32 };
        let column = Float64Array::from_iter((0..40).map(|n| (n % 7 != 0).then_some(f64::from(n))));
        let column: ArrayRef = Arc::new(column.slice(3, 30));
        let filter = BooleanArray::from_iter((3..33).map(|n| (n % 5 != 0).then_some(n % 3 != 0)));
        let group_of: Vec<usize> = (3..33).map(|n| n % 4).collect();
        let states = groups().convert_to_state(std::slice::from_ref(&column), Some(&filter)).unwrap();
        let mut merged = groups();
        for (from, len) in [(0, 11), (11, 19)] {
            let some: Vec<ArrayRef> = states.iter().map(|list| list.slice(from, len)).collect();
            merged.merge_batch(&some, &group_of[from..from + len], 5).unwrap();
        }
        let mut direct = groups();
        direct.update_batch(&[column], &group_of, Some(&filter), 5).unwrap();
        let answers = |mut of: Groups| {
            let first = of.evaluate(EmitTo::First(2)).unwrap();
            concat(&[&first, &of.evaluate(EmitTo::All).unwrap()]).unwrap()
        };
        let wanted: Vec<Option<f32>> = (0..5)
            .map(|group| {
                let of_group = (3..33).filter(|n| n % 4 == group && n % 7 != 0 && n % 5 != 0 && n % 3 != 0);
                let values: Vec<f64> = of_group.map(|n| n as f64).collect();
                super::tests::wanted(&values, place).map(|value| value as f32)
            })
            .collect();
        for of in [merged, direct] {
            let got = answers(of);
            let got: Vec<Option<f32>> =
                got.as_primitive::<datafusion::arrow::datatypes::Float32Type>().iter().collect();
            assert_eq!(got, wanted);
        }
    }
}
