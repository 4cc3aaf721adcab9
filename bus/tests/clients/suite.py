"""What a client of the bus does all day, with nats-py. Prints `ok` at the end.

Takes JSON: url, and when it is over TLS the files ca, certificate and key, and whether it is first.
"""

import asyncio
import json
import ssl
import sys

import nats
from nats.errors import NoRespondersError

SMALL = 3000
LARGE = 1024 * 1024


async def connect(how, name):
    options = {"allow_reconnect": False, "connect_timeout": 20, "name": name}
    if "ca" in how:
        context = ssl.create_default_context(cafile=how["ca"])
        if "certificate" in how:
            context.load_cert_chain(how["certificate"], how["key"])
        options["tls"] = context
        options["tls_handshake_first"] = how.get("first", False)
    return await nats.connect(how["url"], **options)


async def heard(client):
    """All that the client has asked for so far is in force. Its flush may overtake a subscription."""
    try:
        await client.request("nobody", b"", timeout=20)
        raise AssertionError("somebody answered")
    except NoRespondersError:
        pass


async def main(how):
    one, two = await connect(how, "one"), await connect(how, "two")

    async def answer(message):
        await message.respond(message.data * 2)

    await two.subscribe("double", queue="workers", cb=answer)
    await heard(two)
    for number in range(100):
        reply = await one.request("double", str(number).encode(), timeout=20)
        assert reply.data == str(number).encode() * 2

    inbox = await two.subscribe("large")
    await heard(two)
    large = bytes(range(256)) * (LARGE // 256)
    await one.publish("large", large[:-20], headers={"A": "b"})
    await one.publish("large", large)
    first, second = await inbox.next_msg(20), await inbox.next_msg(20)
    assert first.data == large[:-20] and first.headers == {"A": "b"}
    assert second.data == large

    # Many small ones, both ways at once, each in its order.
    here, there = await one.subscribe("to.one"), await two.subscribe("to.two")
    await heard(one)
    await heard(two)

    async def send(client, subject):
        for number in range(SMALL):
            await client.publish(subject, str(number).encode())
        await client.flush(20)

    async def hear(subscription):
        for number in range(SMALL):
            message = await subscription.next_msg(20)
            assert message.data == str(number).encode(), message.data

    await asyncio.gather(send(one, "to.two"), send(two, "to.one"), hear(here), hear(there))
    await one.drain()
    await two.close()
    print("ok")


asyncio.run(asyncio.wait_for(main(json.loads(sys.argv[1])), 90))
