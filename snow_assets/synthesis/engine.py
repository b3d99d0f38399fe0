"""Inference engines of the teacher: vLLM in this process, or an OpenAI-compatible endpoint."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from snow_assets.recipe import SynthesisRecipe
from snow_assets.synthesis.prompts import Messages

STOP, LENGTH, TOO_LONG, REFUSED = "stop", "length", "prompt_too_long", "endpoint_refused"
# The closing fence ends the completion. Engines strip the stop sequence; it is appended again, to
# distinguish a closed block from an unclosed one.
_STOP_SEQUENCES = ["\n```\n"]
_CONNECTIONS = 16  # to an endpoint at once; it batches them itself


@dataclass(frozen=True, kw_only=True)
class Prompt:
    messages: Messages
    seed: int  # per prompt, so that a completion does not depend on the rest of its batch


@dataclass(frozen=True, kw_only=True)
class Completion:
    text: str
    finish_reason: str  # STOP or LENGTH; TOO_LONG or REFUSED without a text
    num_prompt_tokens: int
    num_completion_tokens: int
    evidence: str | None = None


Complete = Callable[[Sequence[Prompt]], list[Completion]]
"""Completions in the order of the prompts; an invalid prompt fails only its own completion."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    name: str  # and version
    complete: Complete


def vllm_engine(model: str, recipe: SynthesisRecipe) -> Engine:
    """vLLM in this process, on a local Hugging Face folder with a chat template."""
    # Scheduling in this process is deterministic (vLLM, docs/usage/reproducibility.md), and no core
    # has to be reserved for a second process. vllm reads these variables at import.
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
        max_model_len=recipe.max_model_len,
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

    def complete(prompts: Sequence[Prompt]) -> list[Completion]:
        # A prefix cached by an earlier chunk would change this chunk's numerics.
        llm.reset_prefix_cache()
        prompt_token_ids = [_token_ids(tokenizer, prompt.messages) for prompt in prompts]
        limit = recipe.max_model_len - recipe.max_new_tokens
        fitting = [index for index, ids in enumerate(prompt_token_ids) if len(ids) <= limit]
        outputs = llm.generate(
            [{"prompt_token_ids": prompt_token_ids[index]} for index in fitting],
            [_sampling_params(vllm, recipe, prompts[index].seed) for index in fitting],
            use_tqdm=False,
        )
        output_by_index = dict(zip(fitting, outputs, strict=True))
        return [
            _completion(output_by_index[index].outputs[0], len(ids))
            if index in output_by_index
            else _prompt_too_long(len(ids), limit)
            for index, ids in enumerate(prompt_token_ids)
        ]

    device = torch.cuda.get_device_name() if on_gpu else "cpu"
    return Engine(name=f"vllm {vllm.__version__} {dtype} {device}", complete=complete)


def _token_ids(tokenizer: Any, messages: Messages) -> list[int]:
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    return [int(token) for token in ids]


def _sampling_params(vllm: Any, recipe: SynthesisRecipe, seed: int) -> Any:
    return vllm.SamplingParams(
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        max_tokens=recipe.max_new_tokens,
        stop=_STOP_SEQUENCES,
        seed=seed,
    )


def append_closing_fence(text: str, stop_sequence: Any) -> str:
    """Append the closing fence, if the engine stripped it as the stop sequence."""
    is_stripped = stop_sequence in _STOP_SEQUENCES and not text.rstrip().endswith("```")
    return f"{text}{stop_sequence}" if is_stripped else text


def _completion(output: Any, num_prompt_tokens: int) -> Completion:
    return Completion(
        text=append_closing_fence(output.text, output.stop_reason),
        finish_reason=LENGTH if output.finish_reason == LENGTH else STOP,
        num_prompt_tokens=num_prompt_tokens,
        num_completion_tokens=len(output.token_ids),
    )


def _prompt_too_long(num_tokens: int, limit: int) -> Completion:
    return Completion(
        text="",
        finish_reason=TOO_LONG,
        num_prompt_tokens=num_tokens,
        num_completion_tokens=0,
        evidence=f"{num_tokens} tokens, and {limit} leave room for an answer",
    )


def endpoint_engine(url: str, model: str, recipe: SynthesisRecipe) -> Engine:
    """An OpenAI-compatible server; OPENAI_API_KEY is its key, any value if it needs none.

    The client retries after lost connections, 429 and 5xx, then raises. A request that the server
    rejects (400, 422: the prompt is too long) gives a completion with REFUSED.
    """
    import openai

    client = openai.OpenAI(base_url=url)

    def complete_prompt(prompt: Prompt) -> Completion:
        try:
            response = client.chat.completions.create(
                model=model,
                messages=prompt.messages,
                temperature=recipe.temperature,
                top_p=recipe.top_p,
                max_tokens=recipe.max_new_tokens,
                stop=_STOP_SEQUENCES,
                seed=prompt.seed,
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            return Completion(
                text="",
                finish_reason=REFUSED,
                num_prompt_tokens=0,
                num_completion_tokens=0,
                evidence=str(error)[:500],
            )
        usage = response.usage
        choice = response.choices[0]
        # vLLM's server returns the stop sequence as `stop_reason`; other servers do not.
        stop_sequence = (choice.model_extra or {}).get("stop_reason", _STOP_SEQUENCES[0])
        text = choice.message.content or ""
        return Completion(
            text=append_closing_fence(text, stop_sequence)
            if choice.finish_reason == STOP
            else text,
            finish_reason=LENGTH if choice.finish_reason == "length" else STOP,
            num_prompt_tokens=usage.prompt_tokens if usage else 0,
            num_completion_tokens=usage.completion_tokens if usage else 0,
        )

    def complete(prompts: Sequence[Prompt]) -> list[Completion]:
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            return list(pool.map(complete_prompt, prompts))

    # Without the URL, which does not affect the completions and may contain a password.
    return Engine(name="endpoint", complete=complete)
