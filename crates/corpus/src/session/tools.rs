//! Tools that agents are offered: their schemas, and what calling them gives.

use crate::draw::Draw;
use std::fmt::Write as _;

/// A tool's name, and the names of its parameters.
type Tool = (&'static str, [&'static str; 3]);

const TOOLS: [Tool; 10] = [
    ("search_policies", ["query", "limit", "valid_on"]),
    ("get_customer_file", ["reference", "fields", "as_of"]),
    ("calculate_payout", ["claim", "deductible", "currency"]),
    ("send_for_review", ["claim", "reason", "urgency"]),
    ("read_file", ["path", "from_line", "to_line"]),
    ("run_command", ["command", "timeout_s", "directory"]),
    ("list_builds", ["branch", "status", "limit"]),
    ("search_logs", ["pattern", "since", "service"]),
    ("open_ticket", ["title", "queue", "severity"]),
    ("look_up_weather", ["place", "day", "unit"]),
];
/// How many an application offers.
const OFFERED: usize = 5;

/// The tools that an application offers.
pub(super) fn offered(app_seed: u64) -> impl Iterator<Item = &'static Tool> {
    let first = (app_seed % TOOLS.len() as u64) as usize;
    (0..OFFERED).map(move |at| &TOOLS[(first + at) % TOOLS.len()])
}

/// Their schemas, as each request of a run repeats them.
pub(super) fn schemas(app_seed: u64) -> String {
    let mut out = String::from("[");
    for (at, (name, parameters)) in offered(app_seed).enumerate() {
        let mut fixed = Draw::new(app_seed, 1 + at as u64);
        let mut describe = |bytes| {
            let mut text = String::new();
            crate::words::prose(&mut fixed, 11, bytes, &mut text);
            text
        };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{}{{\"type\":\"function\",\"function\":{{\"name\":\"{name}\",\"description\":\"{}\",\"strict\":true,\
             \"parameters\":{{\"type\":\"object\",\"properties\":{{",
            if at == 0 { "" } else { "," },
            describe(120)
        );
        for (place, parameter) in parameters.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let _ = write!(
                out,
                "{comma}\"{parameter}\":{{\"type\":\"string\",\"description\":\"{}\"}}",
                describe(45)
            );
        }
        let [first, second, third] = parameters;
        let _ = write!(
            out,
            "}},\"required\":[\"{first}\",\"{second}\",\"{third}\"],\"additionalProperties\":false}}}}}}"
        );
    }
    out.push(']');
    out
}

/// A call of one of them, as the assistant makes it: its id, the tool's name, and the array of one call.
pub(super) fn call(draw: &mut Draw, app_seed: u64, topic: u64) -> (String, &'static str, String) {
    let tools: Vec<&Tool> = offered(app_seed).collect();
    let (name, [first, second, third]) = *draw.pick(&tools);
    let id = format!("call_{}", draw.hex::<12>());
    let mut words = String::new();
    crate::words::prose(draw, topic, 60, &mut words);
    let array = format!(
        "[{{\"id\":\"{id}\",\"type\":\"function\",\"function\":{{\"name\":\"{name}\",\"arguments\":\
         \"{{\\\"{first}\\\":\\\"{words}\\\",\\\"{second}\\\":\\\"{}\\\",\\\"{third}\\\":\\\"{}\\\"}}\"}}}}]",
        draw.below(500),
        draw.hex::<4>()
    );
    (id, name, array)
}

/// What it gave, as the message that the next request adds.
pub(super) fn result(draw: &mut Draw, id: &str, topic: u64) -> String {
    let mut content = String::from("{\\\"rows\\\":[");
    let rows = draw.between(1, 5);
    for row in 0..rows {
        let comma = if row == 0 { "" } else { "," };
        let _ = write!(
            content,
            "{comma}{{\\\"ref\\\":\\\"{}\\\",\\\"score\\\":0.{:03},\\\"amount\\\":\\\"{}.{:02}\\\",\\\"text\\\":\\\"",
            draw.hex::<6>(),
            draw.below(1000),
            draw.below(20_000),
            draw.below(100)
        );
        let bytes = draw.between(60, 240);
        let mut text = String::new();
        crate::words::prose(draw, topic, bytes, &mut text);
        // The text is in a JSON string within a JSON string.
        content.push_str(&text.replace("\\n", "\\\\n"));
        content.push_str("\\\"}");
    }
    let _ = write!(content, "],\\\"total\\\":{rows}}}");
    format!("{{\"role\":\"tool\",\"tool_call_id\":\"{id}\",\"content\":\"{content}\"}}")
}
