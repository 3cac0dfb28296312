"""Samples from an OpenAI-compatible server that serves the policy, such as vLLM or SGLang.

The server gives texts and whether the limit cut them. log π(y|x) is computed by the policy here, by
the one scorer, so the server's own log-probabilities are not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import openai
import polars as pl

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.pools import Pools
from westofn.core.dialogue import dialogue_of
from westofn.core.seeds import derive_seed
from westofn.errors import SamplingError
from westofn.execution.shards import shard_files
from westofn.generation.file import scored
from westofn.generation.sample_pools import Draw, prompts_a_shard, with_policy
from westofn.models.policy import Policy, SavedPolicy
from westofn.runtime import Runtime
from westofn.servers.client import CHAT, TEXT, Client, Server
from westofn.servers.role import SAMPLER

Api: TypeAlias = Literal["completions", "chat"]
IDS = "token ids"
"""What `completions` sends first: the prompt's ids, as the policy reads it."""
MINUS_ONE = "top_k of -1"
"""What a server is sent that refuses `top_k` of 0; for some, -1 stands for all tokens."""
OPTIONAL = {
    "top_k": "top_k",
    MINUS_ONE: "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "repeat_penalty": "repeat_penalty",
    "max_tokens": "max_tokens",
    "seed": "seed",
    "n": r"\bn\b",
    IDS: r"\bprompt\b",
}
"""What a server may refuse, and how its refusal names it."""
REASONS = ("stop", "length")


def sampling_server(runtime: Runtime) -> Server:
    """Return the server that this machine's settings name.

    Raises:
        ParameterError: There is no address, or it cannot be used.
    """
    return Server.of_settings(
        SAMPLER,
        runtime.sample_url,
        runtime.sample_key_variable,
        runtime.sample_workers,
        runtime.sample_timeout,
    )


@dataclass(frozen=True)
class Drawn:
    """Responses of one prompt.

    Attributes:
        responses: Texts, without white space around them.
        reasons: `stop` or `length` (the limit cut it) of each.
    """

    responses: list[str]
    reasons: list[str]


