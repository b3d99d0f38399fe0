"""Completions by vLLM, part by part: the engine of synthesis and of evaluation.

`completed_parts` submits requests while earlier ones still run, so that the engine never waits at
the end of a part. `vllm_queue` starts vLLM on a local Hugging Face folder; where completions come
from elsewhere (an endpoint), another `RequestQueue` takes its place.
"""

import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from snow_assets.recipe import Quantization

STOP, LENGTH = "stop", "length"
"""Finish reasons: the model's end-of-text token or a stop sequence; the limit of new tokens."""

_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
_CPU_KV_CACHE_BYTES = 1 << 30

Prompt = TypeVar("Prompt")
Completion = TypeVar("Completion")
_QueuedPrompt = TypeVar("_QueuedPrompt", contravariant=True)
_FinishedCompletion = TypeVar("_FinishedCompletion", covariant=True)

RequestId = tuple[int, int]
"""Index of the part, and of the request in it."""


class RequestQueue(Protocol[_QueuedPrompt, _FinishedCompletion]):
    """Requests in progress."""

    def submit(self, request_id: RequestId, prompt: _QueuedPrompt) -> None:
        """Start a request, or queue it."""

    def wait(self) -> Sequence[tuple[RequestId, _FinishedCompletion]]:
        """Wait until a request has finished; return those that have finished since the last call.

        Called only while requests are in progress.
        """

    def reset(self) -> None:
        """Forget what could affect later requests: cached prefixes. No request is in progress."""


def completed_parts(
    queue: RequestQueue[Prompt, Completion],
    parts: Iterable[tuple[int, Sequence[Prompt]]],
    *,
    max_open_parts: int = 2,
) -> Iterator[tuple[int, list[Completion]]]:
    """Yield each part's index and completions, in the order of its prompts, once it is complete.

    At most `max_open_parts` parts are submitted and not yet yielded: what is lost if the process
    ends. With 2, the requests of the next part run beside the last ones of a part, and a part that
    finishes first is yielded first. With 1, parts are isolated: a part's completions depend on its
    own requests only. Memory: the open parts.
    """
    open_parts: dict[int, dict[int, Completion]] = {}
    num_requests: dict[int, int] = {}

    def finished_parts() -> Iterator[tuple[int, list[Completion]]]:
        for (part, position), completion in queue.wait():
            open_parts[part][position] = completion
            if len(open_parts[part]) == num_requests[part]:
                by_position = open_parts.pop(part)
                yield part, [by_position[index] for index in range(num_requests[part])]

    for part, prompts in parts:
        while len(open_parts) >= max_open_parts:
            yield from finished_parts()
        if not open_parts:
            queue.reset()
        if not prompts:
            yield part, []
            continue
        open_parts[part], num_requests[part] = {}, len(prompts)
        for position, prompt in enumerate(prompts):
            queue.submit((part, position), prompt)
    while open_parts:
        yield from finished_parts()


@dataclass(frozen=True, kw_only=True)
class TokenPrompt:
    """A tokenized prompt and how its completions are sampled."""

    token_ids: Sequence[int]
    max_new_tokens: int
    temperature: float  # 0: greedy
    top_p: float
    num_samples: int = 1
    stop_sequences: Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    seed: int | None = None
    """None: the engine's own generator, which is seeded once. A seed per request makes vLLM leave
    its fast sampler for a loop over the requests."""


