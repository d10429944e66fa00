"""GGUF files are converted once, whole or not at all, and damage is told."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
import torch

from resid_widgets.errors import InputError
from resid_widgets.models.loading import gguf
from resid_widgets.models.loading.gguf import cache_folder, dense_folder
from resid_widgets.models.loading.load_model import load_model
from resid_widgets.models.runs.run import run
from tests.models.loading import small_gguf


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_gguf.write(tmp_path_factory.mktemp("gguf") / "small.gguf")


@pytest.fixture(scope="module")
def converted(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the converted model."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESID_WIDGETS_CACHE", str(cache))
        dense_folder(file, progress=False)
    return cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    folder = tmp_path / "cache" / "not made yet"
    monkeypatch.setenv("RESID_WIDGETS_CACHE", str(folder))
    return folder


def pretend(monkeypatch: pytest.MonkeyPatch, convert: object) -> None:
    monkeypatch.setattr(gguf, "_convert", convert)


class TestLoading:
    def test_the_file_s_own_weights_and_words(
        self, file: Path, converted: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RESID_WIDGETS_CACHE", str(converted))
        model = load_model(str(file), progress=False)
        assert (model.name, model.n_layers, model.d_model, model.n_heads) == ("small", 2, 32, 4)
        assert model.n_ctx == small_gguf.N_CTX
        assert model.dtype == torch.float32
        held = {tuple(p.shape): p for p in model.bridge.original_model.parameters() if p.shape[0] == model.d_vocab}
        assert len(held) == 1  # embedding and unembedding are of one shape: the last one is the head
        expected = {n: torch.from_numpy(w) for n, w in small_gguf.weights().items()}
        recorded = run(model, " the cat sat", keep=["resid_pre", "resid_post"])
        assert recorded.tokens == [" the", " cat", " sat"]
        assert [c.level for c in recorded.checks] == ["green", "green"]
        rows = expected["token_embd.weight"][list(recorded.token_ids)]
        assert torch.equal(recorded.tensor("resid_pre", 0), rows)
        final = recorded.tensor("resid_post", -1)[-1]
        normed = final * torch.rsqrt(final.pow(2).mean() + 1e-5) * expected["output_norm.weight"]
        torch.testing.assert_close(recorded.final_logits, expected["output.weight"] @ normed, rtol=1e-4, atol=1e-4)

    def test_a_first_conversion_shows_bars_only_where_they_are_asked_for(
        self, file: Path, cache: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        load_model(file, progress=False)
        assert capfd.readouterr().err == ""
        for folder in cache.iterdir():
            shutil.rmtree(folder)
        load_model(file, progress=True)
        assert "GGUF" in capfd.readouterr().err

    def test_upper_case_ending(self, file: Path, converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RESID_WIDGETS_CACHE", str(converted))
        shouted = file.with_suffix(".GGUF")
        shouted.write_bytes(file.read_bytes())
        assert load_model(shouted, progress=False).n_layers == 2


class TestCache:
    def test_a_second_use_converts_nothing(self, file: Path, converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RESID_WIDGETS_CACHE", str(converted))
        pretend(monkeypatch, lambda *_: pytest.fail("converted again"))
        folder = dense_folder(file)
        assert folder.parent == converted
        assert (folder / "model.safetensors").is_file()
        assert not list(converted.glob("converting-*"))

    def test_the_name_holds_the_content(self, file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend(monkeypatch, lambda source, folder, progress: (folder / "config.json").write_text("{}"))
        first = dense_folder(file)
        other = cache.parent / file.name
        other.write_bytes(file.read_bytes() + b"more")
        assert dense_folder(other) != first
        moved = cache.parent / "elsewhere" / file.name
        moved.parent.mkdir()
        moved.write_bytes(file.read_bytes())
        assert dense_folder(moved) == first

    @pytest.mark.parametrize("failure", [RuntimeError("power cut"), KeyboardInterrupt()], ids=repr)
    def test_a_crash_in_the_middle_leaves_nothing(
        self, file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
    ) -> None:
        def half(source: Path, folder: Path, progress: bool) -> None:
            (folder / "config.json").write_text("{}")
            raise failure

        pretend(monkeypatch, half)
        with pytest.raises(type(failure)):
            dense_folder(file)
        assert list(cache.iterdir()) == []

    def test_another_process_that_was_first_is_fine(
        self, file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def convert(source: Path, folder: Path, progress: bool) -> None:
            (folder / "config.json").write_text("{}")
            if threading.current_thread() is threading.main_thread():
                (other := threading.Thread(target=dense_folder, args=(file,))).start()
                other.join()

        pretend(monkeypatch, convert)
        folder = dense_folder(file)
        assert [p.name for p in cache.iterdir()] == [folder.name]
        assert (folder / "config.json").read_text() == "{}"

    def test_many_at_once(self, file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def convert(source: Path, folder: Path, progress: bool) -> None:
            (folder / "a").write_text("a")
            time.sleep(0.05)
            (folder / "b").write_text("b")

        pretend(monkeypatch, convert)
        found: list[list[str]] = []
        threads = [
            threading.Thread(target=lambda: found.append(sorted(p.name for p in dense_folder(file).iterdir())))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [["a", "b"]] * 4
        assert len(list(cache.iterdir())) == 1

    def test_where(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("RESID_WIDGETS_CACHE", str(tmp_path))
        assert cache_folder() == tmp_path
        monkeypatch.delenv("RESID_WIDGETS_CACHE")
        assert cache_folder().name == "resid-widgets"

    def test_cannot_be_written(self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "taken").write_text("a file")
        monkeypatch.setenv("RESID_WIDGETS_CACHE", str(tmp_path / "taken"))
        with pytest.raises(InputError, match=r"cannot be written .*Set RESID_WIDGETS_CACHE"):
            dense_folder(file)


def damaged(content: bytes) -> dict[str, tuple[bytes, str]]:
    return {
        "magic": (b"PK\x03\x04" + content[4:], "does not start like a GGUF"),
        "empty": (b"", "does not start like a GGUF"),
        "a pickle": (b"\x80\x04" + content[2:], "does not start like a GGUF"),
        "name only": (content[:4], "cannot be read"),
        "header only": (content[:100], "cannot be read"),
        "half": (content[: len(content) // 2], "cannot be read"),
        "last tensor cut": (content[:-4000], "cannot be read"),
        "version": (content[:4] + b"\xff" * 4 + content[8:], "cannot be read"),
        "counts": (content[:8] + b"\xff" * 16 + content[24:], "cannot be read"),
    }


@pytest.mark.parametrize("kind", damaged(b""))
def test_damage_is_told_before_anything_is_cached(kind: str, file: Path, cache: Path) -> None:
    content, rule = damaged(file.read_bytes())[kind]
    cache.parent.mkdir()
    bad = cache.parent / "bad.gguf"
    bad.write_bytes(content)
    with pytest.raises(InputError, match=rf"bad\.gguf'.*{rule}"):
        load_model(bad, progress=False)
    assert not cache.exists() or os.listdir(cache) == []  # noqa: PTH208


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        load_model(tmp_path / "no.gguf")
