//! What a call costs, put into its entry: `cost_usd`, `price_ref`, and the counts behind them that have no field.
//!
//! It runs on the sequencing thread, at the moment that becomes the entry's timestamp, so that an entry and the
//! price table are all that anyone needs to compute a cost again. `docs/formats/prices.md` has the rules.

use indelible_os::clock::Utc;
use indelible_price::pricer::Tokens;
use indelible_price::{Call, NoCost, Pricer, Prices};
use indelible_record::canonical::INTEGER_MAX;
use indelible_record::entry::{Entry, Param, Status};
use indelible_record::event::End;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most models without a price that are named in the log.
const NAMED_MAX: usize = 256;
/// Parameters that prices depend on.
const PRICED_BY: [&str; 2] = ["service_tier", "speed"];

/// How many calls had a cost, and why others had none, since the collector started.
#[derive(Debug, Default)]
pub struct Outcomes {
    priced: AtomicU64,
    no_rule: AtomicU64,
    no_usage: AtomicU64,
    unclear: AtomicU64,
}

impl Outcomes {
    /// Each outcome, in one word, and how many calls had it.
    pub fn counts(&self) -> [(&'static str, u64); 4] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("priced", read(&self.priced)),
            ("no_rule", read(&self.no_rule)),
            ("no_usage", read(&self.no_usage)),
            ("unclear", read(&self.unclear)),
        ]
    }
}

/// Prices the calls of one collector.
pub struct Pricing {
    pricer: Pricer,
    outcomes: Arc<Outcomes>,
    /// Models whose lack of a price was logged.
    named: HashSet<String>,
}

impl Pricing {
    /// Prices by these rules.
    pub fn new(prices: Prices, outcomes: Arc<Outcomes>) -> Self {
        Self { pricer: Pricer::new(prices), outcomes, named: HashSet::new() }
    }

    /// Fills in what a call cost at `now`, from its entry as far as it is written and from its end. A call that
    /// no rule fits is left without.
    pub fn fill(&mut self, entry: &mut Entry, end: &End, now: Utc) {
        if entry.model.is_none() && end.answer.model.is_none() {
            return;
        }
        let context: Vec<(&str, &str)> = PRICED_BY
            .into_iter()
            .filter_map(|name| match entry.params.get(name) {
                Some(Param::Text(value)) => Some((name, value.as_str())),
                _ => None,
            })
            .collect();
        let outcome = self.pricer.price(&Call {
            provider: entry.provider.as_deref(),
            route: entry.route.as_deref(),
            // As the server said it: the entry may have a hash in its place.
            model_returned: end.answer.model.as_deref(),
            model: entry.model.as_deref(),
            at: now.0,
            tokens: tokens(entry),
            usage: end.private.usage.as_deref(),
            counts: &[],
            context: &context,
            answered_ms: entry.latency_ms.filter(|_| entry.http_status.is_some_and(|status| status < 400)),
        });
        match outcome {
            Ok(cost) if cost.counts.iter().all(|(_, count)| *count <= INTEGER_MAX) => {
                entry.cost_usd = Some(cost.usd.to_string());
                entry.price_ref = Some(cost.price_ref);
                if !cost.counts.is_empty() {
                    let usage = cost.counts.into_iter().map(|(unit, count)| (unit.to_owned(), count.into()));
                    let usage = serde_json::Value::Object(usage.collect());
                    entry.detail.get_or_insert_default().insert("usage".to_owned(), usage);
                }
                self.outcomes.priced.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) => self.without(entry, NoCost::Overflow),
            Err(why) => self.without(entry, why),
        }
    }

