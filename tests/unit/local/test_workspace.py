from pathlib import Path

import pytest

from splittraining.api.errors import StorageFailed
from splittraining.api.usage import UsageInvalid
from splittraining.local.workspace import Workspace, replace_file, write_file


def test_a_new_run_makes_its_folder_and_every_partys_for_the_user_alone(tmp_path):
    with Workspace(tmp_path / "runs" / "xray", restart=False) as workspace:
        folder = workspace.create_party("server")
        workspace.write_document("server", b"{}")
        assert (folder / "party.json").read_bytes() == b"{}"
        assert folder.stat().st_mode & 0o777 == 0o700


def test_an_earlier_run_is_kept_unless_a_restart_is_asked_for(tmp_path):
    with Workspace(tmp_path / "xray", restart=False) as workspace:
        workspace.create_party("server")
    with pytest.raises(UsageInvalid, match="add --restart"):
        Workspace(tmp_path / "xray", restart=False)
    assert (tmp_path / "xray" / "server").is_dir()
    with Workspace(tmp_path / "xray", restart=True):
        assert not (tmp_path / "xray" / "server").exists()


def test_a_restart_never_deletes_a_folder_that_is_not_a_runs(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageInvalid, match="not a run folder"):
        Workspace(tmp_path, restart=True)
    assert (tmp_path / "thesis.txt").exists()


def test_a_restart_follows_no_link_out_of_the_run_folder(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("x")
    with Workspace(tmp_path / "xray", restart=False):
        (tmp_path / "xray" / "link").symlink_to(tmp_path / "precious")
    with Workspace(tmp_path / "xray", restart=True):
        assert (tmp_path / "precious" / "data").exists()
        assert not (tmp_path / "xray" / "link").is_symlink()


def test_two_commands_cannot_run_in_one_folder(tmp_path):
    with (
        Workspace(tmp_path / "xray", restart=False),
        pytest.raises(UsageInvalid, match="another command is running"),
    ):
        Workspace(tmp_path / "xray", restart=True)


def test_a_token_can_be_deleted_more_than_once(tmp_path):
    with Workspace(tmp_path / "xray", restart=False) as workspace:
        (workspace.create_party("server") / "token").write_text("secret")
        workspace.delete_token("server")
        workspace.delete_token("server")
        assert list(workspace.folder.rglob("token")) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(StorageFailed, match=r"file.*cannot be written"):
        Workspace(blocker / "xray", restart=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_storage_error_that_names_the_path():
    with pytest.raises(StorageFailed, match=r"/dev/full cannot be written: No space left"):
        write_file(Path("/dev/full"), b"x" * 8192)


def test_a_replaced_file_keeps_its_mode_and_its_links(tmp_path):
    target, link = tmp_path / "training.yaml", tmp_path / "link.yaml"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    replace_file(link, b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "training.yaml"]


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path):
    target = tmp_path / ("x" * 250)  # its temporary name is too long for the file system
    target.write_text("old")
    with pytest.raises(StorageFailed, match="File name too long"):
        replace_file(target, b"new")
    assert target.read_text() == "old"
