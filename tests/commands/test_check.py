import os

import pytest

from darkroom.commands import check
from darkroom.core.errors import UserError
from tests.helpers.odd_files import photo
from tests.helpers.pictures import save
from tests.helpers.project import repository

PARAMS = "download: {source: folder, path: data/incoming, unlabelled: data/unlabelled}\n"


@pytest.fixture
def project(workspace):
    """A folder with params.yaml and pictures."""
    save(workspace / "data/incoming/cat/1.png", photo(1))
    (workspace / "params.yaml").write_text(PARAMS)
    (workspace / "data/unlabelled").mkdir()
    repository(workspace)
    return workspace


def test_a_project_in_order_is_silent(project, capsys):
    check.main()
    assert capsys.readouterr() == ("", "")


def test_what_would_stop_dvc_is_named(project):
    path = project / "data/incoming/cat" / os.fsdecode(b"caf\xe9.png")
    path.touch()
    with pytest.raises(UserError, match=r"caf\\xe9.png is not UTF-8, .*: rename it, .*convmv"):
        check.main()
    path.unlink()
    (project / "data/incoming/dog").symlink_to("cat")
    with pytest.raises(UserError, match="dog is a link to a folder"):
        check.main()


def test_a_missing_folder_is_named_by_its_key(project):
    (project / "params.yaml").write_text(PARAMS.replace("path: data/incoming", "path: data/none"))
    with pytest.raises(UserError, match=r"download.path data/none does not exist"):
        check.main()


@pytest.mark.parametrize(("key", "default"), [("path", "data/incoming"), ("unlabelled", "data/unlabelled")])
def test_a_key_that_dvc_needs_is_named(key, default, project):
    """Such as after an update, in a params.yaml of one's own."""
    (project / "params.yaml").write_text(PARAMS.replace(f", {key}: {default}", ""))
    with pytest.raises(UserError, match=f"params.yaml has no download.{key}, .*add `{key}: {default}` to download"):
        check.main()
