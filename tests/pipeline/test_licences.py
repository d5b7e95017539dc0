"""Every package that is installed has a licence that docs/licences.md covers."""

import json
import re
import subprocess
import sys

import pytest
from packaging.markers import Marker

from tests.helpers.project import ROOT

PERMISSIVE = re.compile(
    r"(the )?(MIT|BSD|[23]-clause BSD|Apache|ISC|PSF|Python Software Foundation|Zope Public|Unlicense|Zlib|0BSD|CC0|"
    r"public domain|HPND)\b",
    re.IGNORECASE,
)
OTHER = re.compile(r"GPL|MPL|Mozilla|EPL|CDDL|EUPL|copyleft|UNKNOWN|proprietary|non-?commercial", re.IGNORECASE)


@pytest.fixture(scope="module")
def licences():
    """Package to licence, by pip-licenses."""
    command = (sys.executable, "-m", "piplicenses", "--with-system", "--format", "json")
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {re.sub(r"[._]", "-", entry["Name"].lower()): entry["License"].partition("\n")[0] for entry in listed}


@pytest.fixture(scope="module")
def table():
    """The page's lines: package, with a mark if it is for development, to licence."""
    text = (ROOT / "docs/licences.md").read_text().partition("## Libraries")[0]
    rows = re.findall(r"^\| ([a-z0-9][a-z0-9-]*\*?) \| (.*?) \|", text, re.M)
    return dict(row for row in rows if row[0] != "package")


def locked(name):
    """The packages in a lock file that belong on this system."""
    rows = re.findall(r"^([a-z0-9.-]+)==\S+(?: ; (.*))? \\$", (ROOT / name).read_text(), re.M)
    return {package.replace(".", "-") for package, marker in rows if not marker or Marker(marker).evaluate()}


def test_every_package_has_a_known_licence(licences, table):
    described = {name.rstrip("*") for name in table}
    for package in sorted(locked("requirements-dev.lock")):
        licence = licences.get(package, "not listed")
        permissive = PERMISSIVE.match(licence) and (not OTHER.search(licence) or licence.startswith("Apache-2.0 OR"))
        assert permissive or package in described, f"{package}: {licence}; docs/licences.md has no line on it"


def test_the_page_names_what_is_installed(table):
    run, everything = locked("requirements.lock"), locked("requirements-dev.lock")
    assert {name for name in table if not name.endswith("*")} <= run
    assert {name.rstrip("*") for name in table if name.endswith("*")} <= everything - run
