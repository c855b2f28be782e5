"""What a native client does that a browser cannot: a token on the handshake, pings and fragments of the WebSocket protocol.

On the `websockets` package. Starts a server of its own, the binary that PARLOR_BIN names, and stops it.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

BINARY = os.environ["PARLOR_BIN"]
SECRET = "independent clients bring a secret of their own"
DEADLINE_SECONDS = 10
RUN_SECONDS = 60


class Server:
    """The real binary on a free port and a data directory of its own."""

    def __init__(self, directory):
        self.secret_file = directory / "secret"
        self.secret_file.touch(mode=0o600)
        self.secret_file.write_text(SECRET)
        command = [BINARY, "serve", "--listen=127.0.0.1:0", "--data", directory / "data", "--jwt-secret-file", self.secret_file]
        # Nothing of the environment, where a PARLOR_ variable could change what is tested.
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={})
        found = re.search(r"ws://127\.0\.0\.1:\d+/ws", self.process.stdout.readline())
        assert found, "the server tells its URL in its first line"
        self.url = found[0]

    def print_token(self, sub):
        command = [BINARY, "token", "--sub", sub, "--jwt-secret-file", self.secret_file]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={}).stdout.strip()

    def stop(self):
        """SIGTERM, and the exit code; what does not end by itself is killed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def connect(self, token):
        headers = {"Authorization": f"Bearer {token}"}
        return connect(self.url, additional_headers=headers, subprotocols=["parlor.v1"], proxy=None)


class Client:
    """One connection: numbers its requests, and keeps the events that come between the replies."""

    def __init__(self, socket):
        self.socket, self.events, self.requests = socket, [], 0

    async def next(self):
        async with asyncio.timeout(DEADLINE_SECONDS):
            message = await self.socket.recv()
        assert isinstance(message, str), "text frames only"
        return json.loads(message)

    async def send(self, action, payload, in_pieces_of=None):
        self.requests += 1
        request_id = f"p-{self.requests}"
        text = json.dumps({"type": action, "requestId": request_id, "payload": payload}, ensure_ascii=False)
        # An iterable goes out as the fragments of one message.
        await self.socket.send([text[i : i + in_pieces_of] for i in range(0, len(text), in_pieces_of)] if in_pieces_of else text)
        return request_id

    async def request(self, action, payload, in_pieces_of=None):
        request_id = await self.send(action, payload, in_pieces_of)
        while (envelope := await self.next()).get("requestId") != request_id:
            assert "requestId" not in envelope, f"an answer to nothing asked: {envelope}"
            self.events.append(envelope)
        assert envelope["type"] in (action, "error"), envelope
        return envelope["payload"]

    async def event(self, name):
        while True:
            for at, envelope in enumerate(self.events):
                if envelope["type"] == name:
                    return self.events.pop(at)["payload"]
            self.events.append(await self.next())

    async def closed(self):
        """The code that the server closes with, whatever it says before."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.next()
        return self.socket.close_code


@contextlib.asynccontextmanager
async def login(server, user):
    async with server.connect(server.print_token(user)) as socket:
        assert socket.subprotocol == "parlor.v1"
        assert socket.protocol.extensions == [], "compression was offered and is not taken"
        client = Client(socket)
        greeting = await client.next()
        assert greeting["type"] == "auth" and "requestId" not in greeting, "the reply to a login by header comes unasked"
        assert greeting["payload"]["user"]["id"] == user
        yield client


async def refuses_bad_tokens_before_the_upgrade(server):
    token = server.print_token("dora")
    for bad in [token[:-4] + "AAAA", "nonsense"]:
        try:
            async with server.connect(bad):
                raise AssertionError("a bad token was let in")
        except InvalidStatus as refused:
            assert refused.response.status_code == 401, refused


async def answers_pings_of_the_websocket_protocol(server):
    async with login(server, "dora") as dora:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await (await dora.socket.ping(b"are you there"))


async def puts_fragments_together(server):
    async with login(server, "dora") as dora:
        payload = {"text": "ein Stück in der Mitte 👋 zerteilt"}
        assert await dora.request("ping", payload, in_pieces_of=3) == payload


async def closes_what_it_does_not_speak(server):
    async with login(server, "dora") as dora:
        await dora.socket.send(b"binary")
        assert await dora.closed() == 1003
    async with login(server, "dora") as dora:
        await dora.send("ping", {"text": "x" * 70_000})
        assert await dora.closed() == 1009


async def runs_a_group(server):
    async with login(server, "dora") as dora, login(server, "emil") as emil:
        created = await dora.request("create_group", {"name": "Ausflug"})
        group, code = created["conversation"]["id"], created["inviteCode"]
        assert created["conversation"]["kind"] == "group" and created["conversation"]["title"] == "Ausflug"
        await dora.request("join_conversation", {"conversationId": group})
        wrong = await emil.request("join_group", {"inviteCode": "no such code"})
        assert wrong["code"] == "not_found", wrong
        welcome = await emil.request("join_group", {"inviteCode": code})
        assert welcome["conversation"]["memberCount"] == 2 and "inviteCode" not in welcome["conversation"]
        assert (await dora.event("member_joined"))["userId"] == "emil"

        # Emil has not joined it on this connection, so he gets the hint instead of the message.
        sent = await dora.request("send_message", {"conversationId": group, "content": "Wer kommt mit?"})
        hint = await emil.event("conversation_activity")
        assert hint["conversationId"] == group and hint["lastMessage"] == sent["message"] and hint["unreadCount"] == 1
        joined = await emil.request("join_conversation", {"conversationId": group})
        assert joined["events"][-1]["payload"] == sent["message"]
        assert [event["payload"]["seq"] for event in joined["events"]] == list(range(1, joined["head"] + 1))

        assert await emil.request("leave_group", {"conversationId": group}) == {"conversationId": group}
        left = await dora.event("member_left")
        assert left["userId"] == "emil" and left["seq"] == joined["head"] + 1
        refused = await emil.request("load_messages", {"conversationId": group})
        assert refused["code"] == "not_found", refused


async def run(server):
    behaviours = [
        refuses_bad_tokens_before_the_upgrade,
        answers_pings_of_the_websocket_protocol,
        puts_fragments_together,
        closes_what_it_does_not_speak,
        runs_a_group,
    ]
    async with asyncio.timeout(RUN_SECONDS):
        for behaviour in behaviours:
            await behaviour(server)
            print("✔", behaviour.__name__.replace("_", " "))


def main():
    with tempfile.TemporaryDirectory(prefix="parlor-independent-") as directory:
        server = Server(pathlib.Path(directory))
        try:
            asyncio.run(run(server))
        finally:
            code = server.stop()
        assert code == 0, f"the server stops cleanly, and not with {code}"


if __name__ == "__main__":
    main()
