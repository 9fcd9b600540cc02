//! What is sent: the `i`th request of a plan, from its seed and `i` alone.
//!
//! Requests go round the sessions: request `i` belongs to session slot `i % sessions`, and a slot begins a
//! new conversation every six turns. A turn repeats the whole history, as chat clients do; the answers in
//! it are the ones the stand-in gives, tool calls included. Request `i` therefore costs at most six turns
//! to make, however far into the plan it lies.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, Content, spread};
use crate::request::Chat;
use crate::topic::{TOPICS, Topic};

/// Turns after which a slot begins a new conversation.
const TURNS_MAX: usize = 6;
/// Of 1,000 requests so many name a model that is missing, and so many are cut off inside their JSON.
const MISSING_PER_MILLE: u64 = 15;
const CUT_PER_MILLE: u64 = 15;
/// Of 100 requests that could stream so many do, which makes about 40 of 100 requests.
const STREAMS_PERCENT: u64 = 47;
const USAGE_PERCENT: u64 = 80;
const CHAT_MODELS: [&str; 2] = ["llama-3-8b-instruct", "qwen2.5-7b-instruct"];
const EMBEDDING_MODEL: &str = "bge-small-en";
const MISSING_MODEL: &str = "missing-70b-instruct";

/// A run of requests. Two plans with the same fields send the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// How many requests there are.
    pub requests: usize,
    /// How many people ask; 0 counts as 1.
    pub users: usize,
    /// How many conversations run side by side; 0 counts as 1.
    pub sessions: usize,
    /// The header `x-standin` of every request, such as `pace=2`.
    pub controls: Option<String>,
}

/// One request, ready to be sent with `POST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadRequest {
    /// The path below the base URL, from `/v1/` on.
    pub path: &'static str,
    /// The body: JSON, unless the plan broke it.
    pub body: Vec<u8>,
    /// Headers besides content type and authorization.
    pub headers: Vec<(&'static str, String)>,
    /// The answer is asked for as a stream.
    pub stream: bool,
}

/// What a conversation is about to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chat,
    Tools,
    Completion,
    Embedding,
}

/// One conversation: all its turns follow from `seed`.
struct Session {
    seed: u64,
    kind: Kind,
    topic: &'static Topic,
    user: usize,
    model: &'static str,
}

/// Numbers that follow from one another (SplitMix64).
struct Dice(u64);

impl Default for Plan {
    /// 200 requests of 12 people in 40 conversations.
    fn default() -> Self {
        Self { seed: 1, requests: 200, users: 12, sessions: 40, controls: None }
    }
}

impl Plan {
    /// The `i`th request; `i` may lie beyond `requests`.
    pub fn request(&self, i: usize) -> LoadRequest {
        let mut dice = Dice(spread(self.seed ^ spread(i as u64)));
        let (slot, round) = (i % self.sessions.max(1), i / self.sessions.max(1));
        let session = Session::new(self, slot, round / TURNS_MAX);
        let (path, mut body) = session.body(round % TURNS_MAX);
        let stream = session.kind != Kind::Embedding && dice.below(100) < STREAMS_PERCENT;
        if stream {
            body["stream"] = json!(true);
            if dice.below(100) < USAGE_PERCENT {
                body["stream_options"] = json!({"include_usage": true});
            }
        }
        let fault = dice.below(1000);
        if fault < MISSING_PER_MILLE {
            body["model"] = json!(MISSING_MODEL);
        }
        let mut body = body.to_string().into_bytes();
        if (MISSING_PER_MILLE..MISSING_PER_MILLE + CUT_PER_MILLE).contains(&fault) {
            body.truncate(body.len() * 2 / 3);
        }
        LoadRequest { path, body, headers: self.headers(i, &session, &mut dice), stream }
    }

    /// The value of `x-test-id` on the `i`th request.
    pub fn test_id(&self, i: usize) -> String {
        format!("load-{}-{i}", self.seed)
    }

