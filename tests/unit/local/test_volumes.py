import pytest

from splittraining.api.usage import UsageInvalid
from splittraining.local.volumes import parse_pairs, resolve_volumes


def test_pairs_are_split_at_the_first_equals_sign(tmp_path):
    pairs = parse_pairs([f"xrays={tmp_path}/a=b"], flag="--volume", meaning="CLAIM")
    assert pairs == {"xrays": tmp_path / "a=b"}


@pytest.mark.parametrize("value", ["xrays", "=folder", "xrays=", ""])
def test_a_value_without_both_sides_is_refused_with_the_form(value):
    with pytest.raises(UsageInvalid, match="Allowed: --volume CLAIM=FOLDER"):
        parse_pairs([value], flag="--volume", meaning="CLAIM")


def test_a_claim_given_twice_is_refused():
    with pytest.raises(UsageInvalid, match="names xrays twice"):
        parse_pairs(["xrays=a", "xrays=b"], flag="--volume", meaning="CLAIM")


def test_a_flag_wins_over_the_folder_beside_the_manifest(tmp_path):
    (tmp_path / "data" / "xrays").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    resolved = resolve_volumes(["xrays", "xrays"], {"xrays": tmp_path / "mine"}, tmp_path)
    assert resolved == {"xrays": tmp_path / "mine"}


def test_without_a_flag_the_folder_beside_the_manifest_is_taken(tmp_path):
    (tmp_path / "data" / "xrays").mkdir(parents=True)
    assert resolve_volumes(["xrays"], {}, tmp_path) == {"xrays": tmp_path / "data" / "xrays"}


def test_a_claim_without_a_folder_names_the_flag_to_give(tmp_path):
    with pytest.raises(UsageInvalid, match=r"no folder is known for the claim xrays.*--volume xrays=FOLDER"):
        resolve_volumes(["xrays"], {}, tmp_path)


def test_a_flag_for_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageInvalid, match="not a folder"):
        resolve_volumes(["xrays"], {"xrays": tmp_path / "none"}, tmp_path)


def test_a_flag_for_a_claim_nobody_reads_is_refused_with_those_that_are_read(tmp_path):
    with pytest.raises(UsageInvalid, match=r"names x-rays, which no party.*Allowed: xrays"):
        resolve_volumes(["xrays"], {"x-rays": tmp_path}, tmp_path)
