"""What models cost on devices: seconds from counts of bytes and of floating-point operations.

A device reaches a share of its data sheet. `Device.compute_share` and `Device.memory_share` are
assumptions, not measurements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """A causal model in bf16 with grouped-query attention.

    Attributes:
        name: As shown.
        parameters: Number of weights.
        layers: Number of layers.
        kv_width: Key-value heads × their width.
        devices: Devices that hold one copy for sampling and scoring.
    """

    name: str
    parameters: float
    layers: int
    kv_width: int
    devices: int

    @property
    def weight_bytes(self) -> float:
        """Bytes of the weights, 2 each."""
        return 2 * self.parameters

    @property
    def kv_bytes(self) -> float:
        """Bytes of the keys and values of one token."""
        return 2 * 2 * self.layers * self.kv_width


@dataclass(frozen=True)
class Device:
    """A GPU and its share of network and storage.

    Attributes:
        name: As shown.
        flops: Dense bf16 operations a second, by the data sheet.
        bandwidth: Bytes a second of its memory, by the data sheet.
        memory: Bytes.
        network: Bytes a second to other machines.
        compute_share: Share of `flops` that matrix products of long inputs reach.
        memory_share: Share of `bandwidth` that decoding reaches.
        hours_between_faults: Mean hours of one device between two faults that end its work.
        dollars: Price of one hour.
    """

    name: str
    flops: float
    bandwidth: float
    memory: float
    network: float
    compute_share: float = 0.4
    memory_share: float = 0.6
    hours_between_faults: float = 50_000
    dollars: float = 2.5


@dataclass(frozen=True)
class Work:
    """Sizes of one iteration of West-of-N.

    Attributes:
        prompts: Unlabeled prompts.
        candidates: Responses of a prompt, N.
        prompt_tokens: Tokens of a prompt.
        response_tokens: Mean tokens of a response.
        longest: Limit of a response's tokens.
        spread: Standard deviation of the logarithm of a prompt's mean length over prompts.
        kept: Share of the pairs that the filter keeps.
        batch_pairs: Pairs of one training step.
    """

    prompts: int = 1_000_000
    candidates: int = 64
    prompt_tokens: int = 512
    response_tokens: int = 200
    longest: int = 512
    spread: float = 0.5
    kept: float = 0.5
    batch_pairs: int = 512


MODELS = (
    Model("7 B", 7.6e9, 28, 4 * 128, 1),
    Model("70 B", 70.6e9, 80, 8 * 128, 4),
)
"""Shapes of Qwen2.5-7B and Llama-3-70B."""
H100 = Device("H100 80 GB", 989e12, 3.35e12, 80e9, 50e9)


def concurrent_responses(model: Model, device: Device, work: Work) -> int:
    """Return how many responses one copy of the model can decode at a time.

    A pool shares the keys and values of its prompt; a tenth of the memory stays free.
    """
    room = 0.9 * device.memory * model.devices - model.weight_bytes
    tokens = work.prompt_tokens / work.candidates + work.longest
    return max(1, int(room / (tokens * model.kv_bytes)))


def decode_step_seconds(model: Model, device: Device, work: Work, responses: float) -> float:
    """Return the seconds of one decoding step, in which each response gets a token.

    The step reads all weights and the keys and values of the responses, or it is bound by its
    2 × parameters operations a token.
    """
    bandwidth = device.bandwidth * device.memory_share * model.devices
    flops = device.flops * device.compute_share * model.devices
    context = work.response_tokens / 2 + work.prompt_tokens / work.candidates
    weights = max(model.weight_bytes / bandwidth, 2 * model.parameters * responses / flops)
    return weights + responses * context * model.kv_bytes / bandwidth


def sample_seconds(
    model: Model, device: Device, work: Work, tokens: Values, longest: Values, prompts: int
) -> Values:
    """Return the seconds in which one copy samples each shard and reads its log-likelihoods.

    Decoding is as full as memory and shard allow until the responses run out; then it goes on for
    the longest response with few of them.

    Args:
        model: The policy.
        device: The device.
        work: Its lengths.
        tokens: (shards,) tokens of all responses.
        longest: (shards,) tokens of the longest response.
        prompts: Prompts of a shard.
    """
    responses = prompts * work.candidates
    active = min(responses, concurrent_responses(model, device, work))
    full = tokens / active * decode_step_seconds(model, device, work, active)
    tail = (longest - tokens / responses) * decode_step_seconds(model, device, work, 1)
    return full + tail + score_seconds(model, device, work, tokens, prompts)


def score_seconds(model: Model, device: Device, work: Work, tokens: Values, prompts: int) -> Values:
    """Return the seconds in which one copy reads each shard's prompts once and all its responses.

    Reading takes 2 × parameters operations a token.

    Args:
        model: The reward model, or the policy for log-likelihoods.
        device: The device.
        work: Its lengths.
        tokens: (shards,) tokens of all responses.
        prompts: Prompts of a shard.
    """
    rate = device.flops * device.compute_share * model.devices
    return 2 * model.parameters * (prompts * work.prompt_tokens + tokens) / rate


def training_seconds(model: Model, device: Device, work: Work, devices: int) -> float:
    """Return the seconds of one pass of training over synthetic and human pairs, 1:1, by FSDP.

    A step reads and differentiates both responses of each pair, 6 × parameters operations a token.
    Every device gathers the weights twice and scatters the gradients once, beside the computation.
    At most one device a pair works.
    """
    working = min(devices, work.batch_pairs)
    pairs = 2 * work.prompts * work.kept
    step_tokens = work.batch_pairs * (work.prompt_tokens + 2 * work.response_tokens)
    flops = device.flops * device.compute_share
    pairs_of_one = math.ceil(work.batch_pairs / working)
    computing = 6 * model.parameters * step_tokens * pairs_of_one / work.batch_pairs / flops
    moving = 3 * model.weight_bytes * (working - 1) / working / device.network
    return pairs / work.batch_pairs * max(computing, moving)
