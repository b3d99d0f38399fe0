"""The one seam to a teacher: prompts in, answers out. vLLM in this process, or an endpoint."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from snow_assets.recipe import SynthesisRecipe
from snow_assets.synthesis.prompts import Messages

STOP, LENGTH, TOO_LONG, REFUSED = "stop", "length", "prompt_too_long", "endpoint_refused"
# The answer is over when its block is closed, whatever the teacher would like to add. Engines take
# the stop sequence off; it is put back, so that an answer that was never closed can be told.
_CLOSED = ["\n```\n"]
_CONNECTIONS = 16  # to an endpoint at once; it batches them itself


@dataclass(frozen=True, kw_only=True)
class Prompt:
    messages: Messages
    seed: int  # of sampling, so that an answer does not depend on its neighbours' randomness


@dataclass(frozen=True, kw_only=True)
class Answer:
    text: str
    stop_reason: str  # STOP, LENGTH; or TOO_LONG, REFUSED, and then there is no text
    num_prompt_tokens: int
    num_answer_tokens: int
    evidence: str | None = None


Complete = Callable[[Sequence[Prompt]], list[Answer]]
"""Answers in the order of the prompts; one bad prompt costs only its own answer."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    name: str  # with its version
    complete: Complete


def vllm_engine(model: str, recipe: SynthesisRecipe) -> Engine:
    """vLLM inside this process on a local Hugging Face folder with a chat template."""
    # Scheduling in our own process is deterministic (vLLM, docs/usage/reproducibility.md), and
    # then no core need be kept free for a second one. Both are read when vllm is imported.
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
    for name in ("HF_HUB_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        os.environ[name] = "1"
    import torch
    import vllm

    on_gpu = torch.cuda.is_available()
    # A CPU with AVX2 only has no instruction for bfloat16: a third of float32's tokens per second.
    has_bfloat16 = on_gpu or torch.backends.cpu.get_cpu_capability() != "AVX2"
    dtype = "bfloat16" if has_bfloat16 else "float32"
    llm = vllm.LLM(
        model=model,
        dtype=dtype,
        max_model_len=recipe.max_model_tokens,
        tensor_parallel_size=max(1, recipe.gpus),
        seed=recipe.seed,
        trust_remote_code=False,
        enforce_eager=not on_gpu,  # compiling takes minutes on a CPU and gains nothing there
        # vLLM 0.32 on a CPU: a seeded prompt that is prefilled in parts raises "CPU Generator
        # does not use offset". Lift it when gpu_model_runner no longer rewinds CPU generators.
        enable_chunked_prefill=on_gpu,
    )
    tokenizer = llm.get_tokenizer()
    if not tokenizer.chat_template:
        raise ValueError(f"{model} has no chat template: name an instruction-tuned model")

    def complete(prompts: Sequence[Prompt]) -> list[Answer]:
        # What an earlier chunk left in the cache would change how this one is computed.
        llm.reset_prefix_cache()
        asked = [_token_ids(tokenizer, prompt.messages) for prompt in prompts]
        limit = recipe.max_model_tokens - recipe.max_new_tokens
        fits = [index for index, ids in enumerate(asked) if len(ids) <= limit]
        outputs = llm.generate(
            [{"prompt_token_ids": asked[index]} for index in fits],
            [_sampling(vllm, recipe, prompts[index].seed) for index in fits],
            use_tqdm=False,
        )
        written = dict(zip(fits, outputs, strict=True))
        return [
            _answer(written[index].outputs[0], len(ids))
            if index in written
            else _too_long(len(ids), limit)
            for index, ids in enumerate(asked)
        ]

    device = torch.cuda.get_device_name() if on_gpu else "cpu"
    return Engine(name=f"vllm {vllm.__version__} {dtype} {device}", complete=complete)


def _token_ids(tokenizer: Any, messages: Messages) -> list[int]:
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    return [int(token) for token in ids]


def _sampling(vllm: Any, recipe: SynthesisRecipe, seed: int) -> Any:
    return vllm.SamplingParams(
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        max_tokens=recipe.max_new_tokens,
        stop=_CLOSED,
        seed=seed,
    )


def with_fence(text: str, ended_by: Any) -> str:
    """An answer with the closing fence that the engine took off as its stop sequence."""
    is_taken = ended_by in _CLOSED and not text.rstrip().endswith("```")
    return f"{text}{ended_by}" if is_taken else text


def _answer(output: Any, num_prompt_tokens: int) -> Answer:
    return Answer(
        text=with_fence(output.text, output.stop_reason),
        stop_reason=LENGTH if output.finish_reason == LENGTH else STOP,
        num_prompt_tokens=num_prompt_tokens,
        num_answer_tokens=len(output.token_ids),
    )


def _too_long(num_tokens: int, limit: int) -> Answer:
    return Answer(
        text="",
        stop_reason=TOO_LONG,
        num_prompt_tokens=num_tokens,
        num_answer_tokens=0,
        evidence=f"{num_tokens} tokens, and {limit} leave room for an answer",
    )


def endpoint_engine(url: str, model: str, recipe: SynthesisRecipe) -> Engine:
    """An OpenAI-compatible server; its key is OPENAI_API_KEY, any value where it asks for none.

    The client tries again after lost connections, 429 and 5xx; what then still fails is raised. A
    request that the server calls bad (400, 422: too long a prompt) is that answer's stop reason.
    """
    import openai

    client = openai.OpenAI(base_url=url)

    def one(prompt: Prompt) -> Answer:
        try:
            made = client.chat.completions.create(
                model=model,
                messages=prompt.messages,
                temperature=recipe.temperature,
                top_p=recipe.top_p,
                max_tokens=recipe.max_new_tokens,
                stop=_CLOSED,
                seed=prompt.seed,
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            return Answer(
                text="",
                stop_reason=REFUSED,
                num_prompt_tokens=0,
                num_answer_tokens=0,
                evidence=str(error)[:500],
            )
        usage = made.usage
        choice = made.choices[0]
        # vLLM's server names the stop sequence that ended an answer; other servers do not.
        ended_by = (choice.model_extra or {}).get("stop_reason", _CLOSED[0])
        text = choice.message.content or ""
        return Answer(
            text=with_fence(text, ended_by) if choice.finish_reason == STOP else text,
            stop_reason=LENGTH if choice.finish_reason == "length" else STOP,
            num_prompt_tokens=usage.prompt_tokens if usage else 0,
            num_answer_tokens=usage.completion_tokens if usage else 0,
        )

    def complete(prompts: Sequence[Prompt]) -> list[Answer]:
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            return list(pool.map(one, prompts))

    # Not its address: that is no part of what was written, and may hold a password.
    return Engine(name="endpoint", complete=complete)
