#!/usr/bin/env python3
"""Makes a directory that vLLM serves as a chat model, offline and in a second.

    tiny_model.py DIRECTORY

A tokenizer trained on the sentences below, a chat template, and the configuration of a Llama with two small
layers. There are no weights: `vllm serve --load-format dummy` fills them in at random, always the same way. What
such a model says is noise, which suits a test of bytes: tokens that are half a character, replacement characters,
every escape that JSON knows. Needs the packages that come with vLLM.
"""

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SENTENCES = [
    "The audit trail keeps every byte that passed.",
    "What is the weather in Paris, and what was it in London?",
    "A record that was altered no longer matches its hash.",
    "Grüße aus Köln – 東京の天気は晴れです。",
]
# A merge has to occur more than once to be learnt.
REPETITIONS = 50
VOCABULARY_TOKENS = 512
UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
SPECIAL = [UNKNOWN, BEGIN, END, "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
# Tokens of their own, but not special: vLLM's reasoning parsers look for them in the text.
THINK_MARKS = ["<think>", "</think>"]
CONTEXT_TOKENS = 2048
# Kernels want the rows of a matrix in multiples of this.
ROWS_MULTIPLE = 64

# A tool's definition and an assistant's call stand in the prompt as JSON; a model that talks noise needs no more.
CHAT_TEMPLATE = (
    "{% if tools %}<|system|>{{ tools | tojson }}</s>{% endif %}"
    "{% for message in messages %}"
    "<|{{ message['role'] }}|>{{ message['content'] or '' }}"
    "{% if message['tool_calls'] %}{{ message['tool_calls'] | tojson }}{% endif %}</s>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer() -> Tokenizer:
    """Bytes, and the pairs of them that the sentences repeat."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY_TOKENS, special_tokens=SPECIAL, initial_alphabet=alphabet,
                                  show_progress=False)
    made.train_from_iterator(SENTENCES * REPETITIONS, trainer)
    made.add_tokens(THINK_MARKS)
    return made


def tokenizer_config() -> dict:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": UNKNOWN,
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": END,
        "model_max_length": CONTEXT_TOKENS,
        "chat_template": CHAT_TEMPLATE,
    }


def model_config(tokens: int) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": -(-tokens // ROWS_MULTIPLE) * ROWS_MULTIPLE,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT_TOKENS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        **ends(),
    }


def ends() -> dict:
    return {"bos_token_id": SPECIAL.index(BEGIN), "eos_token_id": SPECIAL.index(END)}


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    made = tokenizer()
    made.save(str(directory / "tokenizer.json"))
    files = {"tokenizer_config": tokenizer_config(), "config": model_config(made.get_vocab_size()),
             "generation_config": ends()}
    for name, content in files.items():
        (directory / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
