'use strict';

const http = require('node:http');
const { Router } = require('@cupola/small-router');
const websocket = require('./websocket');

const port = Number(process.env.PORT || 8080);
const index = Number(process.env.CF_INSTANCE_INDEX || 0);

const PAGE = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>node-web</title></head>
<body><h1>Hello from Node, instance ${index}</h1>
<form><input name="line" value="hello" autocomplete="off"><button>send</button></form><pre></pre>
<script>
  const out = document.querySelector('pre');
  const socket = new WebSocket((location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + '/ws');
  socket.onmessage = (event) => { out.textContent += 'echo: ' + event.data + '\\n'; };
  socket.onclose = () => { out.textContent += 'closed\\n'; };
  document.forms[0].onsubmit = (event) => {
    event.preventDefault();
    socket.send(event.target.line.value);
  };
</script></body></html>
`;

const router = new Router()
  .get('/', (request, response) => answer(response, 200, 'text/html; charset=utf-8', PAGE))
  .get('/health', (request, response) => answer(response, 200, 'text/plain', 'ok\n'))
  .get('/env/:name', (request, response, { name }) => {
    const value = process.env[name];
    answer(response, value === undefined ? 404 : 200, 'text/plain; charset=utf-8', `${value ?? 'not set'}\n`);
  })
  .get('/instance', (request, response) => json(response, { index, pid: process.pid, node: process.version }))
  .get('/headers', (request, response) => json(response, { headers: request.headers }))
  .get('/crash', (request, response) => {
    console.log('asked to crash');
    response.on('finish', () => process.exit(1));
    answer(response, 200, 'text/plain', 'crashing\n');
  });

const server = http.createServer((request, response) => {
  const path = request.url.split('?', 1)[0];
  const found = router.find(request.method, path);
  if (found) found.handler(request, response, found.params);
  else answer(response, 404, 'text/plain', 'nothing here\n');
});

server.on('upgrade', (request, socket, head) => {
  if (request.url.split('?', 1)[0] === '/ws') websocket.echo(request, socket, head);
  else socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
});

function json(response, value) {
  answer(response, 200, 'application/json', `${JSON.stringify(value, null, 2)}\n`);
}

function answer(response, status, kind, body) {
  response.writeHead(status, { 'Content-Type': kind, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}

process.on('SIGTERM', () => {
  console.log('asked to stop: goodbye');
  server.close(() => process.exit(0));
  server.closeIdleConnections?.();
  setTimeout(() => process.exit(0), 5000).unref();
});

server.listen(port, '0.0.0.0', () => console.log(`instance ${index} listens on port ${port}`));
