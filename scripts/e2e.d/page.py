"""The console's page, as a browser asks for it."""

import http.client
import json
import re
from collections.abc import Callable

import topology
from harness import Broken, until

SERVICE = "console"
# How long an answer may take, in seconds.
PATIENCE = 10


def token_in(lines: str) -> str:
    """The token that a console drew when it started last, as its log tells it."""
    told = re.findall(r"#token=([0-9a-f]{32})\b", lines)
    if not told:
        raise Broken("the log tells no token")
    return told[-1]


class Page:
    """One browser's view of a console."""

    def __init__(self, port: int):
        self.port = port
        self.cookie = ""

    def ask(self, path: str, body: dict | None = None, **headers: str) -> tuple[int, str]:
        """Gets something, or posts a body; the status and what is answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        if self.cookie:
            headers["cookie"] = self.cookie
        try:
            if body is None:
                connection.request("GET", path, headers=headers)
            else:
                headers["content-type"] = "application/json"
                connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            if told := answer.getheader("set-cookie"):
                self.cookie = told.partition(";")[0]
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def get(self, path: str) -> dict:
        """Something that is there."""
        status, answer = self.ask(path)
        if status != http.client.OK:
            raise Broken(f"{path}: {status} {answer[:300]}")
        return json.loads(answer)

    def post(self, path: str, body: dict) -> dict:
        """Something that is done."""
        status, answer = self.ask(path, body)
        if status != http.client.OK:
            raise Broken(f"{path}: {status} {answer[:300]}")
        return json.loads(answer)

    def nodes(self) -> dict[str, dict]:
        """Every process that is seen now, by its key: the first event tells all."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/events", headers={"cookie": self.cookie})
            stream = connection.getresponse()
            for line in stream:
                if line.startswith(b"data: "):
                    found = json.loads(line.removeprefix(b"data: "))["nodes"]
                    return {node["key"]: node for node in found}
        finally:
            connection.close()
        raise Broken("the stream ended before it told anything")

    def sees(self, what: str, seconds: float, wanted: Callable[[dict], object]):
        """Waits until what is seen is as wanted."""

        def seen():
            nodes = self.nodes()
            found = wanted(nodes)
            if not found:
                states = {key: node["health"] for key, node in nodes.items()}
                raise RuntimeError(f"seen are {states}")
            return found

        return until(what, seconds, seen, 0.3)


def opened() -> Page:
    """The page of the console in its container, opened with the token that its log tells."""
    port = int(topology.description()["services"][SERVICE]["ports"][0]["published"])
    page = Page(port)
    page.post("/login", {"token": token_in("\n".join(topology.logs(SERVICE)))})
    return page