@dataclass(frozen=True)
class ServerSampler:
    """Draws N responses to each prompt: `n` in one request, and further requests for what it lacks.

    Attributes:
        server: Where to ask.
        model: The server's name for the policy.
        api: `completions` sends the ids that the policy reads, or its text to a server that
            refuses ids; `chat` sends messages, in which the server's own template puts them.
        policy: Scores the responses, and its encoder has the limits of tokens; a saved one is
            loaded by the processes that `executor` of runtime.toml says, which also ask the server.
        draw: N, temperature and seed.
    """

    server: Server
    model: str
    api: Api
    policy: Policy | SavedPolicy
    draw: Draw

    def shards(self, prompts: pl.DataFrame, folder: Path, description: str) -> list[Path]:
        """Files of table candidates: N responses for every row of `prompts`.

        Args:
            prompts: Rows of table prompts.
            folder: Scratch folder that belongs to this work alone; its finished shards are used.
            description: Shown beside the progress bar.

        Raises:
            SamplingError: The server cannot be asked, or its replies cannot be used.
        """
        rows = prompts.sort("prompt_id").select("prompt_id", "prompt").rows()
        client = Client(self.server, self.model, CHAT if self.api == "chat" else TEXT)
        limit = self.policy.encoder.template.max_response_tokens
        return shard_files(
            rows,
            with_policy(self.policy, partial(self._shard, client)),
            table=CANDIDATES,
            folder=folder,
            size=prompts_a_shard(self.draw.n_candidates, limit),
            description=description,
        )

    def _shard(
        self, client: Client, policy: Policy, rows: Sequence[tuple[str, str]]
    ) -> pl.DataFrame:
        drawn = client.ask_all(rows, lambda connection, row: self._drawn(client, connection, row))
        pools = Pools.of_rows(
            (name, text, pool.responses) for (name, text), pool in zip(rows, drawn, strict=True)
        )
        return scored(policy, pools, [reason for pool in drawn for reason in pool.reasons])

    def _drawn(self, client: Client, connection: openai.OpenAI, row: tuple[str, str]) -> Drawn:
        """Ask until a prompt has N responses."""
        name, prompt = row
        self._require_room(client, row)
        drawn = Drawn([], [])
        while (missing := self.draw.n_candidates - len(drawn.responses)) > 0:
            seed = derive_seed(self.draw.seed, name, len(drawn.responses)) % 2**31
            reply = self._reply(client, connection, prompt, missing, seed)
            for text, reason in client.parsed(reply, self._read)[:missing]:
                if reason not in REASONS:
                    raise SamplingError(
                        f"{client.where} answers finish_reason {reason!r} to prompt {name}, needs "
                        "stop or length; let the server neither filter texts nor call tools"
                    )
                drawn.responses.append(text.strip())
                drawn.reasons.append(reason)
        return drawn

    def _require_room(self, client: Client, row: tuple[str, str]) -> None:
        """Refuse a prompt of which vLLM would cut the responses short without a word.

        Raises:
            SamplingError: Prompt and limit are longer than the longest text that the server states.
        """
        name, prompt = row
        encoder, stated = self.policy.encoder, client.contact.max_tokens
        needed = len(encoder.prompts([prompt])[0]) + encoder.template.max_response_tokens
        if stated is not None and needed > stated:
            limits = encoder.template
            most = limits.max_prompt_tokens + limits.max_response_tokens
            raise SamplingError(
                f"{client.where} reads at most {stated} tokens, and prompt {name} with a response "
                f"may have {needed}; start the server with room for {most} (vLLM: --max-model-len)"
            )

    def _reply(
        self, client: Client, connection: openai.OpenAI, prompt: str, count: int, seed: int
    ) -> str:
        limit = self.policy.encoder.template.max_response_tokens

        def optional(refused: frozenset[str]) -> dict[str, object]:
            # Servers have defaults of their own (llama.cpp), or take those of the model's
            # generation_config.json (vLLM), so all that changes the distribution is turned off.
            fields: dict[str, object] = {
                "temperature": self.draw.temperature,
                "top_p": 1.0,
                "top_k": 0,
                "min_p": 0.0,
                "repetition_penalty": 1.0,
                "repeat_penalty": 1.0,  # llama.cpp's name of it
                "max_tokens": limit,
                "seed": seed,
                "n": count,
            }
            if "max_tokens" in refused:
                fields["max_completion_tokens"] = limit
            kept = {key: value for key, value in fields.items() if key not in refused}
            if "top_k" in refused and MINUS_ONE not in refused:
                kept["top_k"] = -1
            return kept

        def content(refused: frozenset[str]) -> Mapping[str, Any]:
            return self._content(client, prompt, refused)

        return client.reply(connection, content, optional, OPTIONAL)

    def _content(self, client: Client, prompt: str, refused: frozenset[str]) -> Mapping[str, Any]:
        if self.api == "chat":
            turns = [{"role": turn.role, "content": turn.content} for turn in dialogue_of(prompt)]
            return {"messages": turns}
        encoder = self.policy.encoder
        if IDS not in refused:
            return {"prompt": encoder.prompts([prompt])[0]}
        if encoder.chat:
            raise SamplingError(
                f"{client.where} refuses prompts as token ids, and the policy reads prompts in a "
                "chat template; set sample.api to chat"
            )
        return {"prompt": prompt}

    def _read(self, reply: Any) -> list[tuple[str, str]]:
        """Texts and reasons of the choices, of which there must be one at least."""
        choices = [
            (choice["message"]["content"] or "" if self.api == "chat" else choice["text"], choice)
            for choice in reply["choices"]
        ]
        if not choices or not all(isinstance(text, str) for text, _ in choices):
            raise ValueError("no choice with a text")
        return [(text, str(choice.get("finish_reason"))) for text, choice in choices]
