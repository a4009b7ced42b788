"""A WebSocket through each balancer, asked at its own address by a client outside: it stays open for as long as both sides want."""

import asyncio
import os
import ssl
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp.abc import AbstractResolver

from tests.lab.eventually import widened

testinfra_hosts = ["ansible://load_balancers"]

ENGINE = os.environ["ESCALA_LOAD_BALANCER_ENGINE"]
INVENTORY = Path(__file__).resolve().parents[3] / "inventories/lab"
READ_TIMEOUT_SECONDS = 3
LOGIN = {"tenant": "acme", "email": "owner@acme.example"}


class OneAddress(AbstractResolver):
    """The balancer that is asked, whoever holds the virtual address."""

    def __init__(self, address):
        self.address = address

    async def resolve(self, host, port=0, family=0):
        return [{"hostname": host, "host": self.address, "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self):
        pass


class Edge:
    def __init__(self, variables):
        self.address = variables["ansible_host"]
        self.url = f"https://{variables['lab_server_name']}"
        self.tls = ssl.create_default_context(cafile=INVENTORY / ".state/pki/ca.pem")
        secrets = yaml.safe_load((INVENTORY / "group_vars/all/secrets.yml").read_text())
        self.login = LOGIN | {"password": secrets["secret_seed_password"]}

    def visit(self, what):
        """Do with an open connection to the balancer what `what` does."""

        async def visiting():
            connector = aiohttp.TCPConnector(resolver=OneAddress(self.address), ssl=self.tls)
            timeout = aiohttp.ClientTimeout(total=widened(10))
            async with aiohttp.ClientSession(self.url, connector=connector, timeout=timeout) as session:
                async with session.post("/api/auth/login", json=self.login) as answer:
                    token = (await answer.json())["accessToken"]
                async with session.ws_connect("/api/live") as socket:
                    return await what(socket, token)

        return asyncio.run(visiting())


@pytest.fixture
def edge(host):
    return Edge(host.ansible.get_variables())


async def say(socket, text):
    """Send a text and return the instance that it came back from."""
    await socket.send_str(text)
    answer = await socket.receive_json(timeout=widened(5))
    assert answer["echo"] == text
    return answer["instance"]


async def admitted(socket, token):
    await socket.send_json({"token": token})
    return (await socket.receive_json(timeout=widened(5)))["instance"]


def test_every_message_comes_back_from_the_instance_that_took_the_connection(edge):
    async def talk(socket, token):
        instance = await admitted(socket, token)
        return [instance, *[await say(socket, f"message {number}") for number in range(20)]]

    instances = edge.visit(talk)
    assert len(instances) == 21
    assert len(set(instances)) == 1


def test_connections_are_spread_over_the_instances(edge):
    assert len({edge.visit(admitted) for _ in range(8)}) > 1


def test_a_connection_stays_open_while_nobody_says_anything(edge):
    async def be_silent(socket, token):
        instance = await admitted(socket, token)
        await asyncio.sleep(READ_TIMEOUT_SECONDS + 2)
        return instance, await say(socket, "still there")

    before, after = edge.visit(be_silent)
    assert before == after


def test_a_connection_outlives_a_reload_of_the_engine(host, edge):
    def reload():
        before = host.service(ENGINE).systemd_properties["MainPID"]
        host.check_output("systemctl reload %s", ENGINE)
        # Reloaded and not started anew.
        assert host.service(ENGINE).systemd_properties["MainPID"] == before

    async def talk(socket, token):
        instance = await admitted(socket, token)
        await asyncio.to_thread(reload)
        said = [await say(socket, "right after it")]
        # The processes of before have no work left but this.
        await asyncio.sleep(READ_TIMEOUT_SECONDS + 2)
        return instance, {*said, await say(socket, "and later")}

    instance, said = edge.visit(talk)
    assert said == {instance}


def test_who_shows_no_good_token_is_turned_away(edge):
    async def lie(socket, _token):
        await socket.send_json({"token": "made up"})
        await socket.receive(timeout=widened(5))
        return socket.close_code

    assert edge.visit(lie) == 4401
