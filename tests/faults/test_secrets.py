"""Secrets in the environment, in remotes and in addresses turn up in nothing that is written or printed."""

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.helpers.project import run, set_params
from tests.helpers.small_sets import zip_layout
from tests.helpers.tiny import LAYOUT, tiny

SECRET = "geheim" + "-7f3a"  # every planted secret contains it, and this file does not
ENVIRONMENT = {
    name: f"{SECRET}-{name.lower()}"
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
                 "GITHUB_TOKEN", "DATABASE_PASSWORD", "SET_TOKEN", "SET_PASSWORD")
} | {"HTTPS_PROXY": f"http://ada:{SECRET}-proxy@127.0.0.1:9", "MLFLOW_TRACKING_USERNAME": "ada"}  # fmt: skip
COMMANDS = {  # with whether they succeed
    "check": True,
    "summary": True,
    "track": True,
    "recipe fashion_cnn train.epochs=0": False,
    "predict data/raw/train/cat": True,
    "compare models:/none/1 models:/none/2": False,
    "promote none": False,
    "sweep mine --trials 1 --heads knn": True,
}
STORES = [f"http://ada:{SECRET}-uri@127.0.0.1:9", f"postgresql://ada:{SECRET}-uri@127.0.0.1:9/x?password={SECRET}-2"]


class Handler(BaseHTTPRequestHandler):
    """Answers with a file to whoever knows the password and the token."""

    def do_GET(self):
        known = f"token={SECRET}-set_token" in self.path and "Authorization" in self.headers
        self.send_response(200 if known else 403)
        data = self.server.content if known else b""
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """The address of an archive of pictures that needs a password and a token, without either."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.content = zip_layout(tmp_path / "set.zip", LAYOUT).read_bytes()
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{running.server_port}/set.zip"
        running.shutdown()


def plant(folder):
    """Put secrets where people have them: the remotes of git and DVC, and DVC's local settings."""
    run("git", "remote", "set-url", "origin", f"https://ada:{SECRET}-git@example.org/darkroom.git", cwd=folder)
    run("dvc", "remote", "add", "-d", "team", f"https://ada:{SECRET}-dvc@example.org/data", "--local", cwd=folder)
    run("dvc", "remote", "modify", "--local", "team", "password", f"{SECRET}-local", cwd=folder)


def found(folder, *texts):
    """The files of a project, and the texts, that hold a planted secret; the settings that it was planted in do not
    count."""
    planted = {folder / ".git/config", folder / ".dvc/config.local"}
    files = [path for path in folder.rglob("*") if path.is_file() and path not in planted]
    return [str(path.relative_to(folder)) for path in files if SECRET.encode() in path.read_bytes()] + [
        text for text in texts if SECRET in text
    ]


@pytest.mark.full
@pytest.mark.table
def test_no_secret_turns_up_anywhere(tmp_path, server):
    address = f"http://ada:$SET_PASSWORD@{server}?X-Amz-Date=1&token=${{SET_TOKEN}}"
    changes = {"download.source": "archive", "download.url": address, "export.register": "animals"}
    folder = tiny(tmp_path / "darkroom", **changes)
    plant(folder)
    results = [run("dvc", "repro", "-v", cwd=folder, **ENVIRONMENT)]
    for command, succeeds in COMMANDS.items():
        results.append(run("python", "-m", "darkroom", *command.split(), cwd=folder, check=False, **ENVIRONMENT))
        assert (results[-1].returncode == 0) == succeeds, results[-1].stderr
    for store in STORES:
        for command in (("stages.evaluate",), ("stages.train",), ("darkroom", "summary"), ("darkroom", "track")):
            variables = {**ENVIRONMENT, "MLFLOW_TRACKING_URI": store}
            results.append(run("python", "-m", *command, cwd=folder, check=False, **variables))
    shutil.rmtree(folder / ".cache/downloads")
    wrong = {**ENVIRONMENT, "SET_TOKEN": f"{SECRET}-wrong"}
    results.append(run("python", "-m", "stages.download", cwd=folder, check=False, **wrong))
    assert "the server answered 403" in results[-1].stderr
    assert found(folder, *(text for done in results for text in (done.stdout, done.stderr))) == []
    assert "token=${SET_TOKEN}" in (folder / "dvc.lock").read_text()  # so that the address was recorded


@pytest.mark.full
def test_an_address_with_a_secret_is_refused_before_it_is_copied(tmp_path):
    folder = tiny(tmp_path / "darkroom", **{"download.source": "archive"})
    for address in (
        f"https://ada:{SECRET}@example.org/set.zip",
        f"https://example.org/set.zip?X-Amz-Signature={SECRET}",
    ):
        set_params(folder, {"download.url": address})
        for command in (("dvc", "repro"), ("python", "-m", "darkroom", "check")):
            done = run(*command, cwd=folder, check=False)
            assert "download.url is" in done.stderr, done.stderr
            assert done.returncode
            assert found(folder, done.stdout, done.stderr) == ["params.yaml"]
