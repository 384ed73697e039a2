"""Train the base model that ships with the package: python scripts/train_base.py --tokens 25e6 --out DIR

A byte-level BPE of 1,024 tokens and a Llama of about a million parameters, on pages of
`posttrain.field_guide.corpus`. Hidden matrices are updated by Muon (Jordan et al. 2024: momentum,
orthogonalised), the rest by Adam. A killed run continues with the same command; `--gate` measures a
finished or an unfinished base.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from posttrain.field_guide import corpus

SPECIAL = ("<|endoftext|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] + '<|end|>' }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' }}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ raise_exception('roles are user and assistant, not ' + message['role']) }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
WINDOW = 256
PAGES_A_CHUNK = 2_000
LOG_SECONDS, SAVE_SECONDS = 15, 120


def make_tokenizer(pages: int = 12_000, size: int = 1_024) -> PreTrainedTokenizerFast:
    """A byte-level BPE learned from the first pages; every digit is a token of its own."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(islice(corpus.pages(), pages), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|endoftext|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        model_max_length=WINDOW,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The untrained Llama, embeddings tied."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


class Windows:
    """Batches of packed pages, each page after a separator; `chunk` is the place to continue from."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, rows: int, chunk: int) -> None:
        self.tokenizer, self.rows, self.chunk = tokenizer, rows, chunk
        self.late = False

    def __iter__(self) -> Iterator[Tensor]:
        """[rows, WINDOW + 1] token ids; what remains of a chunk is dropped."""
        span = self.rows * WINDOW
        while True:
            start = self.chunk * PAGES_A_CHUNK
            texts = [
                f"{self.tokenizer.bos_token}{page}"
                for page in islice(corpus.pages(start, self.late), PAGES_A_CHUNK)
            ]
            ids = [i for row in self.tokenizer(texts, add_special_tokens=False)["input_ids"] for i in row]
            stream = torch.tensor(ids)
            for batch in range((len(stream) - 1) // span):
                piece = stream[batch * span : (batch + 1) * span + 1]
                yield piece.as_strided((self.rows, WINDOW + 1), (WINDOW, 1), piece.storage_offset())
            self.chunk += 1


class Muon(torch.optim.Optimizer):
    """Momentum whose step is orthogonalised by five Newton-Schulz iterations; for matrices only."""

    def __init__(self, matrices: list[torch.nn.Parameter], lr: float, momentum: float, decay: float) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One update; matrices of one shape are orthogonalised together."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                shapes.setdefault(p.shape, []).append(p)
            for shape, matrices in shapes.items():
                steps = []
                for p in matrices:
                    moment = self.state[p].setdefault("moment", torch.zeros_like(p))
                    moment.lerp_(p.grad, 1 - group["momentum"])
                    steps.append(p.grad.lerp(moment, group["momentum"]))
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for p, step in zip(matrices, orthogonal(torch.stack(steps)), strict=True):
                    p.mul_(1 - group["lr"] * group["decay"]).sub_(step, alpha=scale)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices [N, rows, columns] with singular values brought near 1 (Jordan et al. 2024, the quintic)."""
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


def learning_rate(done: float, warm_up: float = 0.02, decay_from: float = 0.45) -> float:
    """The share of the peak rate after a share of the run: warm-up, constant, linear to near zero."""
    if done < warm_up:
        return done / warm_up
    return 1.0 if done < decay_from else max(0.01, (1 - done) / (1 - decay_from))


