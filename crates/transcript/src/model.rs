//! What a conversation consists of, whichever API carried it.

use serde::Serialize;
use serde_json::Value;

/// Which API a call speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// OpenAI's chat completions, and whoever speaks them.
    Chat,
    /// OpenAI's completions of a text.
    Completions,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// Gemini's `generateContent`.
    Gemini,
    /// Ollama's chat.
    OllamaChat,
    /// Ollama's `generate`.
    OllamaGenerate,
    /// Vectors of texts.
    Embeddings,
    /// Messages over a WebSocket.
    WebSocket,
    /// None of these.
    #[default]
    Other,
}

/// One call, read.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Transcript {
    /// How it was read.
    pub dialect: Dialect,
    /// What was sent, in order.
    pub request: Vec<Message>,
    /// Tools that were offered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// The response that the call goes on from, which the server has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_response_id: Option<String>,
    /// What was answered: several where several were asked for.
    pub answers: Vec<Answer>,
    /// The error that came instead, or in the middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// What the answer has besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rest: Vec<Part>,
}

/// What someone said at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Message {
    /// Who: `system`, `user`, `assistant`, `tool`, or what the API calls it.
    pub role: String,
    /// A name of whom, where the API has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What.
    pub parts: Vec<Part>,
}

/// An answer, as the client had it in the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Answer {
    /// Which of those asked for, from 0.
    pub index: u64,
    /// What was said.
    pub message: Message,
    /// Why it ended, in the API's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
}

/// A tool that was offered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tool {
    /// Its name, or its type where it has none.
    pub name: String,
    /// What it is said to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON schema of its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
}

/// An error, in the server's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its type or code.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What it says.
    pub message: String,
}

/// One thing within a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// What the model thought before it answered.
    Reasoning {
        /// The text.
        text: String,
    },
    /// That the model will not.
    Refusal {
        /// The text.
        text: String,
    },
    /// A tool is called.
    ToolCall {
        /// The call's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The tool.
        name: String,
        /// Its arguments: JSON as the API had it, or whatever the model made instead.
        arguments: String,
    },
    /// What a tool answered.
    ToolResult {
        /// The call's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The tool, where the API names it here.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The result.
        parts: Vec<Part>,
        /// It failed, it says.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    /// An image, a sound, a file.
    Media(Media),
    /// JSON that this program has no word for.
    Other {
        /// The API's word for it.
        kind: String,
        /// All of it.
        json: Value,
    },
    /// Bytes that could not be read as what they should be.
    Unread {
        /// Why.
        why: String,
        /// The media type that was stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        media_type: Option<String>,
        /// How many.
        bytes: u64,
        /// The bytes, if they are UTF-8.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The bytes, if they are not.
        #[serde(skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
    },
}

/// An image, a sound, a file: what it is, not what is in it. The exact bytes stand in the recorded body.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Media {
    /// `image`, `audio`, `file`, …
    pub kind: String,
    /// Its media type, where that is stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Where it lies, if it is not in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The file's name, or its id at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its length, if it is in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// SHA-256 of it in hex, if it is in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// It, in base64, as it stood in the body.
    #[serde(skip)]
    pub base64: Option<String>,
}

impl Message {
    /// A message of some parts.
    pub fn new(role: impl Into<String>, parts: Vec<Part>) -> Self {
        Self { role: role.into(), name: None, parts }
    }

    /// Whether it only sets the scene.
    pub fn is_system(&self) -> bool {
        matches!(self.role.as_str(), "system" | "developer")
    }
}

impl Part {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// JSON that there is no word for.
    pub fn other(kind: impl Into<String>, json: &Value) -> Self {
        Self::Other { kind: kind.into(), json: json.clone() }
    }

    /// Bytes that could not be read.
    pub fn unread(why: impl Into<String>, media_type: Option<&str>, bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).ok().map(str::to_owned);
        let base64 = text.is_none().then(|| {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(bytes)
        });
        Self::Unread {
            why: why.into(),
            media_type: media_type.map(str::to_owned),
            bytes: bytes.len() as u64,
            text,
            base64,
        }
    }
}

impl Transcript {
    /// What was sent and answered over a WebSocket, message by message: who, and the part.
    pub fn spoken(messages: impl IntoIterator<Item = (String, Part)>) -> Self {
        let messages = messages.into_iter().map(|(who, part)| Message::new(who, vec![part]));
        Self { dialect: Dialect::WebSocket, request: messages.collect(), ..Self::default() }
    }
}
