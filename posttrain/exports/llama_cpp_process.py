"""llama.cpp reads a GGUF file, in a process of its own: ``python -m posttrain.exports.llama_cpp_process``.

llama-cpp-python is compiled where it is installed. A build for another processor ends the whole process with
an illegal instruction, so the process that exports must not be the one that tries.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def answer(request: dict[str, Any]) -> dict[str, list[list[int]]]:
    """``tokens``: each of ``texts`` as llama.cpp cuts it. ``answers``: the greedy answer to each of
    ``prompts``, at most as many tokens as ``most`` says, and up to the first of ``stop_ids``.
    """
    from llama_cpp import Llama

    longest = max(map(len, request["prompts"])) + max(request["most"])
    llama: Any = Llama(
        model_path=request["file"],
        n_ctx=longest + 8,
        n_batch=longest,
        n_threads=1,
        type_k=0,  # keys and values in float32, as the model has them; its default rounds them to 16 bits
        type_v=0,
        verbose=False,
    )
    tokens = [llama.tokenize(text.encode(), add_bos=False, special=True) for text in request["texts"]]
    answers = []
    for prompt, most in zip(request["prompts"], request["most"], strict=True):
        llama.reset()
        made: list[int] = []
        for token in llama.generate(prompt, top_k=1, temp=0.0, repeat_penalty=1.0):
            made.append(int(token))
            if len(made) >= most or made[-1] in request["stop_ids"]:
                break
        answers.append(made)
    return {"tokens": tokens, "answers": answers}


if __name__ == "__main__":
    print(json.dumps(answer(json.load(sys.stdin))))
