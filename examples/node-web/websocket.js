'use strict';

// A websocket echo with nothing but the standard library (RFC 6455, no extensions).

const crypto = require('node:crypto');

const MAGIC = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const MAX_PAYLOAD = 1024 * 1024;
const CONTINUATION = 0x0;
const CLOSE = 0x8;
const PING = 0x9;
const PONG = 0xa;

/** Answers the upgrade and echoes every message until the client says goodbye. */
function echo(request, socket, head) {
  const key = request.headers['sec-websocket-key'];
  const version = request.headers['sec-websocket-version'];
  if (!key || version !== '13') {
    socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    return;
  }
  const accept = crypto.createHash('sha1').update(key + MAGIC).digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
    + `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.setNoDelay(true);

  let pending = head;
  socket.on('error', () => socket.destroy());
  socket.on('data', (data) => {
    pending = Buffer.concat([pending, data]);
    pending = drain(socket, pending);
  });
  pending = drain(socket, pending);
}

/** Handles every complete frame in `data`; returns what is left of it. */
function drain(socket, data) {
  let rest = data;
  for (;;) {
    const frame = parse(rest);
    if (frame === null) return rest;
    if (frame.error) {
      send(socket, CLOSE, closing(frame.error), true);
      socket.end();
      return Buffer.alloc(0);
    }
    rest = rest.subarray(frame.length);
    if (frame.opcode === CLOSE) {
      send(socket, CLOSE, frame.payload.subarray(0, 2), true);
      socket.end();
      return Buffer.alloc(0);
    }
    if (frame.opcode === PING) send(socket, PONG, frame.payload, true);
    else if (frame.opcode !== PONG) send(socket, frame.opcode, frame.payload, frame.final);
  }
}

/** One frame from the front of `data`: null when it is not complete yet. */
function parse(data) {
  if (data.length < 2) return null;
  const final = (data[0] & 0x80) !== 0;
  const opcode = data[0] & 0x0f;
  const known = opcode === CONTINUATION || opcode === 1 || opcode === 2 || (opcode >= CLOSE && opcode <= PONG);
  if ((data[0] & 0x70) !== 0 || !known || (data[1] & 0x80) === 0) return { error: 1002 };
  let size = data[1] & 0x7f;
  let offset = 2;
  if (opcode >= CLOSE && (size > 125 || !final)) return { error: 1002 };
  if (size === 126) {
    if (data.length < 4) return null;
    size = data.readUInt16BE(2);
    offset = 4;
  } else if (size === 127) {
    if (data.length < 10) return null;
    const wide = data.readBigUInt64BE(2);
    if (wide > BigInt(MAX_PAYLOAD)) return { error: 1009 };
    size = Number(wide);
    offset = 10;
  }
  if (size > MAX_PAYLOAD) return { error: 1009 };
  if (data.length < offset + 4 + size) return null;
  const mask = data.subarray(offset, offset + 4);
  const payload = Buffer.from(data.subarray(offset + 4, offset + 4 + size));
  for (let i = 0; i < payload.length; i += 1) payload[i] ^= mask[i & 3];
  return { final, opcode, payload, length: offset + 4 + size };
}

function send(socket, opcode, payload, final) {
  const first = (final ? 0x80 : 0) | opcode;
  let header;
  if (payload.length < 126) {
    header = Buffer.from([first, payload.length]);
  } else if (payload.length < 65536) {
    header = Buffer.alloc(4);
    header[0] = first;
    header[1] = 126;
    header.writeUInt16BE(payload.length, 2);
  } else {
    header = Buffer.alloc(10);
    header[0] = first;
    header[1] = 127;
    header.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  socket.write(Buffer.concat([header, payload]));
}

function closing(code) {
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(code);
  return payload;
}

module.exports = { echo };