    /// Counts a call without a cost, and names its model once if it is the model that has no price.
    fn without(&mut self, entry: &Entry, why: NoCost) {
        let counter = match why {
            NoCost::NoUsage | NoCost::NoTime => &self.outcomes.no_usage,
            why if why.is_of_model() => &self.outcomes.no_rule,
            _ => &self.outcomes.unclear,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if matches!(why, NoCost::NoUsage | NoCost::NoTime) || self.named.len() > NAMED_MAX {
            return;
        }
        // As the entry has it: a log names nobody either.
        let model = entry.model_returned.as_ref().or(entry.model.as_ref()).map_or("-", String::as_str);
        let provider = entry.provider.as_deref().unwrap_or("-");
        if !self.named.insert(format!("{provider} {model}")) {
            return;
        }
        if self.named.len() > NAMED_MAX {
            tracing::info!("more models than these have no price; they are counted, not named");
        } else {
            tracing::info!(model, provider, %why, "calls of this model have no cost");
        }
    }
}

/// What a call used, if the provider says so and has said all: what an answer says before its end is preliminary.
fn tokens(entry: &Entry) -> Option<Tokens> {
    let whole = entry.status == Some(Status::Completed) || entry.finish_reason.is_some();
    (whole && entry.usage_source.as_deref() == Some("provider")).then_some(Tokens {
        input: entry.prompt_tokens,
        output: entry.completion_tokens,
        cached: entry.cached_tokens,
        reasoning: entry.reasoning_tokens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use indelible_price::{OverrideSpec, Overrides};
    use indelible_record::event::{Answer, Private};

    const NOW: Utc = Utc(1_795_317_255_000_000);

    fn pricing(overrides: Vec<OverrideSpec>) -> Pricing {
        let overrides = Arc::new(Overrides::new(overrides).unwrap());
        Pricing::new(Prices { overrides, ..Prices::default() }, Arc::default())
    }

    fn entry() -> Entry {
        Entry {
            provider: Some("openai".to_owned()),
            model: Some("gpt-4o".to_owned()),
            model_returned: Some("gpt-4o-2024-08-06".to_owned()),
            usage_source: Some("provider".to_owned()),
            prompt_tokens: Some(1000),
            completion_tokens: Some(100),
            status: Some(Status::Completed),
            http_status: Some(200),
            latency_ms: Some(500),
            ..Entry::default()
        }
    }

    fn end(entry: &Entry) -> End {
        End {
            withheld: Vec::new(),
            hangup: None,
            websocket: None,
            first_token_us: None,
            late: None,
            start_seq: 1,
            time: 0,
            status: Status::Completed,
            http_status: entry.http_status,
            error_type: None,
            latency_us: 500_000,
            ttft_us: None,
            delivered_bytes: 0,
            input_partial: false,
            output_partial: false,
            answer: Answer { model: entry.model_returned.clone(), ..Answer::default() },
            private: Private::default(),
        }
    }

    fn cost(pricing: &mut Pricing, mut entry: Entry) -> Option<String> {
        let end = end(&entry);
        pricing.fill(&mut entry, &end, NOW);
        assert_eq!(entry.cost_usd.is_some(), entry.price_ref.is_some(), "never one without the other");
        entry.cost_usd
    }

    /// 1000 × 2.5/10⁶ + 100 × 10/10⁶ = 0.0025 + 0.001
    #[test]
    fn what_an_answer_says_before_its_end_is_not_charged() {
        let mut pricing = pricing(Vec::new());
        assert_eq!(cost(&mut pricing, entry()).as_deref(), Some("0.0035"));
        let cancelled = Entry { status: Some(Status::Cancelled), ..entry() };
        assert_eq!(cost(&mut pricing, cancelled.clone()), None);
        // The client went away behind the answer's end.
        let drained = Entry { finish_reason: Some("stop".to_owned()), ..cancelled };
        assert_eq!(cost(&mut pricing, drained).as_deref(), Some("0.0035"));
        let estimated = Entry { usage_source: Some("estimate".to_owned()), ..entry() };
        assert_eq!(cost(&mut pricing, estimated), None);
        let missing = Entry { usage_source: Some("missing".to_owned()), ..entry() };
        assert_eq!(cost(&mut pricing, missing), None);
        let more_cached_than_there_are = Entry { cached_tokens: Some(1001), ..entry() };
        assert_eq!(cost(&mut pricing, more_cached_than_there_are), None);
        let no_model = Entry { model: None, model_returned: None, ..entry() };
        assert_eq!(cost(&mut pricing, no_model), None);
        let counted = [("priced", 2), ("no_rule", 0), ("no_usage", 3), ("unclear", 1)];
        assert_eq!(pricing.outcomes.counts(), counted);
    }

    /// The entry may show a hash; what the server said is what is looked up.
    #[test]
    fn a_model_that_the_entry_may_not_name_is_priced_all_the_same() {
        let mut entry = Entry { provider: Some("anthropic".to_owned()), ..entry() };
        let mut end = end(&entry);
        end.answer.model = Some("claude-sonnet-4-5-20250929".to_owned());
        entry.model_returned = Some("h:0123456789abcdef0123456789abcdef".to_owned());
        pricing(Vec::new()).fill(&mut entry, &end, NOW);
        // 1000 × 3/10⁶ + 100 × 15/10⁶
        assert_eq!(entry.cost_usd.as_deref(), Some("0.0045"));
    }

    #[test]
    fn time_is_charged_only_where_the_model_server_answered() {
        let spec = OverrideSpec {
            name: "gpu".to_owned(),
            model: "*".to_owned(),
            gpu_usd_per_hour: Some("3.6".to_owned()),
            ..OverrideSpec::default()
        };
        let mut pricing = pricing(vec![spec]);
        let none = Entry { usage_source: Some("missing".to_owned()), prompt_tokens: None, ..entry() };
        // 500 ms at $0.001 a second
        assert_eq!(cost(&mut pricing, none.clone()).as_deref(), Some("0.0005"));
        let cancelled = Entry { status: Some(Status::Cancelled), ..none.clone() };
        assert_eq!(cost(&mut pricing, cancelled).as_deref(), Some("0.0005"));
        assert_eq!(cost(&mut pricing, Entry { http_status: Some(503), ..none.clone() }), None);
        assert_eq!(cost(&mut pricing, Entry { http_status: None, ..none.clone() }), None);
        assert_eq!(cost(&mut pricing, Entry { latency_ms: None, ..none }), None);
    }

    /// Invariant 14: clients choose names of models, not how much is remembered of them.
    #[test]
    fn models_without_a_price_are_named_in_bounded_number() {
        let mut pricing = pricing(Vec::new());
        for number in 0..3 * NAMED_MAX {
            let made_up = Some(format!("made-up-{number}"));
            let entry = Entry { model: made_up.clone(), model_returned: made_up, ..entry() };
            assert_eq!(cost(&mut pricing, entry), None);
            assert!(pricing.named.len() <= NAMED_MAX + 1);
        }
        let outcomes = pricing.outcomes.counts();
        assert_eq!(outcomes[1], ("no_rule", 3 * NAMED_MAX as u64));
    }
}
