"""Tables of evaluation: likelihoods, completions, executions and results."""

import pyarrow as pa

from snow_assets.storage.schemas.fields import required

LIKELIHOOD = pa.schema(
    [
        required("checkpoint", pa.string()),
        required("benchmark", pa.string()),  # held_out, or the problems' benchmark
        required("subset", pa.string()),  # a language, or validation_half / test_half
        required("sample_id", pa.string()),  # a document's or a problem's id
        pa.field("repository", pa.string()),  # null for a problem
        required("num_bytes", pa.int64()),  # UTF-8, of what was scored
        required("num_tokens", pa.int64()),
        required("nats", pa.float64()),
    ]
)
"""`benchmark_results`, table `likelihoods`: what a held-out text costs, for paired comparisons."""

COMPLETION = pa.schema(
    [
        required("checkpoint", pa.string()),
        required("problem_id", pa.string()),
        required("decoding", pa.string()),  # greedy or sampled
        required("sample_index", pa.int32()),  # of the problem's samples; 0 of greedy completions
        required("completion", pa.string()),  # cut before the first stop sequence
        required("stop_reason", pa.string()),  # end_of_text, stop_sequence or length
        required("num_tokens", pa.int64()),  # generated, the stop included
        required("num_stripped_newlines", pa.int32()),  # taken off the prompt's end
        required("num_cut_prompt_tokens", pa.int32()),  # off its beginning, to fit the context
        required("engine", pa.string()),
    ]
)
"""`benchmark_results`, table `completions`: a row per completion, before anything ran them."""

RESULT = pa.schema(
    [
        required("checkpoint", pa.string()),
        required("benchmark", pa.string()),
        # bits_per_byte, solution_bits_per_byte, pass_at_1 (greedy), sampled_pass_at_K
        required("metric", pa.string()),
        required("subset", pa.string()),  # a language, or validation_half / test_half
        pa.field("value", pa.float64()),  # null: not run, and `note` says why
        pa.field("low", pa.float64()),  # 95 % interval
        pa.field("high", pa.float64()),
        required("num_samples", pa.int64()),
        pa.field("note", pa.string()),
    ]
)
"""`benchmark_results`, table `results`."""

EXECUTION = pa.schema(
    [
        required("checkpoint", pa.string()),
        required("problem_id", pa.string()),
        required("decoding", pa.string()),
        required("sample_index", pa.int32()),
        required("completion", pa.string()),
        required("outcome", pa.string()),
        required("isolation", pa.string()),
        pa.field("message", pa.string()),  # without addresses of memory: see `stable_message`
    ]
)
"""`benchmark_results`, table `executions`: programs that a checkpoint wrote, and how they ran.

No seconds: what a clock says enters no table, so that equal inputs give equal digests."""