@dataclass(frozen=True, kw_only=True)
class TokenCompletion:
    """A completion: its tokens with those that ended it, its text without the stop sequence."""

    token_ids: Sequence[int]
    text: str
    finish_reason: str  # STOP or LENGTH
    stop_sequence: str | None  # that ended it


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How vLLM runs a model.

    `tensor_parallel_size` GPUs share its weights. Data parallelism is independent engines: pods,
    each with parts of its own.
    """

    model: str  # a local Hugging Face folder
    max_model_len: int  # tokens of prompt and completion
    precision: Literal["auto", "fp32", "bf16"]  # auto: bf16 where the device computes with it
    tensor_parallel_size: int = 1
    quantization: Quantization | None = None
    seed: int = 0
    has_request_seeds: bool = False  # whether prompts carry seeds
    cpu_threads: int | None = None  # on a CPU; None: one per core


@dataclass(frozen=True, kw_only=True)
class PrefixCacheUse:
    """Prompt tokens that were looked up in the cache of prefixes, and those that were there."""

    num_queried_tokens: int = 0
    num_hit_tokens: int = 0


@dataclass
class VllmQueue:
    """A running vLLM engine; `name` is its version, precision and device."""

    name: str
    _engine: Any
    _in_progress: dict[str, RequestId] = field(default_factory=dict)
    _num_submitted: int = 0

    @property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer of the model's folder."""
        return self._engine.get_tokenizer()

    def submit(self, request_id: RequestId, prompt: TokenPrompt) -> None:
        """Queue a request; ValueError if the prompt leaves no room for its completion."""
        from vllm import SamplingParams
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind

        name = str(self._num_submitted)
        self._num_submitted += 1
        self._in_progress[name] = request_id
        params = SamplingParams(
            n=prompt.num_samples,
            temperature=prompt.temperature,
            top_p=prompt.top_p,
            seed=prompt.seed,
            max_tokens=prompt.max_new_tokens,
            stop=list(prompt.stop_sequences),
            stop_token_ids=list(prompt.stop_token_ids),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._engine.add_request(name, tokens_input(list(prompt.token_ids)), params)

    def wait(self) -> list[tuple[RequestId, list[TokenCompletion]]]:
        """The completions of requests that have finished, `num_samples` of each."""
        finished: list[Any] = []
        while not finished:
            finished = [output for output in self._engine.step() if output.finished]
        return [
            (
                self._in_progress.pop(output.request_id),
                [_completion(sample) for sample in output.outputs],
            )
            for output in finished
        ]

    def reset(self) -> None:
        self._engine.reset_prefix_cache()

    def prefix_cache_use(self) -> PrefixCacheUse:
        """The use of the prefix cache since the engine's start."""
        counts = {
            metric.name: metric.value
            for metric in self._engine.get_metrics()
            if metric.name.startswith("vllm:prefix_cache_")
        }
        return PrefixCacheUse(
            num_queried_tokens=int(counts.get("vllm:prefix_cache_queries", 0)),
            num_hit_tokens=int(counts.get("vllm:prefix_cache_hits", 0)),
        )


def _completion(output: Any) -> TokenCompletion:
    return TokenCompletion(
        token_ids=tuple(output.token_ids),
        text=output.text,
        finish_reason=LENGTH if output.finish_reason == LENGTH else STOP,
        stop_sequence=output.stop_reason if isinstance(output.stop_reason, str) else None,
    )


def preload_vllm() -> None:
    """Import what an engine on a CPU imports, if vLLM is installed (see `fork_server.py`)."""
    if importlib.util.find_spec("vllm") is None:
        return
    _set_vllm_variables(on_gpu=False)
    import vllm.model_executor.models.llama
    import vllm.v1.engine.llm_engine
    import vllm.v1.worker.cpu_worker  # noqa: F401


def _set_vllm_variables(*, on_gpu: bool) -> None:
    """Set the environment variables that vllm reads at import."""
    if not on_gpu:
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    for name in ("HF_HUB_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        os.environ[name] = "1"


def vllm_queue(config: EngineConfig) -> VllmQueue:
    """Start vLLM: about 15 seconds on a CPU, minutes on a GPU, where it captures CUDA graphs.

    On a GPU the engine runs in processes of its own. On a CPU it runs in this one: its scheduling
    is then deterministic (vLLM, docs/usage/reproducibility.md), and a small model's start is not
    three imports of torch.
    """
    import torch

    on_gpu = torch.cuda.is_available()
    if not on_gpu and config.cpu_threads is not None:
        torch.set_num_threads(config.cpu_threads)
    _set_vllm_variables(on_gpu=on_gpu)
    import vllm

    precision = config.precision
    if precision == "auto":
        # A CPU with AVX2 only has no instruction for bfloat16: a third of float32's tokens/s.
        has_bfloat16 = on_gpu or torch.backends.cpu.get_cpu_capability() != "AVX2"
        precision = "bf16" if has_bfloat16 else "fp32"
    arguments = vllm.EngineArgs(
        model=config.model,
        dtype=_DTYPES[precision],
        max_model_len=config.max_model_len,
        tensor_parallel_size=config.tensor_parallel_size,
        quantization=config.quantization,
        seed=config.seed,
        trust_remote_code=False,
        # Compiling takes minutes on a CPU and gains nothing there.
        enforce_eager=not on_gpu,
        kv_cache_memory_bytes=None if on_gpu else _CPU_KV_CACHE_BYTES,
        # vLLM 0.32 on a CPU: a seeded prompt that is prefilled in parts raises "CPU Generator
        # does not use offset". Lift it when gpu_model_runner no longer rewinds CPU generators.
        enable_chunked_prefill=on_gpu or not config.has_request_seeds,
    )
    engine = vllm.LLMEngine.from_engine_args(arguments)
    device = torch.cuda.get_device_name() if on_gpu else "cpu"
    name = " ".join(["vllm", vllm.__version__, _DTYPES[precision], device])
    return VllmQueue(name=name, _engine=engine)
