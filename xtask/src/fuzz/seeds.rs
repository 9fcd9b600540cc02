//! What fuzz targets begin with: recorded exchanges, and the vectors of docs/formats, each behind the bytes that
//! tell its target what to do with it. A seed that misses is only a worse one: nothing else depends on these.

use crate::machine;
use indelible_segment::ids::IdsWriter;
use indelible_segment::payload::{Owner, PayloadWriter, Piece, put_piece};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// Seeds by name, or why there are none.
pub(crate) type Make = fn() -> Result<Vec<(String, Vec<u8>)>, String>;
pub(super) type Seeds = Result<Vec<(String, Vec<u8>)>, String>;

/// Longer bodies teach a fuzzer little and cost it much.
const SEED_MAX_BYTES: usize = 8 << 10;

pub(crate) fn record() -> Seeds {
    let mut seeds = Numbered::new();
    let page = Page::read("entry")?;
    for line in page.lines(&["chain", "every-field", "canonical", "refused"]) {
        let line = line.split('\t').next().unwrap_or_default();
        seeds.add(&[0], line.as_bytes());
        seeds.add(&[1], line.as_bytes());
    }
    for line in page.lines(&["clear-or-hashed"]) {
        seeds.add(&[4], line.split(' ').nth(1).unwrap_or_default().as_bytes());
    }
    let page = Page::read("spool")?;
    for bytes in [page.bytes("plaintext-3"), page.bytes("piece-lz4")] {
        seeds.add(&[2], &bytes);
        seeds.add(&[2, 0, 0, 0, 0], &bytes);
    }
    for line in page.lines(&["plaintexts", "notices", "ack"]) {
        if let Some(at) = line.find('{') {
            let json = line[at..].split('\t').next().unwrap_or_default();
            (0..10).for_each(|which| seeds.add(&[3, which], json.as_bytes()));
        }
    }
    seeds.add(&[5, 0, 3, 0, 4], b"inserted\nthe body of a request");
    Ok(seeds.0)
}

pub(crate) fn ledger() -> Seeds {
    let mut seeds = Numbered::new();
    let page = Page::read("checkpoint")?;
    for name in ["checkpoint-7", "checkpoint-0"] {
        let note = page.block(name);
        seeds.add(&[0], note.as_bytes());
        let body = note.split_once("\n\n").map_or("", |(body, _)| body);
        seeds.add(&[1], format!("{body}\n").as_bytes());
        seeds.add(&[2], format!("{body}\n").as_bytes());
    }
    for line in page.lines(&["vkey", "leaves", "roots", "inclusion-5-of-7", "tile-paths"]) {
        seeds.add(&[2], line.rsplit(' ').next().unwrap_or_default().as_bytes());
    }
    seeds.add(&[3, 0, 3], b"\x00\x03one\x00\x00\x00\x05three");
    for what in [4, 5, 6, 7, 11, 13, 15, 16, 17] {
        seeds.add(&[what], &[6; 120]);
    }
    seeds.add(&[15, 0, 3, 0, 6, 0, 9, 0, 0, 0, 0, 0x6a, 0xb1, 0x3b, 0x80], b"log.example/fuzz\n7\nAAAA\n");
    // Bytes beyond ASCII stand for keys of logs and, from C0 on, of witnesses.
    let policies: [&[u8]; 4] = [
        b"log \x80\nquorum none\n",
        b"# whom to trust\nlog \x84 https://log.example/\nwitness w \xc0 https://w.example/\nquorum w\n",
        b"log \x84\nwitness a \xc0\nwitness b \xc1\nwitness c \xc2\ngroup g 2 a b c\nquorum g\n",
        b"log \x84\nlog \x85\nwitness a \xc0\nwitness b\t\xc1\n\ngroup g any a\ngroup h all g b\nquorum h\n",
    ];
    for policy in policies {
        seeds.add(&[9, 0, 3, 0, 4, 0, 9], policy);
    }
    let (vkey, checkpoint) = (page.block("vkey"), page.block("checkpoint-7"));
    seeds.add(&[8], format!("log {}\nquorum none\n", vkey.trim_end()).as_bytes());
    let inclusion = page.block("inclusion-5-of-7");
    for extra in ["", "extra ZW50cnk=\n"] {
        let proof = format!("c2sp.org/tlog-proof@v1\n{extra}index 5\n{inclusion}\n{checkpoint}");
        seeds.add(&[10], proof.as_bytes());
    }
    let request = format!("old 3\n{}\n{checkpoint}", page.block("consistency-3-to-7"));
    seeds.add(&[12], request.as_bytes());
    let (_, lines) = checkpoint.split_once("\n\n").unwrap_or_default();
    seeds.add(&[14], lines.as_bytes());
    Ok(seeds.0)
}

