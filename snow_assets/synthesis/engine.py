"""The teacher's completions of chats: vLLM on a local folder, or an OpenAI-compatible endpoint."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from snow_assets.recipe import SynthesisRecipe
from snow_assets.runtime.inference import (
    LENGTH,
    STOP,
    EngineConfig,
    PrefixCacheUse,
    RequestId,
    RequestQueue,
    TokenCompletion,
    TokenPrompt,
    VllmQueue,
    completed_parts,
    vllm_queue,
)
from snow_assets.synthesis.prompts import Messages
from snow_assets.synthesis.spending import Spending

if TYPE_CHECKING:
    import openai

TOO_LONG, REFUSED = "prompt_too_long", "endpoint_refused"
"""Finish reasons of requests without a text, besides STOP and LENGTH."""

# The closing fence ends the completion. Engines strip the stop sequence; it is appended again, to
# distinguish a closed block from an unclosed one.
_STOP_SEQUENCES = ("\n```\n",)


@dataclass(frozen=True, kw_only=True)
class Prompt:
    messages: Messages
    seed: int


@dataclass(frozen=True, kw_only=True)
class Completion:
    text: str
    finish_reason: str  # STOP or LENGTH; TOO_LONG or REFUSED without a text
    num_prompt_tokens: int  # this and the next: 0 from an endpoint that reports no usage
    num_completion_tokens: int
    evidence: str | None = None


Parts = Iterable[tuple[int, Sequence[Prompt]]]
CompletedParts = Iterator[tuple[int, list[Completion]]]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """`complete` yields each part's completions, in the order of its prompts, once it is complete;
    an invalid prompt fails only its own completion."""

    name: str  # and version
    complete: Callable[[Parts], CompletedParts]
    prefix_cache_use: Callable[[], PrefixCacheUse] = PrefixCacheUse
    close: Callable[[], None] = lambda: None


def _complete(
    queue: RequestQueue[Prompt, Completion], recipe: SynthesisRecipe
) -> Callable[[Parts], CompletedParts]:
    return partial(completed_parts, queue, max_open_parts=1 if recipe.reproducible else 2)


@dataclass
class _ChatQueue:
    """Chats to a vLLM queue of tokens. A prompt that leaves no room for a completion is not
    submitted."""

    vllm: VllmQueue
    recipe: SynthesisRecipe
    _num_prompt_tokens: dict[RequestId, int] = field(default_factory=dict)
    _too_long: list[tuple[RequestId, Completion]] = field(default_factory=list)

    def submit(self, request_id: RequestId, prompt: Prompt) -> None:
        token_ids = [
            int(token)
            for token in self.vllm.tokenizer.apply_chat_template(
                prompt.messages, add_generation_prompt=True, return_dict=False
            )
        ]
        recipe, limit = self.recipe, self.recipe.max_model_len - self.recipe.max_new_tokens
        if len(token_ids) > limit:
            self._too_long.append((request_id, _prompt_too_long(len(token_ids), limit)))
            return
        self._num_prompt_tokens[request_id] = len(token_ids)
        self.vllm.submit(
            request_id,
            TokenPrompt(
                token_ids=token_ids,
                max_new_tokens=recipe.max_new_tokens,
                temperature=recipe.temperature,
                top_p=recipe.top_p,
                stop_sequences=_STOP_SEQUENCES,
                seed=prompt.seed if recipe.reproducible else None,
            ),
        )

    def wait(self) -> list[tuple[RequestId, Completion]]:
        if self._too_long:
            too_long, self._too_long = self._too_long, []
            return too_long
        return [
            (request_id, _completion(sample, self._num_prompt_tokens.pop(request_id)))
            for request_id, (sample,) in self.vllm.wait()
        ]

    def reset(self) -> None:
        self.vllm.reset()


def vllm_engine(model: str, recipe: SynthesisRecipe, *, seed: int) -> Engine:
    """vLLM on a local Hugging Face folder with a chat template; `seed` is its sampler's, unless
    the recipe is reproducible: each prompt's seed is used then, and parts are isolated."""
    vllm = vllm_queue(
        EngineConfig(
            model=model,
            max_model_len=recipe.max_model_len,
            precision="auto",
            tensor_parallel_size=max(1, recipe.gpus),
            quantization=recipe.quantization,
            seed=seed,
            has_request_seeds=recipe.reproducible,
        )
    )
    if not vllm.tokenizer.chat_template:
        raise ValueError(f"{model} has no chat template: name an instruction-tuned model")
    return Engine(
        name=vllm.name,
        complete=_complete(_ChatQueue(vllm, recipe), recipe),
        prefix_cache_use=vllm.prefix_cache_use,
    )


def append_closing_fence(text: str, stop_sequence: Any) -> str:
    """Append the closing fence, if the engine stripped it as the stop sequence."""
    is_stripped = stop_sequence in _STOP_SEQUENCES and not text.rstrip().endswith("```")
    return f"{text}{stop_sequence}" if is_stripped else text


def _completion(sample: TokenCompletion, num_prompt_tokens: int) -> Completion:
    return Completion(
        text=append_closing_fence(sample.text, sample.stop_sequence),
        finish_reason=sample.finish_reason,
        num_prompt_tokens=num_prompt_tokens,
        num_completion_tokens=len(sample.token_ids),
    )


