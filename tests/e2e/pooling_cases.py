"""Calls to a server that makes vectors and scores instead of text, with the official OpenAI client for Python.

vLLM serves either kind of call, not both, so these need a server of their own.
"""

import openai

from check import Told
from indelible import require
from openai_cases import Case

TEXTS = ["The audit trail", "keeps every byte that passed."]


def of_embeddings(model: str, answer, vectors: int) -> Told:
    require(len(answer.data) == vectors, f"{len(answer.data)} vectors instead of {vectors}")
    return Told({"event_type": "embedding", "operation": "embeddings", "model": model, "attempt": 1,
                 "model_returned": answer.model, "prompt_tokens": answer.usage.prompt_tokens,
                 "completion_tokens": getattr(answer.usage, "completion_tokens", None), "usage_source": "provider"})


def embedding(client: openai.OpenAI, model: str) -> Told:
    """The client asks for base64 by itself and decodes it."""
    answer = client.embeddings.create(model=model, input=TEXTS[0])
    require(isinstance(answer.data[0].embedding[0], float), "no numbers in the vector")
    return of_embeddings(model, answer, 1)


def embedding_as_numbers(client: openai.OpenAI, model: str) -> Told:
    return of_embeddings(model, client.embeddings.create(model=model, input=TEXTS, encoding_format="float"), 2)


def score(client: openai.OpenAI, model: str) -> Told:
    """Not OpenAI's: an answer that no client knows is passed and recorded like any other."""
    body = {"model": model, "text_1": TEXTS[0], "text_2": TEXTS}
    answer = client.post("/score", body=body, cast_to=object)
    require(len(answer["data"]) == 2, f"{len(answer['data'])} scores instead of 2")
    return Told({"event_type": "request", "model": model})


def rerank(client: openai.OpenAI, model: str) -> Told:
    answer = client.post("/rerank", body={"model": model, "query": TEXTS[0], "documents": TEXTS}, cast_to=object)
    require(len(answer["results"]) == 2, f"{len(answer['results'])} results instead of 2")
    return Told({"event_type": "request", "model": model})


CASES: list[Case] = [embedding, embedding_as_numbers, score, rerank]