pub(crate) fn segment() -> Seeds {
    let mut seeds = Numbered::new();
    let mut ids = IdsWriter::default();
    for row in 0..300u32 {
        ids.push_hash(u64::from(row % 50) << 48, row);
    }
    seeds.add(&[1, 0, 7], &ids.finish(300));
    seeds.add(&[2], &(0..=255).flat_map(|n: u8| [n % 7, 0, n]).collect::<Vec<_>>());
    let owner = Owner { tenant: "t".to_owned(), origin: "o".to_owned(), segment: uuid::Uuid::nil() };
    let failed = |error: std::io::Error| error.to_string();
    let mut plain = |_: &[u8], part: &[u8]| Ok::<_, std::io::Error>(part.to_vec());
    let mut writer = PayloadWriter::new(Vec::new(), owner).map_err(failed)?;
    let mut record = Vec::new();
    for seq in 0..3 {
        writer.piece(seq, Piece::Input, b"a prompt", &mut plain).map_err(failed)?;
        writer.end_record(seq, &mut plain).map_err(failed)?;
        put_piece(&mut record, Piece::Output, b"an answer");
    }
    writer.end_frame(&mut plain).map_err(failed)?;
    record.push(0);
    seeds.add(&[3, 0, 0, 0, 0, 14], &writer.finish().map_err(failed)?.0);
    seeds.add(&[4], &record);
    seeds.add(&[5], b"\x01one\n\x03two\n\x01three and more\n");
    Ok(seeds.0)
}

pub(crate) fn spool() -> Seeds {
    let mut seeds = Numbered::new();
    let page = Page::read("spool")?;
    let header = page.bytes("file-header");
    let frames: Vec<u8> = ["frame-1", "frame-2", "frame-3", "frame-4", "frame-mark", "frame-close"]
        .iter()
        .flat_map(|name| page.bytes(name))
        .collect();
    for what in [2, 4] {
        seeds.add(&[what], &[&header[..], &frames].concat());
    }
    seeds.add(&[1], &header);
    for (at, line) in page.lines(&["wal-records"]).enumerate() {
        let hex = line.split(' ').nth(1).unwrap_or_default();
        // Kinds 48 to 53 are the last of those that the target knows.
        seeds.add(&[0, 13 + at as u8], &unhex(hex));
    }
    for line in page.lines(&["plaintexts", "notices"]) {
        let Some(at) = line.find('{') else { continue };
        let json = line[at..].split('\t').next().unwrap_or_default();
        let plain = [&(json.len() as u32).to_le_bytes()[..], json.as_bytes()].concat();
        let len = (plain.len() as u16).to_be_bytes();
        // Kinds of frames that sources send, as the target counts them.
        for kind in 3..13 {
            seeds.add(&[5, 1, kind, len[0], len[1]], &plain);
            seeds.add(&[6, 0, 40, 1, 1, kind, len[0], len[1]], &plain);
        }
    }
    // Numbers that end with the last there is: five heartbeats.
    seeds.add(&[5, 255], &[5, 0, 4, 0, 0, 0, 0].repeat(5));
    for damage in 0..4 {
        let frames =
            [5, 3, b'a', b'b', b'c', 0, 8, 1, 0, 0, 0, 0, 0, 0, 0, 17, 4, b'w', b'x', b'y', b'z', 1, 0];
        seeds.add(&[3, 0, 0, damage, 0, 30, 1], &frames);
    }
    Ok(seeds.0)
}

pub(crate) fn websocket() -> Seeds {
    let mut seeds = Numbered::new();
    let page = Page::read("websocket")?;
    let wires = page.lines(&["frames", "pieces"]).filter_map(|line| {
        line.split('\t').find_map(|part| {
            let hex = part.len() >= 4 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            hex.then(|| unhex(part))
        })
    });
    let wires: Vec<Vec<u8>> = wires.collect();
    let all = wires.concat();
    for how in 0..32 {
        for wire in wires.iter().chain([&all]) {
            seeds.add(&[how, 0, 1], wire);
        }
    }
    Ok(seeds.0)
}

pub(crate) fn dialects() -> Seeds {
    let mut seeds = Numbered::new();
    for exchange in Exchange::all()? {
        let endpoint = endpoint(&exchange.method, &exchange.target);
        if let Some(body) = &exchange.request {
            seeds.add(&[0, endpoint, 1, 0, 1], body);
        }
        let coded = u8::from(exchange.answer_name.ends_with(".gz"));
        let form = match exchange.answer_name.rsplit_once(".answer.").map_or("", |(_, kind)| kind) {
            "sse" => 0,
            "ndjson" => 2,
            _ => 1,
        };
        // From 4 on of the codings, eight forms to each.
        seeds.add(&[1, endpoint, coded * 33 + (1 - coded) * form, 1, 7], &exchange.answer);
        if form == 0 {
            let text = String::from_utf8_lossy(&exchange.answer).into_owned();
            let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            seeds.add(&[3, 7, 0, 0, 3], data.join("\n").as_bytes());
        }
    }
    Ok(seeds.0)
}

