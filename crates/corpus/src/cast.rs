//! Who calls what: applications, their models, routes, keys and habits.
//!
//! Invented. Models that have prices in the release's table are called by the names it knows; the others are such
//! as people serve themselves, and have none.

/// A model as its callers and its server name it.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) returned: &'static str,
    pub(crate) provider: &'static str,
    pub(crate) fingerprint: Option<&'static str>,
    /// Median time to the first token.
    pub(crate) ttft_ms: f64,
    pub(crate) tokens_per_s: f64,
}

/// What an application does with models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One text, one vector.
    Embedding,
    /// One question, a short answer; nothing before and nothing after.
    Single,
    /// A conversation, each request with all of it so far.
    Chat,
    /// A task, tools, their results, each request with all of it so far.
    Agent,
    /// Questions with passages pasted before them.
    Retrieval,
}

/// One application.
pub(crate) struct App {
    pub(crate) name: &'static str,
    pub(crate) route: &'static str,
    pub(crate) kind: Kind,
    pub(crate) environment: &'static str,
    pub(crate) version: &'static str,
    /// Each with its weight.
    pub(crate) models: &'static [(Model, f64)],
    /// Of all records.
    pub(crate) records_share: f64,
    pub(crate) keys: u64,
    /// How many of its calls name a user.
    pub(crate) users_share: f64,
    /// How many of its calls are answered as streams.
    pub(crate) streams_share: f64,
    /// Least and most calls of one session.
    pub(crate) calls: (usize, usize),
    /// How often a call goes wrong, beside the average.
    pub(crate) trouble: f64,
    pub(crate) retention: Option<&'static str>,
}

impl App {
    /// About how many calls a session of it has.
    pub(crate) fn mean_calls(&self) -> f64 {
        (self.calls.0 + self.calls.1) as f64 / 2.0
    }
}

const GPT_4O: Model = Model {
    name: "gpt-4o",
    returned: "gpt-4o-2024-08-06",
    provider: "openai",
    fingerprint: Some("fp_a288987b44"),
    ttft_ms: 480.0,
    tokens_per_s: 85.0,
};
const GPT_4O_MINI: Model = Model {
    name: "gpt-4o-mini",
    returned: "gpt-4o-mini-2024-07-18",
    provider: "openai",
    fingerprint: Some("fp_34a54ae93c"),
    ttft_ms: 390.0,
    tokens_per_s: 105.0,
};
const GPT_41: Model = Model {
    name: "gpt-4.1",
    returned: "gpt-4.1-2025-04-14",
    provider: "openai",
    fingerprint: Some("fp_51e1070cf2"),
    ttft_ms: 520.0,
    tokens_per_s: 95.0,
};
const GPT_41_MINI: Model = Model {
    name: "gpt-4.1-mini",
    returned: "gpt-4.1-mini-2025-04-14",
    provider: "openai",
    fingerprint: Some("fp_79b79be41f"),
    ttft_ms: 410.0,
    tokens_per_s: 110.0,
};
const GPT_5_MINI: Model = Model {
    name: "gpt-5-mini",
    returned: "gpt-5-mini-2025-08-07",
    provider: "openai",
    fingerprint: None,
    ttft_ms: 1900.0,
    tokens_per_s: 120.0,
};
const LLAMA: Model = Model {
    name: "meta-llama/Llama-3.3-70B-Instruct",
    returned: "meta-llama/Llama-3.3-70B-Instruct",
    provider: "vllm",
    fingerprint: None,
    ttft_ms: 210.0,
    tokens_per_s: 38.0,
};
const QWEN: Model = Model {
    name: "Qwen/Qwen2.5-7B-Instruct",
    returned: "Qwen/Qwen2.5-7B-Instruct",
    provider: "vllm",
    fingerprint: None,
    ttft_ms: 60.0,
    tokens_per_s: 130.0,
};
const EMBED_SMALL: Model = Model {
    name: "text-embedding-3-small",
    returned: "text-embedding-3-small",
    provider: "openai",
    fingerprint: None,
    ttft_ms: 120.0,
    tokens_per_s: 50_000.0,
};
const EMBED_LARGE: Model = Model {
    name: "text-embedding-3-large",
    returned: "text-embedding-3-large",
    provider: "openai",
    fingerprint: None,
    ttft_ms: 170.0,
    tokens_per_s: 40_000.0,
};
const BGE: Model = Model {
    name: "BAAI/bge-m3",
    returned: "BAAI/bge-m3",
    provider: "vllm",
    fingerprint: None,
    ttft_ms: 14.0,
    tokens_per_s: 90_000.0,
};

