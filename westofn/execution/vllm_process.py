"""The process that runs vLLM: it reads token ids and answers token ids, a line of JSON each.

It may run under another Python than this project, so it imports nothing of it. The first line on
stdin holds the arguments of `LLM`; the first answer says that the model is loaded.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

UNLIKELY = -100.0
"""What vLLM adds to a logit at most, so the token is drawn with a probability of e⁻¹⁰⁰."""


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # vLLM and what it loads write their log to stdout
    draw = _loaded(json.loads(sys.stdin.readline()))
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(draw(json.loads(line))), file=answers, flush=True)


def _loaded(arguments: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], list[Any]]:
    """Load a model and return the function that answers a request."""
    from vllm import LLM, SamplingParams, TokensPrompt
    from vllm.platforms import current_platform
    from vllm.sampling_params import RequestOutputKind

    # On a CPU, compilation takes minutes, and prompts in chunks fail beside a seed (vLLM 0.32).
    on_cpu = current_platform.is_cpu()
    engine = LLM(**arguments, enforce_eager=on_cpu, enable_chunked_prefill=not on_cpu)

    def draw(request: Mapping[str, Any]) -> list[Any]:
        """Return the ids of N responses to each prompt, and why each ended."""
        same = {
            "n": request["n"],
            "temperature": request["temperature"],
            "max_tokens": request["max_tokens"],
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            # The policy's end token alone ends a response, whatever the model's files name.
            "ignore_eos": True,
            "stop_token_ids": [request["end"]],
            "logit_bias": dict.fromkeys(request["never"], UNLIKELY) or None,
            "detokenize": False,
            "output_kind": RequestOutputKind.FINAL_ONLY,
        }
        engine.reset_prefix_cache()  # else rounding depends on what was asked before
        pools = engine.generate(
            [TokensPrompt(prompt_token_ids=ids) for ids in request["prompts"]],
            [SamplingParams(**same, seed=seed) for seed in request["seeds"]],
            use_tqdm=False,
        )
        return [_responses(pool.outputs) for pool in pools]

    return draw


def _responses(outputs: Sequence[Any]) -> list[tuple[list[int], str]]:
    ordered = sorted(outputs, key=lambda output: int(output.index))
    return [(list(output.token_ids), str(output.finish_reason)) for output in ordered]


if __name__ == "__main__":
    main()