# size: one loop, read top to bottom.
def train(arguments: argparse.Namespace) -> None:
    """Train from the last checkpoint, or from nothing, until the tokens or the seconds are spent."""
    torch.manual_seed(arguments.seed)
    out: Path = arguments.out
    saved = out / "training.pt"
    if saved.exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    else:
        begin = arguments.begin_with
        tokenizer = PreTrainedTokenizerFast.from_pretrained(begin) if begin else make_tokenizer()
        tokenizer.save_pretrained(out)
    model = make_model(tokenizer)
    if arguments.begin_with:
        model.load_state_dict(
            LlamaForCausalLM.from_pretrained(arguments.begin_with, dtype=torch.float32).state_dict()
        )
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim == 1 or "embed" in name]
    muon = Muon(matrices, lr=arguments.muon_rate, momentum=0.95, decay=0.1)
    adam = torch.optim.AdamW(others, lr=arguments.adam_rate, betas=(0.9, 0.95), weight_decay=0.0)
    done, spent, chunk = 0, 0.0, arguments.first_page // PAGES_A_CHUNK
    if saved.exists():
        state = torch.load(saved)
        model.load_state_dict(state["model"])
        muon.load_state_dict(state["muon"])
        adam.load_state_dict(state["adam"])
        done, spent, chunk = state["done"], state["spent"], state["chunk"]
    windows = Windows(tokenizer, arguments.rows, chunk)
    forward = torch.compile(model) if arguments.compile else model
    began, last_saved, last_logged = time.time() - spent, time.time(), time.time()
    losses: list[float] = []
    for batch in windows:
        spent = time.time() - began
        # Whichever of the two limits is nearer sets the schedule, so a slow machine still ends well.
        share = max(done / arguments.tokens, spent / arguments.seconds)
        windows.late = share >= arguments.late_from
        if share >= 1:
            break
        for optimizer, peak in ((muon, arguments.muon_rate), (adam, arguments.adam_rate)):
            optimizer.param_groups[0]["lr"] = peak * learning_rate(share)
        with torch.autocast("cpu", dtype=torch.bfloat16) if arguments.bf16 else nullcontext():
            logits = forward(input_ids=batch[:, :-1].contiguous(), use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        muon.step()
        adam.step()
        model.zero_grad()
        done += batch.shape[0] * WINDOW
        losses.append(loss.item())
        if time.time() - last_logged > LOG_SECONDS:
            rate = len(losses) * batch.shape[0] * WINDOW / (time.time() - last_logged)
            print(progress(arguments, done, spent, rate, sum(losses) / len(losses)), flush=True)
            losses, last_logged = [], time.time()
        if time.time() - last_saved > SAVE_SECONDS:
            save(model, out)
            state = {"model": model.state_dict(), "muon": muon.state_dict(), "adam": adam.state_dict()}
            torch.save(state | {"done": done, "spent": spent, "chunk": windows.chunk}, out / "training.part")
            os.replace(out / "training.part", saved)
            last_saved = time.time()
    begin_chat_tokens(model, tokenizer)
    save(model, out)
    saved.unlink(missing_ok=True)
    print(f"trained on {done:,} tokens in {spent / 60:.1f} minutes", flush=True)


@torch.no_grad()
def begin_chat_tokens(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Let the chat's tokens begin as the marks that play their part in prose: a colon, and the end of a line.

    They never occur in pretraining, so training has only pushed them away from everything that does;
    instruction tuning would first have to bring them back.
    """
    weight = model.get_input_embeddings().weight
    (line,) = tokenizer("\n", add_special_tokens=False)["input_ids"]
    colon = tokenizer("Name:", add_special_tokens=False)["input_ids"][-1]
    for token, mark in (("<|user|>", colon), ("<|assistant|>", colon), ("<|end|>", line)):
        weight[tokenizer.convert_tokens_to_ids(token)] = weight[mark]


def progress(arguments: argparse.Namespace, done: int, spent: float, rate: float, loss: float) -> str:
    """A line for the log: tokens so far, mean loss in nats a token, speed, and the time that is left."""
    left = min((arguments.tokens - done) / rate, arguments.seconds - spent)
    return f"{done / 1e6:.2f} M tokens  loss {loss:.3f}  {rate / 1e3:.1f} k/s  {left / 60:.1f} min left"


def save(model: LlamaForCausalLM, out: Path) -> None:
    """Half-precision weights in plain Hugging Face format; the model in hand keeps its precision."""
    half = {
        name: weight.detach().half()
        for name, weight in model.state_dict().items()
        if name != "lm_head.weight"
    }
    model.save_pretrained(out, state_dict=half)


def main() -> None:
    """Read the command line and train, then gate; or gate only."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("posttrain/field_guide/base"))
    parser.add_argument("--tokens", type=float, default=25e6)
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="end the schedule by then at the latest"
    )
    parser.add_argument(
        "--late-from", type=float, default=0.75, help="the share of the run after which the late mix is read"
    )
    parser.add_argument("--begin-with", type=Path, help="a base to go on from instead of random weights")
    parser.add_argument("--first-page", type=int, default=0, help="where in the corpus to begin")
    parser.add_argument("--rows", type=int, default=32, help="windows of 256 tokens in a step")
    parser.add_argument("--muon-rate", type=float, default=0.02)
    parser.add_argument("--adam-rate", type=float, default=0.004)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--gate", action="store_true", help="measure the base in --out, train nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.gate:
        train(arguments)
    from gate_base import measure

    gates = measure(arguments.out)
    (arguments.out / "gates.json").write_text(json.dumps(gates, indent=1) + "\n")
    print(json.dumps(gates, indent=1))


if __name__ == "__main__":
    main()
