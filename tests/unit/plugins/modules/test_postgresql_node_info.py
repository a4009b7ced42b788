import pytest


def made(folder, version):
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text(f"{version}\n")
    return str(folder)


@pytest.mark.parametrize("asked", [17, 18])
def test_data_of_another_version_is_seen_beside_the_place_that_is_asked_about(run_module, tmp_path, asked):
    there = made(tmp_path / "17" / "main", 17)
    options = {"version": asked, "data_directory": str(tmp_path / str(asked) / "main"), "port": 1}
    result = run_module("postgresql_node_info", options)
    assert result["versions"] == {there: "17"}
    assert (result["data"], result["version"]) == ((True, "17") if asked == 17 else (False, None))
    assert (result["changed"], result["running"], result["writable"]) == (False, False, False)


def test_a_host_without_any_data_has_none(run_module, tmp_path):
    result = run_module("postgresql_node_info", {"version": 17, "data_directory": str(tmp_path / "17" / "main")})
    assert (result["data"], result["versions"]) == (False, {})


@pytest.mark.parametrize(
    ("data", "theirs", "ours", "foreign"),
    [(False, False, False, False), (True, False, False, True), (False, True, False, True), (True, True, True, False)],
)
def test_what_somebody_else_made_is_told_from_what_is_ours(run_module, tmp_path, data, theirs, ours, foreign):
    files = {"configuration_file": tmp_path / "postgresql.conf", "own_settings_file": tmp_path / "escala.conf"}
    for name, there in (("configuration_file", theirs), ("own_settings_file", ours)):
        if there:
            files[name].touch()
    if data:
        made(tmp_path / "17" / "main", 17)
    options = {
        "version": 17,
        "data_directory": str(tmp_path / "17" / "main"),
        "port": 1,
        **{n: str(f) for n, f in files.items()},
    }
    result = run_module("postgresql_node_info", options)
    assert result["foreign"] is foreign
    assert result["library"].startswith("glibc ")
    assert "C" in result["available_locales"]
