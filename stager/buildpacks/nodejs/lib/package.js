'use strict';

// What package.json says, for the scripts of this buildpack. Runs in the app's folder.

const fs = require('node:fs');
const path = require('node:path');

const commands = {
  /** Ends with 1 and a sentence when package.json cannot be used. */
  check() {
    const wanted = manifest().engines && manifest().engines.node;
    if (wanted) console.log(`       package.json asks for node ${wanted}`);
  },

  /** Prints the dependencies that node_modules does not have. */
  missing() {
    const names = Object.keys(manifest().dependencies || {});
    console.log(names.filter((name) => !isInstalled(name)).join(' '));
  },

  /** Prints the release document. */
  release() {
    const command = startCommand();
    const types = command === null ? '{}' : `\n  web: ${JSON.stringify(command)}`;
    console.log(`---\ndefault_process_types: ${types}`);
  },
};

function manifest() {
  let read;
  try {
    read = JSON.parse(fs.readFileSync('package.json', 'utf8'));
  } catch (error) {
    console.log(`       package.json cannot be read: ${error.message}`);
    process.exit(1);
  }
  if (read === null || typeof read !== 'object' || Array.isArray(read)) {
    console.log('       package.json is not a JSON object');
    process.exit(1);
  }
  return read;
}

function isInstalled(name) {
  return fs.existsSync(path.join('node_modules', ...name.split('/'), 'package.json'));
}

/**
 * `npm start`, but without npm where that makes no difference: npm costs tens of megabytes beside
 * the app for its whole life and stands between it and its signals.
 */
function startCommand() {
  const scripts = manifest().scripts || {};
  if (typeof scripts.start === 'string') {
    const plain = /^node(js)? [\w@%+=:,./ -]+$/.test(scripts.start);
    return plain && !scripts.prestart && !scripts.poststart ? scripts.start : 'npm start';
  }
  const main = manifest().main;
  const named = typeof main === 'string' ? main : 'index.js';
  const files = ['server.js', named, 'index.js', 'app.js', 'main.js'];
  const found = files.find((file) => /^[\w@%+=:,./-]+$/.test(file) && fs.existsSync(file));
  return found ? `node ${found}` : null;
}

const command = commands[process.argv[2]];
if (!command) {
  console.error('usage: package.js check | missing | release');
  process.exit(64);
}
command();
