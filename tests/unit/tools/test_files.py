import subprocess

from tools import sanity
from tools.files import of_the_tree


def tree(root, **files):
    subprocess.run(["git", "init", "--quiet", root], check=True)
    for name, text in files.items():
        (root / name).write_text(text)


def test_a_new_file_belongs_to_the_tree_and_an_ignored_or_removed_one_does_not(tmp_path):
    tree(tmp_path, new="", ignored="", removed="", **{".gitignore": "/ignored\n"})
    subprocess.run(["git", "add", "removed"], cwd=tmp_path, check=True)
    (tmp_path / "removed").unlink()
    assert of_the_tree(tmp_path) == [".gitignore", "new"]


def test_sanity_looks_at_the_collection_and_not_at_what_is_beside_it(tmp_path, monkeypatch):
    source = tmp_path / "source"
    for name in ("plugins/modules", "tests/unit", "lab", "examples/tenant_app"):
        (source / name).mkdir(parents=True)
        (source / name / "x.py").write_text("")
    tree(source, **{"galaxy.yml": ""})
    monkeypatch.setattr(sanity, "ROOT", source)
    assert sanity.copy_tree(tmp_path / "copy") == 2
    assert (tmp_path / "copy" / "plugins" / "modules" / "x.py").is_file()


def test_the_stand_in_for_get_pip_is_where_ansible_test_looks_for_it_and_replaces_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    sanity.stand_in_for_get_pip()
    (script,) = (tmp_path / ".ansible" / "test" / "cache").glob("get_pip_*.py")
    assert "ensurepip" in script.read_text()
    script.write_text("the real one")
    sanity.stand_in_for_get_pip()
    assert script.read_text() == "the real one"