def _prompt_too_long(num_tokens: int, limit: int) -> Completion:
    return Completion(
        text="",
        finish_reason=TOO_LONG,
        num_prompt_tokens=num_tokens,
        num_completion_tokens=0,
        evidence=f"{num_tokens} tokens, and {limit} leave room for a completion",
    )


class _EndpointQueue:
    """Requests of a pool of threads, one per connection.

    Lost connections, 408, 409, 429 and 5xx are retried, and what the header `x-should-retry` says
    overrides that, as in the openai client; each attempt is within the spending cap. The last error
    is raised. A request that the server rejects (400, 422: the prompt is too long) gives a
    completion with REFUSED.
    """

    def __init__(
        self, client: "openai.OpenAI", model: str, recipe: SynthesisRecipe, spending: Spending
    ) -> None:
        self._client, self._model, self._recipe = client, model, recipe
        self._spending = spending
        self._pool = ThreadPoolExecutor(spending.endpoint.max_connections)
        self._futures: dict[Future[Completion], RequestId] = {}
        self._is_closed = threading.Event()

    def submit(self, request_id: RequestId, prompt: Prompt) -> None:
        self._futures[self._pool.submit(self._complete, prompt)] = request_id

    def wait(self) -> list[tuple[RequestId, Completion]]:
        done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        return [(self._futures.pop(future), future.result()) for future in done]

    def reset(self) -> None:
        """The server's cache is its own."""

    def close(self) -> None:
        """Cancel the requests that are queued or wait to be retried, which would cost money."""
        self._is_closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._spending.close()

    def _complete(self, prompt: Prompt) -> Completion:
        import openai

        attempt = 0
        while True:
            try:
                return self._attempt(prompt)
            except (openai.APIConnectionError, openai.APIStatusError) as error:
                if attempt == self._spending.endpoint.max_retries or not _is_retried(error):
                    if isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
                        return _refused(error)
                    raise
                if self._is_closed.wait(_retry_seconds(error, attempt)):
                    raise
            attempt += 1

    def _attempt(self, prompt: Prompt) -> Completion:
        import openai

        recipe = self._recipe
        longest_prompt = recipe.max_model_len - recipe.max_new_tokens
        reserved = self._spending.cost(longest_prompt, recipe.max_new_tokens)
        self._spending.reserve(reserved)
        cost = None  # unknown unless the server answers: it may have generated nevertheless
        try:
            completion = self._request(prompt)
            cost = self._cost(completion)
            return completion
        except openai.APIStatusError as error:
            if not _may_be_billed(error):
                cost = 0.0
            raise
        finally:
            self._spending.settle(reserved, cost)

    def _cost(self, completion: Completion) -> float | None:
        """None if the endpoint reports no usage."""
        if completion.num_prompt_tokens == 0:
            return None
        return self._spending.cost(completion.num_prompt_tokens, completion.num_completion_tokens)

    def _request(self, prompt: Prompt) -> Completion:
        recipe = self._recipe
        response = self._client.chat.completions.create(
            model=self._model,
            messages=prompt.messages,
            temperature=recipe.temperature,
            top_p=recipe.top_p,
            max_tokens=recipe.max_new_tokens,
            stop=list(_STOP_SEQUENCES),
            seed=prompt.seed,
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


def _refused(error: "openai.APIStatusError") -> Completion:
    return Completion(
        text="",
        finish_reason=REFUSED,
        num_prompt_tokens=0,
        num_completion_tokens=0,
        evidence=str(error)[:500],
    )


def _is_retried(error: "openai.APIConnectionError | openai.APIStatusError") -> bool:
    """As the openai client decides it (`_should_retry`), whose own retries would not be counted."""
    response = getattr(error, "response", None)
    if response is None:
        return True
    header = response.headers.get("x-should-retry")
    if header in ("true", "false"):
        return bool(header == "true")
    status = int(response.status_code)
    return status in (408, 409, 429) or status >= 500


def _may_be_billed(error: "openai.APIStatusError") -> bool:
    """Whether the completion may have been generated: a gateway that gives up on a server reports a
    time-out or an error of its own. Other errors reject the request before it runs."""
    status = int(error.status_code)
    return status == 408 or status >= 500


def _retry_seconds(error: "openai.APIError", attempt: int) -> float:
    """What the server asks for, at most a minute; else 0.5 s, doubled with each attempt up to 8."""
    response = getattr(error, "response", None)
    header = response.headers.get("retry-after", "") if response is not None else ""
    if header.isdecimal():
        return min(60.0, float(header))
    return min(8.0, 0.5 * 2.0**attempt)


def endpoint_engine(url: str, model: str, recipe: SynthesisRecipe, spending: Spending) -> Engine:
    """An OpenAI-compatible server; OPENAI_API_KEY is its key, any value if it needs none."""
    import openai

    client = openai.OpenAI(base_url=url, max_retries=0)  # its own retries would not be counted
    queue = _EndpointQueue(client, model, recipe, spending)
    # Without the URL, which does not affect the completions and may contain a password.
    return Engine(name="endpoint", complete=_complete(queue, recipe), close=queue.close)