pub(crate) fn codings() -> Seeds {
    let mut seeds = Numbered::new();
    for exchange in Exchange::all()? {
        if exchange.answer_name.ends_with(".gz") {
            seeds.add(&[2, 0, 0, 3], &exchange.answer);
            seeds.add(&[2, 4, 0, 3], &exchange.answer);
        } else if exchange.answer.len() < 600 {
            for coding in 0..5 {
                seeds.add(&[0, coding, 0, 3, 1], &exchange.answer);
                seeds.add(&[1, coding, 0, 3, 0, 9, 1, 0], &exchange.answer);
            }
        }
    }
    Ok(seeds.0)
}

pub(crate) fn usage() -> Seeds {
    let mut seeds = Numbered::new();
    for exchange in Exchange::all()? {
        if let Some(body) = &exchange.request {
            seeds.add(&[0], body);
        }
        if exchange.answer_name.ends_with(".sse") {
            seeds.add(&[1, 0, 7], &exchange.answer);
            seeds.add(&[2, 0, 9, 0, 200, 0], &exchange.answer);
        }
    }
    for options in ["null", "{}", "{\"include_usage\":null}", "{\"x\":1}"] {
        seeds.add(&[0], format!("{{\"stream\":true,\"stream_options\":{options}}}").as_bytes());
    }
    Ok(seeds.0)
}