/// Most records are small, as most calls are; the mean is a little under 3 KB.
pub(crate) const EVERYDAY: [App; 12] = [
    App {
        name: "indexer",
        route: "embeddings",
        kind: Kind::Embedding,
        environment: "production",
        version: "4.12.0",
        models: &[(EMBED_SMALL, 5.0), (EMBED_LARGE, 1.0)],
        records_share: 0.345,
        keys: 3,
        users_share: 0.0,
        streams_share: 0.0,
        calls: (1, 40),
        trouble: 0.5,
        retention: None,
    },
    App {
        name: "search-box",
        route: "embeddings",
        kind: Kind::Embedding,
        environment: "production",
        version: "2.31.4",
        models: &[(EMBED_SMALL, 1.0), (BGE, 2.0)],
        records_share: 0.17,
        keys: 2,
        users_share: 0.8,
        streams_share: 0.0,
        calls: (1, 5),
        trouble: 0.4,
        retention: None,
    },
    App {
        name: "ticket-router",
        route: "classify",
        kind: Kind::Single,
        environment: "production",
        version: "1.8.2",
        models: &[(GPT_4O_MINI, 3.0), (QWEN, 4.0)],
        records_share: 0.16,
        keys: 2,
        users_share: 0.0,
        streams_share: 0.0,
        calls: (1, 1),
        trouble: 0.7,
        retention: None,
    },
    App {
        name: "mail-triage",
        route: "classify",
        kind: Kind::Single,
        environment: "production",
        version: "0.44.0",
        models: &[(GPT_41_MINI, 2.0), (GPT_5_MINI, 1.0)],
        records_share: 0.1,
        keys: 4,
        users_share: 0.9,
        streams_share: 0.0,
        calls: (1, 2),
        trouble: 1.0,
        retention: Some("mail-90d"),
    },
    App {
        name: "nightly-eval",
        route: "evaluation",
        kind: Kind::Single,
        environment: "staging",
        version: "2026.1",
        models: &[(LLAMA, 2.0), (QWEN, 2.0), (GPT_4O, 1.0)],
        records_share: 0.052,
        keys: 1,
        users_share: 0.0,
        streams_share: 0.0,
        calls: (1, 30),
        trouble: 2.0,
        retention: None,
    },
    App {
        name: "help-desk",
        route: "chat",
        kind: Kind::Chat,
        environment: "production",
        version: "7.3.1",
        models: &[(GPT_4O_MINI, 5.0), (GPT_4O, 1.0)],
        records_share: 0.055,
        keys: 6,
        users_share: 0.95,
        streams_share: 0.35,
        calls: (1, 5),
        trouble: 1.0,
        retention: Some("customer-2y"),
    },
    App {
        name: "shop-assistant",
        route: "chat",
        kind: Kind::Chat,
        environment: "production",
        version: "3.0.9",
        models: &[(GPT_41_MINI, 3.0), (LLAMA, 2.0)],
        records_share: 0.042,
        keys: 3,
        users_share: 0.6,
        streams_share: 0.5,
        calls: (1, 4),
        trouble: 1.2,
        retention: Some("customer-2y"),
    },
    App {
        name: "staff-copilot",
        route: "chat",
        kind: Kind::Chat,
        environment: "production",
        version: "12.5.0",
        models: &[(GPT_4O, 3.0), (GPT_41, 3.0), (GPT_5_MINI, 1.0)],
        records_share: 0.018,
        keys: 8,
        users_share: 1.0,
        streams_share: 0.3,
        calls: (20, 20),
        trouble: 1.0,
        retention: None,
    },
    App {
        name: "claims-agent",
        route: "agents",
        kind: Kind::Agent,
        environment: "production",
        version: "0.9.17",
        models: &[(GPT_41, 3.0), (GPT_5_MINI, 2.0)],
        records_share: 0.015,
        keys: 2,
        users_share: 0.3,
        streams_share: 0.0,
        calls: (3, 13),
        trouble: 1.5,
        retention: Some("claims-10y"),
    },
    App {
        name: "build-agent",
        route: "agents",
        kind: Kind::Agent,
        environment: "staging",
        version: "0.3.0",
        models: &[(LLAMA, 1.0), (GPT_4O, 1.0)],
        records_share: 0.012,
        keys: 1,
        users_share: 0.0,
        streams_share: 0.2,
        calls: (2, 18),
        trouble: 2.5,
        retention: None,
    },
    App {
        name: "policy-search",
        route: "rag",
        kind: Kind::Retrieval,
        environment: "production",
        version: "5.1.1",
        models: &[(GPT_4O_MINI, 2.0), (GPT_41_MINI, 2.0)],
        records_share: 0.02,
        keys: 3,
        users_share: 0.9,
        streams_share: 0.4,
        calls: (1, 3),
        trouble: 0.9,
        retention: None,
    },
    App {
        name: "clinic-notes",
        route: "rag",
        kind: Kind::Retrieval,
        environment: "production",
        version: "1.2.0",
        models: &[(LLAMA, 1.0)],
        records_share: 0.013,
        keys: 2,
        users_share: 1.0,
        streams_share: 0.0,
        calls: (1, 2),
        trouble: 1.4,
        retention: Some("clinic-30y"),
    },
];

/// Chats of twenty turns and nothing else: what conversations take on disk is measured with these. No call goes
/// wrong, so that each has exactly twenty records.
pub(crate) const CHATS: [App; 1] = [App {
    name: "staff-copilot",
    route: "chat",
    kind: Kind::Chat,
    environment: "production",
    version: "12.5.0",
    models: &[(GPT_4O_MINI, 3.0), (GPT_41, 1.0)],
    records_share: 1.0,
    keys: 8,
    users_share: 1.0,
    streams_share: 0.0,
    calls: (20, 20),
    trouble: 0.0,
    retention: None,
}];
