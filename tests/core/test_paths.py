from darkroom.core import paths


def test_experiments_in_temporary_workspaces_share_the_main_repositorys_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert paths.home() == tmp_path
    workspace = tmp_path / ".dvc/tmp/exps/tmpabc"
    workspace.mkdir(parents=True)
    monkeypatch.chdir(workspace)
    assert paths.home() == tmp_path
    assert (paths.cache(), paths.logs()) == (tmp_path / ".cache", tmp_path / "logs")
