from ansible_collections.escala.ha.plugins.filter.superseded_releases import FilterModule


def test_the_oldest_goes():
    found = [{"path": "/a", "ctime": 1.0}, {"path": "/b", "ctime": 2.0}]
    assert FilterModule().filters()["superseded_releases"](found, "1", []) == ["/a"]
