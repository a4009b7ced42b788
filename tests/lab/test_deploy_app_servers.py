"""An application host leaves and comes back by nothing but a changed inventory, under load, and nobody notices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.lab.edge import instances_that_answer
from tests.lab.eventually import eventually
from tests.lab.handle import ROOT, Lab, playbook
from tests.lab.load import BESIDE_A_RUN, running_load
from tests.lab.rotation import out_of_rotation
from tests.lab.target import Target
from tests.lab.unnoticed import REQUESTS, assert_nobody_noticed

INVENTORY = ROOT / "inventories" / "lab"


@pytest.fixture
def without_app2(tmp_path: Path) -> Path:
    """A copy of the lab's inventory, secrets and authority included, with one application host less."""
    copy = tmp_path / "lab"
    shutil.copytree(INVENTORY, copy, symlinks=False)
    comment, _, data = (copy / "hosts.yml").read_text().partition("\n")
    hosts = json.loads(data)
    del hosts["all"]["children"]["app_servers"]["hosts"]["app2"]
    (copy / "hosts.yml").write_text(f"{comment}\n{json.dumps(hosts)}\n")
    return copy / "hosts.yml"


@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=3)
@pytest.mark.soak_only
def test_an_application_host_is_taken_out_and_put_back_by_the_inventory(
    lab: Lab, target: Target, instances: list[str], output: Path, without_app2: Path
) -> None:
    of_app1 = {name for name in instances if name.startswith("app1-")}
    try:
        with running_load(target, requests=REQUESTS, rate=BESIDE_A_RUN, save_to=output / "load.json") as load:
            eventually("the load is steady", lambda: load.result.requests > REQUESTS // 10, within=30)
            removed = playbook("etapa_1_load_balancer.yml", "--inventory", str(without_app2))
            assert removed.returncode == 0, removed.stdout[-3000:]
            eventually(
                "only the instances of app1 answer",
                lambda: instances_that_answer(target, 4 * len(instances)) == of_app1,
                within=10,
            )
            added = playbook("etapa_1_load_balancer.yml")
            assert added.returncode == 0, added.stdout[-3000:]
            eventually(
                "every instance answers again",
                lambda: instances_that_answer(target, 4 * len(instances)) == set(instances),
                within=10,
            )
        assert_nobody_noticed(load.result, "host_out_and_in", "an application host taken out and put back")
        assert out_of_rotation(lab) == {"lb1": [], "lb2": []}
    except BaseException:
        playbook("etapa_1_load_balancer.yml")
        raise
