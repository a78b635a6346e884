"""Models come and go whole: what is taken away says the same in a fresh process, and comes back as a candidate."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from app.accounts.access import Access
from app.checkpoints import brought, packages
from app.database import open_session
from app.models import Checkpoint, Project, Run, User
from app.settings import settings
from tests.pairs import make_checkpoint
from tests.people import make_person, make_project
from tests.workers import training
from tests.workers.worker import state, work_until_idle
from workers import artifacts
from workers.context import RecordingContext
from workers.iteration import run_iteration
from workers.language import adapters, adopted
from workers.language.decode import generate
from workers.language.model import LanguageModel
from workers.language.sampling import Settings
from workers.language.tokens import decode, encode_prompt

SAID = [{"role": "user", "content": "Say something about number 3"}]
FRESH = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
directory, base = sys.argv[1:3]
tokenizer = AutoTokenizer.from_pretrained(base or directory)
model = AutoModelForCausalLM.from_pretrained(base or directory, dtype=torch.float32)
if base:
    from peft import PeftModel
    model = PeftModel.from_pretrained(model, directory)
text = tokenizer.apply_chat_template(json.loads(sys.argv[3]), add_generation_prompt=True, tokenize=False)
ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
out = model.generate(**ids, do_sample=False, max_new_tokens=12, pad_token_id=0)
print(json.dumps(tokenizer.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True)))
"""


@pytest.fixture(scope="module")
def trained(likes_vowels: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A policy on `tiny` in the store that the jobs read."""
    spec = training.spec(tmp_path_factory.mktemp("policy"), "ppo", **likes_vowels)
    made = run_iteration(spec, RecordingContext())["checkpoint"]
    url = f"{settings.artifacts}/checkpoints/trained/"
    return {"url": url, "sha256": artifacts.write(url, "policy", "tiny", artifacts.read(made["url"]))}


@pytest.fixture
def policy(committed: None, trained: dict[str, str]) -> int:
    with open_session() as session:
        found = make_checkpoint(session, make_project(session), "policy")
        found.url, found.sha256 = trained["url"], trained["sha256"]
        make_person(session, "olga", "operator")
        return found.id


def access(session: Any) -> Access:
    return Access(session.query(User).one(), session.query(Project).one())


def ours(tiny: LanguageModel, url: str, sha256: str) -> str:
    adapters.attach(tiny, "ours", artifacts.read(url, sha256))
    settings_ = Settings(temperature=0.0, max_tokens=12)
    ((drawn,),) = generate(tiny, [encode_prompt(tiny, SAID)], 1, settings_, 1, "ours")
    return decode(tiny, drawn.token_ids)


def said_elsewhere(directory: Path, base: str = "") -> str:
    command = [sys.executable, "-W", "ignore", "-c", FRESH, str(directory), base, json.dumps(SAID)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout.splitlines()[-1]))


def taken(policy: int, form: str, to: Path) -> Path:
    """The package, written by a worker and unpacked."""
    with open_session() as session:
        run = packages.request(session, access(session), session.get_one(Checkpoint, policy), form)
    work_until_idle()
    assert state(run.id).status == "succeeded", state(run.id).error
    file = packages.finished(state(run.id))
    with zipfile.ZipFile(file.url.removeprefix("file://")) as archive:
        archive.extractall(to)
    return to / "model"


def brought_back(directory: Path, tmp_path: Path) -> Checkpoint:
    """The directory as a zip, brought in and made a candidate by a worker."""
    archive = tmp_path / "back.zip"
    packages.zip_up(directory, archive)
    with open_session() as session, archive.open("rb") as file:
        run = brought.bring(session, access(session), file, "back.zip")
    work_until_idle()
    assert state(run.id).status == "succeeded", state(run.id).error
    with open_session() as session:
        return session.get_one(Checkpoint, int(state(run.id).result["checkpoint"]["id"]))


@pytest.mark.slow
def test_a_merged_model_says_the_same_elsewhere_and_comes_back(
    policy: int, trained: dict[str, str], tiny: LanguageModel, tmp_path: Path
) -> None:
    directory = taken(policy, "merged", tmp_path)
    expected = ours(tiny, **trained)
    assert said_elsewhere(directory) == expected
    assert not [one for one in directory.rglob("*") if one.name.endswith(brought.PICKLES)]
    card = (directory / "README.md").read_text()
    assert "# garden: policy" in card
    assert trained["sha256"] in card
    again = brought_back(directory, tmp_path)
    assert (again.status, again.kind, again.gate, again.base_model) == ("candidate", "policy", {}, "tiny")
    assert again.bytes
    tiny.adapters.clear()
    assert ours(tiny, again.url, again.sha256) == expected


@pytest.mark.slow
def test_an_adapter_says_the_same_in_peft_and_comes_back(
    policy: int, trained: dict[str, str], tiny: LanguageModel, tmp_path: Path
) -> None:
    directory = taken(policy, "adapter", tmp_path)
    assert {one.name for one in directory.iterdir()} == {
        "README.md", "adapter_config.json", "adapter_model.safetensors"
    }  # fmt: skip
    base = tmp_path / "base"
    tiny.model.save_pretrained(base)
    tiny.tokenizer.save_pretrained(base)
    expected = ours(tiny, **trained)
    assert said_elsewhere(directory, str(base)) == expected
    again = brought_back(directory, tmp_path)
    tiny.adapters.clear()
    assert ours(tiny, again.url, again.sha256) == expected


def test_asking_twice_is_one_package(policy: int) -> None:
    with open_session() as session:
        found = session.get_one(Checkpoint, policy)
        first = packages.request(session, access(session), found, "merged")
        assert packages.request(session, access(session), found, "merged") is first
        assert packages.request(session, access(session), found, "adapter") is not first


@pytest.mark.slow
def test_a_model_of_another_shape_fails_with_a_sentence(policy: int, tiny: LanguageModel, tmp_path: Path) -> None:
    directory = tmp_path / "other"
    tiny.model.save_pretrained(directory)
    weights = load_file(directory / "model.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: weights[name][:1].clone()}, directory / "model.safetensors")
    packages.zip_up(directory, tmp_path / "other.zip")
    with open_session() as session, (tmp_path / "other.zip").open("rb") as file:
        run = brought.bring(session, access(session), file, "other.zip")
    work_until_idle()
    assert state(run.id).status == "failed"
    assert "has the shape" in (state(run.id).error or "")
    with open_session() as session:
        assert session.query(Checkpoint).count() == 1
        assert session.query(Run).filter(Run.kind == "import").count() == 1


def test_what_no_adapter_can_be_is_refused(tiny: LanguageModel, tmp_path: Path) -> None:
    tiny.model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="nothing new in them"):
        adopted.adopt("tiny", tmp_path, (tmp_path / "out").as_uri(), {})
    weights = load_file(tmp_path / "model.safetensors")
    embeddings = next(name for name in weights if "embed" in name)
    save_file({**weights, embeddings: weights[embeddings] + 0.1}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="was trained too"):
        adopted.adopt("tiny", tmp_path, (tmp_path / "out").as_uri(), {})
