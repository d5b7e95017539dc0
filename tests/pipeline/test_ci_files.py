"""The workflows for GitHub and GitLab: their syntax, their permissions, and their commands, which run here.

Posting the comment is CML's part and needs a host; everything before it is run.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.helpers.project import ROOT, commit, copy_project, run, set_param

GITHUB = ROOT / ".github/workflows/darkroom.yml"
PAGES = ROOT / ".github/workflows/pages.yml"
GITLAB = ROOT / ".gitlab-ci.yml"
VERDICT = r"^(No significant difference|B is (better|worse) than A|The predictions of A and B are the same)"


def github(file=GITHUB):
    content = yaml.safe_load(file.read_text())
    content["on"] = content.pop(True)  # YAML 1.1 takes the key for a truth value
    return content


def gitlab():
    return yaml.safe_load(GITLAB.read_text())


def steps():
    return [step for file in (GITHUB, PAGES) for job in github(file)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        (GITHUB, ["vendor.github-workflows"]),
        (PAGES, ["vendor.github-workflows"]),
        (GITLAB, ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
    ],
)
def test_they_are_valid(file, schema):
    run("check-jsonschema", "--builtin-schema", *schema, str(file), cwd=ROOT)


def test_expressions_have_the_quotes_that_github_accepts():
    """`check-jsonschema` does not read them."""
    expressions = re.findall(r"\$\{\{(.*?)\}\}", GITHUB.read_text() + PAGES.read_text())
    assert expressions
    assert not [expression for expression in expressions if '"' in expression]


def test_the_cache_of_packages_has_the_pinned_ones_in_its_key():
    keys = {step["with"]["key"] for step in steps() if step.get("with", {}).get("path") == ".venv"}
    patterns = re.findall(r"'(requirements[^']*)'", " ".join(keys))
    files = {path.name for pattern in patterns for path in ROOT.glob(pattern)}
    assert files >= {"requirements.lock", "requirements-dev.lock", *gitlab()["test"]["cache"]["key"]["files"]}


def test_actions_have_a_major_version():
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w/-]+@v\d+", action) for action in used)


def test_only_the_job_that_posts_may_write_and_it_runs_no_code_of_the_project():
    content = github()
    assert content["permissions"] == {"contents": "read"}
    jobs = content["jobs"]
    assert {name for name, job in jobs.items() if "permissions" in job} == {"comment"}
    assert jobs["comment"]["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert "head.repo.full_name == github.repository" in jobs["comment"]["if"]
    for name, job in jobs.items():
        tokens = [step for step in job["steps"] if "GITHUB_TOKEN" in str(step)]
        assert bool(tokens) == (name == "comment")
        assert all(step["with"]["persist-credentials"] is False for step in job["steps"] if "checkout" in str(step))
    assert [step["run"].split()[0] for step in jobs["comment"]["steps"] if "run" in step] == ["cml"]
    assert "pull_request_target" not in content["on"]
    assert "$REPO_TOKEN" in gitlab()["comment"]["rules"][0]["if"]
    assert [line.split()[0] for line in gitlab()["comment"]["script"]] == ["cml"]


def test_the_site_is_published_from_the_main_branch_alone_and_its_build_may_write_nothing():
    content = github(PAGES)
    assert content["on"] == {"push": {"branches": ["main"]}}
    assert content["permissions"] == {"contents": "read"}
    assert {name: job.get("permissions") for name, job in content["jobs"].items()} == {
        "build": None,
        "deploy": {"pages": "write", "id-token": "write"},
    }
    assert all("run" not in step for step in content["jobs"]["deploy"]["steps"])
    assert "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in gitlab()["pages"]["rules"][0]["if"]


def test_names_that_others_chose_are_never_part_of_a_command():
    """A branch may be called `x; curl …`: it reaches the shell only in quoted variables. And no secret is printed."""
    commands = [step["run"] for step in steps() if "run" in step]
    lines = [line for job in gitlab().values() if isinstance(job, dict) for line in job.get("script", [])]
    for command in [*commands, *lines]:
        assert "${{" not in command
        assert "set -x" not in command
        assert not re.search(r"(echo|printf|cat|env).*(TOKEN|SECRET|KEY)", command)
        outside = re.sub(r'"[^"]*"', "", command)
        assert "$" not in outside


def test_tests_run_on_a_push():
    assert "push" in github()["on"]
    assert github()["jobs"]["test"]["steps"][-1] == {"run": "make test"}
    assert gitlab()["test"]["script"] == ["make test"]


def report_commands():
    """The shell lines that make the report, as each host runs them, without the set-up by make."""
    (step,) = [step for step in steps() if ".ci/report" in step.get("run", "")]
    job = gitlab()["pipeline"]
    lines = [line for line in job["before_script"] + job["script"] if not line.startswith("make ")]
    return {"github": (step["run"], step["env"]), "gitlab": ("\n".join(lines), {})}


@pytest.mark.full
def test_their_commands_make_the_report(cheap, tmp_path):
    """A change of a param on a branch, in a fresh clone, with what main pushed to a remote; on cheap stages."""
    team = tmp_path / "team"
    copy_project(cheap, team)
    run("git", "branch", "-M", "main", cwd=team)
    run("dvc", "remote", "add", "-q", "-d", "team", str(tmp_path / "remote"), cwd=team)
    commit(team, "a remote")
    run("dvc", "push", "-q", cwd=team)
    clone = tmp_path / "clone"
    run("git", "clone", "-q", str(team), str(clone), cwd=tmp_path)
    shutil.copytree(team / "data/incoming", clone / "data/incoming", dirs_exist_ok=True)
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/activate").touch()  # the programs of this test are on the PATH already
    set_param(clone, "train.head.dropout", 0.4)
    commit(clone, "another dropout")

    commands = report_commands()
    script, environment = commands["github"]
    assert environment["BASE"] == "origin/${{ github.base_ref }}"
    variables = {
        "BASE": "origin/main",
        "AWS_ACCESS_KEY_ID": "some",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    result = run("bash", "-eo", "pipefail", "-c", script, cwd=clone, **variables)
    ran = [line.split("'")[1] for line in result.stdout.splitlines() if line.startswith("Running stage")]
    assert ran == ["train", "evaluate", "export"]  # all that comes before them is pulled
    report = (clone / "reports/report.md").read_text()
    assert (tmp_path / "summary.md").read_text() == report

    figures = [json.loads((folder / "reports/metrics.json").read_text())["log_loss"] for folder in (team, clone)]
    assert figures[0] != figures[1]
    rows = {cells[0]: cells[1:] for cells in re.findall(r"^\| *(\S+) *\| *(\S+) *\| *(\S+) *\|", report, re.MULTILINE)}
    assert [float(cell) for cell in rows["log_loss"]] == pytest.approx(figures, abs=6e-5)
    assert rows["train.head.dropout"] == ("0.5", "0.4")
    assert "The same data: data/raw " in report
    assert re.search(VERDICT, report, re.MULTILINE)
    pictures = re.findall(r"!\[.*\]\((.*)\)", report)
    assert len(pictures) == 2
    uploaded = next(step["with"]["path"] for step in steps() if "upload-artifact" in step.get("uses", "")).split()
    assert sorted(uploaded) == sorted(gitlab()["pipeline"]["artifacts"]["paths"])
    assert {f"reports/{picture}" for picture in pictures} | {"reports/report.md"} == set(uploaded)
    assert all((clone / path).is_file() for path in uploaded)

    (clone / "reports/report.md").unlink()
    run("git", "update-ref", "-d", "refs/remotes/origin/main", cwd=clone)
    script, _ = commands["gitlab"]
    run("bash", "-eo", "pipefail", "-c", script, cwd=clone, CI_MERGE_REQUEST_TARGET_BRANCH_NAME="main")
    assert (clone / "reports/report.md").read_text() == report
    assert run("git", "status", "--porcelain", cwd=clone).stdout.split() == ["M", "dvc.lock"]
    assert not Path(clone / "report.md").exists()