pub(crate) fn headers() -> Seeds {
    let mut seeds = Numbered::new();
    for exchange in Exchange::all()? {
        for lines in [&exchange.request_head, &exchange.answer_head] {
            seeds.add(&[0], lines.as_bytes());
        }
        seeds.add(&[3], exchange.target.as_bytes());
    }
    let named = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nx-user-id: jane\n\
        x-litellm-tags: a,b\nx-portkey-metadata: {\"_user\":\"jane\",\"team\":\"x\"}\n\
        helicone-property-team: x\nx-stainless-retry-count: 1\nconnection: te, x-app\nte: trailers\n";
    seeds.add(&[0], named.as_bytes());
    seeds.add(&[2, 1, 0, 3], b"/v1beta/models\nalt=sse\nx=1");
    seeds.add(&[4], b"alt=sse&key=\n\x00\x10authorization: Bearer \n");
    seeds.add(&[5], b"https://models.example/openai\nhost:8000/v1\n/v1/chat?x=1");
    Ok(seeds.0)
}

pub(crate) fn prices() -> Seeds {
    let mut seeds = Numbered::new();
    let page = Page::read("prices")?;
    for line in page.lines(&["decimals"]) {
        let number = line.split('\t').next().unwrap_or_default();
        seeds.add(&[0, 0, 7, 0], format!("{number}\n0.000415\n{number}").as_bytes());
    }
    let usage = "{\"model\":\"m-1\",\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":50,\
        \"prompt_tokens_details\":{\"cached_tokens\":800}}}";
    let call = |model: &str| -> Vec<u8> {
        let numbers = [0, 0x2f, 3, 232, 0, 0, 50, 0, 0, 10, 0, 0, 5, 0, 1, 0, 0, 0x45, 0];
        [&numbers[..], format!("default\n{model}\n{model}\n{usage}").as_bytes()].concat()
    };
    for (what, block) in [(1, "table-file"), (2, "overrides")] {
        let json = page.block(block);
        let json = if what == 2 { json.lines().next().unwrap_or_default() } else { json.trim_end() };
        let len = (json.len() as u16).to_be_bytes();
        for model in ["m-1", "llama-3-8b"] {
            seeds.add(&[what, len[0], len[1]], &[json.as_bytes(), &call(model)].concat());
        }
    }
    for model in ["gpt-4o", "claude-haiku-4-5-20251001", "gemini-2.5-flash", "deepseek-chat"] {
        seeds.add(&[3, 1], &call(model));
        seeds.add(&[3, 0], &call(model));
    }
    Ok(seeds.0)
}

pub(crate) fn config() -> Seeds {
    let mut seeds = Numbered::new();
    let file = Page::read("api-keys")?.block("file");
    let json: Option<Value> = file.find('{').and_then(|at| serde_json::from_str(&file[at..]).ok());
    let mut json = json.ok_or("docs/formats/api-keys.md: the vector file is no JSON")?;
    json["check"] = "CHECK".into();
    seeds.add(&[0], json.to_string().as_bytes());
    for moment in ["2026-11-22T03:14:15.926535Z", "2026-11-22", "2026-11-22T03:14:15+02:00"] {
        seeds.add(&[1], moment.as_bytes());
    }
    seeds.add(&[2], &[b'7'; 40]);
    let routes = "/v1\nllama-*\nhttp://127.0.0.1:8000/v1\n/\n*\nhttps://models.example\ngateway-1\nsk-x\n\
        http://127.0.0.1:4318";
    seeds.add(&[3, 2], routes.as_bytes());
    let reference = read(machine::root().join("src/config.reference.toml"))?;
    let bare: Vec<u8> = String::from_utf8_lossy(&reference)
        .lines()
        .filter(|line| !line.starts_with("# ") && !line.is_empty())
        .flat_map(|line| [line.trim_start_matches('#').as_bytes(), b"\n"].concat())
        .collect();
    for text in [&reference, &bare] {
        seeds.add(&[5], text);
    }
    for variable in
        ["GATEWAY_LISTEN=127.0.0.1:1", "COLLECTOR_TENANTS=[\"a\"]", "GATEWAY_COLLECTOR_URL=https://x"]
    {
        seeds.add(&[4], variable.as_bytes());
    }
    Ok(seeds.0)
}

/// The number under which `fuzz/targets/dialects.rs` lists a call.
fn endpoint(method: &str, target: &str) -> u8 {
    const BY_END: [(&str, u8); 15] = [
        ("/chat/completions", 0),
        ("/completions", 1),
        ("/embeddings", 2),
        ("/responses", 3),
        ("/cancel", 5),
        ("/messages", 8),
        ("/count_tokens", 9),
        ("/api/chat", 15),
        ("/tokenize", 19),
        ("/detokenize", 20),
        ("/score", 21),
        ("/rerank", 22),
        ("/pooling", 23),
        ("/classify", 24),
        (":streamGenerateContent", 11),
    ];
    let path = target.split('?').next().unwrap_or_default();
    if method == "GET" && path.contains("/responses/") {
        return 4;
    }
    BY_END.iter().find(|(end, _)| path.ends_with(end)).map_or(25, |(_, number)| *number)
}

/// Seeds, each with a name of its own.
pub(super) struct Numbered(pub(super) Vec<(String, Vec<u8>)>);

impl Numbered {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn add(&mut self, what: &[u8], bytes: &[u8]) {
        if bytes.len() <= SEED_MAX_BYTES {
            self.0.push((format!("seed-{:04}", self.0.len()), [what, bytes].concat()));
        }
    }
}

/// A page of docs/formats.
struct Page(String);

impl Page {
    fn read(name: &str) -> Result<Self, String> {
        let path = machine::root().join("docs/formats").join(format!("{name}.md"));
        fs::read_to_string(&path).map(Self).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// A vector's text; empty where there is none of that name.
    fn block(&self, name: &str) -> String {
        let begin = format!("```vector {name}\n");
        let behind = self.0.split_once(&begin).map_or("", |(_, behind)| behind);
        behind.split_once("```").map_or("", |(block, _)| block).to_owned()
    }

    fn lines(&self, names: &[&str]) -> impl Iterator<Item = String> {
        let blocks: Vec<String> = names.iter().map(|name| self.block(name)).collect();
        blocks.into_iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        unhex(&self.block(name))
    }
}

/// Bytes of hex digits; everything else between them is passed over.
fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A recorded exchange.
struct Exchange {
    method: String,
    target: String,
    request_head: String,
    request: Option<Vec<u8>>,
    answer_head: String,
    answer_name: String,
    answer: Vec<u8>,
}

impl Exchange {
    fn all() -> Result<Vec<Self>, String> {
        let fixtures = machine::root().join("crates/gateway/tests/fixtures");
        let mut exchanges = Vec::new();
        for dir in ["vllm", "specified"].map(|name| fixtures.join(name)) {
            let index: Value = serde_json::from_slice(&read(dir.join("index.json"))?)
                .map_err(|error| format!("{}: {error}", dir.display()))?;
            for exchange in index["exchanges"].as_array().into_iter().flatten() {
                let (request, answer) = (&exchange["request"], &exchange["answer"]);
                let body = request["body"].as_str().map(|name| read(dir.join(name))).transpose()?;
                let answer_name = text(&answer["body"]);
                exchanges.push(Self {
                    method: text(&request["method"]),
                    target: text(&request["target"]),
                    request_head: lines(&request["headers"]),
                    request: body,
                    answer_head: lines(&answer["headers"]),
                    answer: read(dir.join(&answer_name))?,
                    answer_name,
                });
            }
        }
        Ok(exchanges)
    }
}

pub(super) fn read(path: PathBuf) -> Result<Vec<u8>, String> {
    fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn lines(headers: &Value) -> String {
    let pairs = headers.as_array().into_iter().flatten();
    pairs.map(|pair| format!("{}: {}\n", text(&pair[0]), text(&pair[1]))).collect()
}