    fn headers(&self, i: usize, session: &Session, dice: &mut Dice) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("x-session-id", format!("{}-{:012x}", session.topic.name, session.seed >> 16)),
            ("x-request-id", format!("req-{:016x}", dice.next())),
            ("x-test-id", self.test_id(i)),
        ];
        if dice.below(2) == 0 {
            let trace = format!("00-{:016x}{:016x}-{:016x}-01", session.seed, dice.next(), dice.next() | 1);
            headers.push(("traceparent", trace));
        }
        headers.extend(self.controls.iter().map(|controls| ("x-standin", controls.clone())));
        headers
    }
}

impl Session {
    fn new(plan: &Plan, slot: usize, conversation: usize) -> Self {
        let place = spread(slot as u64).rotate_left(32) ^ spread(conversation as u64);
        let seed = spread(plan.seed.rotate_left(17) ^ place);
        let mut dice = Dice(seed);
        let kind = match dice.below(100) {
            0..68 => Kind::Chat,
            68..78 => Kind::Tools,
            78..86 => Kind::Completion,
            _ => Kind::Embedding,
        };
        let topic: &'static [Topic] = &TOPICS;
        Self {
            seed,
            kind,
            topic: &topic[dice.choice(topic.len())],
            user: dice.choice(plan.users.max(1)),
            model: CHAT_MODELS[dice.choice(CHAT_MODELS.len())],
        }
    }

    fn body(&self, turn: usize) -> (&'static str, Value) {
        match self.kind {
            Kind::Chat | Kind::Tools => ("/v1/chat/completions", self.chat(turn)),
            Kind::Completion => ("/v1/completions", self.completion(turn)),
            Kind::Embedding => ("/v1/embeddings", self.embedding(turn)),
        }
    }

    /// The conversation up to and including what is asked in `turn`.
    fn chat(&self, turn: usize) -> Value {
        let mut body = json!({"model": self.model, "user": self.user_name(), "temperature": self.temperature(),
            "max_tokens": 512, "messages": [{"role": "system", "content": self.topic.system}]});
        if self.kind == Kind::Tools {
            body["tools"] = json!([lookup_tool()]);
        }
        let mut next = json!({"role": "user", "content": self.question(0)});
        for earlier in 0..turn {
            push(&mut body, next);
            let (said, then) = self.answered(&body, earlier + 1);
            push(&mut body, said);
            next = then;
        }
        push(&mut body, next);
        body
    }

    /// What the stand-in says to a conversation, and what comes next: a tool's result or a question.
    fn answered(&self, body: &Value, turn: usize) -> (Value, Value) {
        let question = json!({"role": "user", "content": self.question(turn)});
        let answer = Chat::deserialize(body).ok().map(|chat| Answer::chat(self.model, &chat, None));
        match answer.and_then(|answer| answer.choices.into_iter().next()).map(|choice| choice.content) {
            Some(Content::Call(call)) => {
                let function = json!({"name": call.name, "arguments": call.arguments});
                let calls = json!([{"id": call.id, "type": "function", "function": function}]);
                let result =
                    json!({"case": self.case(), "state": "open", "updated": "2026-03-02"}).to_string();
                (
                    json!({"role": "assistant", "content": null, "tool_calls": calls}),
                    json!({"role": "tool", "tool_call_id": call.id, "content": result}),
                )
            }
            Some(Content::Text(text)) => (json!({"role": "assistant", "content": text}), question),
            None => (json!({"role": "assistant", "content": ""}), question),
        }
    }

    fn completion(&self, turn: usize) -> Value {
        let mut dice = self.dice(turn);
        let prompt = format!("{}\n\nQuestion: {}\nAnswer:", self.topic.system, self.question(turn));
        json!({"model": self.model, "user": self.user_name(), "prompt": prompt,
            "max_tokens": 16 << dice.below(3), "temperature": self.temperature()})
    }

    fn embedding(&self, turn: usize) -> Value {
        let count = 1 + self.dice(turn).choice(4);
        let input: Vec<String> = (turn..turn + count).map(|at| self.question(at)).collect();
        json!({"model": EMBEDDING_MODEL, "user": self.user_name(), "input": input, "encoding_format": "float"})
    }

