"""OpenAI's own client is answered with the tokens that chat gives, alone and beside others."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx2 as httpx
import openai
import pytest
import uvicorn

from posttrain.cli import main
from posttrain.cli.serve import LOOPBACK
from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.models.chat import Chat
from posttrain.models.loading import load_causal_lm, save_reward_model, scalar_model
from posttrain.pipeline.finding import UserError
from posttrain.serving import app
from posttrain.serving.app import Served, application
from posttrain.serving.engine_thread import AnswerText, End, EngineWorker, Job, Piece
from posttrain.stages.base import EMBEDDED

QUESTIONS = ["What is ice?", "Name three colours.", "What is snow?", "Where do dogs live?"]


class Running:
    """A server on a free port, and what it serves."""

    def __init__(self) -> None:
        model, tokenizer = load_causal_lm(EMBEDDED)
        self.model, self.chat = model, Chat(tokenizer)
        self.engine = BuiltinEngine(model)
        self.worker = EngineWorker(BuiltinEngine(model))
        served = Served(name="guide", chat=self.chat, worker=self.worker, max_tokens=12)
        self.server = uvicorn.Server(
            uvicorn.Config(application(served, LOOPBACK), port=0, log_level="warning", lifespan="off")
        )
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        self.client = openai.OpenAI(base_url=self.url, api_key="none", max_retries=0)

    def close(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join()
        self.worker.close()

    def alone(self, question: str, temperature: float, seed: int, most: int = 12) -> tuple[list[int], str]:
        """The engine's own answer, as ``posttrain chat`` asks for it."""
        prompt = self.chat.prompt_ids([{"role": "user", "content": question}])
        sampling = Sampling(temperature=temperature, max_tokens=most, stop_ids=self.chat.stop_ids)
        self.engine.submit(prompt, sampling, seed)
        tokens = next(iter(self.engine.finished())).tokens
        return tokens, self.chat.decode(tokens)

    def ask(self, question: str, **more: Any) -> Any:
        said: Any = [{"role": "user", "content": question}]
        return self.client.chat.completions.create(model="guide", messages=said, **more)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.close()


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_an_answer_is_what_chat_says_whole_and_streamed(running: Running, temperature: float) -> None:
    for seed, question in enumerate(QUESTIONS):
        tokens, text = running.alone(question, temperature, seed)
        whole = running.ask(question, temperature=temperature, seed=seed, logprobs=True)
        assert whole.choices[0].message.content == text
        told = whole.choices[0].logprobs.content
        assert [one.token for one in told] == [running.chat.tokenizer.decode([t]) for t in tokens]
        assert all(one.logprob <= 0 for one in told)
        ended = tokens[-1] in running.chat.stop_ids
        assert whole.choices[0].finish_reason == ("stop" if ended else "length")
        assert whole.usage.completion_tokens == len(tokens)
        options = {"include_usage": True}
        chunks = list(
            running.ask(question, temperature=temperature, seed=seed, stream=True, stream_options=options)
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        assert "".join(pieces) == text
        assert sum(bool(piece) for piece in pieces) > 1
        assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
        assert chunks[-1].usage == whole.usage


def test_posttrain_chat_says_the_same(
    running: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{QUESTIONS[1]}\n"))
    assert main(["chat", str(EMBEDDED), "--seed", "3", "--temperature", "0.9", "--max-tokens", "12"]) == 0
    served = running.ask(QUESTIONS[1], temperature=0.9, seed=3).choices[0].message.content
    assert capsys.readouterr().out == f"{served.strip()}\n"


def test_requests_at_once_are_answered_as_alone(running: Running) -> None:
    asked = [(QUESTIONS[i % 4], 1.0 if i % 3 else 0.0, i, 4 + i) for i in range(8)]
    wanted = [running.alone(*one)[1] for one in asked]

    def streamed(one: tuple[str, float, int, int]) -> str:
        question, temperature, seed, most = one
        chunks = running.ask(question, temperature=temperature, seed=seed, max_tokens=most, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    with ThreadPoolExecutor(len(asked)) as pool:
        assert list(pool.map(streamed, asked)) == wanted


def test_a_stop_text_ends_the_answer_before_itself(running: Running) -> None:
    text = running.alone(QUESTIONS[1], 0.0, 0)[1]
    assert "olour" in text
    stop = ["never said", "olour"]
    whole = running.ask(QUESTIONS[1], temperature=0.0, stop=stop)
    assert whole.choices[0].message.content == text[: text.index("olour")]
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage.completion_tokens < 12
    chunks = list(running.ask(QUESTIONS[1], temperature=0.0, stop=stop, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text[: text.index("olour")]


def test_text_is_held_back_while_it_may_begin_a_stop_or_is_half_a_character() -> None:
    said = AnswerText(lambda ids: bytes(ids).decode("utf-8", errors="replace"), ["END", "DONE"])
    given = [said.add(byte) for byte in "aEN é ENDz".encode()]
    assert given == ["a", "", "", "EN ", "", "é", " ", "", "", "", ""][: len(given)]
    assert said.stopped
    assert said.rest() == ""
    cut = AnswerText(lambda ids: bytes(ids).decode(), ["END"])
    assert "".join(cut.add(byte) for byte in b"an EN") + cut.rest() == "an EN"


def test_plain_text_goes_on(running: Running) -> None:
    ids = running.chat.text_ids("The colour of")
    running.engine.submit(ids, Sampling(temperature=0.0, max_tokens=16, stop_ids=running.chat.stop_ids), 0)
    done = next(iter(running.engine.finished()))
    prompts: list[Any] = ["The colour of", ids]
    for prompt in prompts:
        made = running.client.completions.create(model="guide", prompt=prompt, temperature=0, logprobs=0)
        assert made.choices[0].text == running.chat.decode(done.tokens)
        assert made.choices[0].logprobs is not None
        assert made.choices[0].logprobs.token_logprobs == pytest.approx(done.logprobs, abs=1e-5)
    stream = running.client.completions.create(
        model="guide", prompt="The colour of", temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in stream) == running.chat.decode(done.tokens)


@pytest.mark.parametrize(
    ("more", "param", "told"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "not supported"),
        ({"n": 2}, "n", "1"),
        ({"top_logprobs": 3, "logprobs": True}, "top_logprobs", "0"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "0"),
        ({"temperature": -1}, "temperature", "0"),
        (
            {"temperature": 1e-40},
            "temperature",
            "expected 0, which takes the likeliest token, or at least 0.01",
        ),
        ({"top_p": 1e-300}, "top_p", "0.0001"),
        ({"response_format": {"type": "json_object"}}, "response_format.type", "text"),
        ({"max_tokens": 10_000}, "messages", "reads 256 tokens"),
        ({"messages": [{"role": "system", "content": "a"}]}, "messages", "roles are user and assistant"),
    ],
)
def test_what_cannot_be_done_is_refused_as_openai_would(
    running: Running, more: dict[str, Any], param: str, told: str
) -> None:
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "a"}], **more}
    with pytest.raises(openai.BadRequestError) as refused:
        running.client.chat.completions.create(model="guide", **asked)
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"
    assert told in refused.value.message


def test_models_are_listed_and_another_is_not_found(running: Running) -> None:
    assert [model.id for model in running.client.models.list()] == ["guide"]
    assert running.client.models.retrieve("guide").owned_by == "posttrain"
    said: Any = [{"role": "user", "content": "a"}]
    with pytest.raises(openai.NotFoundError, match="this server has 'guide'"):
        running.client.chat.completions.create(model="gpt-4", messages=said)
    with pytest.raises(openai.NotFoundError, match="there is /v1/chat"):
        running.client.embeddings.create(model="guide", input="a")


def test_a_body_that_is_no_json_is_told(running: Running) -> None:
    head = {"Content-Type": "application/json"}
    answer = httpx.post(f"{running.url}/chat/completions", content="{bad", headers=head)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("the body is not JSON (")


@pytest.mark.parametrize(
    ("route", "body", "param"),
    [
        ("chat/completions", r'"messages":[{"role":"user","content":"a\ud800"}]', "messages.0.content"),
        (
            "chat/completions",
            r'"messages":[{"role":"user","content":[{"type":"text","text":"\udc00"}]}]',
            "messages.0.content.str",
        ),
        ("chat/completions", r'"messages":[{"role":"user","content":"a"}],"stop":["b","\ud800"]', "stop"),
        ("completions", r'"prompt":"\ud800"', "prompt"),
    ],
)
def test_half_of_a_surrogate_pair_is_refused(running: Running, route: str, body: str, param: str) -> None:
    head = {"Content-Type": "application/json"}
    answer = httpx.post(f"{running.url}/{route}", content=f'{{"model":"guide",{body}}}', headers=head)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_prompt_that_the_tokenizer_refuses_is_told(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise UserError("a mark of the template")

    monkeypatch.setattr(Chat, "text_ids", refused)
    with pytest.raises(openai.BadRequestError, match="a mark of the template"):
        running.client.completions.create(model="guide", prompt="a")


def test_a_page_under_another_name_reaches_nothing(running: Running) -> None:
    answer = httpx.get(f"{running.url}/models", headers={"Host": "rebound.example"})
    assert answer.status_code == 400


def test_a_failure_of_the_engine_is_told_and_those_after_it_are_served(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(running.worker.engine, "finished", broken)
        with pytest.raises(openai.InternalServerError, match="no memory"):
            running.ask("What is ice?")
    assert running.ask("What is ice?", temperature=0).choices[0].message.content


def test_a_whole_answer_ends_when_its_client_has_gone(running: Running) -> None:
    class Gone:
        async def is_disconnected(self) -> bool:
            return True

    async def answered() -> tuple[int, bool]:
        told: asyncio.Queue[Piece | End] = asyncio.Queue()
        said = AnswerText(running.chat.decode, [])
        job = Job(prompt=[1], sampling=Sampling(), seed=0, text=said, tell=told.put_nowait)

        async def talk() -> None:  # a token more often than the client is looked for
            for number in range(40):
                if job.cancelled:
                    break
                told.put_nowait(Piece(token=number, logprob=0.0, text=""))
                await asyncio.sleep(0.005)
            told.put_nowait(End())

        talking = asyncio.create_task(talk())
        pieces, _ = await app._whole(job, told, cast(Any, Gone()))
        await talking
        return len(pieces), job.cancelled

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "ASK", 0.02)
        count, cancelled = asyncio.run(answered())
    assert cancelled
    assert count < 40


def test_a_reward_model_and_a_taken_port_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], running: Running
) -> None:
    model, tokenizer = load_causal_lm(EMBEDDED)
    save_reward_model(tmp_path / "rm", scalar_model(model, tokenizer, seed=0), tokenizer)
    assert main(["serve", str(tmp_path / "rm")]) == 2
    assert "scores text and writes none" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "rm"), "--to", "hub"]) == 2
    assert "scores text and writes none" in capsys.readouterr().err
    port = running.url.rpartition(":")[2].removesuffix("/v1")
    assert main(["serve", str(EMBEDDED), "--port", port]) == 2
    assert "name another with --port" in capsys.readouterr().err


def test_the_command_serves_on_the_device_and_under_the_loopback_address_that_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], running: Running
) -> None:
    where: list[Any] = []
    hosts: list[Any] = []

    def load(path: Path, **how: Any) -> Any:
        where.append(how.get("device"))
        return running.model, running.chat.tokenizer

    monkeypatch.setattr("posttrain.models.loading.load_causal_lm", load)
    monkeypatch.setattr("posttrain.serving.app.application", lambda _, answered: hosts.append(answered))
    monkeypatch.setattr("posttrain.cli.serve.device", lambda name: f"found {name}")
    monkeypatch.setattr("uvicorn.Config", lambda *_, **__: None)
    monkeypatch.setattr("uvicorn.Server", lambda _: SimpleNamespace(run=lambda sockets: None))
    asked = ["serve", str(EMBEDDED), "--port", "0", "--device"]
    assert main([*asked, "auto", "--host", "127.0.0.2"]) == 0
    assert main([*asked, "cpu", "--host", "0.0.0.0"]) == 0
    assert where == ["found auto", "found cpu"]
    assert "127.0.0.2" in hosts[0]
    assert "*" not in hosts[0]
    assert list(hosts[1]) == ["*"]
    assert "can be reached from other machines" in capsys.readouterr().err
