"""Parameters of a recipe's model and the memory of a training step on each GPU, by arithmetic.

The terms are those that torch's memory tracker finds in a step of OLMo-core's train module
(`tests/pretraining/gpu_memory.py`, within 1 % for ARCTIC, ARCTIC_7B and ARCTIC_13B).
"""

from snow_assets.recipe import ModelRecipe, Recipe

USABLE_FRACTION = 0.9
"""Of a GPU's memory; the rest is for CUDA's context, communication buffers and fragmentation."""

_STATE_BYTES = 16  # of a parameter in fp32: weight, gradient and AdamW's two moments
_GATHERED_BYTES = 2  # of the embeddings' and a block's weights in bf16, which are not sharded then


def _layer_parameters(model: ModelRecipe) -> int:
    head = model.hidden_size // model.num_attention_heads
    attention = (
        2 * model.hidden_size * head * (model.num_attention_heads + model.num_key_value_heads)
    )
    return attention + 3 * model.hidden_size * model.intermediate_size


def num_parameters(model: ModelRecipe, *, vocab_size: int) -> int:
    """Weights of the decoder, embeddings tied."""
    return vocab_size * model.hidden_size + model.num_hidden_layers * _layer_parameters(model)


def gpu_memory_bytes(recipe: Recipe) -> float:
    """Peak of a training step on each GPU, without what CUDA itself takes."""
    execution, model = recipe.operation.pretraining, recipe.pretraining.model
    vocab_size = recipe.curation.tokenizer.vocab_size
    tokens = execution.micro_batch_size * model.max_seq_len
    # Bytes per token, in bf16.
    attention, feed_forward = 28 * model.hidden_size, 8 * model.intermediate_size
    stored_by_layer = {
        "none": attention + feed_forward,
        "feed_forward": attention,
        "blocks": 2 * model.hidden_size,
    }[execution.activation_checkpointing]
    head = 12 * vocab_size + 10 * model.hidden_size
    # The logits are there before the backward pass recomputes a block.
    widest = max(head, attention + feed_forward)
    activations = tokens * (model.num_hidden_layers * stored_by_layer + widest)
    if any(phase.attention != "causal" for phase in recipe.pretraining.phases):
        activations += 2 * tokens * model.max_seq_len  # the blocks' mask
    if recipe.pretraining.precision == "fp32":
        activations *= 2
    rotary = 8 * model.max_seq_len * (model.hidden_size // model.num_attention_heads)
    num_stored = num_parameters(model, vocab_size=vocab_size) / execution.num_sharding_processes
    state = _STATE_BYTES * num_stored
    gathered = _GATHERED_BYTES * (vocab_size * model.hidden_size + _layer_parameters(model))
    return state + gathered + activations + model.num_hidden_layers * rotary


def require_memory(recipe: Recipe) -> None:
    """Raise ValueError, with the remedy, if a training step cannot fit the recipe's GPUs."""
    execution = recipe.operation.pretraining
    if execution.gpu_memory_gib is None:
        return
    needed = gpu_memory_bytes(recipe) / 2**30
    usable = USABLE_FRACTION * execution.gpu_memory_gib
    if needed <= usable:
        return
    raise ValueError(
        f"a training step of {recipe.name} takes about {needed:.0f} GiB of each GPU, and "
        f"{usable:.0f} of its {execution.gpu_memory_gib} GiB are usable: in operation.pretraining "
        f"raise sharding_degree (now {execution.num_sharding_processes}) or the number of nodes "
        f"(now {execution.nodes}), lower micro_batch_size (now {execution.micro_batch_size}), or "
        f"recompute more by activation_checkpointing (now {execution.activation_checkpointing})"
    )