    fn question(&self, turn: usize) -> String {
        let questions = &self.topic.questions;
        let question = questions[(self.seed as usize % questions.len() + turn) % questions.len()];
        let question = question.replace("{n}", &self.case()).replace("{contact}", &self.contact());
        if self.kind == Kind::Tools && turn == 0 {
            return format!("{question} Please use a tool to look up case {}.", self.case());
        }
        question
    }

    fn case(&self) -> String {
        (10_000 + self.seed % 90_000).to_string()
    }

    fn user_name(&self) -> String {
        format!("user-{:04}", self.user)
    }

    fn contact(&self) -> String {
        format!("{}@example.com", self.user_name())
    }

    fn temperature(&self) -> f64 {
        [0.0, 0.2, 0.7, 1.0][self.seed as usize % 4]
    }

    fn dice(&self, turn: usize) -> Dice {
        Dice(spread(self.seed ^ turn as u64))
    }
}

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        spread(self.0)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// An index into `len` things.
    fn choice(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}

fn push(body: &mut Value, message: Value) {
    if let Some(messages) = body["messages"].as_array_mut() {
        messages.push(message);
    }
}

fn lookup_tool() -> Value {
    json!({"type": "function", "function": {"name": "look_up_case",
        "description": "Looks up the state of a case by its number",
        "parameters": {"type": "object", "required": ["case", "detail"], "properties": {
            "case": {"type": "string"}, "detail": {"type": "string", "enum": ["short", "full"]}}}}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const MANY: usize = 4000;

    fn plan() -> Plan {
        Plan { requests: MANY, users: 20, sessions: 100, ..Plan::default() }
    }

    fn json_of(request: &LoadRequest) -> Option<Value> {
        serde_json::from_slice(&request.body).ok()
    }

    #[test]
    fn the_same_plan_makes_the_same_requests_and_another_seed_makes_others() {
        let (one, other) = (plan(), Plan { seed: 2, ..plan() });
        assert_eq!(one.request(77), plan().request(77));
        assert_ne!(one.request(77), other.request(77));
        let ids: HashSet<_> = (0..MANY).map(|i| one.request(i).headers[1].1.clone()).collect();
        assert_eq!(ids.len(), MANY);
    }

    #[test]
    fn the_mixture_is_the_one_promised() {
        let requests: Vec<_> = (0..MANY).map(|i| plan().request(i)).collect();
        let share = |holds: &dyn Fn(&LoadRequest) -> bool| {
            requests.iter().filter(|request| holds(request)).count() as f64 / MANY as f64
        };
        assert!((0.33..0.47).contains(&share(&|request| request.stream)));
        assert!((0.005..0.03).contains(&share(&|request| json_of(request).is_none())));
        let missing =
            |request: &LoadRequest| json_of(request).is_some_and(|body| body["model"] == MISSING_MODEL);
        assert!((0.005..0.03).contains(&share(&missing)));
        for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] {
            assert!(share(&|request| request.path == path) > 0.03, "{path}");
        }
        let users: HashSet<_> =
            requests.iter().filter_map(json_of).map(|body| body["user"].to_string()).collect();
        assert_eq!(users.len(), 20);
    }

    #[test]
    fn a_turn_repeats_all_that_was_said_before() {
        let plan = plan();
        let chats = (0..100).map(|slot| Session::new(&plan, slot, 0));
        for session in chats.filter(|session| matches!(session.kind, Kind::Chat | Kind::Tools)) {
            let (shorter, longer) = (session.chat(3), session.chat(4));
            let (shorter, longer) = (&shorter["messages"], &longer["messages"]);
            let (shorter, longer) = (shorter.as_array().unwrap(), longer.as_array().unwrap());
            assert_eq!(longer.len(), shorter.len() + 2);
            assert_eq!(longer[..shorter.len()], shorter[..]);
        }
    }

    #[test]
    fn a_tool_call_is_followed_by_its_result() {
        let plan = plan();
        let session =
            (0..).map(|slot| Session::new(&plan, slot, 0)).find(|one| one.kind == Kind::Tools).unwrap();
        let body = session.chat(1);
        let id = &body["messages"][2]["tool_calls"][0]["id"];
        assert!(id.as_str().unwrap().starts_with("call_"));
        assert_eq!(&body["messages"][3]["tool_call_id"], id);
    }
}
