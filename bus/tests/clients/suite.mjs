// What a client of the bus does all day, with the clients for node. Prints `ok` at the end.
//
// Takes JSON: library (nats, transport-node or ws), url, and when it is over TLS the files ca,
// certificate and key, and whether it is first.
import { createRequire } from "node:module";
import process from "node:process";
import { pathToFileURL } from "node:url";

const SMALL = 3000;
const LARGE = 1024 * 1024;

const how = JSON.parse(process.argv[2]);
const require = createRequire(pathToFileURL(process.argv[3] + "/"));

function library() {
  if (how.library === "ws") {
    // Browsers and later versions of node have it.
    globalThis.WebSocket = require("ws").WebSocket;
    return { ...require("@nats-io/nats-core"), connect: require("@nats-io/nats-core").wsconnect };
  }
  return require(how.library === "nats" ? "nats" : "@nats-io/transport-node");
}

const { connect, headers } = library();

function options(name) {
  const options = { servers: how.url, name, reconnect: false, timeout: 20000 };
  if (how.ca && how.library !== "ws") {
    options.tls = { caFile: how.ca, handshakeFirst: how.first ?? false };
    if (how.certificate) {
      options.tls.certFile = how.certificate;
      options.tls.keyFile = how.key;
    }
  }
  return options;
}

function check(condition, what) {
  if (!condition) throw new Error(what);
}

/// The next `count` messages of a subscription.
async function take(subscription, count) {
  const messages = [];
  for await (const message of subscription) {
    messages.push(message);
    if (messages.length === count) return messages;
  }
  throw new Error(`${messages.length} of ${count} came`);
}

const [one, two] = [await connect(options("one")), await connect(options("two"))];
const text = (message) => new TextDecoder().decode(message.data);
const bytes = (text) => new TextEncoder().encode(text);

two.subscribe("double", {
  queue: "workers",
  callback: (_, message) => message.respond(bytes(text(message).repeat(2))),
});
await two.flush();
for (let number = 0; number < 100; number++) {
  const reply = await one.request("double", bytes(`${number}`), { timeout: 20000 });
  check(text(reply) === `${number}${number}`, "a wrong answer");
}
const nobody = await one.request("nobody", bytes("")).then(() => "answered", (error) => error.message);
check(/no responders|503/i.test(nobody), `no responders: ${nobody}`);

const inbox = two.subscribe("large");
await two.flush();
const large = new Uint8Array(LARGE).map((_, index) => index % 251);
const headed = headers();
headed.set("A", "b");
one.publish("large", large.subarray(0, LARGE - 20), { headers: headed });
one.publish("large", large);
const [first, second] = await take(inbox, 2);
check(first.headers.get("A") === "b" && first.data.length === LARGE - 20, "with headers");
check(Buffer.compare(second.data, large) === 0, "a large one");

const [here, there] = [one.subscribe("to.one"), two.subscribe("to.two")];
await Promise.all([one.flush(), two.flush()]);
for (let number = 0; number < SMALL; number++) {
  one.publish("to.two", bytes(`${number}`));
  two.publish("to.one", bytes(`${number}`));
}
for (const heard of await Promise.all([take(here, SMALL), take(there, SMALL)])) {
  heard.forEach((message, number) => check(text(message) === `${number}`, "out of order"));
}
await one.drain();
await two.close();
console.log("ok");
process.exit(0);
